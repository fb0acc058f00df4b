//! Asking twice notifies once.

use pushgate_emulator::What;
use serde_json::json;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_concurrent_submits_with_one_key_are_one_notification() {
    let house = House::open().await;
    let page = house.page_of("bob").await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "hello", "idempotency_key": "k"});
    let submits: Vec<_> = (0..1000)
        .map(|_| {
            let (client, asked) = (house.client.clone(), asked.clone());
            tokio::spawn(async move { client.submit(&asked, "").await })
        })
        .collect();
    let (mut ids, mut fresh) = (std::collections::BTreeSet::new(), 0);
    for submit in submits {
        let (status, answer) = submit.await.unwrap();
        assert_eq!(status, 202, "{answer}");
        ids.insert(answer["id"].as_str().unwrap().to_owned());
        fresh += u32::from(answer["replayed"] == false);
    }
    assert_eq!((ids.len(), fresh), (1, 1));
    let (_, answer) = house.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}));
    assert_eq!(house.emulator.vendor().inbox(&page).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_for_another_question_is_refused() {
    let house = House::open().await;
    house.page_of("bob").await;
    let asked = |title| json!({"to": {"users": ["bob"]}, "title": title, "idempotency_key": "k"});
    assert_eq!(house.client.submit(&asked("one"), "").await.0, 202);
    let (status, answer) = house.client.submit(&asked("two"), "").await;
    assert_eq!((status, &answer["code"]), (409, &"idempotency_key_reused".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_sends_on_a_revoked_bearer_fetch_one_new_one() {
    let house = House::open().await;
    house.page_of("bob").await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann"});
    house.client.submit(&asked, "?wait=20s").await;
    house.emulator.vendor().revoke_bearers();
    let submits: Vec<_> = (0..1000)
        .map(|_| {
            let (client, asked) = (house.client.clone(), asked.clone());
            tokio::spawn(async move { client.submit(&asked, "?wait=25s").await })
        })
        .collect();
    for submit in submits {
        let (_, answer) = submit.await.unwrap();
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    }
    let fetched = house.emulator.vendor().events(0);
    let fetched = fetched.iter().filter(|event| matches!(event.what, What::Token { status: 200 })).count();
    assert_eq!(fetched, 2, "one at the start, one after the revocation");
}
