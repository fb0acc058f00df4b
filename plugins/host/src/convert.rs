//! Conversions between core's types and the C structs of the plugin interface. Outgoing data is borrowed. Incoming data is
//! copied and reduced to its limits.

use std::fmt::{self, Write as _};
use std::time::Duration;

use pushgate::{
    Act, Address, Delivery, Fault, Kind, Message, Outcome, Priority, Secret, Target, Timestamp, TokenKind,
};
use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

use crate::bounds::{Bounded, MAX_ID, bounded};
use crate::pending::{CallResult, Completion};
use crate::telemetry::Misuse;

/// Maximum size of an outcome struct, in bytes. A larger one is an error, not a later version.
const MAX_STRUCT: usize = 4096;

/// Text of an id. Avoids an allocation, because each call has several ids.
struct Id {
    bytes: [u8; 40],
    len: usize,
}

impl Id {
    fn new(id: impl fmt::Display) -> Self {
        let mut text = Self { bytes: [0; 40], len: 0 };
        write!(text, "{id}").expect("an id is a UUID, of 36 characters");
        text
    }

    fn as_str(&self) -> Str {
        Str::from_bytes(&self.bytes[..self.len])
    }
}

impl fmt::Write for Id {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let free = self.bytes.get_mut(self.len..self.len + piece.len()).ok_or(fmt::Error)?;
        free.copy_from_slice(piece.as_bytes());
        self.len += piece.len();
        Ok(())
    }
}

/// Texts of a message that exist only for the call.
struct Texts {
    id: Id,
    overrides: Option<String>,
}

/// Calls `call` with the C struct of a message, which is valid during the call.
pub(crate) fn with_message<T>(message: &Message, call: impl FnOnce(&abi::Message) -> T) -> T {
    let texts = Texts {
        id: Id::new(message.id),
        overrides: message.overrides.as_ref().map(serde_json::Value::to_string),
    };
    call(&raw_message(message, &texts))
}

fn raw_message(message: &Message, texts: &Texts) -> abi::Message {
    let secret = |secret: &Option<Secret>| Str::from_option(secret.as_ref().map(Secret::expose));
    let (act, call, voip) = match &message.act {
        Act::Show => (abi::ACT_SHOW, None, false),
        Act::Ring { call, voip } => (abi::ACT_RING, Some(call.as_str()), *voip),
        Act::Remove => (abi::ACT_REMOVE, None, false),
    };
    abi::Message {
        struct_size: size_of::<abi::Message>(),
        id: texts.id.as_str(),
        app: Str::new(message.app.as_str()),
        title: Str::new(message.title.expose()),
        content: Str::new(message.content.expose()),
        payload: secret(&message.payload),
        image: secret(&message.image),
        link: secret(&message.link),
        collapse_key: Str::from_option(message.collapse_key.as_deref()),
        thread: Str::from_option(message.thread.as_deref()),
        category: Str::from_option(message.category.as_deref()),
        overrides: Str::from_option(texts.overrides.as_deref()),
        created_at_ms: message.created_at.as_millis(),
        expires_at_ms: message.expires_at().as_millis(),
        ttl_s: message.ttl.as_secs(),
        badge: message.badge.map_or(-1, i64::from),
        priority: match message.priority {
            Priority::High => abi::PRIORITY_HIGH,
            Priority::Normal => abi::PRIORITY_NORMAL,
            Priority::Low => abi::PRIORITY_LOW,
        },
        silent: message.silent.into(),
        // The same text as `Message::tag`, borrowed.
        tag: message.collapse_key.as_deref().map_or(texts.id.as_str(), Str::new),
        call: Str::from_option(call),
        act,
        voip: voip.into(),
    }
}

/// Calls `call` with the C struct of a delivery, which is valid during the call.
pub(crate) fn with_delivery<T>(
    delivery: &Delivery,
    deadline: Timestamp,
    call: impl FnOnce(&abi::Delivery) -> T,
) -> T {
    let id = Id::new(delivery.id);
    let (single, several): ([abi::Target; 1], Vec<abi::Target>);
    // Most deliveries have one target, which needs no allocation.
    let targets = if let [target] = delivery.targets.as_slice() {
        single = [raw_target(target)];
        &single[..]
    } else {
        several = delivery.targets.iter().map(raw_target).collect();
        &several
    };
    let (single_pointer, several_pointers): ([*const abi::Target; 1], Vec<*const abi::Target>);
    let pointers = if let [target] = targets {
        single_pointer = [std::ptr::from_ref(target)];
        &single_pointer[..]
    } else {
        several_pointers = targets.iter().map(std::ptr::from_ref).collect();
        &several_pointers
    };
    with_message(&delivery.message, |message| {
        call(&abi::Delivery {
            struct_size: size_of::<abi::Delivery>(),
            id: id.as_str(),
            message,
            targets: pointers.as_ptr(),
            target_count: pointers.len(),
            deadline_ms: deadline.as_millis(),
            attempt: delivery.attempt,
            reserved: 0,
        })
    })
}

