//! Reasons for which APNs refuses a request, with status and error code.

/// Reason of a refusal. The variants are named as in Apple's reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    BadCertificate,
    BadCertificateEnvironment,
    BadChannelId,
    BadCollapseId,
    BadDeviceToken,
    BadEnvironmentKeyIdInToken,
    BadExpirationDate,
    BadMessageId,
    BadPath,
    BadPriority,
    BadRequestPayload,
    BadTopic,
    CannotCreateChannelConfig,
    ChannelNotRegistered,
    DeviceTokenNotForTopic,
    DuplicateHeaders,
    ExpiredProviderToken,
    InvalidProviderToken,
    InvalidPushType,
    MethodNotAllowed,
    MissingChannelId,
    MissingDeviceToken,
    MissingProviderToken,
    MissingPushType,
    MissingTopic,
    PayloadEmpty,
    PayloadTooLarge,
    TooManyProviderTokenUpdates,
    TopicDisallowed,
    UnrelatedKeyIdInToken,
    /// The device token is no longer valid since this time, in milliseconds since 1970.
    Unregistered(u64),
}

impl Reason {
    /// Returns HTTP status and error code.
    pub(super) const fn status_and_code(self) -> (u16, &'static str) {
        match self {
            Self::BadChannelId => (400, "BadChannelId"),
            Self::BadCollapseId => (400, "BadCollapseId"),
            Self::BadDeviceToken => (400, "BadDeviceToken"),
            Self::BadExpirationDate => (400, "BadExpirationDate"),
            Self::BadMessageId => (400, "BadMessageId"),
            Self::BadPriority => (400, "BadPriority"),
            Self::BadRequestPayload => (400, "BadRequestPayload"),
            Self::BadTopic => (400, "BadTopic"),
            Self::CannotCreateChannelConfig => (400, "CannotCreateChannelConfig"),
            Self::DeviceTokenNotForTopic => (400, "DeviceTokenNotForTopic"),
            Self::DuplicateHeaders => (400, "DuplicateHeaders"),
            Self::InvalidPushType => (400, "InvalidPushType"),
            Self::MissingChannelId => (400, "MissingChannelId"),
            Self::MissingDeviceToken => (400, "MissingDeviceToken"),
            Self::MissingPushType => (400, "MissingPushType"),
            Self::MissingTopic => (400, "MissingTopic"),
            Self::PayloadEmpty => (400, "PayloadEmpty"),
            Self::TopicDisallowed => (400, "TopicDisallowed"),
            Self::BadCertificate => (403, "BadCertificate"),
            Self::BadCertificateEnvironment => (403, "BadCertificateEnvironment"),
            Self::BadEnvironmentKeyIdInToken => (403, "BadEnvironmentKeyIdInToken"),
            Self::ExpiredProviderToken => (403, "ExpiredProviderToken"),
            Self::InvalidProviderToken => (403, "InvalidProviderToken"),
            Self::MissingProviderToken => (403, "MissingProviderToken"),
            Self::UnrelatedKeyIdInToken => (403, "UnrelatedKeyIdInToken"),
            Self::BadPath => (404, "BadPath"),
            Self::MethodNotAllowed => (405, "MethodNotAllowed"),
            Self::ChannelNotRegistered => (410, "ChannelNotRegistered"),
            Self::Unregistered(_) => (410, "Unregistered"),
            Self::PayloadTooLarge => (413, "PayloadTooLarge"),
            Self::TooManyProviderTokenUpdates => (429, "TooManyProviderTokenUpdates"),
        }
    }

    /// Returns the time since which the token is not valid, in milliseconds since 1970. `None` for other reasons.
    pub(super) const fn since_ms(self) -> Option<u64> {
        if let Self::Unregistered(since_ms) = self { Some(since_ms) } else { None }
    }
}
