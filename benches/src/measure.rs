//! Time, CPU time, and the median of several runs.

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;

/// CPU core of the measured side.
pub(crate) const OUR_CORE: usize = 0;
/// CPU core of the vendor.
pub(crate) const VENDOR_CORE: usize = 1;

/// Keeps this process, its threads to come and its children to one core. Where that is not to be had, figures are worse
/// and ratios stay.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    if set.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Rate and CPU time of a number of pushes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) pushes_per_second: f64,
    /// User and system CPU time in microseconds per push.
    pub(crate) cpu: f64,
}

/// Stopwatch for time and CPU time.
pub(crate) struct Watch {
    who: UsageWho,
    since: Instant,
    cpu: Duration,
}

impl Watch {
    /// Starts a stopwatch for this process.
    pub(crate) fn ours() -> Self {
        Self::of(UsageWho::RUSAGE_SELF)
    }

    /// Starts a stopwatch for ended child processes.
    pub(crate) fn children() -> Self {
        Self::of(UsageWho::RUSAGE_CHILDREN)
    }

    fn of(who: UsageWho) -> Self {
        Self { who, since: Instant::now(), cpu: cpu(who) }
    }

    /// Returns rate and CPU time per push since the start, for `pushes` pushes.
    pub(crate) fn taken(&self, pushes: usize) -> Taken {
        let pushes = pushes as f64;
        Taken {
            pushes_per_second: pushes / self.since.elapsed().as_secs_f64(),
            cpu: (cpu(self.who) - self.cpu).as_secs_f64() * 1e6 / pushes,
        }
    }
}

fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("a process may always ask about itself");
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros((micros(usage.user_time()) + micros(usage.system_time())).unsigned_abs())
}

/// Returns the median.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// Returns the value below which this share of all values lies.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}
