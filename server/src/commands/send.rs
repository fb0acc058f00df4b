//! `pushgate send`: try one push and hear why it failed.

use clap::Args;
use http::Method;
use serde_json::json;

use super::Outcome;
use super::http::Client;
use crate::print_line;

/// What to send, and through which gateway.
#[derive(Args)]
pub(super) struct SendArgs {
    /// The gateway
    #[arg(long, env = "PUSHGATE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A server key with the scope `send`
    #[arg(long, env = "PUSHGATE_KEY", hide_env_values = true)]
    key: String,
    /// The app
    #[arg(long)]
    app: String,
    /// Every device of this user
    #[arg(long, conflicts_with = "token", required_unless_present = "token")]
    user: Option<String>,
    /// One address: CHANNEL:TOKEN
    #[arg(long)]
    token: Option<String>,
    /// Shown first
    #[arg(long, default_value = "")]
    title: String,
    /// Shown below
    #[arg(long, default_value = "")]
    content: String,
    /// Handed to the app as it is
    #[arg(long)]
    payload: Option<String>,
    /// How long to wait for outcomes
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
        (None, None) => return Err("name --user or --token".into()),
    };
    let body = json!({"to": to, "title": args.title, "content": args.content, "payload": args.payload, "when": "always"});
    let path = format!("/v1/apps/{}/notifications?wait={}", args.app, args.wait);
    let answer = Client::new(&args.url, &args.key)?.call(Method::POST, &path, &body).await?;
    print_line(serde_json::to_string_pretty(&answer)?);
    let counts = &answer["status"]["counts"];
    match (answer["accepted"].as_u64(), counts["sent"].as_u64()) {
        (Some(accepted), Some(sent)) if accepted > 0 && sent == accepted => Ok(()),
        _ => Err("not everything was sent; the reasons stand above".into()),
    }
}
