//! Checks for stores.

use std::time::Duration;

use pushgate::{
    Count, Device, DeviceId, IdentifiedBy, Login, Registration, Replacement, Rules, Store, Takeover, UserId,
};

use super::dead::dead_addresses;
use super::{T0, address, app, device, device_id, user};

/// Checks every promise of [`Store`].
///
/// # Panics
/// Panics if one is broken.
pub async fn store(store: &dyn Store) {
    registering_twice_changes_nothing(store).await;
    an_address_belongs_to_one_device(store).await;
    a_replaced_token_is_found_under_its_new_name(store).await;
    replacing_takes_no_address_from_another_user(store).await;
    replacing_for_a_user_leaves_the_devices_of_others(store).await;
    apps_do_not_see_each_other(store).await;
    a_device_is_found_by_its_address_or_the_one_it_replaces(store).await;
    a_login_moves_the_device_and_a_late_logout_does_not_undo_it(store).await;
    beyond_the_limit_the_oldest_device_goes(store).await;
    a_released_address_is_nobodys(store).await;
    pages_walk_through_every_device_once(store).await;
    rules_are_kept_by_user_and_empty_ones_forgotten(store).await;
    counters_begin_at_zero_and_never_fall_below(store).await;
    a_thousand_concurrent_binds_of_one_address_end_with_one_owner(store).await;
    super::takeover::promises(store).await;
    dead_addresses(store).await;
}

async fn registering_twice_changes_nothing(store: &dyn Store) {
    let app = app("idempotent");
    let bob = device(&app, "d1", "bob", &["t1", "t2"]);
    assert!(store.register(bob.clone().into()).await.expect("register").expect("taken").created);
    assert!(!store.register(bob.clone().into()).await.expect("register").expect("taken").created);
    assert_eq!(store.device(&app, &bob.id).await.expect("read"), Some(bob.clone()));
    let users = [UserId::new("bob").expect("name"), UserId::new("ann").expect("name")];
    assert_eq!(store.devices_of(&app, &users).await.expect("read"), std::slice::from_ref(&bob));
    assert!(store.forget(&app, &bob.id, None).await.expect("forget"));
    assert!(!store.forget(&app, &bob.id, None).await.expect("forget"));
    assert_eq!(store.devices_of(&app, &users).await.expect("read"), []);
}

async fn an_address_belongs_to_one_device(store: &dyn Store) {
    let app = app("moves");
    let (first, second) = (device(&app, "d1", "ann", &["t", "own"]), device(&app, "d2", "bob", &["t"]));
    store.register(first.clone().into()).await.expect("register");
    store.register(second.clone().into()).await.expect("register");
    let left = store.device(&app, &first.id).await.expect("read").expect("known");
    assert_eq!(left.addresses, [address("own")], "the address moved to the second device");
    assert_eq!(store.device(&app, &second.id).await.expect("read"), Some(second));
}

async fn a_replaced_token_is_found_under_its_new_name(store: &dyn Store) {
    let app = app("replaces");
    let (bob, his) = (device(&app, "d", "bob", &["old"]), device(&app, "e", "bob", &["new"]));
    store.register(bob.clone().into()).await.expect("register");
    store.register(his.clone().into()).await.expect("register");
    let later = T0 + Duration::from_secs(9);
    let replacement = || Replacement { at: later, ..replacement("old") };
    assert_eq!(store.replace(&app, replacement()).await.expect("replace"), Some(bob.id.clone()));
    assert_eq!(store.replace(&app, replacement()).await.expect("replace"), None);
    let now = store.device(&app, &bob.id).await.expect("read").expect("known");
    assert_eq!((now.addresses, now.registered_at), (vec![address("new")], later));
    assert_eq!(store.device(&app, &his.id).await.expect("read").expect("known").addresses, []);
}

fn replacement(old: &str) -> Replacement {
    Replacement { old: address(old), new: "new".into(), at: T0, user: None }
}

async fn replacing_for_a_user_leaves_the_devices_of_others(store: &dyn Store) {
    let app = app("replaces-for-a-user");
    let bob = device(&app, "d", "bob", &["old"]);
    let nobody = Device { user: None, ..device(&app, "f", "ann", &["free"]) };
    for known in [&bob, &nobody] {
        store.register(known.clone().into()).await.expect("register");
    }
    let of = |name: &str, old| Replacement { user: Some(user(name)), ..replacement(old) };
    for others in [of("ann", "old"), of("ann", "free")] {
        assert_eq!(store.replace(&app, others).await.expect("replace"), None);
    }
    for known in [&bob, &nobody] {
        assert_eq!(store.device(&app, &known.id).await.expect("read").as_ref(), Some(known));
    }
    assert_eq!(store.replace(&app, of("bob", "old")).await.expect("replace"), Some(bob.id));
}

