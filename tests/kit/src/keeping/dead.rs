//! Checks for dead addresses in a store.

use std::time::Duration;

use pushgate::{
    AppId, DeadAddress, DeadQuery, DeadState, Death, Kind, PruneGuardState, Restoration, Store, Timestamp,
};

use super::{T0, address, app, channel, device, device_id, user};

/// Checks every promise of [`DeadAddresses`](pushgate::DeadAddresses).
pub(super) async fn dead_addresses(store: &dyn Store) {
    prune_spares_a_token_registered_later(store).await;
    a_pruned_address_is_listed_with_what_is_known_of_it(store).await;
    dead_addresses_are_listed_page_by_page_and_by_selection(store).await;
    a_restored_address_is_the_devices_again_and_no_older_news_takes_it(store).await;
    restoring_overwrites_nothing_that_was_registered_meanwhile(store).await;
    an_address_held_back_stays_until_it_is_pruned_or_released(store).await;
    dead_addresses_are_forgotten_with_their_device_or_in_time(store).await;
    the_state_of_a_prune_guard_is_kept_by_lane(store).await;
}

fn death(since: Timestamp) -> Death {
    Death { since, fault: Kind::TokenGone, vendor_code: Some("UNREGISTERED".to_owned()) }
}

fn at(seconds: u64) -> Timestamp {
    T0 + Duration::from_secs(seconds)
}

async fn prune(store: &dyn Store, app: &AppId, token: &str, since: Timestamp) -> bool {
    store.prune(app, &address(token), &death(since), since).await.expect("prune")
}

async fn dead(store: &dyn Store, app: &AppId) -> Vec<DeadAddress> {
    store.dead(app, &DeadQuery::new(100)).await.expect("read")
}

async fn addresses(store: &dyn Store, app: &AppId, id: &str) -> Vec<pushgate::Address> {
    store.device(app, &device_id(id)).await.expect("read").expect("known").addresses
}

async fn prune_spares_a_token_registered_later(store: &dyn Store) {
    let app = app("prunes");
    store.register(device(&app, "d", "bob", &["t", "other"]).into()).await.expect("register");
    assert!(!prune(store, &app, "t", T0 - Duration::from_secs(1)).await, "news older than the token");
    assert!(!prune(store, &app, "unknown", T0).await);
    assert!(prune(store, &app, "t", T0).await);
    assert!(!prune(store, &app, "t", T0).await, "it is gone already");
    assert_eq!(addresses(store, &app, "d").await, [address("other")], "the device stays");
}

async fn a_pruned_address_is_listed_with_what_is_known_of_it(store: &dyn Store) {
    let app = app("dead-listed");
    store.register(device(&app, "d", "bob", &["t"]).into()).await.expect("register");
    store.prune(&app, &address("t"), &death(at(1)), at(2)).await.expect("prune");
    let listed = dead(store, &app).await;
    let expected = DeadAddress {
        id: listed[0].id,
        device: device_id("d"),
        user: Some(user("bob")),
        address: address("t"),
        death: death(at(1)),
        at: at(2),
        state: DeadState::Pruned,
    };
    assert_eq!(listed, [expected]);
    assert!(dead(store, &self::app("dead-of-another-app")).await.is_empty());
}

async fn dead_addresses_are_listed_page_by_page_and_by_selection(store: &dyn Store) {
    let app = app("dead-pages");
    for (number, id) in (0..).zip(["a", "b", "c", "d", "e"]) {
        store.register(device(&app, id, "bob", &[id]).into()).await.expect("register");
        assert!(prune(store, &app, id, at(number)).await);
    }
    let names = async |query: DeadQuery| -> Vec<String> {
        let page = store.dead(&app, &query).await.expect("read");
        page.iter().map(|dead| dead.device.to_string()).collect()
    };
    let first = store.dead(&app, &DeadQuery::new(2)).await.expect("read");
    assert_eq!(first.len(), 2);
    let after = first.last().map(|dead| dead.id);
    assert_eq!(names(DeadQuery { after, ..DeadQuery::new(2) }).await, ["c", "d"]);
    let all = || DeadQuery::new(10);
    let between = DeadQuery { since: Some(at(1)), until: Some(at(3)), ..all() };
    assert_eq!(names(between).await, ["b", "c"]);
    assert_eq!(names(DeadQuery { devices: vec![device_id("e"), device_id("a")], ..all() }).await, ["a", "e"]);
    assert_eq!(names(DeadQuery { channel: Some(channel()), ..all() }).await.len(), 5);
    let other = pushgate::ChannelName::new("other").expect("a valid name");
    assert!(names(DeadQuery { channel: Some(other), ..all() }).await.is_empty());
    assert!(names(DeadQuery { state: Some(DeadState::HeldBack), ..all() }).await.is_empty());
}

