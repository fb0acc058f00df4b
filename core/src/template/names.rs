//! Finds unknown filters, tests and functions in a template's source. Rendering would not find them all, because it sees
//! only the branches it takes.

use minijinja::{Environment, ErrorKind};

/// Returns an error text for the first unknown name in the source, with kind, name and line. `None` means that all names
/// are known. `is_undeclared` tells whether nothing in the source declares a variable.
pub(super) fn unknown(
    env: &Environment<'_>,
    source: &str,
    is_undeclared: impl Fn(&str) -> bool,
) -> Option<String> {
    let is_unknown = |expression: String, kind: ErrorKind| {
        let evaluated = env.compile_expression(&expression).and_then(|compiled| compiled.eval(()));
        evaluated.is_err_and(|error| error.kind() == kind)
    };
    let unknown_use = uses(source).into_iter().find(|used| match used.kind {
        Kind::Filter => is_unknown(format!("none|{}", used.name), ErrorKind::UnknownFilter),
        Kind::Test => is_unknown(format!("none is {}", used.name), ErrorKind::UnknownTest),
        Kind::Function => is_undeclared(used.name) && env.globals().all(|(name, _)| name != used.name),
    })?;
    let kind = match unknown_use.kind {
        Kind::Filter => "filter",
        Kind::Test => "test",
        Kind::Function => "function",
    };
    Some(format!("there is no {kind} `{}`, used in line {}", unknown_use.name, unknown_use.line))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Filter,
    Test,
    Function,
}

/// Use of a name in a template.
#[derive(Debug, PartialEq, Eq)]
struct NameUse<'a> {
    kind: Kind,
    name: &'a str,
    line: usize,
}

/// Returns the uses of names in the order of the source.
fn uses(source: &str) -> Vec<NameUse<'_>> {
    let (mut used, mut rest) = (Vec::new(), source);
    while let Some(start) = rest.find('{') {
        let code = &rest[start + 1..];
        rest = match code.bytes().next() {
            Some(b'#') => after(code, "#}"),
            Some(b'{') => expressions(source, &code[1..], "}}", &mut used),
            Some(b'%') if is_raw(&code[1..]) => after(after(code, "endraw"), "%}"),
            Some(b'%') => expressions(source, &code[1..], "%}", &mut used),
            _ => code,
        };
    }
    used
}

fn after<'a>(text: &'a str, end: &str) -> &'a str {
    text.find(end).map_or("", |at| &text[at + end.len()..])
}

fn is_raw(block: &str) -> bool {
    let block = block.trim_start_matches(['-', '+']).trim_start();
    block.strip_prefix("raw").is_some_and(|rest| rest.trim_start_matches(['-', '+', ' ']).starts_with("%}"))
}

/// Collects the uses in one block up to `end`. Returns the text after the block.
fn expressions<'a>(source: &'a str, code: &'a str, end: &str, used: &mut Vec<NameUse<'a>>) -> &'a str {
    // Two tokens before the current one. A string counts as one quotation mark.
    let (mut last, mut before) = ("", "");
    let mut rest = code;
    loop {
        rest = rest.trim_start();
        if let Some(following) = rest.strip_prefix(end) {
            return following;
        }
        let Some(first) = rest.chars().next() else { return "" };
        let length = match first {
            '"' | '\'' => string_length(rest, first),
            _ => word_length(rest).max(first.len_utf8()),
        };
        let token = &rest[..length];
        rest = &rest[length..];
        let is_name = word_length(token) > 0 && !first.is_ascii_digit();
        if let Some(kind) = kind_of(before, last, token, rest).filter(|_| is_name) {
            let line = source[..token.as_ptr() as usize - source.as_ptr() as usize].matches('\n').count() + 1;
            used.push(NameUse { kind, name: token, line });
        }
        (before, last) = (last, if matches!(first, '"' | '\'') { "\"" } else { token });
    }
}

fn kind_of(before: &str, last: &str, token: &str, rest: &str) -> Option<Kind> {
    match (before, last) {
        (_, "|") | ("", "filter") => Some(Kind::Filter),
        (_, "is") if token != "not" => Some(Kind::Test),
        ("is", "not") => Some(Kind::Test),
        (_, last) if last != "." && rest.trim_start().starts_with('(') => Some(Kind::Function),
        _ => None,
    }
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_branch_and_in_no_text() {
        let source = "{# a|b #}{{ 'x|y' }} |z {% raw %}{{ c|d }}{% endraw %}\n{% if a is not odd %}{{ t|upper|trim('}}') }}\n{% else %}{{ f(1) + g.h(2) }}{% endif %}{% filter lower %}X{% endfilter %}";
        let names: Vec<_> = uses(source).into_iter().map(|used| (used.kind, used.name, used.line)).collect();
        let expected = [
            (Kind::Test, "odd", 2),
            (Kind::Filter, "upper", 2),
            (Kind::Filter, "trim", 2),
            (Kind::Function, "f", 3),
            (Kind::Filter, "lower", 3),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_source_that_ends_anywhere_is_read_without_a_panic() {
        let source = "{{ a|'é\\'b' }}{% raw %}é{% endraw %}{# ü #}{% if x is y %}";
        for end in (0..=source.len()).filter(|end| source.is_char_boundary(*end)) {
            uses(&source[..end]);
        }
    }
}
