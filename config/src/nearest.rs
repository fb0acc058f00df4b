//! Finds the known word nearest to an unknown one, for hints in errors.

/// Returns the known word nearest to `word`. `None` if all differ by more than a third of its letters, and more than one.
///
/// Case, `-` and `_` are ignored.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters_of_word = letters(word);
    let limit = (letters_of_word.len() / 3).max(1);
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in known {
        let distance = distance(&letters_of_word, &letters(candidate));
        if distance <= limit && best.is_none_or(|(smallest, _)| distance < smallest) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn letters(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Returns the number of letters to insert, drop, replace or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut cost = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(rows[i - 2][j - 2] + 1);
            }
            row.push(cost);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_word_finds_the_known_one() {
        let known = ["service_account", "endpoint", "project_id"];
        assert_eq!(nearest("servce_account", known), Some("service_account"));
        assert_eq!(nearest("serviceAccount", known), Some("service_account"));
        assert_eq!(nearest("endpiont", known), Some("endpoint"));
        assert_eq!(nearest("projectid", known), Some("project_id"));
    }

    #[test]
    fn a_word_that_resembles_no_known_one_finds_none() {
        assert_eq!(nearest("listen", ["apps", "keys", "log"]), None);
        assert_eq!(nearest("x", ["apps"]), None);
        assert_eq!(nearest("anything", []), None);
    }
}
