//! Registry of real browsers: identities, registrations, queued pushes, and the current connection of each.
//! The queue belongs to the device, never to a connection.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::push_queue::{Connectivity, EnqueueResult, PushQueue, QueuedPush, RegistrationKey};
use crate::event::{DropReason, EventKind};
use crate::service::ServiceContext;

/// Error for an identity whose secret is not the issued one, or whose id or secret is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrongSecret;

/// Identity of a device: id and secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: u64,
    pub(super) secret: u64,
}

/// Command to the connection of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionCommand {
    /// Send the queued pushes.
    Wake,
    /// Send a close message and close.
    Close,
    /// Close without a message.
    Cut,
}

/// Current connection of a device. Later connections have higher numbers.
pub(super) struct DeviceConnection {
    pub(super) number: u64,
    pub(super) commands: UnboundedReceiver<ConnectionCommand>,
}

/// Registration of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registration {
    /// Name of the device for this registration, in events.
    pub(super) name: String,
    pub(super) token: String,
    /// `true` if the registration existed before.
    pub(super) existed: bool,
}

/// Push to deliver to a registration.
pub(super) struct PushContent {
    pub(super) topic: Option<String>,
    /// Headers that describe the encryption of the body.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<Vec<u8>>,
    /// Time to live, in seconds.
    pub(super) ttl: u64,
}

/// All known devices.
pub(super) struct DeviceRegistry {
    accounts: Mutex<Accounts>,
    context: Arc<ServiceContext>,
}

#[derive(Default)]
struct Accounts {
    list: Vec<Account>,
    last_connection: u64,
}

struct Account {
    name: String,
    identity: Identity,
    registrations: Vec<StoredRegistration>,
    /// Number of registrations ever made, because a name is never used again.
    registration_count: u32,
    queue: PushQueue,
    connection: Option<(u64, UnboundedSender<ConnectionCommand>)>,
}

struct StoredRegistration {
    name: String,
    token: String,
    key: RegistrationKey,
}

impl Accounts {
    /// Returns the account of a device. An unknown device gets a new account, because its profile may be older than
    /// this emulator.
    fn find_or_create(&mut self, identity: Identity) -> Result<&mut Account, WrongSecret> {
        if identity.id == 0 || identity.secret == 0 {
            return Err(WrongSecret);
        }
        let position = match self.list.iter().position(|account| account.identity.id == identity.id) {
            Some(position) if self.list[position].identity == identity => position,
            Some(_) => return Err(WrongSecret),
            None => {
                let name = format!("browser-{}", self.list.len() + 1);
                self.list.push(Account {
                    name,
                    identity,
                    registrations: Vec::new(),
                    registration_count: 0,
                    queue: PushQueue::default(),
                    connection: None,
                });
                self.list.len() - 1
            }
        };
        Ok(&mut self.list[position])
    }

    /// Returns the account if this is its current connection.
    fn with_connection(&mut self, identity: Identity, connection: u64) -> Option<&mut Account> {
        let account = self.list.iter_mut().find(|account| account.identity == identity)?;
        account.connection.as_ref().is_some_and(|(number, _)| *number == connection).then_some(account)
    }
}

impl DeviceRegistry {
    pub(super) fn new(context: Arc<ServiceContext>) -> Self {
        Self { accounts: Mutex::default(), context }
    }

    /// Returns the identity of a device, or a new one if its id is 0.
    pub(super) fn check_in(&self, identity: Identity) -> Result<Identity, WrongSecret> {
        let random_number = || rand::random::<u64>() >> 1 | 1;
        let identity = if identity.id == 0 {
            Identity { id: random_number(), secret: random_number() }
        } else {
            identity
        };
        self.accounts.lock().find_or_create(identity).map(|_| identity)
    }

    /// Registers a device for a key with a new token. A registered key keeps the token it has.
    pub(super) fn register(
        &self,
        identity: Identity,
        key: &RegistrationKey,
        token: String,
    ) -> Result<Registration, WrongSecret> {
        let mut accounts = self.accounts.lock();
        let account = accounts.find_or_create(identity)?;
        if let Some(old) = account.registrations.iter().find(|old| old.key == *key) {
            return Ok(Registration { name: old.name.clone(), token: old.token.clone(), existed: true });
        }
        account.registration_count += 1;
        let name = format!("{}-{}", account.name, account.registration_count);
        self.context.record(EventKind::Registered { device: name.clone() });
        account.registrations.push(StoredRegistration {
            name: name.clone(),
            token: token.clone(),
            key: key.clone(),
        });
        Ok(Registration { name, token, existed: false })
    }

