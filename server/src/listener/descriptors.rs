//! File descriptors: the limit of the process, and the number of API connections that it allows.
//!
//! A quarter of the limit, at least 256 and at most half of it, is reserved for everything else: connections to push
//! services, the database, plugins, refusals. With a limit of 1024 that leaves 768 connections.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Smallest number of descriptors that are reserved for everything but the API, if the limit allows it.
const MIN_RESERVED: u64 = 256;
/// Largest derived number of API connections. More of them need more memory than descriptors.
const MAX_DEFAULT: u64 = 16_384;
/// Limit to request if the system has no maximum.
const DEFAULT_MAXIMUM: u64 = 65_536;

/// Raises the limit of open descriptors to the maximum that the system allows this process. Returns the limit.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let target = maximum.unwrap_or(DEFAULT_MAXIMUM);
    if current.is_none_or(|current| current >= target) {
        return limit();
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum }) {
        tracing::warn!(%error, target, "the limit of open descriptors cannot be raised");
    }
    limit()
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(DEFAULT_MAXIMUM)
}

/// Returns the maximum number of connections of the API. `configured` = 0 derives it from the descriptor limit.
///
/// # Errors
/// When the process may not open as many descriptors as are configured.
pub(super) fn max_connections(configured: u32) -> io::Result<usize> {
    let limit = limit();
    let connections = connections(configured, limit).ok_or_else(|| {
        io::Error::other(format!(
            "server.max_connections = {configured} does not fit into the limit of {limit} open descriptors, {} of which are reserved for push services and the database; raise the limit (ulimit -n) or lower the key",
            reserved(limit)
        ))
    })?;
    Ok(usize::try_from(connections).unwrap_or(usize::MAX))
}

fn reserved(limit: u64) -> u64 {
    (limit / 4).max(MIN_RESERVED).min(limit / 2)
}

/// Returns the number of API connections. `None` means that the configured number exceeds the limit.
fn connections(configured: u32, limit: u64) -> Option<u64> {
    let fitting = (limit - reserved(limit)).max(1);
    match u64::from(configured) {
        0 => Some(fitting.min(MAX_DEFAULT)),
        configured => (configured <= fitting).then_some(configured),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_reserved_for_push_services() {
        let derived = |limit| connections(0, limit);
        assert_eq!(derived(1024), Some(768));
        assert_eq!(derived(512), Some(256));
        assert_eq!(derived(64), Some(32), "half of it, where there is little");
        assert_eq!(derived(1), Some(1));
        assert_eq!(derived(1_048_576), Some(MAX_DEFAULT));
        assert_eq!(connections(8, 1024), Some(8));
        assert_eq!(connections(769, 1024), None);
        assert_eq!(connections(100_000, 1_048_576), Some(100_000));
    }

    #[test]
    fn the_limit_is_raised_to_the_maximum() {
        let limit = raise_limit();
        assert_eq!(Some(limit), getrlimit(Resource::Nofile).maximum.or(Some(DEFAULT_MAXIMUM)));
    }
}
