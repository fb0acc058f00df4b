//! Warnings in answers: a request was accepted, and something in it will not do what its caller may expect.

use pushgate::Notification;
use pushgate::plan;
use serde::Serialize;

/// Warning about one field of a request.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    field: &'static str,
    code: &'static str,
    detail: &'static str,
}

const LINK_NOT_HTTPS: Warning = Warning {
    field: "link",
    code: "link_not_https",
    detail: "is not an https address: channels that open https addresses alone leave it out",
};

impl Warning {
    /// Returns what a notification is accepted with although it will not work everywhere.
    pub(crate) fn of_notification(notification: &Notification) -> Vec<Self> {
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
                detail: "is not a profile of this app: the default profile was used",
            },
        }
    }
}