fn raw_target(target: &Target) -> abi::Target {
    abi::Target {
        struct_size: size_of::<abi::Target>(),
        token: Str::new(target.address.token.expose()),
        device: Str::from_option(target.device.as_ref().map(|device| device.as_str())),
        user: Str::from_option(target.user.as_ref().map(|user| user.as_str())),
        kind: match target.address.kind {
            TokenKind::Token => abi::TOKEN,
            TokenKind::Fid => abi::FID,
            TokenKind::Subscription => abi::SUBSCRIPTION,
            // Unreachable: no capability of a plugin includes VoIP tokens.
            TokenKind::Voip => 0,
        },
        index: target.index,
    }
}

/// Copies the outcomes that a plugin passes to `complete`.
///
/// # Safety
/// `outcomes` is null or points to `count` structs of the size that the first one states. Their texts are as the contract
/// demands.
pub(crate) unsafe fn read_outcomes(outcomes: *const abi::Outcome, count: usize) -> CallResult {
    if outcomes.is_null() || !outcomes.is_aligned() {
        return Err(Misuse::NoOutcomes);
    }
    // SAFETY: the pointer is not null, and every version of the struct begins with its size.
    let stride = unsafe { (*outcomes).struct_size };
    let minimum = size_of::<abi::Outcome>();
    if !(minimum..=MAX_STRUCT).contains(&stride) || stride % align_of::<abi::Outcome>() != 0 {
        return Err(Misuse::NoOutcomes);
    }
    let mut completion =
        Completion { outcomes: Vec::with_capacity(count), expires_at: None, is_pause_cut: false };
    for i in 0..count {
        // SAFETY: the caller guarantees `count` structs of `stride` bytes, and each begins with an `abi::Outcome`.
        let raw = unsafe { *outcomes.byte_add(i * stride) };
        // SAFETY: the caller guarantees that the texts are valid for the call.
        completion.outcomes.push(match unsafe { read_outcome(&raw) } {
            Outcome::Failed(fault) => {
                let Bounded { value: fault, is_pause_cut } = bounded(fault);
                completion.is_pause_cut |= is_pause_cut;
                Outcome::Failed(fault)
            }
            other => other,
        });
        completion.expires_at = (raw.expires_at_ms > 0).then(|| Timestamp::from_millis(raw.expires_at_ms));
    }
    Ok(completion)
}

/// # Safety
/// The texts are as the contract demands.
unsafe fn read_outcome(raw: &abi::Outcome) -> Outcome {
    // SAFETY: the caller guarantees valid texts.
    let vendor_id = unsafe { raw.vendor_id.text(MAX_ID) };
    match raw.code {
        abi::ACCEPTED => Outcome::Accepted { vendor_id },
        // SAFETY: as above.
        abi::REPLACED => match unsafe { raw.token.text(Address::MAX_TOKEN) } {
            Some(token) if !token.is_empty() => Outcome::Replaced { vendor_id, token: token.into() },
            _ => Outcome::Failed(Fault::new(
                Kind::Bug,
                "the plugin reported a replaced token without the new token",
            )),
        },
        // SAFETY: as above.
        code => Outcome::Failed(unsafe { read_fault(raw, code) }),
    }
}

/// # Safety
/// The texts are as the contract demands.
unsafe fn read_fault(raw: &abi::Outcome, code: u32) -> Fault {
    let Some(kind) = kind(code) else {
        let detail = match code {
            abi::OUTCOME_UNSET => "the plugin left an outcome unset".to_owned(),
            other => format!("the plugin reported outcome {other}, which this gateway does not know"),
        };
        return Fault::new(Kind::Bug, detail);
    };
    // SAFETY: as above.
    let detail = unsafe { raw.detail.text(Fault::MAX_DETAIL) }.unwrap_or_default();
    let mut fault = Fault::new(kind, detail);
    fault.retry_after = (raw.retry_after_ms > 0).then(|| Duration::from_millis(raw.retry_after_ms));
    fault.since = (raw.since_ms > 0).then(|| Timestamp::from_millis(raw.since_ms));
    // SAFETY: as above.
    fault.vendor_code = unsafe { raw.vendor_code.text(MAX_ID) };
    if raw.scope == abi::SCOPE_LANE { fault.of_lane() } else { fault }
}

