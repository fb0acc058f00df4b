//! Between core's types and the structs of the interface: borrowed on the way out, copied and bounded on the way in.

use std::fmt::{self, Write as _};
use std::time::Duration;

use pushgate::{
    Act, Address, Delivery, Fault, Kind, Message, Outcome, Priority, Secret, Target, Timestamp, TokenKind,
};
use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

use crate::bounds::{MAX_ID, bounded};
use crate::pending::{Answer, Given};
use crate::telemetry::Misuse;

/// A struct larger than this is no later version but a mistake.
const MOST_STRUCT: usize = 4096;

/// An id as text, without an allocation: there are several in each call.
struct Id {
    bytes: [u8; 40],
    len: usize,
}

impl Id {
    fn of(id: impl fmt::Display) -> Self {
        let mut text = Self { bytes: [0; 40], len: 0 };
        write!(text, "{id}").expect("an id is a UUID, of 36 characters");
        text
    }

    fn lent(&self) -> Str {
        Str::of_bytes(&self.bytes[..self.len])
    }
}

impl fmt::Write for Id {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + piece.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(piece.as_bytes());
        self.len += piece.len();
        Ok(())
    }
}

/// The texts of a message that are made for the call.
struct Texts {
    id: Id,
    overrides: Option<String>,
}

/// Lends a message to `call`.
pub(crate) fn with_message<T>(message: &Message, call: impl FnOnce(&abi::Message) -> T) -> T {
    let texts = Texts {
        id: Id::of(message.id),
        overrides: message.overrides.as_ref().map(serde_json::Value::to_string),
    };
    call(&borrowed(message, &texts))
}

fn borrowed(message: &Message, texts: &Texts) -> abi::Message {
    let secret = |secret: &Option<Secret>| Str::of_option(secret.as_ref().map(Secret::expose));
    let (act, call, voip) = match &message.act {
        Act::Show => (abi::ACT_SHOW, None, false),
        Act::Ring { call, voip } => (abi::ACT_RING, Some(call.as_str()), *voip),
        Act::Remove => (abi::ACT_REMOVE, None, false),
    };
    abi::Message {
        struct_size: size_of::<abi::Message>(),
        id: texts.id.lent(),
        app: Str::of(message.app.as_str()),
        title: Str::of(message.title.expose()),
        content: Str::of(message.content.expose()),
        payload: secret(&message.payload),
        image: secret(&message.image),
        link: secret(&message.link),
        collapse_key: Str::of_option(message.collapse_key.as_deref()),
        thread: Str::of_option(message.thread.as_deref()),
        category: Str::of_option(message.category.as_deref()),
        overrides: Str::of_option(texts.overrides.as_deref()),
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
        // What `Message::tag` gives, borrowed.
        tag: message.collapse_key.as_deref().map_or(texts.id.lent(), Str::of),
        call: Str::of_option(call),
        act,
        voip: voip.into(),
    }
}

/// Lends a delivery to `call`.
pub(crate) fn with_delivery<T>(
    delivery: &Delivery,
    deadline: Timestamp,
    call: impl FnOnce(&abi::Delivery) -> T,
) -> T {
    let id = Id::of(delivery.id);
    let (one, many): ([abi::Target; 1], Vec<abi::Target>);
    // One is what there is as a rule.
    let targets = if let [target] = delivery.targets.as_slice() {
        one = [lent(target)];
        &one[..]
    } else {
        many = delivery.targets.iter().map(lent).collect();
        &many
    };
    let (only, all): ([*const abi::Target; 1], Vec<*const abi::Target>);
    let pointers = if let [target] = targets {
        only = [std::ptr::from_ref(target)];
        &only[..]
    } else {
        all = targets.iter().map(std::ptr::from_ref).collect();
        &all
    };
    with_message(&delivery.message, |message| {
        call(&abi::Delivery {
            struct_size: size_of::<abi::Delivery>(),
            id: id.lent(),
            message,
            targets: pointers.as_ptr(),
            target_count: pointers.len(),
            deadline_ms: deadline.as_millis(),
            attempt: delivery.attempt,
            reserved: 0,
        })
    })
}

fn lent(target: &Target) -> abi::Target {
    abi::Target {
        struct_size: size_of::<abi::Target>(),
        token: Str::of(target.address.token.expose()),
        device: Str::of_option(target.device.as_ref().map(|device| device.as_str())),
        user: Str::of_option(target.user.as_ref().map(|user| user.as_str())),
        kind: match target.address.kind {
            TokenKind::Token => abi::TOKEN,
            TokenKind::Fid => abi::FID,
            TokenKind::Subscription => abi::SUBSCRIPTION,
            // No plugin can say that it takes them, so none is handed one.
            TokenKind::Voip => 0,
        },
        index: target.index,
    }
}

