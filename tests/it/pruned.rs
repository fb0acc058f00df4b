//! The prune guard through the whole gateway, and what an operator does with pruned addresses: list them and restore them,
//! over HTTP and by the command line.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use parking_lot::Mutex;
use pushgate::app::App;
use pushgate::observe::AlarmState::{self, Closed, Opened};
use pushgate::observe::Event;
use pushgate::{
    Address, AppId, Capability, ChannelInfo, ChannelName, Clock, DeadQuery, DeadState, Delivery, Device,
    DeviceId, Fault, Gateway, Kind, Message, Notification, Outcome, Platform, Probe, PushChannel, Rendered,
    Report, TokenKind, Traits, UserId,
};
use pushgate_kit::clock::ManualClock;
use pushgate_sqlite::SqliteStore;
use serde_json::{Value, json};

use crate::setup::{Client, MAX_WAIT, Setup};

/// A window of the prune guard.
const WINDOW: Duration = Duration::from_secs(600);

/// A channel whose push service calls every token dead that begins with "dead".
struct Deaths(ChannelInfo);

#[async_trait]
impl PushChannel for Deaths {
    fn info(&self) -> &ChannelInfo {
        &self.0
    }

    fn render(&self, _: &Message) -> Rendered {
        Rendered { body: Value::Null, counted: 0 }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let outcomes = delivery.targets.iter().map(|target| {
            if target.address.token.expose().starts_with("dead") {
                Outcome::Failed(Fault::new(Kind::TokenGone, "it is dead").with_code("Gone"))
            } else {
                Outcome::accepted("1")
            }
        });
        Report::new(delivery.targets.len(), outcomes.collect())
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        Ok(Probe { identity: "nobody".to_owned(), expires_at: None })
    }
}

/// A gateway on a database, with that channel and a clock that the test moves.
struct Bench {
    gateway: Gateway,
    clock: Arc<ManualClock>,
    alarms: Arc<Mutex<Vec<AlarmState>>>,
}

fn app() -> AppId {
    AppId::new("demo").unwrap()
}

impl Bench {
    async fn open(folder: &Path, clock: &Arc<ManualClock>) -> Self {
        let name = ChannelName::new("deaths").unwrap();
        let info = ChannelInfo { kind: "deaths", name, timeout: MAX_WAIT, capability: Capability::BASIC };
        let alarms: Arc<Mutex<Vec<_>>> = Arc::default();
        let heard = Arc::clone(&alarms);
        let shared: Arc<dyn Clock> = clock.clone();
        let gateway = Gateway::builder()
            .store(SqliteStore::open(folder.join("p.db")).unwrap())
            .clock(shared)
            .app(app(), App::default().install(Arc::new(Deaths(info)), 100))
            .observer(move |event: &Event| {
                if let Event::Alarm { state, .. } = event {
                    heard.lock().push(*state);
                }
            })
            .start()
            .await
            .unwrap();
        Self { gateway, clock: Arc::clone(clock), alarms }
    }

    async fn register(&self, id: &str) {
        let channel = ChannelName::new("deaths").unwrap();
        let device = Device {
            app: app(),
            id: DeviceId::new(id).unwrap(),
            user: Some(UserId::new(id).unwrap()),
            traits: Traits::of(Platform::Web),
            addresses: vec![Address { channel, kind: TokenKind::Token, token: format!("{id} token").into() }],
            registered_at: self.clock.now(),
        };
        self.gateway.register(device).await.unwrap();
    }

    /// Pushes to the user of a device and waits for the outcome.
    async fn push(&self, id: &str) {
        let asked = Notification::to_user("demo", id).unwrap().title("Ann").ttl(WINDOW * 100);
        let ticket = self.gateway.submit(asked).await.unwrap();
        let status = self.gateway.wait_until_settled(&app(), ticket.id, MAX_WAIT).await.unwrap().unwrap();
        assert!(status.is_settled(), "{status:?}");
    }

    async fn dead(&self, state: DeadState) -> usize {
        let query = DeadQuery { state: Some(state), ..DeadQuery::new(1000) };
        self.gateway.dead_addresses(&app(), &query).await.unwrap().len()
    }

