//! `[retry]`, in general and for one channel.

use std::time::Duration;

use pushgate::RetryPolicy;
use pushgate_config::Config;

use crate::kit::Folder;

const APP: &str = "[apps.demo.channels.fcm]\nkind = \"fcm\"\n[apps.demo.channels.web]\nkind = \"webpush\"\n";

fn policy(config: &Config, channel: &str) -> RetryPolicy {
    let app = config.apps.values().next().unwrap();
    app.channels.iter().find(|(name, _)| name.as_str() == channel).unwrap().1.retry
}

#[test]
fn the_defaults_are_those_of_the_library() {
    let config = Folder::with(APP).load().unwrap();
    assert_eq!(policy(&config, "fcm"), RetryPolicy::default());
}

#[test]
fn a_channel_takes_the_general_settings_and_overrides_some() {
    let own = "[apps.demo.channels.fcm.retry]\nmax_delay = \"1h\"\nmax_attempts = 0\n";
    let general = "[retry]\nfirst_delay = \"5s\"\nmax_attempts = 9\ngive_up_after = \"2d\"\nfactor = 3\n";
    let config = Folder::with(&format!("{general}{APP}{own}")).load().unwrap();
    let web = RetryPolicy {
        first_delay: Duration::from_secs(5),
        factor: 3.0,
        max_attempts: Some(9),
        give_up_after: Some(Duration::from_secs(2 * 24 * 3600)),
        ..RetryPolicy::default()
    };
    assert_eq!(policy(&config, "web"), web);
    let fcm = RetryPolicy { max_delay: Duration::from_secs(3600), max_attempts: None, ..web };
    assert_eq!(policy(&config, "fcm"), fcm);
}

#[test]
fn values_out_of_range_are_refused_with_their_line() {
    assert_eq!(
        Folder::with("[retry]\nfactor = 0.5\njitter = 2.0\n").errors(),
        "pushgate.toml:2: retry.factor: 0.5 is out of range; write 1 to 10\n\
         pushgate.toml:3: retry.jitter: 2 is out of range; write 0 to 1"
    );
    assert_eq!(
        Folder::with("[retry]\nfirst_delay = \"1h\"\n").errors(),
        "pushgate.toml:2: retry.first_delay: first_delay = 1h is longer than max_delay = 10m; \
         lower first_delay, or raise max_delay"
    );
    let own = "[apps.demo.channels.fcm.retry]\nmax_delay = \"500ms\"\n";
    assert_eq!(
        Folder::with(&format!("{APP}{own}")).errors(),
        "pushgate.toml:6: apps.demo.channels.fcm.retry.max_delay: first_delay = 1s is longer than max_delay = 500ms; \
         lower first_delay, or raise max_delay"
    );
}
