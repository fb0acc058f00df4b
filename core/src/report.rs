//! What one attempt gave: one outcome for each address, in order. Never all-or-nothing.

use crate::fault::{Fault, Kind};
use crate::words::Secret;

/// What one attempt gave for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The vendor took it. That it arrived is another matter.
    Accepted {
        /// The vendor's name for the message, where it gives one.
        vendor_id: Option<String>,
    },
    /// The vendor took it, and says that the device has a new token.
    Replaced {
        /// The vendor's name for the message, where it gives one.
        vendor_id: Option<String>,
        /// The token to use from now on.
        token: Secret,
    },
    /// It was not taken, or we cannot know.
    Failed(Fault),
}

impl Outcome {
    /// Accepted under a vendor's id.
    #[must_use]
    pub fn accepted(vendor_id: impl Into<String>) -> Self {
        Self::Accepted { vendor_id: Some(vendor_id.into()) }
    }

    /// The fault, if it is one.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Failed(fault) => Some(fault),
            Self::Accepted { .. } | Self::Replaced { .. } => None,
        }
    }

    /// The stable word for metrics: `accepted`, or the fault's code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Accepted { .. } | Self::Replaced { .. } => "accepted",
            Self::Failed(fault) => fault.row().code,
        }
    }
}

/// The outcomes of one attempt of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Takes one outcome for each of `expected` addresses, in their order.
    ///
    /// A channel that gives another number has a defect: nobody can say which outcome is whose, so every address gets a
    /// fault of kind [`Kind::Bug`] instead. Never a panic: a plugin may be at fault.
    #[must_use]
    pub fn new(expected: usize, outcomes: Vec<Outcome>) -> Self {
        if outcomes.len() == expected {
            return Self { outcomes };
        }
        let detail = format!("the channel gave {} outcomes for {expected} addresses", outcomes.len());
        Self::all_failed(expected, &Fault::new(Kind::Bug, detail))
    }

    /// The same fault for every address.
    #[must_use]
    pub fn all_failed(expected: usize, fault: &Fault) -> Self {
        Self { outcomes: vec![Outcome::Failed(fault.clone()); expected] }
    }

    /// Returns the report with every requested delay bounded: a channel may ask for any.
    #[must_use]
    pub(crate) fn with_bounded_delays(mut self) -> Self {
        for outcome in &mut self.outcomes {
            if let Outcome::Failed(Fault { retry_after: Some(requested), .. }) = outcome {
                *requested = (*requested).min(Fault::MAX_RETRY_AFTER);
            }
        }
        self
    }

    /// The outcomes, one for each address, in order.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The outcomes, taken.
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
