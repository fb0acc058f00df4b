//! Limits on the data that passes between the gateway and a plugin, in process and in a child process.

use std::time::Duration;

use pushgate::{Fault, Kind, Message, Request, Secret};
use serde_json::Value;

/// Maximum pause that a plugin may request. A longer one would stop a lane for good.
pub(crate) const MAX_RETRY_AFTER: Duration = Fault::MAX_RETRY_AFTER;
/// Maximum nesting of native options. JSON parsers usually stop at 128 levels, and a plugin nests the options a few levels
/// deeper in its requests.
pub(crate) const MAX_DEPTH: usize = 100;
/// Maximum length of a vendor's id or error code, in bytes. Longer ones are cut.
pub(crate) const MAX_ID: usize = 512;

/// Maximum memory of the concurrent requests of one child, in bytes. Suffices for 1,024 requests with the default response
/// limit. The child queues requests beyond it, and the parent refuses them.
pub(crate) const MAX_REQUEST_BYTES: usize = 128 * 1024 * 1024;
/// Minimum cost of a request, in bytes: its task and its share of the connection's state.
const MIN_COST: usize = 1024;

/// Returns the maximum memory of a request, in bytes: its own size and the longest response that it accepts.
pub(crate) fn cost(request: &Request) -> u32 {
    let headers: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let path = request.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let own = request.body.len() + path + headers;
    let cost = own.saturating_add(request.max_answer).clamp(MIN_COST, MAX_REQUEST_BYTES);
    u32::try_from(cost).unwrap_or(u32::MAX)
}

/// Returns the fault of a message that no plugin can receive. `None` means that plugins can receive it.
pub(crate) fn refusal(message: &Message) -> Option<Fault> {
    is_too_deep(message).then(|| {
        let detail = format!("the overrides are nested deeper than {MAX_DEPTH} levels; nest them less");
        Fault::new(Kind::BadMessage, detail)
    })
}

fn is_too_deep(message: &Message) -> bool {
    message.overrides.as_ref().is_some_and(|overrides| is_deeper_than(MAX_DEPTH, overrides))
}

/// Walks level by level. Recursion over a deep value would overflow the stack and end the process.
fn is_deeper_than(limit: usize, value: &Value) -> bool {
    let mut level = vec![value];
    for _ in 0..=limit {
        let mut below = Vec::new();
        for value in level {
            match value {
                Value::Array(values) => below.extend(values),
                Value::Object(fields) => below.extend(fields.values()),
                _ => {}
            }
        }
        level = below;
    }
    !level.is_empty()
}

/// Returns the estimated size of the rendered message, in bytes, for when the plugin does not report it. Counts every text
/// as JSON, without field names.
pub(crate) fn estimated_size(message: &Message) -> usize {
    let length = |text: &str| serde_json::to_string(text).map_or(text.len(), |json| json.len());
    let secret = |text: &Option<Secret>| text.as_ref().map_or(0, |text| length(text.expose()));
    let plain = |text: &Option<String>| text.as_deref().map_or(0, length);
    let overrides = message.overrides.as_ref().filter(|_| !is_too_deep(message));
    length(message.title.expose())
        + length(message.content.expose())
        + secret(&message.payload)
        + secret(&message.image)
        + secret(&message.link)
        + plain(&message.collapse_key)
        + plain(&message.thread)
        + plain(&message.category)
        + overrides.map_or(0, |overrides| overrides.to_string().len())
}

/// Value that was reduced to its limits.
#[derive(Debug, PartialEq)]
pub(crate) struct Bounded<T> {
    pub(crate) value: T,
    /// `true` if a requested pause exceeded [`MAX_RETRY_AFTER`] and was cut.
    pub(crate) is_pause_cut: bool,
}

/// Returns the fault with its texts and its pause reduced to their limits.
pub(crate) fn bounded(mut fault: Fault) -> Bounded<Fault> {
    let is_pause_cut = fault.retry_after.is_some_and(|wait| wait > MAX_RETRY_AFTER);
    fault.retry_after = fault.retry_after.map(|wait| wait.min(MAX_RETRY_AFTER));
    fault.detail = Fault::new(fault.kind, fault.detail).detail;
    fault.vendor_code = fault.vendor_code.map(bounded_id);
    // Only the gateway revokes messages, sets rows aside, and knows whether a plugin runs. A plugin that reports it is wrong.
    if matches!(fault.kind, Kind::Revoked | Kind::Quarantined | Kind::ChannelDown) {
        fault.kind = Kind::Bug;
    }
    Bounded { value: fault, is_pause_cut }
}

/// Returns a vendor's id or error code, cut to [`MAX_ID`] at a character boundary.
pub(crate) fn bounded_id(mut id: String) -> String {
    let end = (0..=MAX_ID.min(id.len())).rev().find(|&end| id.is_char_boundary(end)).unwrap_or(0);
    id.truncate(end);
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |below, level| match level % 2 {
            0 => Value::Array(vec![below]),
            _ => Value::Object([("a".to_owned(), below)].into_iter().collect()),
        })
    }

    #[test]
    fn a_value_is_too_deep_beyond_the_limit_and_not_at_it() {
        assert!(!is_deeper_than(MAX_DEPTH, &nested(MAX_DEPTH)));
        assert!(is_deeper_than(MAX_DEPTH, &nested(MAX_DEPTH + 1)));
        assert!(!is_deeper_than(MAX_DEPTH, &json!("text")));
    }

    #[test]
    fn a_faults_pause_texts_and_kind_are_reduced_to_the_limits() {
        // Built field by field, as a child may send it: `Fault::retry_after` has a limit of its own.
        let retry_after = Some(Duration::MAX);
        let endless = Fault { retry_after, ..Fault::new(Kind::Throttled, "x").with_code("é".repeat(1000)) };
        let Bounded { value: fault, is_pause_cut } = bounded(endless);
        assert_eq!((fault.retry_after, is_pause_cut), (Some(MAX_RETRY_AFTER), true));
        assert_eq!(fault.vendor_code.unwrap().len(), MAX_ID);
        for kind in [Kind::Revoked, Kind::Quarantined, Kind::ChannelDown] {
            assert_eq!(
                bounded(Fault::new(kind, "")).value.kind,
                Kind::Bug,
                "{kind:?} is the gateway's to report"
            );
        }
        let long = Fault { detail: "x".repeat(1 << 20), ..Fault::new(Kind::Revoked, "") };
        let Bounded { value: fault, is_pause_cut } = bounded(long);
        assert_eq!((fault.kind, fault.detail.len(), is_pause_cut), (Kind::Bug, Fault::MAX_DETAIL, false));
    }

    #[test]
    fn the_estimate_counts_every_text_as_it_is_written_in_json() {
        let mut message = pushgate_kit::sample::message();
        let before = estimated_size(&message);
        message.link = Some("\u{1}\"".into());
        assert_eq!(estimated_size(&message), before + r#""\u0001\"""#.len() - link_of_the_sample());
        message.overrides = Some(nested(100_000));
        assert!(refusal(&message).is_some() && estimated_size(&message) > 0);
        // Taken apart level by level: dropping the whole value would recurse as deep.
        let mut rest = message.overrides.take().unwrap();
        while let Some(below) = match rest {
            Value::Array(mut values) => values.pop(),
            Value::Object(mut fields) => fields.remove("a"),
            _ => None,
        } {
            rest = below;
        }
    }

    fn link_of_the_sample() -> usize {
        let sample = pushgate_kit::sample::message();
        sample.link.map_or(0, |link| serde_json::to_string(link.expose()).unwrap().len())
    }
}
