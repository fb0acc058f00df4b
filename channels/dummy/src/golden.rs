//! Golden tests of the channel against the files in `golden/`, which follow the vendor's documentation.

use std::sync::Arc;

use pushgate::{ChannelName, PushChannel};
use pushgate_kit::golden::{Golden, Stage, config};
use serde_json::json;

use crate::Dummy;

fn golden() -> Golden {
    Golden::of(env!("CARGO_MANIFEST_DIR"), |stage: Stage| -> Arc<dyn PushChannel> {
        let config = config(json!({"key": "(the key)"}), stage.config);
        let name = ChannelName::new("dummy").unwrap();
        Arc::new(Dummy::new(name, &config, stage.transport, stage.clock).unwrap())
    })
}

#[tokio::test]
async fn every_golden_case_is_sent_and_classified_as_written() {
    golden().check().await;
}