async fn a_restored_address_is_the_devices_again_and_no_older_news_takes_it(store: &dyn Store) {
    let app = app("dead-restored");
    // The other address is of another kind, so that it takes the place of none.
    let mut bob = device(&app, "d", "bob", &["t", "other"]);
    bob.addresses[1].kind = pushgate::TokenKind::Voip;
    store.register(bob.clone().into()).await.expect("register");
    assert!(prune(store, &app, "t", at(1)).await);
    let id = dead(store, &app).await[0].id;
    let stranger = self::app("dead-stranger");
    assert_eq!(store.restore(&stranger, &[id], at(2)).await.expect("restore"), [Restoration::Unknown]);
    let restored = store.restore(&app, &[id, id], at(2)).await.expect("restore");
    assert_eq!(restored, [Restoration::Restored, Restoration::Unknown]);
    assert_eq!(addresses(store, &app, "d").await, [bob.addresses[1].clone(), address("t")]);
    assert!(dead(store, &app).await.is_empty());
    assert!(!prune(store, &app, "t", at(1)).await, "the news is older than the restoration");
    assert!(prune(store, &app, "t", at(2)).await);
}

async fn restoring_overwrites_nothing_that_was_registered_meanwhile(store: &dyn Store) {
    let app = app("dead-kept");
    for id in ["moved", "same", "new", "gone"] {
        store.register(device(&app, id, id, &[id]).into()).await.expect("register");
        assert!(prune(store, &app, id, at(1)).await);
    }
    let listed = dead(store, &app).await;
    store.register(device(&app, "another", "ann", &["moved"]).into()).await.expect("register");
    store.register(device(&app, "same", "same", &["same"]).into()).await.expect("register");
    store.register(device(&app, "new", "new", &["fresh"]).into()).await.expect("register");
    let ids: Vec<_> = listed.iter().map(|dead| dead.id).collect();
    assert!(store.forget(&app, &device_id("gone"), None).await.expect("forget"));
    let restored = store.restore(&app, &ids, at(2)).await.expect("restore");
    use Restoration::{RegisteredAnew, Replaced, Unknown};
    assert_eq!(restored, [RegisteredAnew, RegisteredAnew, Replaced, Unknown]);
    assert_eq!(addresses(store, &app, "another").await, [address("moved")]);
    assert_eq!(addresses(store, &app, "new").await, [address("fresh")]);
    assert_eq!(addresses(store, &app, "moved").await, []);
}

async fn an_address_held_back_stays_until_it_is_pruned_or_released(store: &dyn Store) {
    let app = app("dead-held");
    store.register(device(&app, "d", "bob", &["t", "u"]).into()).await.expect("register");
    let hold = async |token: &str, since: Timestamp| {
        store.hold_back(&app, &address(token), &death(since), at(1)).await.expect("hold back")
    };
    assert_eq!(hold("t", T0 - Duration::from_secs(1)).await, None, "news older than the token");
    let (first, second) = (hold("t", T0).await.expect("held"), hold("u", T0).await.expect("held"));
    assert_eq!(addresses(store, &app, "d").await.len(), 2);
    let listed = dead(store, &app).await;
    assert_eq!(listed.iter().map(|dead| dead.id).collect::<Vec<_>>(), [first, second]);
    assert!(listed.iter().all(|dead| dead.state == DeadState::HeldBack));
    assert!(prune(store, &app, "t", T0).await);
    assert_eq!(store.restore(&app, &[first], at(2)).await.expect("restore"), [Restoration::Unknown]);
    assert_eq!(store.restore(&app, &[second], at(2)).await.expect("release"), [Restoration::Restored]);
    assert_eq!(addresses(store, &app, "d").await, [address("u")]);
    let states: Vec<_> = dead(store, &app).await.iter().map(|dead| dead.state).collect();
    assert_eq!(states, [DeadState::Pruned]);
}

async fn dead_addresses_are_forgotten_with_their_device_or_in_time(store: &dyn Store) {
    let app = app("dead-forgotten");
    for (number, id) in (0..).zip(["old", "older", "young", "device"]) {
        store.register(device(&app, id, "bob", &[id]).into()).await.expect("register");
        // Long before the addresses of the other checks.
        let pruned_at = if number < 2 { T0 - Duration::from_secs(9000) } else { at(1) };
        assert!(store.prune(&app, &address(id), &death(at(1)), pruned_at).await.expect("prune"));
    }
    assert!(store.forget(&app, &device_id("device"), None).await.expect("forget"));
    let before = T0 - Duration::from_secs(8000);
    assert_eq!(store.sweep_dead(before, 1).await.expect("sweep"), 1);
    assert_eq!(store.sweep_dead(before, 10).await.expect("sweep"), 1);
    let left: Vec<_> = dead(store, &app).await.iter().map(|dead| dead.device.to_string()).collect();
    assert_eq!(left, ["young"]);
}

async fn the_state_of_a_prune_guard_is_kept_by_lane(store: &dyn Store) {
    let (one, two) = (app("guard"), app("guard-of-another-app"));
    assert_eq!(store.prune_guard(&one, &channel()).await.expect("read"), None);
    for pruned in [3, 4] {
        let state =
            PruneGuardState { window_began: Some(T0), accepted: 7, pruned, is_alarm_open: pruned == 4 };
        store.set_prune_guard(&one, &channel(), &state).await.expect("write");
        assert_eq!(store.prune_guard(&one, &channel()).await.expect("read"), Some(state));
    }
    assert_eq!(store.prune_guard(&two, &channel()).await.expect("read"), None);
}
