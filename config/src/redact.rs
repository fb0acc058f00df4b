//! Cuts the values of a section out of a text that others wrote, so that a channel's error cannot carry a secret on.

use figment::value::Value;

/// A text of fewer letters is no secret, and cutting it would leave holes in plain words.
const SHORTEST: usize = 4;

/// The message without the texts of `value`: without any line of them, and without anything in quotes that is a part
/// of them.
pub(crate) fn scrub(message: &str, value: &Value) -> String {
    let mut texts = Vec::new();
    collect(value, &mut texts);
    let mut lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).map(str::trim).collect();
    lines.retain(|line| line.len() >= SHORTEST);
    // The longest first: a short one may be a part of it.
    lines.sort_by_key(|line| std::cmp::Reverse(line.len()));
    let cut = lines.iter().fold(message.to_owned(), |message, line| message.replace(line, "…"));
    ['"', '\'', '`'].iter().fold(cut, |message, quote| without_quoted(&message, *quote, &texts))
}

/// A parser that meets a secret inside a value (JSON in a text, say) quotes a part of it.
fn without_quoted(message: &str, quote: char, texts: &[&str]) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(quote) {
        let Some((quoted, behind)) = after.split_once(quote) else { break };
        let leaks = quoted.len() >= SHORTEST && texts.iter().any(|text| text.contains(quoted));
        out.push_str(before);
        out.push(quote);
        out.push_str(if leaks { "…" } else { quoted });
        out.push(quote);
        rest = behind;
    }
    out + rest
}

fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(_, text) => texts.push(text),
        Value::Dict(_, dict) => dict.values().for_each(|value| collect(value, texts)),
        Value::Array(_, values) => values.iter().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_out_whole_by_line_and_in_quotes() {
        let value = Value::from(vec!["hunter22", "-----BEGIN-----\nMIIEvQ==\n", r#"{"key":"abcdef"}"#]);
        assert_eq!(scrub("hunter22 is no key", &value), "… is no key");
        assert_eq!(scrub("bad line MIIEvQ==", &value), "bad line …");
        assert_eq!(
            scrub(r#"found string "abcdef", missing field `name`"#, &value),
            r#"found string "…", missing field `name`"#
        );
        assert_eq!(scrub("it's 5 o'clock", &value), "it's 5 o'clock");
    }
}
