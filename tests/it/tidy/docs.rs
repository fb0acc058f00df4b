//! What the documents name exists: files, tests, promises.

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