    /// Ends the registrations of a device with this app and subtype. Returns their tokens.
    pub(super) fn unregister(
        &self,
        identity: Identity,
        app: &str,
        subtype: &str,
    ) -> Result<Vec<String>, WrongSecret> {
        let mut accounts = self.accounts.lock();
        let account = accounts.find_or_create(identity)?;
        let matches = |registration: &mut StoredRegistration| {
            registration.key.subtype == subtype && registration.key.app == app
        };
        let ended = account.registrations.extract_if(.., matches);
        Ok(ended.map(|registration| registration.token).collect())
    }

    /// Returns key and device name of the registration with this token.
    pub(super) fn find_by_token(&self, token: &str) -> Option<(RegistrationKey, String)> {
        let accounts = self.accounts.lock();
        let mut registrations = accounts.list.iter().flat_map(|account| &account.registrations);
        let registration = registrations.find(|registration| registration.token == token);
        registration.map(|registration| (registration.key.clone(), registration.name.clone()))
    }

    /// Queues a push for the registration with this token. Returns `true` if the registration exists.
    pub(super) fn deliver(&self, token: &str, content: PushContent) -> bool {
        let mut accounts = self.accounts.lock();
        let mut owner = None;
        for account in &mut accounts.list {
            let position = account.registrations.iter().position(|registration| registration.token == token);
            if let Some(position) = position {
                owner = Some((account, position));
            }
        }
        let Some((account, position)) = owner else { return false };
        let registration = &account.registrations[position];
        let persistent_id =
            format!("0:{}%{:016x}", self.context.clock.now_ms() * 1000, rand::random::<u64>());
        let push = QueuedPush {
            registration: registration.key.clone(),
            persistent_id,
            topic: content.topic,
            headers: content.headers,
            body: content.body,
            ttl: content.ttl,
            sent_ms: self.context.clock.now_ms(),
            device: registration.name.clone(),
        };
        let device = registration.name.clone();
        let connectivity =
            if account.connection.is_some() { Connectivity::Online } else { Connectivity::Offline };
        match account.queue.enqueue(push, connectivity) {
            EnqueueResult::Dropped => {
                self.context.record(EventKind::Dropped { device, why: DropReason::Expired })
            }
            EnqueueResult::Queued { replaced } if connectivity == Connectivity::Offline => {
                self.context.record(EventKind::Waits { device, replaced });
            }
            EnqueueResult::Queued { .. } => {}
        }
        if let Some((_, commands)) = &account.connection {
            // If the connection is just ending, the next login sends the push.
            let _ = commands.send(ConnectionCommand::Wake);
        }
        true
    }

    /// Logs a device in. Its previous connection ends, and the pushes it has received are removed from the queue.
    pub(super) fn log_in(
        &self,
        identity: Identity,
        received: &[String],
    ) -> Result<DeviceConnection, WrongSecret> {
        let mut accounts = self.accounts.lock();
        accounts.last_connection += 1;
        let number = accounts.last_connection;
        let account = accounts.find_or_create(identity)?;
        let arrived = account.queue.reconnect(received);
        let (sender, commands) = unbounded_channel();
        account.connection = Some((number, sender));
        self.record_arrivals(arrived);
        self.context.record(EventKind::LoggedIn { device: account.name.clone() });
        Ok(DeviceConnection { number, commands })
    }

    /// Records the end of a connection. The device is offline unless it has a later connection.
    pub(super) fn log_out(&self, identity: Identity, connection: u64) {
        if let Some(account) = self.accounts.lock().with_connection(identity, connection) {
            account.connection = None;
            self.context.record(EventKind::LoggedOut { device: account.name.clone() });
        }
    }

    /// Returns the next push for a connection. `frame` is the number of the frame that will carry it.
    pub(super) fn next_push(&self, identity: Identity, connection: u64, frame: u64) -> Option<QueuedPush> {
        self.accounts
            .lock()
            .with_connection(identity, connection)?
            .queue
            .next_to_send(frame, self.context.clock.now_ms())
    }

    /// Records that the device has received the pushes with these ids.
    pub(super) fn acknowledge_ids(&self, identity: Identity, connection: u64, ids: &[String]) {
        let mut accounts = self.accounts.lock();
        let arrived =
            accounts.with_connection(identity, connection).map(|account| account.queue.acknowledge_ids(ids));
        self.record_arrivals(arrived.unwrap_or_default());
    }

