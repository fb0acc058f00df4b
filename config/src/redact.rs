//! Removes the values of a section from a channel's error message, so that it cannot contain a secret.

use figment::value::Value;

/// Smallest length of a removed text, in bytes. Shorter texts are not secrets, and also occur within words.
const MIN_SECRET: usize = 4;

/// Returns the message without the texts of `value`: without their lines, and without any quoted part of them.
pub(crate) fn scrub(message: &str, value: &Value) -> String {
    let mut texts = Vec::new();
    collect(value, &mut texts);
    let mut lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).map(str::trim).collect();
    lines.retain(|line| line.len() >= MIN_SECRET);
    // The longest first, because a short one may be a part of it.
    lines.sort_by_key(|line| std::cmp::Reverse(line.len()));
    let cut = lines.iter().fold(message.to_owned(), |message, line| message.replace(line, "…"));
    ['"', '\'', '`'].iter().fold(cut, |message, quote| without_quoted(&message, *quote, &texts))
}

/// Removes quoted parts of the texts. A parser of a value, such as JSON in a text, may quote a part of a secret.
fn without_quoted(message: &str, quote: char, texts: &[&str]) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(quote) {
        let Some((quoted, behind)) = after.split_once(quote) else { break };
        let leaks = quoted.len() >= MIN_SECRET && texts.iter().any(|text| text.contains(quoted));
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