/// Copies what a plugin handed to `complete`.
///
/// # Safety
/// `outcomes` is null, or `count` structs lie behind it, each as long as the first says, with texts as the contract says.
pub(crate) unsafe fn outcomes(outcomes: *const abi::Outcome, count: usize) -> Answer {
    if outcomes.is_null() || !outcomes.is_aligned() {
        return Err(Misuse::NoOutcomes);
    }
    // SAFETY: it is not null, and every version of the struct begins with its size.
    let stride = unsafe { (*outcomes).struct_size };
    let ours = size_of::<abi::Outcome>();
    if !(ours..=MOST_STRUCT).contains(&stride) || stride % align_of::<abi::Outcome>() != 0 {
        return Err(Misuse::NoOutcomes);
    }
    let mut given = Given { outcomes: Vec::with_capacity(count), expires_at: None, is_cut: false };
    for i in 0..count {
        // SAFETY: the caller vouches for `count` structs of `stride` bytes; ours is the beginning of each.
        let raw = unsafe { *outcomes.byte_add(i * stride) };
        // SAFETY: its texts are good for the call, the caller says.
        given.outcomes.push(match unsafe { outcome(&raw) } {
            Outcome::Failed(fault) => {
                let (fault, is_cut) = bounded(fault);
                given.is_cut |= is_cut;
                Outcome::Failed(fault)
            }
            other => other,
        });
        given.expires_at = (raw.expires_at_ms > 0).then(|| Timestamp::from_millis(raw.expires_at_ms));
    }
    Ok(given)
}

/// # Safety
/// The texts are as the contract says.
unsafe fn outcome(raw: &abi::Outcome) -> Outcome {
    // SAFETY: the same promise, handed on; also below.
    let vendor_id = unsafe { raw.vendor_id.text(MAX_ID) };
    match raw.code {
        abi::ACCEPTED => Outcome::Accepted { vendor_id },
        // SAFETY: as above.
        abi::REPLACED => match unsafe { raw.token.text(Address::MAX_TOKEN) } {
            Some(token) if !token.is_empty() => Outcome::Replaced { vendor_id, token: token.into() },
            _ => Outcome::Failed(Fault::new(
                Kind::Bug,
                "the plugin said that the token is replaced, and by none",
            )),
        },
        // SAFETY: as above.
        code => Outcome::Failed(unsafe { fault(raw, code) }),
    }
}

/// # Safety
/// The texts are as the contract says.
unsafe fn fault(raw: &abi::Outcome, code: u32) -> Fault {
    let Some(kind) = kind(code) else {
        let detail = match code {
            abi::OUTCOME_UNSET => "the plugin left an outcome unset".to_owned(),
            other => format!("the plugin gave the outcome {other}, which this gateway does not know"),
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
    fn every_kind_of_fault_a_vendor_can_cause_has_its_number() {
        let kinds: std::collections::BTreeSet<_> = (0..1000).filter_map(kind).collect();
        // What was taken back, and what the queue cannot decode, is the gateway's to know.
        let own = [Kind::Revoked, Kind::Quarantined];
        assert_eq!(kinds, Kind::ALL.into_iter().filter(|kind| !own.contains(kind)).collect());
    }

    #[test]
    fn the_tag_that_is_lent_is_the_messages_own() {
        let mut message = pushgate_kit::sample::message();
        for key in [None, Some("upd8".to_owned())] {
            message.collapse_key = key;
            with_message(&message, |lent| {
                // SAFETY: lent for the call.
                let (tag, id) = unsafe { (lent.tag.text(100), lent.id.text(100)) };
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
    fn an_outcome_that_was_forgotten_is_never_an_acceptance() {
        // SAFETY: there is no text in it.
        let read = unsafe { outcome(&raw(abi::OUTCOME_UNSET)) };
        assert_eq!(read.fault().map(|fault| fault.kind), Some(Kind::Bug));
        // SAFETY: as above.
        let read = unsafe { outcome(&raw(abi::REPLACED)) };
        assert_eq!(read.fault().map(|fault| fault.kind), Some(Kind::Bug), "replaced by nothing");
    }

    #[test]
    fn outcomes_of_a_later_version_are_read_by_their_own_size() {
        #[repr(C)]
        struct Later(abi::Outcome, [u64; 2]);
        let size = size_of::<Later>();
        let later = |code| Later(abi::Outcome { struct_size: size, ..raw(code) }, [u64::MAX; 2]);
        let both = [later(abi::ACCEPTED), later(abi::TOKEN_GONE)];
        // SAFETY: two structs of the size they say.
        let read = unsafe { outcomes(both.as_ptr().cast(), 2) }.unwrap();
        assert_eq!(read.outcomes[1].fault().map(|fault| fault.kind), Some(Kind::TokenGone));
    }

    #[test]
    fn the_longest_pause_a_plugin_can_ask_for_is_a_day() {
        let endless =
            abi::Outcome { retry_after_ms: u64::MAX, scope: abi::SCOPE_LANE, ..raw(abi::THROTTLED) };
        // SAFETY: one struct of the size it says.
        let given = unsafe { outcomes(&raw const endless, 1) }.unwrap();
        assert_eq!(given.outcomes[0].fault().unwrap().retry_after, Some(crate::bounds::MAX_RETRY_AFTER));
        assert!(given.is_cut, "and that it was cut is told");
    }

    #[test]
    fn what_cannot_be_outcomes_is_not_read() {
        // SAFETY: null is never read.
        assert_eq!(unsafe { outcomes(std::ptr::null(), 1) }, Err(Misuse::NoOutcomes));
        for size in [0, 8, size_of::<abi::Outcome>() - 8, size_of::<abi::Outcome>() + 1, 1 << 20] {
            let one = abi::Outcome { struct_size: size, ..raw(abi::ACCEPTED) };
            // SAFETY: one struct, which lies about its size.
            assert_eq!(unsafe { outcomes(&raw const one, 1) }, Err(Misuse::NoOutcomes), "{size}");
        }
    }
}
