//! APNs through the whole gateway where `iphone.rs` does not look: every push type, the longest call, tokens that are kept,
//! credentials that go bad, and provider tokens over hours on a clock that the test moves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pushgate::memory::{MemoryQueue, MemoryStore};
use pushgate::{
    Address, AppId, ChannelName, Clock, Device, DeviceId, Gateway, Kind, Notification, NotificationId,
    Platform, PushChannel, Receipt, Request, Secret, State, Store, TokenKind, Traits, Transport as _, UserId,
};
use pushgate_apns::{Apns, Config, ProviderTokens};
use pushgate_config::Sources;
use pushgate_emulator::{
    ApnsKey, AppleRules, CredentialScope, Effect, Emulator, Environment, Fault, Options, PushType,
    ShownNotification, TokenComparison,
};
use pushgate_kit::clock::ManualClock;
use pushgate_server::assemble;
use pushgate_transport::{HttpTransport, Roots};
use serde_json::{Value, json};

use crate::secrecy::keep_secret;
use crate::setup::{MAX_WAIT, Setup};

const MINUTE: Duration = Duration::from_secs(60);

/// The id of a new broadcast channel that keeps nothing.
async fn broadcast_channel(setup: &Setup) -> String {
    let apns = setup.emulator.apns();
    let (roots, own) = (Roots::Pem(setup.emulator.ca_pem().to_owned()), apns.certificate_pem());
    let transport = HttpTransport::builder().roots(roots).identity(own, Secret::from(own)).build().unwrap();
    let uri = format!("{}/1/apps/{}/channels", apns.url(), apns.topic()).parse().unwrap();
    let wish = json!({"message-storage-policy": 0, "push-type": "LiveActivity"}).to_string();
    let made = transport.send(Request::post(uri, wish, MAX_WAIT)).await.unwrap();
    made.headers["apns-channel-id"].to_str().unwrap().to_owned()
}

/// A token of an iPhone for this kind of push.
fn token(setup: &Setup, kind: PushType) -> String {
    let apns = setup.emulator.apns();
    if apns.inbox("phone").is_none() {
        apns.add_device("phone", Environment::Production);
    }
    let token = apns.token("phone", kind).unwrap();
    keep_secret(&token);
    token
}

