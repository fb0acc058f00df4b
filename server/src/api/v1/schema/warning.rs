//! Warnings in responses: a request was accepted, but a field of it will not have its full effect.

use pushgate::Notification;
use pushgate::plan;
use serde::Serialize;

/// Warning about one field of an accepted request.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    field: &'static str,
    code: &'static str,
    detail: &'static str,
}

const LINK_NOT_HTTPS: Warning = Warning {
    field: "link",
    code: "link_not_https",
    detail: "is not an https address; channels that require https leave it out",
};

impl Warning {
    /// Returns the warnings about fields that some channels leave out.
    pub(crate) fn for_notification(notification: &Notification) -> Vec<Self> {
        let not_https = |link: &pushgate::Secret| !link.expose().starts_with("https://");
        notification.link.as_ref().is_some_and(not_https).then_some(LINK_NOT_HTTPS).into_iter().collect()
    }
}

impl From<plan::Warning> for Warning {
    fn from(warning: plan::Warning) -> Self {
        match warning {
            plan::Warning::UnknownProfile => Self {
                field: "profile",
                code: "unknown_profile",
                detail: "is not a profile of this app; the default profile was used",
            },
        }
    }
}
