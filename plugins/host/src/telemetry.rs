//! Log lines and metrics of plugins, and the host's reports about plugins. They go to the log and the metrics of this
//! process; a child process sends them to its parent. Repeated misuse must not flood the log.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Level of a plugin's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Needs action.
    Error,
    /// May need action.
    Warn,
    /// For operators.
    Info,
    /// For the plugin's developer.
    Debug,
}

/// Violation of the plugin contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misuse {
    /// `complete` was not called before the deadline.
    Never,
    /// `complete` was called after the deadline.
    Late,
    /// `complete` was called again for a completed tag.
    Twice,
    /// The number of outcomes differs from the number of addresses.
    WrongCount,
    /// `complete` was called without outcomes or with unreadable ones.
    NoOutcomes,
    /// `complete` was called with a tag that the host never issued.
    UnknownTag,
    /// A function of the host was called without the host's table.
    NoHost,
    /// A function of the host was called for a channel that is not open.
    UnknownChannel,
    /// A request, timer or metric has invalid arguments.
    BadArgument,
    /// A function that must return promptly took too long.
    Blocked,
    /// The body of a rendered message is not JSON.
    BadBody,
}

impl Misuse {
    /// All kinds, in the order of the enum.
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

    /// Returns the name in metrics and logs.
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

/// Receiver of plugins' log lines and metrics, and of the host's reports about plugins. Its methods return fast and never
/// block.
pub trait Telemetry: Send + Sync + 'static {
    /// Writes a log line of the plugin. The text has no control characters and at most 1,000 bytes.
    fn log(&self, plugin: &str, channel: &str, level: Level, text: &str);
    /// Adds to a counter of the plugin.
    fn count(&self, plugin: &str, channel: &str, name: &str, by: u64);
    /// Records a value in a histogram of the plugin.
    fn record(&self, plugin: &str, channel: &str, name: &str, value: f64);
    /// Records a violation of the contract.
    fn record_misuse(&self, plugin: &str, misuse: Misuse);
    /// Records that the channel's child process has started, for the first time or after a death.
    fn record_start(&self, plugin: &str, channel: &str);
    /// Records that the channel's child process has died. Its pending calls have failed by then.
    fn record_death(&self, plugin: &str, channel: &str, death: &Death<'_>);
}

/// Death of a plugin's child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death<'a> {
    /// Cause, for the operator.
    pub why: &'a str,
    /// Number of this death among those in a row without a completed delivery in between. Starts at 1.
    pub consecutive: u32,
    /// Delay before the process is started again.
    pub restart_delay: Duration,
    /// `true` if too many deaths in a row have opened the circuit breaker.
    pub is_breaker_open: bool,
}

/// Log line about a pause beyond [`crate::bounds::MAX_RETRY_AFTER`].
pub(crate) const PAUSE_CUT: &str = "the plugin requested a pause of more than 24 hours, cut to 24 hours";

/// Maximum length of a plugin's log line, in bytes. Longer lines are cut.
pub(crate) const MAX_LOG_LINE: usize = 1000;
/// Maximum length of a metric's name, in bytes.
pub(crate) const MAX_METRIC_NAME: usize = 64;
/// Maximum number of metric names of one channel. Each name is a time series that takes storage.
const MAX_METRIC_NAMES: usize = 64;

/// Returns the text as one log line: cut to [`MAX_LOG_LINE`], with spaces in place of control characters. A plugin thus
/// cannot forge a second line.
pub(crate) fn sanitized_line(text: &str) -> String {
    let end = (0..=MAX_LOG_LINE.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Metric names that a channel has used.
#[derive(Debug, Default)]
pub(crate) struct MetricNames(Mutex<BTreeSet<String>>);

impl MetricNames {
    /// Returns `true` if the name is valid, and already in use or within [`MAX_METRIC_NAMES`].
    pub(crate) fn admit(&self, name: &str) -> bool {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(1..=MAX_METRIC_NAME).contains(&name.len()) || !name.chars().all(allowed) {
            return false;
        }
        let mut names = self.0.lock();
        names.contains(name) || (names.len() < MAX_METRIC_NAMES && names.insert(name.to_owned()))
    }
}

/// Telemetry that reports to the log (`tracing`) and to the metrics (`metrics`) of this process.
#[derive(Debug, Default)]
pub struct DefaultTelemetry {
    misuses: [AtomicU64; Misuse::ALL.len()],
}

impl DefaultTelemetry {
    /// Returns how often this misuse was recorded, for all plugins together.
    #[must_use]
    pub fn misuses(&self, misuse: Misuse) -> u64 {
        self.misuses[misuse as usize].load(Ordering::Acquire)
    }
}

impl Telemetry for DefaultTelemetry {
    fn log(&self, plugin: &str, channel: &str, level: Level, text: &str) {
        match level {
            Level::Error => tracing::error!(plugin, channel, text, "the plugin says"),
            Level::Warn => tracing::warn!(plugin, channel, text, "the plugin says"),
            Level::Info => tracing::info!(plugin, channel, text, "the plugin says"),
            Level::Debug => tracing::debug!(plugin, channel, text, "the plugin says"),
        }
    }

    fn count(&self, plugin: &str, channel: &str, name: &str, by: u64) {
        metrics::counter!("pushgate_plugin_counter_total", &metric_labels(plugin, channel, name))
            .increment(by);
    }

    fn record(&self, plugin: &str, channel: &str, name: &str, value: f64) {
        metrics::histogram!("pushgate_plugin_histogram", &metric_labels(plugin, channel, name)).record(value);
    }

    fn record_misuse(&self, plugin: &str, misuse: Misuse) {
        let labels = [("plugin", plugin.to_owned()), ("what", misuse.as_str().to_owned())];
        metrics::counter!("pushgate_plugin_misuse_total", &labels).increment(1);
        let times = self.misuses[misuse as usize].fetch_add(1, Ordering::AcqRel) + 1;
        // Logged at counts 1, 2, 4, 8 …: the first is never missing and many do not flood the log.
        if times.is_power_of_two() {
            tracing::warn!(plugin, what = misuse.as_str(), times, "the plugin breaks the contract");
        }
    }

    fn record_start(&self, plugin: &str, channel: &str) {
        metrics::gauge!("pushgate_plugin_up", &channel_labels(plugin, channel)).set(1.0);
    }

    fn record_death(&self, plugin: &str, channel: &str, death: &Death<'_>) {
        let labels = channel_labels(plugin, channel);
        metrics::gauge!("pushgate_plugin_up", &labels).set(0.0);
        metrics::counter!("pushgate_plugin_deaths_total", &labels).increment(1);
        let Death { why, consecutive, restart_delay, is_breaker_open } = *death;
        if is_breaker_open {
            metrics::counter!("pushgate_plugin_breaker_opened_total", &labels).increment(1);
            let seconds = restart_delay.as_secs();
            tracing::error!(
                plugin,
                channel,
                why,
                deaths = consecutive,
                seconds,
                "the plugin's process died too often in a row; its deliveries wait until it is started again"
            );
        } else {
            let millis = u64::try_from(restart_delay.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                plugin,
                channel,
                why,
                millis,
                "the plugin's process died; it will be started again"
            );
        }
    }
}

fn channel_labels(plugin: &str, channel: &str) -> [(&'static str, String); 2] {
    [("plugin", plugin.to_owned()), ("channel", channel.to_owned())]
}

fn metric_labels(plugin: &str, channel: &str, name: &str) -> [(&'static str, String); 3] {
    [("plugin", plugin.to_owned()), ("channel", channel.to_owned()), ("name", name.to_owned())]
}
