//! `pushgate keys vapid`: generates a key pair for Web Push. The private key is printed once and stored nowhere.

use pushgate_webpush::KeyPair;

use super::Outcome;
use crate::print_line;

pub(super) fn run() -> Outcome {
    let pair = KeyPair::generate().ok_or("the system provides no random bytes")?;
    print_line(format!("The page subscribes with this applicationServerKey:\n\n  {}\n", pair.public));
    print_line("Add to the configuration. Keep the key: subscriptions become invalid without it.\n");
    print_line(format!(
        "[apps.demo.channels.webpush]\nkind = \"webpush\"\nprivate_key = \"{}\"\nsubject = \"mailto:push@example.com\"   # contact for push services",
        pair.private.expose()
    ));
    Ok(())
}
