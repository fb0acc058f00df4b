//! Checks that files, tests and promises named in the documents exist.

use std::collections::BTreeSet;

use super::{files, read, root, shown};

#[test]
fn every_file_the_docs_link_to_is_there() {
    for path in files(&root(), ".md") {
        for link in read(&path).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let link = link.split('#').next().unwrap_or_default();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = path.parent().unwrap().join(link);
            assert!(target.exists(), "{} links to {link}, which is not there", shown(&path));
        }
    }
}

/// The functions of the tree, by name.
fn functions() -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut all = BTreeSet::new();
    for path in files(&root(), ".rs") {
        for rest in read(&path).split("fn ").skip(1) {
            all.insert(rest.chars().take_while(|c| is_name(*c)).collect());
        }
    }
    all
}

/// Words in backquotes that can only be the name of a test: four words and more. An ellipsis stands for the rest of it.
fn tests_named_in(text: &str) -> Vec<&str> {
    let is_test = |word: &&str| {
        let name = word.trim_end_matches('…');
        name.matches('_').count() >= 3
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

#[test]
fn every_test_the_docs_name_is_there() {
    let functions = functions();
    for path in files(&root(), ".md") {
        let text = read(&path);
        for name in tests_named_in(&text) {
            let found = match name.strip_suffix('…') {
                Some(beginning) => functions.iter().any(|function| function.starts_with(beginning)),
                None => functions.contains(name),
            };
            assert!(found, "{} names the test {name}, which is not there", shown(&path));
        }
    }
}

#[test]
fn every_promise_of_the_suite_is_a_test_of_every_channel_and_a_rule_of_the_spec() {
    let suite = root().join("tests/kit/src/conformance");
    let promised: BTreeSet<String> = files(&suite, ".rs")
        .iter()
        .flat_map(|path| {
            let text = read(path);
            let names = text.split("\npub fn ").skip(1).filter_map(|rest| rest.split_once("<S: Subject>"));
            names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let listed = read(&suite.join("mod.rs"));
    let (_, listed) = listed.split_once("macro_rules! conformance").unwrap();
    let spec = read(&root().join("docs/channel-spec.md"));
    let ruled: BTreeSet<_> = tests_named_in(&spec).into_iter().collect();
    assert!(promised.len() > 20, "the suite has shrunk: {promised:?}");
    for promise in &promised {
        let is_listed =
            listed.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == promise);
        assert!(is_listed, "{promise} is in no list of `conformance!`");
        assert!(ruled.contains(promise.as_str()), "{promise} is no rule of docs/channel-spec.md");
    }
}

#[test]
fn every_decision_record_has_a_number_of_its_own_a_status_and_a_date() {
    let mut numbers = BTreeSet::new();
    for path in files(&root().join("docs/decisions"), ".md") {
        let text = read(&path);
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.get(..4)).unwrap();
        assert!(
            text.starts_with(&format!("# {number} ")),
            "{} has another number in its title",
            shown(&path)
        );
        assert!(numbers.insert(number.to_owned()), "{} has the number of another record", shown(&path));
        let field = |name: &str| text.lines().take(6).find_map(|line| line.strip_prefix(name));
        let status = field("- Status: ").unwrap_or_default();
        let is_known = ["accepted", "proposed"].contains(&status) || status.starts_with("superseded by ");
        assert!(is_known, "{}: `- Status: accepted`, `proposed` or `superseded by NNNN`", shown(&path));
        let date = field("- Date: ").unwrap_or_default();
        let is_date = date.len() == 10 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        assert!(is_date, "{}: `- Date: YYYY-MM-DD`, the day it was decided", shown(&path));
    }
    assert!(numbers.len() > 10, "the records have moved: {numbers:?}");
}
