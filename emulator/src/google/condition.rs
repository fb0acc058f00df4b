//! The `condition` of a message: topics joined by `&&`, `||`, `!` and parentheses, as in
//! `'news' in topics && ('sports' in topics || 'weather' in topics)`. FCM evaluates parentheses first, then from left to right.

use super::topic::is_topic_name;

/// The greatest number of topics in a condition.
const MAX_TOPICS: usize = 5;
/// The deepest nesting that is read. Five topics need none that comes near it.
const MAX_DEPTH: usize = 32;

/// A condition that has been read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Topic(String),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

impl Condition {
    /// Reads a condition. `None` if it is malformed, or names more than five topics.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text, topics: 0, depth: 0 };
        let condition = parser.expression()?;
        parser.rest.trim_start().is_empty().then_some(condition)
    }

    /// Returns `true` if it holds for a device that has subscribed to exactly the topics for which `has` does.
    pub(super) fn holds(&self, has: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Topic(topic) => has(topic),
            Self::Not(inner) => !inner.holds(has),
            Self::And(left, right) => left.holds(has) && right.holds(has),
            Self::Or(left, right) => left.holds(has) || right.holds(has),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    topics: usize,
    depth: usize,
}

impl Parser<'_> {
    /// Operands joined by `&&` and `||`, which bind equally.
    fn expression(&mut self) -> Option<Condition> {
        let mut left = self.operand()?;
        loop {
            let join = if self.takes("&&") {
                Condition::And
            } else if self.takes("||") {
                Condition::Or
            } else {
                return Some(left);
            };
            left = join(Box::new(left), Box::new(self.operand()?));
        }
    }

    fn operand(&mut self) -> Option<Condition> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let operand = if self.takes("!") {
            Condition::Not(Box::new(self.operand()?))
        } else if self.takes("(") {
            let inner = self.expression()?;
            self.takes(")").then_some(inner)?
        } else {
            self.topic()?
        };
        self.depth -= 1;
        Some(operand)
    }

    /// `'name' in topics`.
    fn topic(&mut self) -> Option<Condition> {
        if !self.takes("'") {
            return None;
        }
        let (name, rest) = self.rest.split_once('\'')?;
        self.rest = rest;
        self.topics += 1;
        let is_good =
            is_topic_name(name) && self.topics <= MAX_TOPICS && self.word("in") && self.word("topics");
        is_good.then(|| Condition::Topic(name.to_owned()))
    }

    /// Takes a whole word.
    fn word(&mut self, word: &str) -> bool {
        self.takes(word) && !self.rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Takes a sign after white space, if it is next.
    fn takes(&mut self, sign: &str) -> bool {
        match self.rest.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(condition: &str, topics: &[&str]) -> bool {
        Condition::parse(condition).unwrap().holds(&|topic| topics.contains(&topic))
    }

    #[test]
    fn parentheses_come_first_and_the_rest_from_left_to_right() {
        let nested = "'a' in topics && ('b' in topics || 'c' in topics)";
        assert!(holds(nested, &["a", "c"]));
        assert!(!holds(nested, &["b", "c"]));
        let flat = "'a' in topics || 'b' in topics && 'c' in topics";
        assert!(!holds(flat, &["a"]), "not as C binds: a || (b && c)");
        assert!(holds(flat, &["a", "c"]));
        assert!(holds("!('a' in topics)", &["b"]));
        assert!(!holds("!('a' in topics)&&'b' in topics", &["a", "b"]));
    }

    #[test]
    fn what_is_malformed_or_names_six_topics_is_no_condition() {
        let topics = |count: usize| vec!["'a' in topics"; count].join(" || ");
        assert!(Condition::parse(&topics(5)).is_some());
        let deep = format!("{}'a' in topics{}", "(".repeat(100_000), ")".repeat(100_000));
        for wrong in [
            "",
            "a",
            "'a'",
            "'a' in",
            "'a' in topic",
            "'a' in topicss",
            "a in topics",
            "\"a\" in topics",
            "'a b' in topics",
            "'' in topics",
            "'a in topics",
            "'a' in topics &&",
            "'a' in topics & 'b' in topics",
            "'a' in topics and 'b' in topics",
            "'a' in topics 'b' in topics",
            "('a' in topics",
            "'a' in topics)",
            "!",
            &topics(6),
            &deep,
        ] {
            assert_eq!(Condition::parse(wrong), None, "{}", &wrong[..wrong.len().min(80)]);
        }
    }
}