fn inbox(setup: &Setup) -> Vec<ShownNotification> {
    setup.emulator.apns().inbox("phone").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_push_type_is_taken_at_the_token_it_is_for() {
    let setup = Setup::open().await;
    let activity = json!({"content-state": {"minutes": 2}});
    let rows = [
        (PushType::Alert, "alert", Value::Null),
        (PushType::Background, "background", Value::Null),
        (PushType::Location, "location", Value::Null),
        (PushType::Voip, "voip", Value::Null),
        (PushType::Complication, "complication", Value::Null),
        (PushType::Fileprovider, "fileprovider", Value::Null),
        (PushType::Mdm, "mdm", Value::Null),
        (PushType::Liveactivity, "liveactivity", activity),
        (PushType::Pushtotalk, "pushtotalk", Value::Null),
        (PushType::Widgets, "widgets", Value::Null),
        (PushType::Controls, "controls", Value::Null),
    ];
    for (kind, name, aps) in rows {
        let token = token(&setup, kind);
        let mut options = json!({"headers": {"apns-push-type": name}});
        if aps.is_object() {
            options["aps"] = aps;
        }
        let asked = json!({"to": {"addresses": [{"channel": "apns", "token": token}]},
            "title": "Ann", "content": "calls you", "overrides": {"apns": options}});
        let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{name}: {answer}");
    }
    let rings: Vec<_> = inbox(&setup).into_iter().filter(|shown| shown.rings).collect();
    assert_eq!((rings.len(), rings[0].title.as_str()), (1, "Ann"), "the call's screen names the caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_five_kilobytes_is_taken_and_a_message_of_that_size_is_refused_at_the_door() {
    let setup = Setup::open().await;
    let voip = token(&setup, PushType::Voip);
    let asked = |token: &str, overrides: Value| {
        json!({"to": {"addresses": [{"channel": "apns", "token": token}]}, "title": "Ann",
            "payload": "x".repeat(4500), "overrides": {"apns": overrides}})
    };
    let call = asked(&voip, json!({"headers": {"apns-push-type": "voip"}}));
    let (_, answer) = setup.client.submit(&call, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    let token = token(&setup, PushType::Alert);
    let (status, answer) = setup.client.submit(&asked(&token, json!({})), "").await;
    assert_eq!((status, &answer["code"]), (422, &json!("too_large")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_apps_with_one_key_share_their_connections_and_two_keys_do_not() {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let apns = emulator.apns();
    let other = apns.issue_key(CredentialScope::default()).unwrap();
    let app = |name: &str, key: &ApnsKey| {
        format!(
            "[apps.{name}.channels.apns]\nkind = \"apns\"\ntopic = \"{}\"\nbase_url = \"{}\"\nkey = \"\"\"{}\"\"\"\nkey_id = \"{}\"\nteam_id = \"{}\"\ntransport.roots = \"file:ca.pem\"\n",
            apns.topic(),
            apns.url(),
            key.p8,
            key.id,
            apns.team_id(),
        )
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), emulator.ca_pem()).unwrap();
    let file = folder.path().join("pushgate.toml");
    let tables = [app("one", apns.key()), app("two", apns.key()), app("three", &other)].concat();
    std::fs::write(&file, tables).unwrap();
    let config = pushgate_config::Config::load(&Sources { file: Some(&file), ..Sources::default() }).unwrap();
    let shared = assemble::SharedResources::from_config(&config).unwrap();
    let made: Vec<_> = ["one", "two", "three"]
        .map(|app| {
            let app = AppId::new(app).unwrap();
            let name = ChannelName::new("apns").unwrap();
            assemble::channel(&app, &name, &config.apps[&app].channels[&name], &shared).unwrap()
        })
        .into();
    for (channel, connections) in made.iter().zip([1, 1, 2]) {
        channel.probe().await.unwrap();
        assert_eq!(apns.connections(), connections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_to_a_broadcast_channel_reaches_each_follower_once_and_nobody_else() {
    let setup = Setup::open().await;
    let apns = setup.emulator.apns();
    for phone in ["ann", "bob", "eve"] {
        apns.add_device(phone, Environment::Production);
    }
    let id = broadcast_channel(&setup).await;
    assert!(apns.follow("ann", &id) && apns.follow("bob", &id));
    let asked = |channel: &str| {
        json!({"to": {"addresses": [{"channel": "apns", "token": format!("broadcast:{channel}")}]},
            "title": "Derby", "content": "goal", "ttl": 0,
            "overrides": {"apns": {"headers": {"apns-push-type": "liveactivity"},
                "aps": {"content-state": {"home": 1, "away": 0}}}}})
    };
    let (_, answer) = setup.client.submit(&asked(&id), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    for (phone, seen) in [("ann", 1), ("bob", 1), ("eve", 0)] {
        assert_eq!(apns.inbox(phone).unwrap().len(), seen, "{phone}");
    }
    assert_eq!(apns.inbox("ann").unwrap()[0].data["content-state"]["home"], 1);
    let (_, answer) = setup.client.submit(&asked("bm9ib2R5"), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"failed": 1}), "{answer}");
}

/// A gateway in memory, on a clock that stands still.
struct Bench {
    emulator: Emulator,
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    tokens: ProviderTokens,
    gateway: Gateway,
}

fn demo() -> AppId {
    AppId::new("demo").unwrap()
}

fn config(emulator: &Emulator) -> Config {
    let apns = emulator.apns();
    Config {
        key: Some(apns.key().p8.as_str().into()),
        key_id: Some(apns.key().id.clone()),
        team_id: Some(apns.team_id().to_owned()),
        base_url: Some(apns.url().to_owned()),
        timeout: Duration::from_secs(3),
        ..Config::new(apns.topic())
    }
}

fn channel(emulator: &Emulator, config: &Config, clock: Arc<dyn Clock>, tokens: &ProviderTokens) -> Apns {
    let mut builder = HttpTransport::builder().roots(Roots::Pem(emulator.ca_pem().to_owned()));
    builder = match config.identity() {
        Some(own) => builder.identity(own.certificate.expose(), own.key.clone()),
        None => builder.first_stream_alone(),
    };
    let transport = Arc::new(builder.build().unwrap());
    Apns::new(ChannelName::new("apns").unwrap(), config, transport, clock, tokens).unwrap()
}

impl Bench {
    /// With an iPhone of bob's.
    async fn new() -> Self {
        Self::with_a_phone_of(Environment::Production).await
    }

    async fn with_a_phone_of(environment: Environment) -> Self {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let clock = Arc::new(ManualClock::at(SystemTime::now().into()));
        let (store, tokens) = (Arc::new(MemoryStore::default()), ProviderTokens::default());
        let gateway = Gateway::builder()
            .devices(store.clone())
            .queue(Arc::new(MemoryQueue::default()))
            .clock(clock.clone())
            .jitter(|| 0.0)
            .channel(channel(&emulator, &config(&emulator), clock.clone(), &tokens))
            .start()
            .await
            .unwrap();
        let token = emulator.apns().add_device("bob-phone", environment).token;
        keep_secret(&token);
        let channel = ChannelName::new("apns").unwrap();
        let device = Device {
            app: demo(),
            id: DeviceId::new("bob-phone").unwrap(),
            user: Some(UserId::new("bob").unwrap()),
            traits: Traits::of(Platform::Ios),
            addresses: vec![Address { channel, kind: TokenKind::Token, token: token.into() }],
            registered_at: clock.now(),
        };
        store.register(device.into()).await.unwrap();
        Self { emulator, clock, store, tokens, gateway }
    }

    async fn submit(&self) -> NotificationId {
        let asked = Notification::to_user("demo", "bob").unwrap().title("Ann").content("hello");
        self.gateway.submit(asked).await.unwrap().id
    }

    /// The receipt once the given attempt is settled.
    async fn after_attempt(&self, id: NotificationId, attempt: u32) -> Receipt {
        let deadline = tokio::time::Instant::now() + MAX_WAIT;
        loop {
            let status = self.gateway.status(&demo(), id).await.unwrap().unwrap();
            let receipt = status.receipts[0].clone();
            if receipt.attempts >= attempt {
                return receipt;
            }
            assert!(tokio::time::Instant::now() < deadline, "attempt {attempt} was not made: {receipt:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Sends one message; what became of its first attempt.
    async fn sent(&self) -> (State, Option<pushgate::Fault>) {
        let receipt = self.after_attempt(self.submit().await, 1).await;
        (receipt.state, receipt.fault)
    }

    async fn addresses(&self) -> usize {
        let device = DeviceId::new("bob-phone").unwrap();
        self.store.device(&demo(), &device).await.unwrap().unwrap().addresses.len()
    }

    /// Time goes by here and at Apple's.
    fn advance(&self, by: Duration) {
        self.emulator.advance(by);
        self.clock.advance(by);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_other_environment_is_told_and_kept() {
    let bench = Bench::with_a_phone_of(Environment::Sandbox).await;
    let (state, fault) = bench.sent().await;
    let fault = fault.unwrap();
    assert_eq!((state, fault.kind), (State::Failed, Kind::WrongApp));
    assert_eq!(fault.vendor_code.as_deref(), Some("BadDeviceToken"));
    assert_eq!(bench.addresses().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_registered_after_apples_news_is_kept_and_its_status_says_so() {
    let bench = Bench::new().await;
    // The prune guard believes no death in a window without a success.
    assert_eq!(bench.sent().await.0, State::Sent);
    bench.emulator.apns().unregister_since("bob-phone", SystemTime::now() - 60 * MINUTE);
    let (state, fault) = bench.sent().await;
    let fault = fault.unwrap();
    assert_eq!((state, fault.kind, bench.addresses().await), (State::Failed, Kind::TokenGone, 1));
    assert!(fault.detail.contains("the address is kept: it was registered after"), "{fault}");
    bench.advance(MINUTE);
    bench.emulator.apns().unregister_since("bob-phone", SystemTime::now() + MINUTE / 2);
    let (_, fault) = bench.sent().await;
    assert_eq!(bench.addresses().await, 0);
    assert!(!fault.unwrap().detail.contains("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn for_hours_no_provider_token_is_too_old_or_too_new_even_where_each_text_counts() {
    let bench = Bench::new().await;
    bench
        .emulator
        .apns()
        .set_rules(AppleRules { same_token: TokenComparison::Text, ..AppleRules::default() });
    for minutes in 0..40 {
        assert_eq!(bench.sent().await, (State::Sent, None), "after {} minutes", minutes * 7);
        bench.advance(MINUTE * 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_with_one_key_share_the_provider_token_that_apple_counts() {
    let bench = Bench::new().await;
    bench
        .emulator
        .apns()
        .set_rules(AppleRules { same_token: TokenComparison::Text, ..AppleRules::default() });
    assert_eq!(bench.sent().await.0, State::Sent);
    let other = channel(&bench.emulator, &config(&bench.emulator), bench.clock.clone(), &bench.tokens);
    other.probe().await.unwrap();
    // One that does not share is a second token within twenty minutes.
    let alone = channel(&bench.emulator, &config(&bench.emulator), bench.clock.clone(), &Default::default());
    let fault = alone.probe().await.unwrap_err();
    assert_eq!(fault.vendor_code.as_deref(), Some("TooManyProviderTokenUpdates"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_behind_is_told_and_set_right_everything_is_delivered() {
    let bench = Bench::new().await;
    // Apple's clock, not ours.
    bench.emulator.advance(MINUTE * 120);
    let id = bench.submit().await;
    let receipt = bench.after_attempt(id, 1).await;
    let fault = receipt.fault.unwrap();
    assert_eq!((receipt.state, fault.kind), (State::Queued, Kind::Credentials));
    assert!(fault.detail.contains("clock"), "{fault}");
    bench.clock.advance(MINUTE * 120);
    assert_eq!(bench.after_attempt(id, 2).await.state, State::Sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_loses_nothing_that_was_accepted() {
    let bench = Bench::new().await;
    let key = bench.emulator.apns().key().id.clone();
    assert!(bench.emulator.apns().revoke_key(&key));
    let (state, fault) = bench.sent().await;
    let fault = fault.unwrap();
    assert_eq!((state, fault.kind, fault.scope), (State::Queued, Kind::Credentials, pushgate::Scope::Lane));
    assert_eq!(bench.addresses().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_sent_again_under_its_id_and_seen_once() {
    let bench = Bench::new().await;
    bench.emulator.apns().add_fault(Fault::next(1, Effect::LoseAnswer));
    let id = bench.submit().await;
    let receipt = bench.after_attempt(id, 1).await;
    assert_eq!((receipt.state, receipt.fault.unwrap().kind), (State::Queued, Kind::Timeout));
    bench.advance(MINUTE);
    assert_eq!(bench.after_attempt(id, 2).await.state, State::Sent);
    let inbox = bench.emulator.apns().inbox("bob-phone").unwrap();
    assert_eq!((inbox.len(), inbox[0].times_replaced), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_for_one_device_holds_up_no_other() {
    let bench = Bench::new().await;
    bench.emulator.apns().add_fault(Fault::next(1, Effect::error(429, "TooManyRequests")));
    let (state, fault) = bench.sent().await;
    assert_eq!((state, fault.unwrap().kind), (State::Queued, Kind::Throttled));
    assert_eq!(bench.sent().await, (State::Sent, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_knows_good_credentials_from_bad_ones_and_reaches_nobody() {
    let bench = Bench::new().await;
    let probe = async |config: &Config| {
        channel(&bench.emulator, config, bench.clock.clone(), &bench.tokens).probe().await
    };
    let (apns, keyed) = (bench.emulator.apns(), config(&bench.emulator));
    let good = probe(&keyed).await.unwrap();
    assert!(good.identity.contains(apns.team_id()) && good.identity.contains(apns.topic()), "{good:?}");
    let bundle = Config { key: None, certificate: Some(apns.certificate_pem().into()), ..keyed.clone() };
    assert!(probe(&bundle).await.unwrap().expires_at.unwrap() > bench.clock.now());

    let fault = async |config: &Config| {
        let fault = probe(config).await.unwrap_err();
        (fault.kind, fault.vendor_code.unwrap_or_default())
    };
    let credentials = |code: &str| (Kind::Credentials, code.to_owned());
    let stranger = Config { team_id: Some("ABCDEFGHIJ".to_owned()), ..keyed.clone() };
    assert_eq!(fault(&stranger).await, credentials("InvalidProviderToken"));
    let other_app = Config { topic: "com.example.other".to_owned(), ..bundle.clone() };
    assert_eq!(fault(&other_app).await, credentials(""));
    apns.revoke_certificates();
    assert_eq!(fault(&bundle).await, credentials("BadCertificate"));
    assert!(apns.inbox("bob-phone").unwrap().is_empty());
}