    /// Records that the device has received every frame of a connection up to this one.
    pub(super) fn acknowledge_frames(&self, identity: Identity, connection: u64, frame: u64) {
        let mut accounts = self.accounts.lock();
        let arrived = accounts
            .with_connection(identity, connection)
            .map(|account| account.queue.acknowledge_frames(frame));
        self.record_arrivals(arrived.unwrap_or_default());
    }

    /// Sends a command to every connection. Returns the number of connections.
    pub(super) fn command_all(&self, command: ConnectionCommand) -> usize {
        let accounts = self.accounts.lock();
        let connections = accounts.list.iter().filter_map(|account| account.connection.as_ref());
        connections.filter(|(_, commands)| commands.send(command).is_ok()).count()
    }

    /// Returns the name of every device, and `true` if it is logged in.
    pub(super) fn devices(&self) -> Vec<(String, bool)> {
        let accounts = self.accounts.lock();
        accounts.list.iter().map(|account| (account.name.clone(), account.connection.is_some())).collect()
    }

    /// Returns the emulator's time in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.context.clock.now_ms()
    }

    fn record_arrivals(&self, devices: Vec<String>) {
        for device in devices {
            self.context.record(EventKind::Arrived { device, replaced: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (DeviceRegistry, Identity) {
        let registry = DeviceRegistry::new(Arc::new(ServiceContext::for_test()));
        let identity = registry.check_in(Identity { id: 0, secret: 0 }).unwrap();
        (registry, identity)
    }

    fn key(subtype: &str) -> RegistrationKey {
        let (sender, app) = ("BKey".to_owned(), "org.chromium.linux".to_owned());
        RegistrationKey { sender, app, subtype: subtype.to_owned() }
    }

    fn content() -> PushContent {
        PushContent { topic: None, headers: Vec::new(), body: None, ttl: 60 }
    }

    #[test]
    fn a_device_keeps_its_identity_and_its_secret_protects_it() {
        let (registry, identity) = registry();
        assert!(identity.id > 0 && i64::try_from(identity.id).is_ok(), "clients print it as a signed number");
        assert_eq!(registry.check_in(identity), Ok(identity));
        assert_eq!(registry.check_in(Identity { secret: identity.secret ^ 2, ..identity }), Err(WrongSecret));
        let older = Identity { id: 12, secret: 34 };
        assert_eq!(registry.check_in(older), Ok(older), "a profile older than the emulator keeps working");
    }

    #[test]
    fn the_same_registration_gives_the_same_token_until_it_is_ended() {
        let (registry, identity) = registry();
        let first = registry.register(identity, &key("a"), "t1".to_owned()).unwrap();
        assert_eq!(
            registry.register(identity, &key("a"), "t1".to_owned()).unwrap(),
            Registration { existed: true, ..first.clone() }
        );
        assert_ne!(registry.register(identity, &key("b"), "t2".to_owned()).unwrap().token, first.token);
        assert_eq!(registry.unregister(identity, "org.chromium.linux", "a"), Ok(vec![first.token.clone()]));
        assert!(!registry.deliver(&first.token, content()));
        let again = registry.register(identity, &key("a"), "t3".to_owned()).unwrap();
        assert_eq!(
            (again.token.as_str(), again.name.as_str()),
            ("t3", "browser-1-3"),
            "no name is used twice"
        );
    }

    #[test]
    fn a_later_login_ends_the_earlier_connection_and_takes_over_its_pushes() {
        let (registry, identity) = registry();
        let token = registry.register(identity, &key("a"), "t1".to_owned()).unwrap().token;
        let mut first = registry.log_in(identity, &[]).unwrap();
        assert!(registry.deliver(&token, content()));
        assert_eq!(first.commands.try_recv(), Ok(ConnectionCommand::Wake));
        assert!(registry.next_push(identity, first.number, 2).is_some());
        let second = registry.log_in(identity, &[]).unwrap();
        assert!(first.commands.try_recv().is_err(), "its command channel is closed");
        assert!(
            registry.next_push(identity, first.number, 3).is_none(),
            "the earlier connection gets no more pushes"
        );
        registry.log_out(identity, first.number);
        assert_eq!(registry.devices(), [("browser-1".to_owned(), true)], "the later connection is current");
        assert!(registry.next_push(identity, second.number, 2).is_some());
        registry.acknowledge_frames(identity, second.number, 2);
        assert!(registry.next_push(identity, second.number, 3).is_none());
    }
}