const fn kind(code: u32) -> Option<Kind> {
    Some(match code {
        abi::BAD_MESSAGE => Kind::BadMessage,
        abi::TOO_LARGE => Kind::TooLarge,
        abi::TOKEN_GONE => Kind::TokenGone,
        abi::TOKEN_MUTED => Kind::TokenMuted,
        abi::WRONG_APP => Kind::WrongApp,
        abi::AUTH_EXPIRED => Kind::AuthExpired,
        abi::CREDENTIALS => Kind::Credentials,
        abi::THROTTLED => Kind::Throttled,
        abi::QUOTA => Kind::Quota,
        abi::VENDOR_DOWN => Kind::VendorDown,
        abi::TIMEOUT => Kind::Timeout,
        abi::UNREACHABLE => Kind::Unreachable,
        abi::EXPIRED => Kind::Expired,
        abi::UNSUPPORTED => Kind::Unsupported,
        abi::BUG => Kind::Bug,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_that_a_plugin_may_report_has_its_number() {
        let kinds: std::collections::BTreeSet<_> = (0..1000).filter_map(kind).collect();
        // Only the gateway itself knows that a message was revoked, that the queue cannot decode it, or that a plugin does
        // not run.
        let internal = [Kind::Revoked, Kind::Quarantined, Kind::ChannelDown];
        assert_eq!(kinds, Kind::ALL.into_iter().filter(|kind| !internal.contains(kind)).collect());
    }

    #[test]
    fn the_tag_of_the_c_struct_is_the_messages_own() {
        let mut message = pushgate_kit::sample::message();
        for key in [None, Some("upd8".to_owned())] {
            message.collapse_key = key;
            with_message(&message, |raw| {
                // SAFETY: the texts are valid during the call.
                let (tag, id) = unsafe { (raw.tag.text(100), raw.id.text(100)) };
                assert_eq!((tag, id), (Some(message.tag()), Some(message.id.to_string())));
            });
        }
    }

    fn raw(code: u32) -> abi::Outcome {
        abi::Outcome {
            struct_size: size_of::<abi::Outcome>(),
            vendor_id: Str::NONE,
            token: Str::NONE,
            vendor_code: Str::NONE,
            detail: Str::NONE,
            retry_after_ms: 0,
            since_ms: 0,
            expires_at_ms: 0,
            code,
            scope: 0,
        }
    }

    #[test]
    fn an_unset_outcome_is_a_bug_and_not_an_acceptance() {
        // SAFETY: the struct has no texts.
        let outcome = unsafe { read_outcome(&raw(abi::OUTCOME_UNSET)) };
        assert_eq!(outcome.fault().map(|fault| fault.kind), Some(Kind::Bug));
        // SAFETY: as above.
        let outcome = unsafe { read_outcome(&raw(abi::REPLACED)) };
        assert_eq!(outcome.fault().map(|fault| fault.kind), Some(Kind::Bug), "replaced without a new token");
    }

    #[test]
    fn outcomes_of_a_later_version_are_read_by_their_own_size() {
        #[repr(C)]
        struct Later(abi::Outcome, [u64; 2]);
        let size = size_of::<Later>();
        let later = |code| Later(abi::Outcome { struct_size: size, ..raw(code) }, [u64::MAX; 2]);
        let outcomes = [later(abi::ACCEPTED), later(abi::TOKEN_GONE)];
        // SAFETY: two structs of the size that they state.
        let completion = unsafe { read_outcomes(outcomes.as_ptr().cast(), 2) }.unwrap();
        assert_eq!(completion.outcomes[1].fault().map(|fault| fault.kind), Some(Kind::TokenGone));
    }

    #[test]
    fn a_requested_pause_of_more_than_a_day_is_cut_and_reported() {
        let endless =
            abi::Outcome { retry_after_ms: u64::MAX, scope: abi::SCOPE_LANE, ..raw(abi::THROTTLED) };
        // SAFETY: one struct of the size that it states.
        let completion = unsafe { read_outcomes(&raw const endless, 1) }.unwrap();
        assert_eq!(completion.outcomes[0].fault().unwrap().retry_after, Some(crate::bounds::MAX_RETRY_AFTER));
        assert!(completion.is_pause_cut, "the cut is reported");
    }

    #[test]
    fn outcomes_of_an_impossible_size_are_not_read() {
        // SAFETY: null is allowed.
        assert_eq!(unsafe { read_outcomes(std::ptr::null(), 1) }, Err(Misuse::NoOutcomes));
        for size in [0, 8, size_of::<abi::Outcome>() - 8, size_of::<abi::Outcome>() + 1, 1 << 20] {
            let outcome = abi::Outcome { struct_size: size, ..raw(abi::ACCEPTED) };
            // SAFETY: one struct, which is not read because of its wrong size.
            assert_eq!(unsafe { read_outcomes(&raw const outcome, 1) }, Err(Misuse::NoOutcomes), "{size}");
        }
    }
}
