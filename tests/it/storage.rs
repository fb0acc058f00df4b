//! Storage as callers and operators see it: pages of a status, rows that cannot be decoded, retention.

use std::process::Command;
use std::sync::Arc;

use http::Method;
use pushgate::queue::{Admission, Queue as _};
use pushgate::{AppId, Clock, Gateway, NotificationId};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::sample::NOW;
use pushgate_sqlite::SqliteStore;
use serde_json::{Value, json};

use crate::setup::{Client, MAX_WAIT, Setup};

const QUARANTINED: &str = "/v1/queue/quarantined";

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_read_in_pages() {
    let setup = Setup::open().await;
    let client = Client::new(&setup.client.base, &setup.key_of_another_app());
    let addresses: Vec<Value> =
        (0..5).map(|n| json!({"channel": "dummy", "token": format!("token-{n}")})).collect();
    let body = json!({"to": {"addresses": addresses}, "title": "t"}).to_string();
    let path = "/v1/apps/other/notifications";
    let (status, answer) = client.raw(Method::POST, &format!("{path}?wait=20s"), body).await;
    assert_eq!((status, &answer["status"]["counts"]["sent"]), (202, &5.into()), "{answer}");
    let path = format!("{path}/{}", answer["id"].as_str().unwrap());
    let page = async |query: &str, devices: usize, next: Value| {
        let (status, page) = client.raw(Method::GET, &format!("{path}?{query}"), "").await;
        assert_eq!((status, &page["counts"]["sent"]), (200, &5.into()), "{page}");
        assert_eq!((page["devices"].as_array().unwrap().len(), &page["next"]), (devices, &next), "{query}");
    };
    page("limit=2", 2, 1.into()).await;
    page("limit=2&after=1", 2, 3.into()).await;
    page("limit=2&after=3", 1, Value::Null).await;
    page("limit=0", 0, Value::Null).await;
    page("devices=3", 3, 2.into()).await;
    page("", 5, Value::Null).await;
    for wrong in ["limit=1001", "limit=-1", "after=x", "after=4294967296"] {
        let (status, answer) = client.raw(Method::GET, &format!("{path}?{wrong}"), "").await;
        assert_eq!((status, &answer["code"]), (422, &"invalid_field".into()), "{wrong}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_decoded_is_listed_for_its_operator_and_stops_nobody() {
    let setup = Setup::open().await;
    setup.page_of("ann").await;
    setup.page_of("bob").await;
    let file = rusqlite::Connection::open(setup.folder().join("pushgate.db")).unwrap();
    let sql = "UPDATE devices SET traits = '{\"platform\":\"nonsense\"}' WHERE user = 'ann'";
    assert_eq!(file.execute(sql, []).unwrap(), 1);
    let body = json!({"to": {"users": ["ann", "bob"]}, "title": "t"});
    let (_, answer) = setup.client.submit(&body, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    assert_eq!(answer["skipped"], json!([{"user": "ann", "reason": "no_device"}]));

    let admin = Client::new(&setup.client.base, &setup.admin_key());
    let listed = admin.ask(Method::GET, QUARANTINED, &Value::Null, 200).await;
    let row = &listed["rows"][0];
    assert_eq!((listed["rows"].as_array().unwrap().len(), &listed["next"]), (1, &Value::Null));
    assert_eq!(
        (&row["kind"], &row["app"], &row["key"]),
        (&"device".into(), &"demo".into(), &"ann-web".into())
    );
    assert!(!row.to_string().contains("nonsense"), "nothing of the content: {row}");
    let missing_scope = setup.client.ask(Method::GET, QUARANTINED, &Value::Null, 403).await;
    assert_eq!(missing_scope["code"], "missing_scope");
    Client::new(&setup.client.base, "").ask(Method::GET, QUARANTINED, &Value::Null, 401).await;

    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pushgate"))
            .args(["queue", "quarantined"])
            .args(more)
            .env("PUSHGATE_URL", &setup.client.base)
            .env("PUSHGATE_KEY", setup.admin_key())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run(&[]);
    assert!(table.starts_with("ID") && table.contains("ann-web"), "{table}");
    assert_eq!(serde_json::from_str::<Value>(&run(&["--json"])).unwrap()["rows"], listed["rows"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_goes_on_until_nothing_is_overdue() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("p.db")).unwrap();
    let app = AppId::new("demo").unwrap();
    let ids: Vec<_> = (0..2_500).map(|_| NotificationId::new()).collect();
    let admit = |id: &NotificationId| {
        store.admit(Admission {
            id: *id,
            app: app.clone(),
            idempotency: None,
            created_at: NOW,
            keep_until: NOW,
            skipped: Vec::new(),
            tag: None,
            entries: Vec::new(),
            deferred_plan: None,
            withdrawal: None,
        })
    };
    for admitted in futures_util::future::join_all(ids.iter().map(admit)).await {
        admitted.unwrap();
    }
    let clock = Arc::new(ManualClock::at(NOW));
    let shared: Arc<dyn Clock> = clock.clone();
    let gateway = Gateway::builder().store(store.clone()).clock(shared).start().await.unwrap();
    let deadline = tokio::time::Instant::now() + MAX_WAIT;
    for id in &ids {
        while gateway.status(&app, *id).await.unwrap().is_some() {
            assert!(tokio::time::Instant::now() < deadline, "{id} is overdue and still there");
            // The sweep may begin to wait later than others: time goes on until it has run.
            clock.set(clock.sleeper().await.max(clock.now()));
        }
    }
}
