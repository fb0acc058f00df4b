//! Faults on demand: which requests, and what goes wrong with them.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Where a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// At `messages:send`.
    #[default]
    Send,
    /// At the token endpoint.
    Token,
}

/// A rule: the next so many requests at one place go wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where.
    #[serde(default)]
    pub at: Where,
    /// How many requests more.
    pub next: u32,
    /// What goes wrong.
    pub effect: Effect,
}

/// What goes wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// An error of the vendor, with its real body.
    Error {
        /// The HTTP status.
        status: u16,
        /// FCM's errorCode (`UNAVAILABLE`); none leaves the detail out.
        #[serde(default)]
        code: Option<String>,
        /// The Retry-After header, as it is sent: seconds or a date.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Any answer at all, for hostile ones.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The way to somewhere else; the push is not taken.
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The Location header.
        location: String,
    },
    /// Never an answer; the push is not taken.
    Hang,
    /// The push is taken and arrives, but its answer never comes.
    LoseAnswer,
    /// The stream is reset (HTTP/2) or the connection closed (HTTP/1.1); the push is not taken.
    Reset,
}

#[derive(Default)]
pub(crate) struct Faults(Mutex<(u64, Vec<(u64, Fault)>)>);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) -> u64 {
        let mut faults = self.0.lock();
        faults.0 += 1;
        let number = faults.0;
        faults.1.push((number, fault));
        number
    }

    pub(crate) fn clear(&self) {
        self.0.lock().1.clear();
    }

    /// The fault for a request at this place, if one is due; it counts as used.
    pub(crate) fn due(&self, at: Where) -> Option<(u64, Effect)> {
        let mut faults = self.0.lock();
        let (number, fault) = faults.1.iter_mut().find(|(_, fault)| fault.at == at && fault.next > 0)?;
        fault.next -= 1;
        let due = (*number, fault.effect.clone());
        faults.1.retain(|(_, fault)| fault.next > 0);
        Some(due)
    }
}