async fn replacing_takes_no_address_from_another_user(store: &dyn Store) {
    let app = app("replaces-of-others");
    let (bob, ann) = (device(&app, "d", "bob", &["old"]), device(&app, "e", "ann", &["new"]));
    let nobody = Device { user: None, ..device(&app, "f", "ann", &["free"]) };
    for known in [&bob, &ann, &nobody] {
        store.register(known.clone().into()).await.expect("register");
    }
    assert_eq!(store.replace(&app, replacement("old")).await.expect("replace"), Some(bob.id.clone()));
    assert_eq!(store.replace(&app, replacement("free")).await.expect("replace"), Some(nobody.id.clone()));
    assert_eq!(store.device(&app, &ann.id).await.expect("read"), Some(ann), "it stays where it is");
    for (id, why) in [(&bob.id, "somebody else has it"), (&nobody.id, "nobody is not ann")] {
        assert_eq!(store.device(&app, id).await.expect("read").expect("known").addresses, [], "{why}");
    }
}

async fn apps_do_not_see_each_other(store: &dyn Store) {
    let (one, two) = (app("one"), app("two"));
    store.register(device(&one, "d", "bob", &["t"]).into()).await.expect("register");
    store.register(device(&two, "d", "bob", &["t"]).into()).await.expect("register");
    let id = DeviceId::new("d").expect("name");
    assert!(store.forget(&two, &id, None).await.expect("forget"));
    assert_eq!(store.device(&one, &id).await.expect("read").expect("known").addresses, [address("t")]);
}

async fn a_device_is_found_by_its_address_or_the_one_it_replaces(store: &dyn Store) {
    let app = app("found");
    let by_address = |id: &str, tokens: &[&str], replaces: Option<&str>| Registration {
        identified_by: IdentifiedBy::Address,
        replaces: replaces.map(address),
        ..Registration::from(device(&app, id, "bob", tokens))
    };
    let first = store.register(by_address("one", &["t1"], None)).await.expect("register").expect("taken");
    assert!(first.created);
    let again = store.register(by_address("two", &["t1"], None)).await.expect("register").expect("taken");
    assert_eq!((again.id.as_str(), again.created), ("one", false), "the same token is the same device");
    let rotated =
        store.register(by_address("three", &["t2"], Some("t1"))).await.expect("register").expect("taken");
    assert_eq!((rotated.id.as_str(), rotated.created), ("one", false), "so is the token it replaces");
    let bobs = store.devices_of(&app, &[user("bob")]).await.expect("read");
    assert_eq!((bobs.len(), &bobs[0].addresses), (1, &vec![address("t2")]));
    // By its id, too, the old token is taken off whoever holds it.
    let named = Registration { identified_by: IdentifiedBy::Id, ..by_address("other", &["t3"], Some("t2")) };
    assert!(store.register(named).await.expect("register").expect("taken").created);
    let known = store.device(&app, &device_id("one")).await.expect("read").expect("known");
    assert_eq!(known.addresses, []);
}

async fn a_login_moves_the_device_and_a_late_logout_does_not_undo_it(store: &dyn Store) {
    let (app, d) = (app("login"), device_id("d"));
    let (ann, bob) = (user("ann"), user("bob"));
    let login = |user: &UserId, device: &DeviceId| Login {
        app: app.clone(),
        device: device.clone(),
        user: user.clone(),
        at: T0 + Duration::from_secs(1),
        max_devices: 10,
        takeover: Takeover::Always,
    };
    assert_eq!(store.bind(login(&bob, &d)).await.expect("bind"), None, "no such device");
    assert!(!store.unbind(&app, &d, None).await.expect("unbind"));
    store.register(device(&app, "d", "ann", &["t"]).into()).await.expect("register");
    assert!(store.bind(login(&bob, &d)).await.expect("bind").is_some());
    assert!(!store.unbind(&app, &d, Some(&ann)).await.expect("unbind"), "it is bob's by now");
    assert_eq!(store.devices_of(&app, std::slice::from_ref(&ann)).await.expect("read"), []);
    let bobs = store.devices_of(&app, std::slice::from_ref(&bob)).await.expect("read");
    assert_eq!((bobs.len(), &bobs[0].addresses), (1, &vec![address("t")]));
    assert!(store.unbind(&app, &d, Some(&bob)).await.expect("unbind"));
    assert!(!store.unbind(&app, &d, None).await.expect("unbind"), "nobody is bound");
    let kept = store.device(&app, &d).await.expect("read").expect("the device stays");
    assert_eq!((kept.user, kept.addresses), (None, vec![address("t")]));
}

