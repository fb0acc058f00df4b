//! Golden tests of the channel against the files in `golden/`, which follow Google's documentation.

use std::sync::Arc;

use pushgate::ChannelName;
use pushgate_kit::golden::{Golden, config};
use pushgate_kit::transport::{ScriptedTransport, answer};
use serde_json::json;

use crate::Fcm;
use crate::auth::tests::service_account;

fn golden() -> Golden {
    let channel = |stage: pushgate_kit::golden::Stage| -> Arc<dyn pushgate::PushChannel> {
        let config = config(json!({ "service_account": service_account() }), stage.config);
        let name = ChannelName::new("fcm").unwrap();
        Arc::new(Fcm::new(name, &config, stage.transport, stage.clock).unwrap())
    };
    Golden::of(env!("CARGO_MANIFEST_DIR"), channel).transport(|| {
        let grant = r#"{"access_token":"(the bearer)","expires_in":3599,"token_type":"Bearer"}"#;
        ScriptedTransport::new()
            .rule(move |request| (request.uri.path() == "/token").then(|| Ok(answer(200, grant))))
    })
}

#[tokio::test]
async fn every_golden_case_is_sent_and_classified_as_written() {
    golden().check().await;
}

/// Covers the codes of FCM, and the statuses of answers without one.
#[test]
fn every_row_of_the_error_table_has_a_golden_case() {
    golden().covers([
        "INTERNAL",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "QUOTA_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "SENDER_ID_MISMATCH",
        "THIRD_PARTY_AUTH_ERROR",
        "UNAUTHENTICATED",
        "UNAVAILABLE",
        "UNREGISTERED",
        "UNSPECIFIED_ERROR",
    ]);
}
