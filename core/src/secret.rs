//! Text that `Debug` does not show.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Text that must not be logged, such as a token, a title or a payload. `Debug` shows its length only.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Returns the text. Only for code that sends it to a push service or writes it to a store.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "«{} bytes»", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_its_text() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "«7 bytes»");
    }
}
