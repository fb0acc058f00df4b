//! Holds the channel to the files in `golden/`, as Apple's documentation shows them.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use pushgate::{ChannelName, PushChannel, Request, Response, Transport, TransportError};
use pushgate_kit::golden::{Golden, Stage, config};
use pushgate_kit::transport::ScriptedTransport;
use serde_json::json;

use crate::auth::tests::{p8, verified};
use crate::{Apns, ProviderTokens};

/// Shows provider tokens as what they say, once their signature has been verified: it differs each time.
struct Readable(Arc<ScriptedTransport>);

#[async_trait]
impl Transport for Readable {
    async fn send(&self, mut request: Request) -> Result<Response, TransportError> {
        if let Some(bearer) = request.headers.get_mut(AUTHORIZATION) {
            let (header, claims) = verified(bearer);
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
        let transport = Arc::new(Readable(stage.transport));
        Arc::new(Apns::new(name, &config, transport, stage.clock, &ProviderTokens::default()).unwrap())
    };
    Golden::of(env!("CARGO_MANIFEST_DIR"), channel)
}

#[tokio::test]
async fn every_golden_case_is_sent_and_read_as_written() {
    golden().check().await;
}

/// Apple's table of reasons.
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
