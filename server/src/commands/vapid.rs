//! `pushgate keys vapid`: a key pair for Web Push. The private half is shown once and kept nowhere.

use pushgate_webpush::KeyPair;

use super::Outcome;
use crate::print_line;

pub(super) fn run() -> Outcome {
    let pair = KeyPair::generate().ok_or("the system gives no randomness")?;
    print_line(format!("The page subscribes with this applicationServerKey:\n\n  {}\n", pair.public));
    print_line("Into the configuration. Keep it: subscriptions end with their key.\n");
    print_line(format!(
        "[apps.demo.channels.webpush]\nkind = \"webpush\"\nprivate_key = \"{}\"\nsubject = \"mailto:push@example.com\"   # whom push services may write to",
        pair.private.expose()
    ));
    Ok(())
}
