//! The post office of real browsers: who has checked in, what they have registered for, what waits for them, and the one living
//! connection of each. The queue belongs to the device, never to a connection.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::letters::{Address, Letter, Letters, Posted, Reach};
use crate::event::{What, Why};
use crate::rig::Rig;

/// Somebody whose secret is not the one that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stranger;

/// Who a device says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: u64,
    pub(super) secret: u64,
}

/// What the connection of a device is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// There is something to send.
    Wake,
    /// Say good-bye and close.
    Close,
    /// Close without a word.
    Cut,
}

/// A device's living connection; a later one has a higher number.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) orders: UnboundedReceiver<Order>,
}

/// A registration that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered {
    /// What the device is called for this registration, in events.
    pub(super) name: String,
    pub(super) token: String,
    /// It was there before.
    pub(super) known: bool,
}

/// What is to be brought to a registration.
pub(super) struct Parcel {
    pub(super) topic: Option<String>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<Vec<u8>>,
    /// Seconds.
    pub(super) ttl: u64,
}

pub(super) struct Post {
    accounts: Mutex<Accounts>,
    rig: Arc<Rig>,
}

#[derive(Default)]
struct Accounts {
    all: Vec<Account>,
    lines: u64,
}

struct Account {
    name: String,
    who: Identity,
    registrations: Vec<Registration>,
    /// How many there ever were: a name is never used again.
    registered: u32,
    letters: Letters,
    line: Option<(u64, UnboundedSender<Order>)>,
}

struct Registration {
    name: String,
    token: String,
    to: Address,
}

impl Accounts {
    /// The account of a device; one that is not known is taken in: its profile may be older than this emulator.
    fn admit(&mut self, who: Identity) -> Result<&mut Account, Stranger> {
        if who.id == 0 || who.secret == 0 {
            return Err(Stranger);
        }
        let place = match self.all.iter().position(|one| one.who.id == who.id) {
            Some(place) if self.all[place].who == who => place,
            Some(_) => return Err(Stranger),
            None => {
                let name = format!("browser-{}", self.all.len() + 1);
                let (registrations, letters) = (Vec::new(), Letters::default());
                self.all.push(Account { name, who, registrations, registered: 0, letters, line: None });
                self.all.len() - 1
            }
        };
        Ok(&mut self.all[place])
    }

    /// The account, if this is its living connection.
    fn on_line(&mut self, who: Identity, line: u64) -> Option<&mut Account> {
        let account = self.all.iter_mut().find(|one| one.who == who)?;
        account.line.as_ref().is_some_and(|(number, _)| *number == line).then_some(account)
    }
}

impl Post {
    pub(super) fn new(rig: Arc<Rig>) -> Self {
        Self { accounts: Mutex::default(), rig }
    }

    /// An identity for a device that has none (0), or the one it has.
    pub(super) fn check_in(&self, who: Identity) -> Result<Identity, Stranger> {
        let fresh = || rand::random::<u64>() >> 1 | 1;
        let who = if who.id == 0 { Identity { id: fresh(), secret: fresh() } } else { who };
        self.accounts.lock().admit(who).map(|_| who)
    }

    /// Registers a device for an address under a new token; an address that is registered keeps the one it has.
    pub(super) fn register(
        &self,
        who: Identity,
        to: &Address,
        token: String,
    ) -> Result<Registered, Stranger> {
        let mut accounts = self.accounts.lock();
        let account = accounts.admit(who)?;
        if let Some(old) = account.registrations.iter().find(|old| old.to == *to) {
            return Ok(Registered { name: old.name.clone(), token: old.token.clone(), known: true });
        }
        account.registered += 1;
        let name = format!("{}-{}", account.name, account.registered);
        self.rig.tell(What::Registered { device: name.clone() });
        account.registrations.push(Registration { name: name.clone(), token: token.clone(), to: to.clone() });
        Ok(Registered { name, token, known: false })
    }

