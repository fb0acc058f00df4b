//! Golden tests of the channel against the files in `golden/`, which follow Apple's documentation.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use pushgate::{ChannelName, PushChannel, Request, Response, Transport, TransportError};
use pushgate_kit::golden::{Golden, Stage, config};
use pushgate_kit::transport::ScriptedTransport;
use serde_json::json;

use crate::auth::tests::{p8, verify};
use crate::{Apns, ProviderTokens};

/// Transport that verifies each provider token and replaces its signature by `(signature)`, because signatures are random.
struct VerifyingTransport(Arc<ScriptedTransport>);

#[async_trait]
impl Transport for VerifyingTransport {
    async fn send(&self, mut request: Request) -> Result<Response, TransportError> {
        if let Some(bearer) = request.headers.get_mut(AUTHORIZATION) {
            let (header, claims) = verify(bearer);
            *bearer = HeaderValue::try_from(format!("bearer {header}.{claims}.(signature)")).unwrap();
        }
        self.0.send(request).await
    }
}

fn golden() -> Golden {
    let channel = |stage: Stage| -> Arc<dyn PushChannel> {
        let base = json!({
            "topic": "com.example.MyApp", "key": p8(), "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ",
        });
        let config = config(base, stage.config);
        let name = ChannelName::new("apns").unwrap();
        let transport = Arc::new(VerifyingTransport(stage.transport));
        Arc::new(Apns::new(name, &config, transport, stage.clock, &ProviderTokens::default()).unwrap())
    };
    Golden::of(env!("CARGO_MANIFEST_DIR"), channel)
}

#[tokio::test]
async fn every_golden_case_is_sent_and_classified_as_written() {
    golden().check().await;
}

/// Covers the table of reasons in Apple's documentation.
#[test]
fn every_reason_has_a_golden_case() {
    golden().covers([
        "BadCertificate",
        "BadCertificateEnvironment",
        "BadChannelId",
        "BadCollapseId",
        "BadDeviceToken",
        "BadEnvironmentKeyIdInToken",
        "BadEnvironmentKeyInToken",
        "BadExpirationDate",
        "BadMessageId",
        "BadPath",
        "BadPriority",
        "BadRequestParams",
        "BadRequestPayload",
        "BadTopic",
        "CannotCreateChannelConfig",
        "ChannelNotRegistered",
        "DeviceTokenNotForTopic",
        "DuplicateHeaders",
        "ExpiredProviderToken",
        "ExpiredToken",
        "FeatureNotEnabled",
        "Forbidden",
        "IdleTimeout",
        "InternalServerError",
        "InvalidProviderToken",
        "InvalidPushType",
        "MethodNotAllowed",
        "MissingChannelId",
        "MissingDeviceToken",
        "MissingProviderToken",
        "MissingPushType",
        "MissingTopic",
        "PayloadEmpty",
        "PayloadTooLarge",
        "ServiceUnavailable",
        "Shutdown",
        "TooManyProviderTokenUpdates",
        "TooManyRequests",
        "TopicDisallowed",
        "TopicMismatch",
        "Unregistered",
        "UnrelatedKeyIdInToken",
    ]);
}