    async fn counts(&self) -> (usize, usize) {
        (self.dead(DeadState::Pruned).await, self.dead(DeadState::HeldBack).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_success_nothing_is_pruned_and_what_is_held_back_survives_a_restart() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    let bench = Bench::open(folder.path(), &clock).await;
    bench.register("alive").await;
    for number in 0..30 {
        bench.register(&format!("dead-{number}")).await;
        bench.push(&format!("dead-{number}")).await;
    }
    assert_eq!(bench.counts().await, (0, 30), "not one, though the push service calls all of them dead");
    assert_eq!(bench.alarms.lock().as_slice(), [Opened], "one alarm for thirty addresses");
    // Another window without a success changes nothing.
    clock.advance(WINDOW);
    bench.push("dead-0").await;
    assert_eq!(bench.counts().await, (0, 30));
    bench.gateway.shutdown(MAX_WAIT).await;
    drop(bench);
    let bench = Bench::open(folder.path(), &clock).await;
    bench.push("alive").await;
    assert_eq!(bench.counts().await, (20, 10), "the first success allows twenty in its window");
    bench.push("alive").await;
    assert_eq!(bench.counts().await, (20, 10));
    bench.gateway.shutdown(MAX_WAIT).await;
    drop(bench);
    let bench = Bench::open(folder.path(), &clock).await;
    bench.push("alive").await;
    assert_eq!(bench.counts().await, (20, 10), "the window goes on after a restart");
    clock.advance(WINDOW);
    bench.push("alive").await;
    assert_eq!(bench.counts().await, (30, 0));
    assert_eq!(bench.alarms.lock().as_slice(), [Closed], "the episode of the earlier process ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_device_whose_token_is_dead_is_pruned_at_the_lanes_next_success() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    let bench = Bench::open(folder.path(), &clock).await;
    bench.register("dead").await;
    bench.push("dead").await;
    assert_eq!(bench.counts().await, (0, 1));
    bench.register("alive").await;
    bench.push("alive").await;
    assert_eq!(bench.counts().await, (1, 0));
    assert!(bench.alarms.lock().is_empty(), "one dead address is no alarm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_address_is_forgotten_after_its_time() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    let bench = Bench::open(folder.path(), &clock).await;
    for id in ["alive", "dead"] {
        bench.register(id).await;
        bench.push(id).await;
    }
    assert_eq!(bench.counts().await, (1, 0));
    clock.advance(Duration::from_secs(30 * 24 * 3600 - 1));
    let deadline = tokio::time::Instant::now() + MAX_WAIT;
    while bench.counts().await.0 > 0 {
        assert!(tokio::time::Instant::now() < deadline, "it is kept for ever");
        clock.advance(Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
}

/// A setup with a page that was pruned, and a client with a key of an operator.
async fn house_with_a_pruned_page() -> (Setup, Client) {
    let (key, digest) = pushgate_server::keys::new_key();
    let setup = Setup::with(&format!(
        "[[keys]]\nid = \"operator\"\nhash = \"sha256:{digest}\"\napps = [\"demo\"]\nscopes = [\"admin\"]\n"
    ))
    .await;
    let operator = Client::new(&setup.client.base, &key);
    setup.page_of("ann").await;
    setup.page_of("bob").await;
    setup.emulator.fcm().unregister("bob-web");
    for (user, counts) in [("ann", json!({"sent": 1})), ("bob", json!({"failed": 1}))] {
        let asked = json!({"to": {"users": [user]}, "title": "Ann"});
        let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
        assert_eq!(answer["status"]["counts"], counts, "{answer}");
    }
    (setup, operator)
}

async fn addresses_of_bob(setup: &Setup) -> usize {
    let device = setup.client.ask(Method::GET, "/v1/apps/demo/devices/bob-web", &Value::Null, 200).await;
    device["addresses"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_pruned_addresses_and_restores_them() {
    let (setup, operator) = house_with_a_pruned_page().await;
    let list = "/v1/apps/demo/devices:pruned";
    let refused = setup.client.ask(Method::GET, list, &Value::Null, 403).await;
    assert_eq!(refused["code"], "missing_scope");
    let page = operator.ask(Method::GET, &format!("{list}?channel=fcm"), &Value::Null, 200).await;
    let row = &page["pruned"][0];
    let shown =
        [&row["device"], &row["user"], &row["channel"], &row["state"], &row["fault"], &row["vendor_code"]];
    assert_eq!(shown, ["bob-web", "bob", "fcm", "pruned", "token_gone", "UNREGISTERED"], "{page}");
    assert_eq!((&page["next"], row.get("token")), (&Value::Null, None));
    let other = operator.ask(Method::GET, &format!("{list}?channel=apns"), &Value::Null, 200).await;
    assert_eq!(other["pruned"], json!([]));
    for wrong in ["limit=0", "since=yesterday", "state=dead", "after=x", "chanel=fcm"] {
        let answer = operator.ask(Method::GET, &format!("{list}?{wrong}"), &Value::Null, 422).await;
        assert_eq!(answer["code"], "invalid_field", "{wrong}");
    }
    let restore = "/v1/apps/demo/devices:restore";
    for everything in [json!({}), json!({"channel": "fcm"}), json!({"since": "2023-11-14T22:13:20Z"})] {
        operator.ask(Method::POST, restore, &everything, 422).await;
    }
    setup.client.ask(Method::POST, restore, &json!({"devices": ["bob-web"]}), 403).await;
    assert_eq!(addresses_of_bob(&setup).await, 0);
    let window = json!({"channel": "fcm", "since": row["at"]});
    let answer = operator.ask(Method::POST, restore, &window, 200).await;
    assert_eq!((&answer["restored"], &answer["skipped"]), (&json!(1), &json!(0)), "{answer}");
    assert_eq!(addresses_of_bob(&setup).await, 1);
    let again = operator.ask(Method::POST, restore, &window, 200).await;
    assert_eq!(again["results"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_and_restores_pruned_addresses() {
    let (setup, operator) = house_with_a_pruned_page().await;
    let run = |args: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pushgate"));
        let at = [("PUSHGATE_URL", &operator.base), ("PUSHGATE_KEY", &operator.key)];
        command.arg("devices").args(args).args(["--app", "demo"]).envs(at);
        tokio::task::block_in_place(|| command.output().unwrap())
    };
    let said = |args: &[&str]| -> String {
        let output = run(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = said(&["pruned", "--since", "1h"]);
    assert!(table.contains("bob-web") && table.contains("UNREGISTERED"), "{table}");
    assert!(said(&["pruned", "--until", "1h"]).contains("no address was pruned"));
    let row: Value = serde_json::from_str(&said(&["pruned", "--json"])).unwrap();
    assert_eq!(row["device"], "bob-web");
    assert!(!run(&["restore"]).status.success(), "of everything nothing is restored");
    assert!(!run(&["restore", "--channel", "fcm"]).status.success(), "nor without a time");
    let restored = said(&["restore", "--device", "bob-web"]);
    assert!(restored.contains("bob-web") && restored.contains("1 restored, 0 left unchanged"), "{restored}");
    assert_eq!(addresses_of_bob(&setup).await, 1);
}
