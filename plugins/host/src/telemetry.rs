//! Where a plugin's own words go, and what we have to say about it: the log and the metrics here, frames in a child process.
//! A plugin that misbehaves a million times must not write a million lines.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How loud a line of a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Somebody should act.
    Error,
    /// Worth a look.
    Warn,
    /// Worth knowing.
    Info,
    /// For the author.
    Debug,
}

/// What a plugin did against the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misuse {
    /// `complete` was never called before the deadline.
    Never,
    /// `complete` was called after the deadline.
    Late,
    /// `complete` was called again for a tag that was answered.
    Twice,
    /// `complete` came with another number of outcomes than there are addresses.
    WrongCount,
    /// `complete` came without outcomes, or with some that cannot be read.
    NoOutcomes,
    /// `complete` came for a tag that was never given out.
    UnknownTag,
    /// A function of the host was called without the host's table.
    NoHost,
    /// A function of the host was called for a channel that is closed or never was.
    UnknownChannel,
    /// A request, a timer or a metric with arguments that are not right.
    BadArgument,
    /// A function that must return at once took its time.
    Blocked,
    /// What the plugin wrote as a message's body is not JSON.
    BadBody,
}

impl Misuse {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 11] = [
        Self::Never,
        Self::Late,
        Self::Twice,
        Self::WrongCount,
        Self::NoOutcomes,
        Self::UnknownTag,
        Self::NoHost,
        Self::UnknownChannel,
        Self::BadArgument,
        Self::Blocked,
        Self::BadBody,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Late => "late",
            Self::Twice => "twice",
            Self::WrongCount => "wrong_count",
            Self::NoOutcomes => "no_outcomes",
            Self::UnknownTag => "unknown_tag",
            Self::NoHost => "no_host",
            Self::UnknownChannel => "unknown_channel",
            Self::BadArgument => "bad_argument",
            Self::Blocked => "blocked",
            Self::BadBody => "bad_body",
        }
    }
}

/// Hears what plugins say, and what is said about them. Quick, and never blocks.
pub trait Telemetry: Send + Sync + 'static {
    /// A line of the plugin. The text has no control characters and at most 1,000 bytes.
    fn log(&self, plugin: &str, channel: &str, level: Level, text: &str);
    /// Adds to a counter of the plugin.
    fn count(&self, plugin: &str, channel: &str, name: &str, by: u64);
    /// Records a value of the plugin.
    fn record(&self, plugin: &str, channel: &str, name: &str, value: f64);
    /// The plugin broke the contract.
    fn misused(&self, plugin: &str, what: Misuse);
    /// The channel's process is there: at the beginning, and again after each death.
    fn rose(&self, plugin: &str, channel: &str);
    /// The channel's process died; whoever waited for it has been told.
    fn died(&self, plugin: &str, channel: &str, death: &Death<'_>);
}

/// How a plugin's process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death<'a> {
    /// In words for the operator.
    pub why: &'a str,
    /// Which one in a row, without one answer between them; from 1.
    pub row: u32,
    /// How long it is left alone before it is started again.
    pub wait: Duration,
    /// Whether it is left alone because it died too often, and not for a moment only.
    pub given_up: bool,
}

/// Line about a pause beyond [`crate::bounds::MAX_RETRY_AFTER`].
pub(crate) const CUT: &str = "the plugin asked for a pause of more than 24 hours, cut to 24 hours";

/// The longest line of a plugin that is kept, in bytes.
pub(crate) const MOST_LOG: usize = 1000;
/// The longest name of a metric, in bytes.
pub(crate) const MOST_NAME: usize = 64;
/// The most names of metrics a channel may use: each is a time series somebody stores.
const MOST_NAMES: usize = 64;

/// A line is a line: nobody writes a second one into our log.
pub(crate) fn one_line(text: &str) -> String {
    let end = (0..=MOST_LOG.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The names of metrics a channel uses.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<BTreeSet<String>>);

impl Names {
    /// Whether a metric of this name is kept.
    pub(crate) fn admit(&self, name: &str) -> bool {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(1..=MOST_NAME).contains(&name.len()) || !name.chars().all(allowed) {
            return false;
        }
        let mut names = self.0.lock();
        names.contains(name) || (names.len() < MOST_NAMES && names.insert(name.to_owned()))
    }
}

/// Tells the log (`tracing`) and the metrics (`metrics`).
#[derive(Debug, Default)]
pub struct Told {
    misuses: [AtomicU64; Misuse::ALL.len()],
}

impl Told {
    /// How often that was done against the contract, by any plugin.
    #[must_use]
    pub fn misuses(&self, what: Misuse) -> u64 {
        self.misuses[what as usize].load(Ordering::Acquire)
    }
}

impl Telemetry for Told {
    fn log(&self, plugin: &str, channel: &str, level: Level, text: &str) {
        match level {
            Level::Error => tracing::error!(plugin, channel, text, "the plugin says"),
            Level::Warn => tracing::warn!(plugin, channel, text, "the plugin says"),
            Level::Info => tracing::info!(plugin, channel, text, "the plugin says"),
            Level::Debug => tracing::debug!(plugin, channel, text, "the plugin says"),
        }
    }

    fn count(&self, plugin: &str, channel: &str, name: &str, by: u64) {
        metrics::counter!("pushgate_plugin_counter_total", &labels(plugin, channel, name)).increment(by);
    }

    fn record(&self, plugin: &str, channel: &str, name: &str, value: f64) {
        metrics::histogram!("pushgate_plugin_histogram", &labels(plugin, channel, name)).record(value);
    }

    fn misused(&self, plugin: &str, what: Misuse) {
        let labels = [("plugin", plugin.to_owned()), ("what", what.as_str().to_owned())];
        metrics::counter!("pushgate_plugin_misuse_total", &labels).increment(1);
        let times = self.misuses[what as usize].fetch_add(1, Ordering::AcqRel) + 1;
        // The first, the second, the fourth …: a line that is never missing and never a flood.
        if times.is_power_of_two() {
            tracing::warn!(plugin, what = what.as_str(), times, "the plugin breaks the contract");
        }
    }

    fn rose(&self, plugin: &str, channel: &str) {
        metrics::gauge!("pushgate_plugin_up", &of_channel(plugin, channel)).set(1.0);
    }

    fn died(&self, plugin: &str, channel: &str, death: &Death<'_>) {
        let labels = of_channel(plugin, channel);
        metrics::gauge!("pushgate_plugin_up", &labels).set(0.0);
        metrics::counter!("pushgate_plugin_deaths_total", &labels).increment(1);
        let Death { why, row, wait, given_up } = *death;
        if given_up {
            metrics::counter!("pushgate_plugin_breaker_opened_total", &labels).increment(1);
            let seconds = wait.as_secs();
            tracing::error!(
                plugin,
                channel,
                why,
                deaths = row,
                seconds,
                "the plugin's process dies again and again; its deliveries wait"
            );
        } else {
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(plugin, channel, why, millis, "the plugin's process died; it is started again");
        }
    }
}

fn of_channel(plugin: &str, channel: &str) -> [(&'static str, String); 2] {
    [("plugin", plugin.to_owned()), ("channel", channel.to_owned())]
}

fn labels(plugin: &str, channel: &str, name: &str) -> [(&'static str, String); 3] {
    [("plugin", plugin.to_owned()), ("channel", channel.to_owned()), ("name", name.to_owned())]
}
