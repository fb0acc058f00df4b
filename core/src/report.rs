//! Report of one attempt: one outcome for each address, in order. Never one result for the whole batch.

use crate::fault::{Fault, Kind};
use crate::secret::Secret;

/// Result of one attempt for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The push service accepted the message. This does not prove that it arrived.
    Accepted {
        /// Message id of the push service. `None` if it gave none.
        vendor_id: Option<String>,
    },
    /// The push service accepted the message, and reported a new token of the device.
    Replaced {
        /// Message id of the push service. `None` if it gave none.
        vendor_id: Option<String>,
        /// Token to use from now on.
        token: Secret,
    },
    /// The message was not accepted, or the result is unknown.
    Failed(Fault),
}

impl Outcome {
    /// Creates an accepted outcome with the push service's message id.
    #[must_use]
    pub fn accepted(vendor_id: impl Into<String>) -> Self {
        Self::Accepted { vendor_id: Some(vendor_id.into()) }
    }

    /// Returns the fault of a failed outcome. `None` means that the message was accepted.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Failed(fault) => Some(fault),
            Self::Accepted { .. } | Self::Replaced { .. } => None,
        }
    }

    /// Returns the stable label for metrics: `accepted`, or the fault's code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Accepted { .. } | Self::Replaced { .. } => "accepted",
            Self::Failed(fault) => fault.info().code,
        }
    }
}

/// Outcomes of one attempt of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Creates a report with one outcome for each of `expected` addresses, in their order.
    ///
    /// Another number of outcomes is a defect of the channel, and they cannot be matched to addresses. Then every address
    /// gets a fault of kind [`Kind::Bug`]. This is no panic, because the defect may be a plugin's.
    #[must_use]
    pub fn new(expected: usize, outcomes: Vec<Outcome>) -> Self {
        if outcomes.len() == expected {
            return Self { outcomes };
        }
        let detail = format!("the channel gave {} outcomes for {expected} addresses", outcomes.len());
        Self::all_failed(expected, &Fault::new(Kind::Bug, detail))
    }

    /// Creates a report with the same fault for every address.
    #[must_use]
    pub fn all_failed(expected: usize, fault: &Fault) -> Self {
        Self { outcomes: vec![Outcome::Failed(fault.clone()); expected] }
    }

    /// Limits every requested delay to [`Fault::MAX_RETRY_AFTER`], because a channel may set any.
    #[must_use]
    pub(crate) fn with_bounded_delays(mut self) -> Self {
        for outcome in &mut self.outcomes {
            if let Outcome::Failed(Fault { retry_after: Some(requested), .. }) = outcome {
                *requested = (*requested).min(Fault::MAX_RETRY_AFTER);
            }
        }
        self
    }

    /// Returns the outcomes, one for each address, in order.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Converts the report into its outcomes.
    #[must_use]
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_wrong_length_is_a_bug_for_every_address() {
        let report = Report::new(3, vec![Outcome::accepted("1")]);
        assert_eq!(report.outcomes().len(), 3);
        assert!(report.outcomes().iter().all(|o| o.code() == "internal"));
    }
}
