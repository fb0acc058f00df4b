//! `pushgate send`: sends one notification and prints its status.

use clap::Args;
use http::Method;
use serde_json::json;

use super::Outcome;
use super::http::Client;
use crate::print_line;

/// Notification, and the gateway that sends it.
#[derive(Args)]
pub(super) struct SendArgs {
    /// URL of the gateway
    #[arg(long, env = "PUSHGATE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Server key with the scope `send`
    #[arg(long, env = "PUSHGATE_KEY", hide_env_values = true)]
    key: String,
    /// App of the recipient
    #[arg(long)]
    app: String,
    /// User, on all their devices
    #[arg(long, conflicts_with = "token", required_unless_present = "token")]
    user: Option<String>,
    /// Single address: CHANNEL:TOKEN
    #[arg(long)]
    token: Option<String>,
    /// Title of the notification
    #[arg(long, default_value = "")]
    title: String,
    /// Text below the title
    #[arg(long, default_value = "")]
    content: String,
    /// Payload, passed to the app unchanged
    #[arg(long)]
    payload: Option<String>,
    /// Longest wait for outcomes
    #[arg(long, default_value = "15s")]
    wait: String,
}

pub(super) async fn run(args: SendArgs) -> Outcome {
    let to = match (&args.user, &args.token) {
        (Some(user), _) => json!({"users": [user]}),
        (None, Some(token)) => {
            let (channel, token) = token.split_once(':').ok_or("--token: write CHANNEL:TOKEN")?;
            json!({"addresses": [{"channel": channel, "token": token}]})
        }
        (None, None) => return Err("no recipient; give --user or --token".into()),
    };
    let body = json!({"to": to, "title": args.title, "content": args.content, "payload": args.payload, "when": "always"});
    let path = format!("/v1/apps/{}/notifications?wait={}", args.app, args.wait);
    let response = Client::new(&args.url, &args.key)?.call(Method::POST, &path, &body).await?;
    print_line(serde_json::to_string_pretty(&response)?);
    let counts = &response["status"]["counts"];
    match (response["accepted"].as_u64(), counts["sent"].as_u64()) {
        (Some(accepted), Some(sent)) if accepted > 0 && sent == accepted => Ok(()),
        _ => Err("not every recipient was sent to; see the faults above".into()),
    }
}
