//! The acceptance list of docs/zpns.md: each of its lines is held by a test that bears its number, and in Rust by one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{files, read, root, shown};

/// The numbers of the list's lines.
fn lines() -> Vec<u32> {
    let text = read(&root().join("docs/zpns.md"));
    text.lines().filter_map(|line| line.split_once(". ")?.0.parse().ok()).collect()
}

/// The tests that bear a line's number: `fn zpns_07_…` in Rust, a title that begins so elsewhere. With the file of each.
fn numbered(ending: &str, before: &[&str]) -> Vec<(u32, String)> {
    let of_file = |path: PathBuf| {
        let text = read(&path);
        let numbers: Vec<_> = before.iter().flat_map(|before| numbers(&text, before)).collect();
        numbers.into_iter().map(move |number| (number, shown(&path)))
    };
    files(&root(), ending).into_iter().flat_map(of_file).collect()
}

fn numbers(text: &str, before: &str) -> Vec<u32> {
    let beginning = format!("{before}zpns_");
    let named = text.split(&beginning).skip(1);
    named.filter_map(|rest| rest.split_once('_')?.0.parse().ok()).collect()
}

const TITLES: [&str; 3] = ["\"", "'", "`"];
const FUNCTIONS: [&str; 2] = ["\nfn ", "\nasync fn "];
const FUNCTIONS_INSIDE: [&str; 2] = ["    fn ", "    async fn "];

fn in_rust() -> Vec<(u32, String)> {
    numbered(".rs", &[FUNCTIONS, FUNCTIONS_INSIDE].concat())
}

#[test]
fn every_line_of_the_acceptance_list_is_held_by_a_test_of_its_number() {
    let lines = lines();
    assert!(lines.len() >= 65 && lines.iter().copied().eq(1..=lines[lines.len() - 1]), "{lines:?}");
    let scripts = [".mjs", ".js", ".ts"].map(|ending| numbered(ending, &TITLES)).concat();
    let held: BTreeSet<u32> = in_rust().iter().chain(&scripts).map(|(line, _)| *line).collect();
    let missing: Vec<_> = lines.iter().filter(|line| !held.contains(line)).collect();
    assert!(missing.is_empty(), "no test begins with zpns_ and the number of these lines: {missing:?}");
    assert!(held.iter().all(|line| lines.contains(line)), "there is no such line: {held:?}");
}

#[test]
fn no_line_of_the_acceptance_list_is_held_by_two_tests_in_rust() {
    let mut by_line: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (line, file) in in_rust() {
        by_line.entry(line).or_default().push(file);
    }
    let twice: Vec<_> = by_line.into_iter().filter(|(_, held)| held.len() > 1).collect();
    assert!(twice.is_empty(), "a line is one promise, and one test: {twice:?}");
}
