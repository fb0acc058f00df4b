//! Helpers to read the HTTP response of a push service: requested delay, date, and text that is safe to log.
//! Pure. A response is untrusted input: it may come from anybody between the gateway and the push service.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::fault::Fault;
use crate::timestamp::Timestamp;

/// Maximum length of a quoted text of a push service, in characters.
pub const MAX_QUOTE_CHARS: usize = 200;

/// Returns a text of a push service in a form that is safe to log.
///
/// The result is one line of at most [`MAX_QUOTE_CHARS`] characters without control characters. Each text in `private` is
/// replaced by `…`, also where it is escaped as in JSON. Private texts shorter than four bytes stay.
#[must_use]
pub fn safe_quote(text: &str, private: &[&str]) -> String {
    // In this order: characters that could hide a private text, then the private texts, then the length. Cutting first
    // could leave half of a private text, which would no longer be found.
    let mut text = visible(text);
    // Shorter texts are no secrets, and replacing them would make every quote unreadable.
    for word in private.iter().filter(|word| word.len() >= 4) {
        let escaped = serde_json::Value::from(*word).to_string();
        let escaped = escaped.trim_start_matches('"').trim_end_matches('"');
        for form in [visible(word), visible(escaped)].iter().filter(|form| !form.trim().is_empty()) {
            text = text.replace(form.as_str(), "…");
        }
    }
    text.trim().chars().take(MAX_QUOTE_CHARS).collect()
}

/// Removes control characters, and the Unicode marks that hide text or change its direction in a terminal.
fn visible(text: &str) -> String {
    let visible_char = |c| match c {
        '\n' | '\t' => Some(' '),
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => None,
        c => Some(c).filter(|c| !c.is_control()),
    };
    text.chars().filter_map(visible_char).collect()
}

/// Returns the delay of the `Retry-After` header, in seconds or as a date (RFC 9110 §10.2.3), at most
/// [`Fault::MAX_RETRY_AFTER`]. A date in the past gives zero. `None` means that there is no valid header.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    seconds(text).or_else(|| Some(date(headers, &RETRY_AFTER)?.since(now).min(Fault::MAX_RETRY_AFTER)))
}

/// Returns the date in a header (RFC 9110 §5.6.7). `None` means that the header is missing or no date.
#[must_use]
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    let date = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    Some(Timestamp::from_millis(date.unix_timestamp().saturating_mul(1000)))
}

/// Maximum clock difference that push services tolerate in signed tokens.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// Returns advice if this machine's clock differs from the push service's date by more than five minutes. `None` means
/// that the clock is right or the response has no date. A wrong clock is the most frequent reason for a refused token.
#[must_use]
pub fn clock_advice(headers: &HeaderMap, now: Timestamp) -> Option<String> {
    let service_time = date(headers, &DATE)?;
    let skew = service_time.since(now).max(now.since(service_time));
    let side = if service_time > now { "behind" } else { "ahead of" };
    (skew > MAX_SKEW)
        .then(|| format!("this machine's clock is {} s {side} the service's: set it right", skew.as_secs()))
}

/// Parses a number of seconds, with or without a fraction, rounded up: a retry must not be earlier than requested.
/// `None` means that the text is no such number. At most [`Fault::MAX_RETRY_AFTER`].
#[must_use]
pub fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // More digits than a u64 holds mean a long delay.
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let round_up = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(Duration::from_secs(whole.saturating_add(round_up)).min(Fault::MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let wish = |value: &'static str| {
            let value = http::HeaderValue::from_static(value);
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]), NOW)
        };
        assert_eq!(wish("120"), Some(Duration::from_secs(120)));
        assert_eq!(wish("0.5"), Some(Duration::from_secs(1)));
        assert_eq!(wish("7200"), Some(Duration::from_secs(7200)), "hours are believed");
        assert_eq!(wish("Wed, 15 Nov 2023 01:13:20 GMT"), Some(Duration::from_secs(3 * 3600)));
        assert_eq!(wish("Tue, 14 Nov 2023 22:15:20 GMT"), Some(Duration::from_secs(120)));
        assert_eq!(wish("Tue, 14 Nov 2023 22:11:20 GMT"), Some(Duration::ZERO));
        assert_eq!(wish("99999999999999999999999"), Some(Fault::MAX_RETRY_AFTER));
        assert_eq!(wish("Tue, 14 Nov 2090 22:11:20 GMT"), Some(Fault::MAX_RETRY_AFTER));
        for nonsense in ["-5", "soon", "", "5x", "."] {
            assert_eq!(wish(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_quote_is_one_short_line_without_private_texts() {
        let text = "bad: the-to\u{0}ken-\u{200b}itself\r\n«a title» \u{1b}[31m\u{202e}";
        assert_eq!(safe_quote(text, &["the-token-itself", "a title"]), "bad: … «…» [31m");
        // A private text is found although it holds such marks itself, or was escaped by the push service.
        assert_eq!(safe_quote("no «a\u{200d}b  c»", &["a\u{200d}b\n\nc"]), "no «…»");
        assert_eq!(safe_quote(r#"no {\"a\":1}"#, &[r#"{"a":1}"#]), "no …");
        // The cut comes last, so that no part of a token is left at the end.
        let long = format!("{}the-token-itself", "x".repeat(MAX_QUOTE_CHARS - 5));
        assert!(!safe_quote(&long, &["the-token-itself"]).contains("the-"));
    }
}