    /// Ends what a device has registered under a subtype. Gives the dead tokens.
    pub(super) fn withdraw(&self, who: Identity, app: &str, subtype: &str) -> Result<Vec<String>, Stranger> {
        let mut accounts = self.accounts.lock();
        let account = accounts.admit(who)?;
        let gone = |one: &Registration| one.to.subtype == subtype && one.to.app == app;
        let dead =
            account.registrations.iter().filter(|one| gone(one)).map(|one| one.token.clone()).collect();
        account.registrations.retain(|one| !gone(one));
        Ok(dead)
    }

    /// The address behind a token, and what the device is called there.
    pub(super) fn address(&self, token: &str) -> Option<(Address, String)> {
        let accounts = self.accounts.lock();
        let mut all = accounts.all.iter().flat_map(|account| &account.registrations);
        all.find(|one| one.token == token).map(|one| (one.to.clone(), one.name.clone()))
    }

    /// Brings a parcel on its way. Whether there is such a registration.
    pub(super) fn deliver(&self, token: &str, parcel: Parcel) -> bool {
        let mut accounts = self.accounts.lock();
        let mut found = None;
        for account in &mut accounts.all {
            if let Some(place) = account.registrations.iter().position(|one| one.token == token) {
                found = Some((account, place));
            }
        }
        let Some((account, place)) = found else { return false };
        let registration = &account.registrations[place];
        let persistent_id = format!("0:{}%{:016x}", self.rig.clock.now_ms() * 1000, rand::random::<u64>());
        let letter = Letter {
            to: registration.to.clone(),
            persistent_id,
            topic: parcel.topic,
            headers: parcel.headers,
            body: parcel.body,
            ttl: parcel.ttl,
            sent_ms: self.rig.clock.now_ms(),
            device: registration.name.clone(),
        };
        let device = registration.name.clone();
        let reach = if account.line.is_some() { Reach::Online } else { Reach::Offline };
        match account.letters.post(letter, reach) {
            Posted::Dropped => self.rig.tell(What::Dropped { device, why: Why::Expired }),
            Posted::Kept { replaced } if reach == Reach::Offline => {
                self.rig.tell(What::Waits { device, replaced });
            }
            Posted::Kept { .. } => {}
        }
        if let Some((_, orders)) = &account.line {
            // A connection that is just ending finds the letter at the next login.
            let _ = orders.send(Order::Wake);
        }
        true
    }

    /// A device logs in: an older connection ends, and what it says it has received is done with.
    pub(super) fn log_in(&self, who: Identity, received: &[String]) -> Result<Line, Stranger> {
        let mut accounts = self.accounts.lock();
        accounts.lines += 1;
        let number = accounts.lines;
        let account = accounts.admit(who)?;
        let arrived = account.letters.reconnect(received);
        let (sender, orders) = unbounded_channel();
        account.line = Some((number, sender));
        self.arrived(arrived);
        self.rig.tell(What::LoggedIn { device: account.name.clone() });
        Ok(Line { number, orders })
    }

    /// The connection has ended; the device is offline unless a later one stands.
    pub(super) fn log_out(&self, who: Identity, line: u64) {
        if let Some(account) = self.accounts.lock().on_line(who, line) {
            account.line = None;
            self.rig.tell(What::LoggedOut { device: account.name.clone() });
        }
    }

    /// The next letter for a connection, which will be its frame of this number.
    pub(super) fn next(&self, who: Identity, line: u64, frame: u64) -> Option<Letter> {
        self.accounts.lock().on_line(who, line)?.letters.send(frame, self.rig.clock.now_ms())
    }

    /// The device has these letters.
    pub(super) fn received(&self, who: Identity, line: u64, ids: &[String]) {
        let mut accounts = self.accounts.lock();
        let arrived = accounts.on_line(who, line).map(|account| account.letters.received(ids));
        self.arrived(arrived.unwrap_or_default());
    }

    /// The device has every frame of a connection up to this one.
    pub(super) fn acknowledge(&self, who: Identity, line: u64, frame: u64) {
        let mut accounts = self.accounts.lock();
        let arrived = accounts.on_line(who, line).map(|account| account.letters.acknowledge(frame));
        self.arrived(arrived.unwrap_or_default());
    }

