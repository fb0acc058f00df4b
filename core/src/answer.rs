//! What any vendor's answer is read with: how long to wait, when it was written, and which of its words may be quoted.
//! Pure. Believes nothing: an answer may come from anybody on the way.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::fault::Fault;
use crate::words::Timestamp;

/// The longest vendor's text quoted, in characters.
pub const LONGEST_QUOTE: usize = 200;

/// A stranger's text as it may be logged: one line, bounded, without control characters and without what is private,
/// be it written plainly or as JSON escapes it.
#[must_use]
pub fn safe(text: &str, private: &[&str]) -> String {
    // First the characters that could hide a private word, then the words, then the length, which could leave half of one.
    let mut text = visible(text);
    // Shorter words are no secret, and blanking them would tear every text apart.
    for word in private.iter().filter(|word| word.len() >= 4) {
        let escaped = serde_json::Value::from(*word).to_string();
        let escaped = escaped.trim_start_matches('"').trim_end_matches('"');
        for form in [visible(word), visible(escaped)].iter().filter(|form| !form.trim().is_empty()) {
            text = text.replace(form.as_str(), "…");
        }
    }
    text.trim().chars().take(LONGEST_QUOTE).collect()
}

/// Without control characters and without the marks that turn or hide a text in a terminal.
fn visible(text: &str) -> String {
    let seen = |c| match c {
        '\n' | '\t' => Some(' '),
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => None,
        c => Some(c).filter(|c| !c.is_control()),
    };
    text.chars().filter_map(seen).collect()
}

/// Retry-After in seconds or as a date (RFC 9110 §10.2.3). What is neither, or negative, is no wish.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    seconds(text).or_else(|| Some(date(headers, &RETRY_AFTER)?.since(now).min(Fault::MAX_RETRY_AFTER)))
}

/// The date in a header, as HTTP writes it (RFC 9110 §5.6.7).
#[must_use]
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    let date = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    Some(Timestamp::from_millis(date.unix_timestamp().saturating_mul(1000)))
}

/// Clocks that differ by more than this spoil tokens.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// Returns advice if this machine's clock is wrong, measured by the push service's date. A token that is refused is most
/// often refused for that reason.
#[must_use]
pub fn clock_advice(headers: &HeaderMap, now: Timestamp) -> Option<String> {
    let theirs = date(headers, &DATE)?;
    let off = theirs.since(now).max(now.since(theirs));
    let side = if theirs > now { "behind" } else { "ahead of" };
    (off > MAX_SKEW)
        .then(|| format!("this machine's clock is {} s {side} the service's: set it right", off.as_secs()))
}

/// Seconds, with or without a fraction, rounded up: earlier than asked is too early.
#[must_use]
pub fn seconds(text: &str) -> Option<Duration> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(rest) {
        return None;
    }
    // Too many digits for a number is a long time, too.
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let part = u64::from(rest.bytes().any(|digit| digit != b'0'));
    Some(Duration::from_secs(whole.saturating_add(part)).min(Fault::MAX_RETRY_AFTER))
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
    fn what_is_quoted_is_one_short_line_without_private_words_and_marks_that_hide_them() {
        let told = "bad: the-to\u{0}ken-\u{200b}itself\r\n«a title» \u{1b}[31m\u{202e}";
        assert_eq!(safe(told, &["the-token-itself", "a title"]), "bad: … «…» [31m");
        // A word with such marks in it, and one that was escaped on the way, are the same words still.
        assert_eq!(safe("no «a\u{200d}b  c»", &["a\u{200d}b\n\nc"]), "no «…»");
        assert_eq!(safe(r#"no {\"a\":1}"#, &[r#"{"a":1}"#]), "no …");
        // Cut last: half a token is a part of a token.
        let long = format!("{}the-token-itself", "x".repeat(LONGEST_QUOTE - 5));
        assert!(!safe(&long, &["the-token-itself"]).contains("the-"));
    }
}
