//! `pushConfig` of ZIM clients: the same wishes in their words, laid upon a notification. Where a wish concerns one push
//! service alone, it becomes that channel's native options here, so that neither core nor doors know the service.

use pushgate::app::App;
use pushgate::{Badge, Notification};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::assemble::{PRIVATE_MESSAGE_TEMPLATE_FOR, VOIP_CONFIG_FOR};
use crate::doors::refused;
use crate::problem::Problem;

/// What a ZIM client sends along with a message. Names are theirs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PushConfig {
    #[serde(default)]
    title: String,
    #[serde(default)]
    content: String,
    payload: Option<String>,
    /// What `payload` was called before version 2.5.0.
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
    /// Whether nothing is to be pushed: a title or content that is empty means so to these clients.
    pub(crate) fn is_empty(&self) -> bool {
        self.title.is_empty() || self.content.is_empty()
    }

    /// Lays the wishes upon a notification that has none of them yet.
    pub(crate) fn laid_upon(self, mut asked: Notification, app: &App) -> Result<Notification, Problem> {
        let said = [
            ("title", asked.title.is_some()),
            ("content", asked.content.is_some()),
            ("payload", asked.payload.is_some()),
            ("profile", asked.profile.is_some()),
            ("thread", asked.thread.is_some()),
            ("badge", asked.badge.is_some()),
            ("template", asked.template.is_some()),
        ];
        if let Some((name, _)) = said.into_iter().find(|(_, said)| *said) {
            return Err(refused(name, "stands beside pushConfig, which says it too; leave one out"));
        }
        let kept = |text: Option<String>| text.filter(|text| !text.is_empty());
        asked.title = Some(self.title.into());
        asked.content = Some(self.content.into());
        asked.payload = kept(self.payload).or(kept(self.extended_data)).map(Into::into);
        asked.profile = kept(self.resources_id);
        asked.thread = kept(self.thread_id);
        if self.enable_badge {
            let by = self.badge_increment.clamp(0, i64::from(Badge::MOST_RAISE));
            asked.badge = Some(Badge::Increment(u32::try_from(by).unwrap_or_default()));
        }
        if let Some(voip) = self.voip_config {
            if !(1..=3).contains(&voip.handle_type) {
                let field = "pushConfig.voIPConfig.iOSVoIPHandleType";
                return Err(refused(field, "1 generic, 2 phone number, 3 email address"));
            }
            let params = json!({"voip_handle_type": voip.handle_type, "voip_handle_value": voip.handle_value,
                "voip_has_video": voip.has_video});
            add(&mut asked, app, VOIP_CONFIG_FOR, &json!({"sdk_params": params}));
        }
        if let Some(template) = self.private_message_template {
            let template = json!({"private_msg_template_id": template.template_id,
                "private_title_parameters": template.title_parameters,
                "private_content_parameters": template.content_parameters});
            add(&mut asked, app, PRIVATE_MESSAGE_TEMPLATE_FOR, &template);
        }
        Ok(asked)
    }
}

/// Adds native options for the app's channels of one kind, under what the caller says for them himself.
fn add(asked: &mut Notification, app: &App, kind: &str, options: &Value) {
    for (name, installed) in app.channels() {
        if installed.channel.info().kind != kind {
            continue;
        }
        let own = asked.overrides.entry(name.clone()).or_insert_with(|| json!({}));
        if let (Value::Object(own), Value::Object(options)) = (own, options) {
            for (key, value) in options {
                own.entry(key).or_insert_with(|| value.clone());
            }
        }
    }
}
