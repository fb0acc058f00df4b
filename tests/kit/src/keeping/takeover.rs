//! Checks for changes of a device by a user. The store must check ownership in the transaction of the change.

use pushgate::{AppId, Device, IdentifiedBy, Login, Registration, Store, Takeover, UserId};

use super::{T0, address, app, channel, device, device_id, user};

/// Returns a registration by a user, who may take over a device by its address.
fn by_user(app: &AppId, id: &str, name: &str, tokens: &[&str]) -> Registration {
    let device = device(app, id, name, tokens);
    Registration { takeover: Takeover::WithAddress, ..Registration::from(device) }
}

pub(super) async fn promises(store: &dyn Store) {
    a_user_takes_over_a_device_only_with_one_of_its_addresses(store).await;
    a_user_logs_in_on_their_own_device_and_on_nobodys(store).await;
    only_the_owner_detaches_and_forgets_a_device(store).await;
    of_many_users_who_claim_one_device_at_once_one_gets_it(store).await;
    of_many_users_who_log_in_on_one_device_at_once_one_gets_it(store).await;
}

async fn known(store: &dyn Store, app: &AppId, id: &str) -> Device {
    store.device(app, &device_id(id)).await.expect("read").expect("known")
}

async fn a_user_takes_over_a_device_only_with_one_of_its_addresses(store: &dyn Store) {
    let app = app("takeover");
    let register = async |registration| store.register(registration).await.expect("register");
    assert!(register(by_user(&app, "d", "ann", &["t1"])).await.is_some(), "nobody knows it yet");
    assert!(register(by_user(&app, "d", "ann", &["t2"])).await.is_some(), "it is hers");
    let anns = known(store, &app, "d").await;
    assert_eq!(register(by_user(&app, "d", "bob", &["t3"])).await, None);
    assert_eq!(known(store, &app, "d").await, anns, "nothing was changed");
    let replacing = Registration { replaces: Some(address("t2")), ..by_user(&app, "d", "bob", &["t3"]) };
    assert!(register(replacing).await.is_some(), "he has its old address");
    assert!(register(by_user(&app, "d", "ann", &["t3"])).await.is_some(), "she has its address");
    let by_address =
        Registration { identified_by: IdentifiedBy::Address, ..by_user(&app, "x", "bob", &["t3"]) };
    let found = register(by_address).await.expect("whoever holds its address is the device");
    assert_eq!(found.id, device_id("d"));
    assert!(register(device(&app, "d", "ann", &["t4"]).into()).await.is_some(), "a server may do it always");
    assert!(store.unbind(&app, &device_id("d"), None).await.expect("unbind"));
    assert!(register(by_user(&app, "d", "bob", &["t5"])).await.is_some(), "it is nobody's");
}

fn login(app: &AppId, name: &str, takeover: Takeover) -> Login {
    Login { app: app.clone(), device: device_id("d"), user: user(name), at: T0, max_devices: 10, takeover }
}

async fn a_user_logs_in_on_their_own_device_and_on_nobodys(store: &dyn Store) {
    let app = app("takeover-login");
    store.register(device(&app, "d", "ann", &["t"]).into()).await.expect("register");
    let bind = async |name, takeover| store.bind(login(&app, name, takeover)).await.expect("bind");
    assert!(bind("ann", Takeover::WithAddress).await.is_some());
    assert_eq!(bind("bob", Takeover::WithAddress).await, None);
    assert_eq!(known(store, &app, "d").await.user, Some(user("ann")));
    assert!(bind("bob", Takeover::Always).await.is_some());
    store.unbind(&app, &device_id("d"), None).await.expect("unbind");
    assert!(bind("ann", Takeover::WithAddress).await.is_some());
}

async fn only_the_owner_detaches_and_forgets_a_device(store: &dyn Store) {
    let (app, d, ann, bob) = (app("takeover-owner"), device_id("d"), user("ann"), user("bob"));
    let ways = [channel()];
    assert!(!store.detach(&app, &d, None, &ways).await.expect("detach"), "nobody knows it");
    store.register(device(&app, "d", "ann", &["t"]).into()).await.expect("register");
    assert!(!store.detach(&app, &d, Some(&bob), &ways).await.expect("detach"));
    assert!(!store.forget(&app, &d, Some(&bob)).await.expect("forget"));
    let other = pushgate::ChannelName::new("other").expect("a valid name");
    assert!(store.detach(&app, &d, Some(&ann), &[other]).await.expect("detach"));
    let detached = known(store, &app, "d").await;
    assert_eq!((detached.user, detached.addresses.len()), (None, 1), "its other addresses stay");
    assert!(!store.detach(&app, &d, Some(&ann), &ways).await.expect("detach"), "it is hers no more");
    assert!(store.detach(&app, &d, None, &ways).await.expect("detach"));
    assert_eq!(known(store, &app, "d").await.addresses, []);
    store.register(device(&app, "d", "ann", &["t"]).into()).await.expect("register");
    assert!(store.forget(&app, &d, Some(&ann)).await.expect("forget"));
    assert_eq!(store.device(&app, &d).await.expect("read"), None);
}

fn names() -> Vec<String> {
    (0..200).map(|number| format!("u{number}")).collect()
}

async fn of_many_users_who_claim_one_device_at_once_one_gets_it(store: &dyn Store) {
    let (app, names) = (app("takeover-race"), names());
    let claims = names.iter().map(|name| store.register(by_user(&app, "d", name, &[name])));
    let claims = futures_util::future::join_all(claims).await;
    let won: Vec<_> =
        names.iter().zip(claims).filter(|(_, claim)| claim.as_ref().expect("register").is_some()).collect();
    assert_eq!(won.len(), 1);
    let winner = UserId::new(won[0].0).expect("a valid name");
    assert_eq!(known(store, &app, "d").await.user, Some(winner));
}

async fn of_many_users_who_log_in_on_one_device_at_once_one_gets_it(store: &dyn Store) {
    let (app, names) = (app("takeover-login-race"), names());
    let nobodys = Device { user: None, ..device(&app, "d", "nobody", &["t"]) };
    store.register(nobodys.into()).await.expect("register");
    let logins = names.iter().map(|name| store.bind(login(&app, name, Takeover::WithAddress)));
    let logins = futures_util::future::join_all(logins).await;
    assert_eq!(logins.into_iter().filter(|login| login.as_ref().expect("bind").is_some()).count(), 1);
}
