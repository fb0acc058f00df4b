//! `pushConfig` of ZIM clients: push options in ZIM's format, applied to a notification.
//! Options for a single push service become native options of its channels, so core and the API need not know the service.

use pushgate::app::App;
use pushgate::{Badge, Notification};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::refused;
use crate::assemble::{PRIVATE_MESSAGE_TEMPLATE_FOR, VOIP_CONFIG_FOR};
use crate::problem::Problem;

/// Push options that a ZIM client sends with a message. The field names are ZIM's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PushConfig {
    #[serde(default)]
    title: String,
    #[serde(default)]
    content: String,
    payload: Option<String>,
    /// Name of `payload` in clients before version 2.5.0.
    extended_data: Option<String>,
    #[serde(rename = "resourcesID")]
    resources_id: Option<String>,
    #[serde(rename = "threadID")]
    thread_id: Option<String>,
    #[serde(default)]
    enable_badge: bool,
    #[serde(default)]
    badge_increment: i64,
    #[serde(rename = "voIPConfig")]
    voip_config: Option<VoipConfig>,
    private_message_template: Option<PrivateMessageTemplate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VoipConfig {
    #[serde(rename = "iOSVoIPHandleType")]
    handle_type: u8,
    #[serde(rename = "iOSVoIPHandleValue")]
    handle_value: String,
    #[serde(rename = "iOSVoIPHasVideo", default)]
    has_video: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PrivateMessageTemplate {
    #[serde(rename = "templateID")]
    template_id: String,
    #[serde(default)]
    title_parameters: String,
    #[serde(default)]
    content_parameters: String,
}

impl PushConfig {
    /// Returns `true` if nothing is to be pushed. ZIM clients ask for that with an empty title or content.
    pub(crate) fn is_empty(&self) -> bool {
        self.title.is_empty() || self.content.is_empty()
    }

    /// Applies the options to a notification. An option that the notification has already is refused.
    pub(crate) fn apply(self, mut notification: Notification, app: &App) -> Result<Notification, Problem> {
        let present = [
            ("title", notification.title.is_some()),
            ("content", notification.content.is_some()),
            ("payload", notification.payload.is_some()),
            ("profile", notification.profile.is_some()),
            ("thread", notification.thread.is_some()),
            ("badge", notification.badge.is_some()),
            ("template", notification.template.is_some()),
        ];
        if let Some((name, _)) = present.into_iter().find(|(_, is_present)| *is_present) {
            return Err(refused(name, "is given in pushConfig too; leave one of them out"));
        }
        let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        notification.title = Some(self.title.into());
        notification.content = Some(self.content.into());
        notification.payload = non_empty(self.payload).or(non_empty(self.extended_data)).map(Into::into);
        notification.profile = non_empty(self.resources_id);
        notification.thread = non_empty(self.thread_id);
        if self.enable_badge {
            let by = self.badge_increment.clamp(0, i64::from(Badge::MAX_INCREMENT));
            notification.badge = Some(Badge::Increment(u32::try_from(by).unwrap_or_default()));
        }
        if let Some(voip) = self.voip_config {
            if !(1..=3).contains(&voip.handle_type) {
                let field = "pushConfig.voIPConfig.iOSVoIPHandleType";
                return Err(refused(field, "must be 1 (generic), 2 (phone number) or 3 (email address)"));
            }
            let params = json!({"voip_handle_type": voip.handle_type, "voip_handle_value": voip.handle_value,
                "voip_has_video": voip.has_video});
            add_overrides(&mut notification, app, VOIP_CONFIG_FOR, &json!({"sdk_params": params}));
        }
        if let Some(template) = self.private_message_template {
            let template = json!({"private_msg_template_id": template.template_id,
                "private_title_parameters": template.title_parameters,
                "private_content_parameters": template.content_parameters});
            add_overrides(&mut notification, app, PRIVATE_MESSAGE_TEMPLATE_FOR, &template);
        }
        Ok(notification)
    }
}

/// Adds native options for the app's channels of one kind. Options that the caller gave for a channel take precedence.
fn add_overrides(notification: &mut Notification, app: &App, kind: &str, options: &Value) {
    for (name, installed) in app.channels() {
        if installed.channel.info().kind != kind {
            continue;
        }
        let overrides = notification.overrides.entry(name.clone()).or_insert_with(|| json!({}));
        if let (Value::Object(overrides), Value::Object(options)) = (overrides, options) {
            for (key, value) in options {
                overrides.entry(key).or_insert_with(|| value.clone());
            }
        }
    }
}
