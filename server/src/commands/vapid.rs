//! `pushgate keys vapid`: a key pair for Web Push. The private half is shown once and kept nowhere.

use pushgate_webpush::KeyPair;

use super::Outcome;
use crate::say;

pub(super) fn run() -> Outcome {
    let pair = KeyPair::generate().ok_or("the system gives no randomness")?;
    say(format!("The page subscribes with this applicationServerKey:\n\n  {}\n", pair.public));
    say("Into the configuration. Keep it: subscriptions end with their key.\n");
    say(format!(
        "[apps.demo.channels.webpush]\nkind = \"webpush\"\nprivate_key = \"{}\"\nsubject = \"mailto:push@example.com\"   # whom push services may write to",
        pair.private.expose()
    ));
    Ok(())
}