    /// Tells the connection of every device something. How many there were.
    pub(super) fn order_all(&self, order: Order) -> usize {
        let accounts = self.accounts.lock();
        accounts
            .all
            .iter()
            .filter_map(|one| one.line.as_ref())
            .filter(|(_, to)| to.send(order).is_ok())
            .count()
    }

    /// Whether a device is logged in, with its name; for the control API.
    pub(super) fn devices(&self) -> Vec<(String, bool)> {
        self.accounts.lock().all.iter().map(|one| (one.name.clone(), one.line.is_some())).collect()
    }

    /// Milliseconds since 1970, as the emulator has them.
    pub(super) fn now_ms(&self) -> u64 {
        self.rig.clock.now_ms()
    }

    fn arrived(&self, devices: Vec<String>) {
        for device in devices {
            self.rig.tell(What::Arrived { device, replaced: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post() -> (Post, Identity) {
        let post = Post::new(Arc::new(Rig::alone()));
        let who = post.check_in(Identity { id: 0, secret: 0 }).unwrap();
        (post, who)
    }

    fn to(subtype: &str) -> Address {
        let (sender, app) = ("BKey".to_owned(), "org.chromium.linux".to_owned());
        Address { sender, app, subtype: subtype.to_owned() }
    }

    fn parcel() -> Parcel {
        Parcel { topic: None, headers: Vec::new(), body: None, ttl: 60 }
    }

    #[test]
    fn a_device_keeps_its_identity_and_nobody_else_can_use_it() {
        let (post, who) = post();
        assert!(who.id > 0 && i64::try_from(who.id).is_ok(), "clients print it as a signed number");
        assert_eq!(post.check_in(who), Ok(who));
        assert_eq!(post.check_in(Identity { secret: who.secret ^ 2, ..who }), Err(Stranger));
        let older = Identity { id: 12, secret: 34 };
        assert_eq!(post.check_in(older), Ok(older), "a profile older than the emulator goes on");
    }

    #[test]
    fn the_same_registration_gives_the_same_token_until_it_is_withdrawn() {
        let (post, who) = post();
        let first = post.register(who, &to("a"), "t1".to_owned()).unwrap();
        assert_eq!(
            post.register(who, &to("a"), "t1".to_owned()).unwrap(),
            Registered { known: true, ..first.clone() }
        );
        assert_ne!(post.register(who, &to("b"), "t2".to_owned()).unwrap().token, first.token);
        assert_eq!(post.withdraw(who, "org.chromium.linux", "a"), Ok(vec![first.token.clone()]));
        assert!(!post.deliver(&first.token, parcel()));
        let again = post.register(who, &to("a"), "t3".to_owned()).unwrap();
        assert_eq!(
            (again.token.as_str(), again.name.as_str()),
            ("t3", "browser-1-3"),
            "no name is used twice"
        );
    }

    #[test]
    fn a_later_login_ends_the_earlier_connection_and_inherits_its_letters() {
        let (post, who) = post();
        let token = post.register(who, &to("a"), "t1".to_owned()).unwrap().token;
        let mut first = post.log_in(who, &[]).unwrap();
        assert!(post.deliver(&token, parcel()));
        assert_eq!(first.orders.try_recv(), Ok(Order::Wake));
        assert!(post.next(who, first.number, 2).is_some());
        let second = post.log_in(who, &[]).unwrap();
        assert!(first.orders.try_recv().is_err(), "its sender is gone");
        assert!(post.next(who, first.number, 3).is_none(), "and it gets nothing any more");
        post.log_out(who, first.number);
        assert_eq!(post.devices(), [("browser-1".to_owned(), true)], "the later one stands");
        assert!(post.next(who, second.number, 2).is_some());
        post.acknowledge(who, second.number, 2);
        assert!(post.next(who, second.number, 3).is_none());
    }
}
