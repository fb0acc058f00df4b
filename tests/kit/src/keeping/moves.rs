//! Random sequences of register, bind, logout and rotate: an address never belongs to two users, and no push reaches
//! another user.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use pushgate::{AppId, IdentifiedBy, Login, Registration, Replacement, Store, Takeover};

use super::{T0, address, device, device_id, user};

const USERS: [&str; 3] = ["ann", "bob", "cleo"];
const DEVICES: [&str; 3] = ["d0", "d1", "d2"];
const TOKENS: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// Operation on a device. Numbers are indices of the lists above.
#[derive(Debug, Clone)]
enum Move {
    Register { device: usize, user: usize, tokens: Vec<usize>, replaces: Option<usize>, by_id: bool },
    Bind { device: usize, user: usize },
    Logout { device: usize, only: Option<usize> },
    Rotate { old: usize, new: usize },
    Release { token: usize },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let token = 0..TOKENS.len();
    let tokens = proptest::collection::vec(token.clone(), 0..3);
    let replaces = proptest::option::of(token.clone());
    let register = (0..DEVICES.len(), 0..USERS.len(), tokens, replaces, any::<bool>()).prop_map(
        |(device, user, tokens, replaces, by_id)| Move::Register { device, user, tokens, replaces, by_id },
    );
    let one = prop_oneof![
        4 => register,
        2 => (0..DEVICES.len(), 0..USERS.len()).prop_map(|(device, user)| Move::Bind { device, user }),
        2 => (0..DEVICES.len(), proptest::option::of(0..USERS.len()))
            .prop_map(|(device, only)| Move::Logout { device, only }),
        2 => (token.clone(), token.clone()).prop_map(|(old, new)| Move::Rotate { old, new }),
        1 => token.prop_map(|token| Move::Release { token }),
    ];
    proptest::collection::vec(one, 1..20)
}

/// Expected state: the token and the user of each device.
#[derive(Default)]
struct Model {
    holder: BTreeMap<usize, usize>,
    user: BTreeMap<usize, Option<usize>>,
}

impl Model {
    fn make(&mut self, made: &Move) {
        match made {
            Move::Register { device, user, tokens, replaces, by_id } => {
                let known = tokens.iter().chain(replaces).find_map(|token| self.holder.get(token).copied());
                let device = if *by_id { *device } else { known.unwrap_or(*device) };
                self.holder.retain(|token, holder| *holder != device && Some(*token) != *replaces);
                self.holder.extend(tokens.iter().map(|token| (*token, device)));
                self.user.insert(device, Some(*user));
            }
            Move::Bind { device, user } => {
                self.user.entry(*device).and_modify(|bound| *bound = Some(*user));
            }
            Move::Logout { device, only } => {
                let bound = self.user.get_mut(device);
                if let Some(bound) = bound.filter(|bound| only.is_none() || **bound == *only) {
                    *bound = None;
                }
            }
            Move::Rotate { old, new } => {
                let Some(holder) = self.holder.remove(old) else { return };
                let user = |device: &usize| self.user.get(device);
                if self.holder.get(new).is_none_or(|other| user(other) == user(&holder)) {
                    self.holder.insert(*new, holder);
                }
            }
            Move::Release { token } => {
                self.holder.remove(token);
            }
        }
    }

    /// Returns the tokens that a push for this user must reach.
    fn tokens_of(&self, user: usize) -> Vec<&str> {
        let his = |device: &usize| self.user.get(device) == Some(&Some(user));
        self.holder.iter().filter(|(_, device)| his(device)).map(|(token, _)| TOKENS[*token]).collect()
    }
}

async fn make(store: &dyn Store, app: &AppId, at: u64, made: &Move) {
    let now = T0 + Duration::from_secs(at);
    match made {
        Move::Register { device: d, user, tokens, replaces, by_id } => {
            let tokens: Vec<_> = tokens.iter().map(|token| TOKENS[*token]).collect();
            let registration = Registration {
                identified_by: if *by_id { IdentifiedBy::Id } else { IdentifiedBy::Address },
                // A token that is named twice is the new one.
                replaces: replaces.map(|token| address(TOKENS[token])),
                ..Registration::from(device(app, DEVICES[*d], USERS[*user], &tokens))
            };
            store.register(registration).await.expect("register");
        }
        Move::Bind { device, user: u } => {
            let login = Login {
                app: app.clone(),
                device: device_id(DEVICES[*device]),
                user: user(USERS[*u]),
                at: now,
                max_devices: Registration::DEFAULT_MAX_DEVICES,
                takeover: Takeover::Always,
            };
            store.bind(login).await.expect("bind");
        }
        Move::Logout { device, only } => {
            let only = only.map(|only| user(USERS[only]));
            store.unbind(app, &device_id(DEVICES[*device]), only.as_ref()).await.expect("unbind");
        }
        Move::Rotate { old, new } => {
            let (old, new) = (address(TOKENS[*old]), TOKENS[*new].into());
            let replacement = Replacement { old, new, at: now, user: None };
            store.replace(app, replacement).await.expect("replace");
        }
        Move::Release { token } => {
            store.release(app, &address(TOKENS[*token])).await.expect("release");
        }
    }
}

/// Runs this many random sequences from a fixed seed, each in an app of its own.
///
/// # Panics
/// Panics if the tokens of a user's devices differ from those last bound to the user.
pub async fn no_sequence_leaves_an_address_with_two_users(store: &dyn Store, sequences: u32) {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for sequence in 0..sequences {
        let app = AppId::new(&format!("moves-{sequence}")).expect("a valid name");
        let all = moves().new_tree(&mut runner).expect("a sequence").current();
        let mut model = Model::default();
        for (at, made) in (1..).zip(&all) {
            make(store, &app, at, made).await;
            model.make(made);
            for (place, name) in USERS.iter().enumerate() {
                let devices = store.devices_of(&app, &[user(name)]).await.expect("read");
                let mut tokens: Vec<_> =
                    devices.iter().flat_map(|d| &d.addresses).map(|a| a.token.expose()).collect();
                tokens.sort_unstable();
                assert_eq!(tokens, model.tokens_of(place), "{name} after the first {at} of {all:?}");
            }
        }
    }
}
