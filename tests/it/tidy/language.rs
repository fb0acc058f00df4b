//! Checks what can be counted of the language of this repository: how doc comments begin, and names that were metaphors.

use super::{files, read, root, shown};

/// Words that begin a fragment rather than a sentence or a noun phrase.
const FRAGMENTS: [&str; 16] = [
    "what",
    "whose",
    "whom",
    "which",
    "of which",
    "of what",
    "until when",
    "from when",
    "under which",
    "for whom",
    "whether",
    "who",
    "where",
    "why",
    "none",
    "those",
];
/// Largest share of doc comments that may begin with a fragment, in percent.
const MAX_FRAGMENTS: usize = 3;
/// Names of types that say nothing to a stranger. Each has a term of the field in its place.
const BANNED: [(&str, &str); 14] = [
    ("Shop", "WorkerContext"),
    ("House", "AppState"),
    ("Recall", "Revalidate"),
    ("Fuse", "PruneGuard"),
    ("Purse", "the kind of credentials"),
    ("Told", "what was recorded"),
    ("Draft", "PlanRequest"),
    ("Question", "PlanRequest"),
    ("Ask", "PlanRequest"),
    ("Lot", "Batch"),
    ("Cut", "Group"),
    ("Chosen", "Route"),
    ("Pace", "Throttle"),
    ("Wish", "RequestedDelay"),
];

/// Returns the first line of every doc comment, with its line number.
fn openers(text: &str) -> Vec<(usize, &str)> {
    let mut is_inside = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        if let Some(comment) = comment.map(str::trim).filter(|comment| !is_inside && !comment.is_empty()) {
            found.push((index + 1, comment));
        }
        is_inside = comment.is_some();
    }
    found
}

fn is_fragment(opener: &str) -> bool {
    let opener = opener.to_lowercase();
    FRAGMENTS.iter().any(|word| {
        opener.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    })
}

#[test]
fn doc_comments_begin_with_a_verb_or_a_noun_phrase() {
    let (mut all, mut fragments) = (0, Vec::new());
    for path in files(&root(), ".rs") {
        for (line, opener) in openers(&read(&path)) {
            all += 1;
            if is_fragment(opener) {
                fragments.push(format!("{}:{line}: {opener}", shown(&path)));
            }
        }
    }
    assert!(all > 4000, "only {all} doc comments were found");
    let count = fragments.len();
    assert!(
        count * 100 < all * MAX_FRAGMENTS,
        "{count} of {all} doc comments begin with a fragment:\n{}",
        fragments.join("\n")
    );
}

#[test]
fn fragments_and_sentences_are_distinguished() {
    for fragment in
        ["What came of it.", "Whose word a token is", "None: whoever takes it", "Until when it lasts"]
    {
        assert!(is_fragment(fragment), "{fragment}");
    }
    for sentence in ["Result of planning.", "Returns the end.", "Nonexistent channel.", "Wholesale price."] {
        assert!(!is_fragment(sentence), "{sentence}");
    }
    assert_eq!(openers("/// One\n/// two\nfn a() {}\n    //! Three"), [(1, "One"), (4, "Three")]);
}

#[test]
fn no_type_is_named_by_a_metaphor() {
    let keywords = ["struct", "enum", "trait", "type"];
    for path in files(&root(), ".rs") {
        for (index, line) in read(&path).lines().enumerate() {
            let words: Vec<_> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            for pair in words.windows(2).filter(|pair| keywords.contains(&pair[0])) {
                let banned = BANNED.iter().find(|(name, _)| *name == pair[1]);
                let place = format!("{}:{}", shown(&path), index + 1);
                assert!(banned.is_none(), "{place}: name it after its content; see {banned:?}");
            }
        }
    }
}
