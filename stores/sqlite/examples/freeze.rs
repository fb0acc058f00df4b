//! Writes a database file with rows of every kind by this version's own code: what `tests/fixtures` freezes for each schema.

#![expect(clippy::unwrap_used, reason = "run by hand: a failure is its message")]

use pushgate::queue::*;
use pushgate::*;
use pushgate_kit::sample::{self, NOW};
use pushgate_sqlite::SqliteStore;
use std::time::Duration;

fn id(n: u8) -> NotificationId {
    NotificationId(format!("018bd000-0000-7000-8000-0000000000{n:02x}").parse().unwrap())
}
fn delivery_id(n: u8) -> DeliveryId {
    DeliveryId(format!("018bd000-0000-7000-9000-0000000000{n:02x}").parse().unwrap())
}
fn app() -> AppId {
    AppId::new("demo").unwrap()
}
fn device(name: &str, user: Option<&str>, addresses: Vec<Address>) -> Registration {
    let traits = Traits {
        locale: Some("zh-CN".to_owned()),
        time_zone: Some("Asia/Shanghai".to_owned()),
        ..Traits::of(Platform::Android)
    };
    Device {
        app: app(),
        id: DeviceId::new(name).unwrap(),
        user: user.map(|user| UserId::new(user).unwrap()),
        traits,
        addresses,
        registered_at: NOW,
    }
    .into()
}
fn delivery(n: u8, tokens: &[&str]) -> Delivery {
    let addresses = tokens.iter().map(|token| sample::address("way", TokenKind::Token, token));
    let mut message = sample::message();
    message.id = id(n);
    message.collapse_key = Some(format!("tag-{n}"));
    let mut delivery = sample::delivery(message, addresses);
    delivery.id = delivery_id(n);
    for target in &mut delivery.targets {
        target.device = Some(DeviceId::new("d1").unwrap());
        target.user = Some(UserId::new("bob").unwrap());
        target.registered_at = Some(NOW);
    }
    delivery
}
fn admission(n: u8, key: Option<&str>, entries: Vec<Entry>) -> Admission {
    let skip = Skip { user: Some(UserId::new("carol").unwrap()), device: None, reason: SkipReason::NoDevice };
    let idempotency = key.map(|key| Idempotency {
        key: IdempotencyKey::new(key).unwrap(),
        digest: RequestDigest::from_bytes([1; 32]),
    });
    Admission {
        id: id(n),
        app: app(),
        idempotency,
        created_at: NOW,
        keep_until: NOW + Duration::from_secs(7 * 86_400),
        skipped: vec![skip],
        entries,
        tag: Some(format!("tag-{n}")),
        deferred_plan: None,
        withdrawal: None,
    }
}
fn receipt(index: u32, state: State, fault: Option<Fault>, next_at: Option<Timestamp>) -> Receipt {
    Receipt {
        index,
        device: Some(DeviceId::new("d1").unwrap()),
        user: Some(UserId::new("bob").unwrap()),
        channel: ChannelName::new("way").unwrap(),
        state,
        vendor_id: Some("v-1".to_owned()),
        fault,
        attempts: 1,
        at: NOW,
        next_at,
        events: DeviceEvents::default(),
    }
}
fn finish(n: u8, receipts: Vec<Receipt>, again: Vec<Entry>) -> Completion {
    Completion { delivery: delivery_id(n), notification: id(n), app: app(), epoch: 1, receipts, again }
}

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let node = NodeId(uuid::Uuid::from_bytes([7; 16]));
    let token = |text: &str| sample::address("way", TokenKind::Token, text);
    store
        .register(device(
            "d1",
            Some("bob"),
            vec![
                token("token-1"),
                sample::address("web", TokenKind::Subscription, r#"{"endpoint":"https://push.example/1"}"#),
            ],
        ))
        .await
        .unwrap();
    store.register(device("d2", Some("ann"), vec![token("token-2"), token("token-dead")])).await.unwrap();
    store.register(device("d3", None, vec![])).await.unwrap();
    let death = pushgate::Death { since: NOW, fault: pushgate::Kind::TokenGone, vendor_code: None };
    assert!(store.prune(&app(), &token("token-dead"), &death, NOW).await.unwrap());
    store.renew(node, NOW + Duration::from_secs(20)).await.unwrap();
    let entry = |n, held_by, tokens: &[&str]| Entry { delivery: delivery(n, tokens), due: NOW, held_by };
    // 1: sent and failed. 2: waits. 3: held by a process that has ended. 4: to be tried again.
    store
        .admit(admission(1, Some("key-1"), vec![entry(1, Some(node), &["token-1", "token-x"])]))
        .await
        .unwrap();
    store.admit(admission(2, None, vec![entry(2, None, &["token-1"])])).await.unwrap();
    store.admit(admission(3, None, vec![entry(3, Some(node), &["token-1"])])).await.unwrap();
    store.admit(admission(4, None, vec![entry(4, Some(node), &["token-1", "token-2"])])).await.unwrap();
    let gone = Fault::new(Kind::TokenGone, "unregistered");
    store
        .finish(finish(
            1,
            vec![receipt(0, State::Sent, None, None), receipt(1, State::Failed, Some(gone), None)],
            vec![],
        ))
        .await
        .unwrap();
    let mut again = entry(4, None, &["token-1", "token-2"]);
    again.delivery.id = delivery_id(0x44);
    again.delivery.attempt = 2;
    again.delivery.targets.remove(0);
    again.due = NOW + Duration::from_secs(60);
    let down = Fault::new(Kind::VendorDown, "503");
    let receipts =
        vec![receipt(0, State::Sent, None, None), receipt(1, State::Queued, Some(down), Some(again.due))];
    store.finish(finish(4, receipts, vec![again])).await.unwrap();
    let rules: Rules = serde_json::from_str(r#"{"muted_conversations":["c1"],"quiet_hours":{"from":"22:30","to":"07:00","time_zone":"Asia/Shanghai"}}"#).unwrap();
    let bob = UserId::new("bob").unwrap();
    store.set_rules(&app(), &bob, &rules).await.unwrap();
    store.count(&app(), std::slice::from_ref(&bob), Count::Set(3)).await.unwrap();
    // 5: planned later, in two batches; somebody has acknowledged it.
    let batch = |place, users: &[&str]| AudienceBatch {
        place,
        due: NOW + Duration::from_secs(u64::from(place) * 60),
        audience: Audience::Users(users.iter().map(|user| UserId::new(user).unwrap()).collect()),
        after: None,
        stage: Stage::Fresh,
    };
    let request = Notification {
        send_at: Some(NOW),
        ttl: Some(Duration::from_secs(3600)),
        ..Notification::new(app(), Audience::All).title("Ann").content("hello")
    };
    let batches = vec![batch(0, &["bob"]), batch(1, &["ann"])];
    store
        .admit(Admission {
            deferred_plan: Some(DeferredPlan { request, batches }),
            ..admission(5, None, vec![])
        })
        .await
        .unwrap();
    store.acknowledge(&app(), id(5), &bob).await.unwrap();
    store.installation_secret(&"key-of-this-installation".into()).await.unwrap();
    let claims = device_event::EventClaims { notification: id(1), index: 0 };
    store.record_event(claims, DeviceEvent::Clicked, NOW + Duration::from_secs(5)).await.unwrap();
    drop(store);
}