async fn beyond_the_limit_the_oldest_device_goes(store: &dyn Store) {
    let app = app("limit");
    let at = |id: &str, seconds: u64| Registration {
        max_devices: 2,
        ..Registration::from(Device {
            registered_at: T0 + Duration::from_secs(seconds),
            ..device(&app, id, "bob", &[id])
        })
    };
    for (id, seconds) in [("b", 2), ("a", 3)] {
        assert_eq!(store.register(at(id, seconds)).await.expect("register").expect("taken").dropped, []);
    }
    // The newest stays though its hour is the oldest: clocks are set back.
    let third = store.register(at("c", 1)).await.expect("register").expect("taken");
    assert_eq!(third.dropped, [device_id("b")]);
    assert_eq!(store.device(&app, &device_id("b")).await.expect("read"), None);
    let again = store.register(at("c", 1)).await.expect("register").expect("taken");
    assert_eq!(again.dropped, [], "registering again is not one more");
    assert_eq!(store.devices_of(&app, &[user("bob")]).await.expect("read").len(), 2);
}

async fn a_released_address_is_nobodys(store: &dyn Store) {
    let app = app("release");
    store.register(device(&app, "d", "bob", &["t", "other"]).into()).await.expect("register");
    assert_eq!(store.release(&app, &address("t")).await.expect("release"), Some(device_id("d")));
    assert_eq!(store.release(&app, &address("t")).await.expect("release"), None);
    let left = store.device(&app, &device_id("d")).await.expect("read").expect("the device stays");
    assert_eq!(left.addresses, [address("other")]);
}

async fn pages_walk_through_every_device_once(store: &dyn Store) {
    let app = app("pages");
    for id in ["c", "a", "e", "b", "d"] {
        store.register(device(&app, id, id, &[id]).into()).await.expect("register");
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.page(&app, after.as_ref(), 2).await.expect("read");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        seen.extend(page.into_iter().map(|device| device.id.to_string()));
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let ids = ["d", "nobody", "a"].map(device_id);
    let two = store.devices(&app, &ids).await.expect("read");
    assert_eq!(two.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["d", "a"]);
}

async fn a_thousand_concurrent_binds_of_one_address_end_with_one_owner(store: &dyn Store) {
    let app = app("race");
    let names: Vec<String> = (0..1000).map(|i| format!("u{i}")).collect();
    let binds = names.iter().map(|name| store.register(device(&app, name, name, &["t"]).into()));
    for bound in futures_util::future::join_all(binds).await {
        assert!(bound.expect("register").expect("taken").created);
    }
    let users: Vec<_> = names.iter().map(|name| user(name)).collect();
    let devices = store.devices_of(&app, &users).await.expect("read");
    let owners = devices.iter().filter(|device| device.addresses.contains(&address("t"))).count();
    assert_eq!((devices.len(), owners), (1000, 1));
}

async fn rules_are_kept_by_user_and_empty_ones_forgotten(store: &dyn Store) {
    let (app, bob, ann) = (app("rules"), user("bob"), user("ann"));
    let both = [bob.clone(), ann.clone()];
    assert!(store.rules(&app, &both).await.expect("read").is_empty());
    let rules = Rules { muted_conversations: ["c".to_owned()].into(), ..Rules::default() };
    store.set_rules(&app, &bob, &rules).await.expect("write");
    let kept = store.rules(&app, &both).await.expect("read");
    assert_eq!((kept.len(), kept.get(&bob)), (1, Some(&rules)));
    let stranger = self::app("rules-of-another-app");
    assert!(store.rules(&stranger, &both).await.expect("read").is_empty());
    store.set_rules(&app, &bob, &Rules::default()).await.expect("write");
    assert!(store.rules(&app, &both).await.expect("read").is_empty());
}

async fn counters_begin_at_zero_and_never_fall_below(store: &dyn Store) {
    let (app, bob) = (app("counters"), user("bob"));
    let count = async |change: Count| {
        let counted = store.count(&app, std::slice::from_ref(&bob), change).await.expect("count");
        counted.get(&bob).copied()
    };
    assert_eq!(count(Count::Raise(3)).await, Some(3));
    assert_eq!(count(Count::Raise(2)).await, Some(5));
    assert_eq!(count(Count::Lower(9)).await, Some(0));
    assert_eq!(count(Count::Set(7)).await, Some(7));
    assert_eq!(count(Count::Raise(u32::MAX)).await, Some(u32::MAX));
}
