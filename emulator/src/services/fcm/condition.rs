//! The `condition` of a message: topics joined by `&&`, `||`, `!` and parentheses. An example is `'news' in topics &&
//! ('sports' in topics || 'weather' in topics)`. FCM evaluates parentheses first, and the rest from left to right.

use super::topics::is_topic_name;

/// Maximum number of topics in a condition.
const MAX_TOPICS: usize = 5;
/// Maximum nesting. Five topics never need this much.
const MAX_DEPTH: usize = 32;

/// Parsed condition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Topic(String),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

impl Condition {
    /// Parses a condition. `None` if it is malformed or names more than five topics.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text, topics: 0, depth: 0 };
        let condition = parser.expression()?;
        parser.rest.trim_start().is_empty().then_some(condition)
    }

    /// Returns `true` if the condition is true for a device. `is_subscribed` tells whether the device is subscribed to
    /// a topic.
    pub(super) fn matches(&self, is_subscribed: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Topic(topic) => is_subscribed(topic),
            Self::Not(inner) => !inner.matches(is_subscribed),
            Self::And(left, right) => left.matches(is_subscribed) && right.matches(is_subscribed),
            Self::Or(left, right) => left.matches(is_subscribed) || right.matches(is_subscribed),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    topics: usize,
    depth: usize,
}

impl Parser<'_> {
    /// Parses operands joined by `&&` and `||`, which have equal precedence.
    fn expression(&mut self) -> Option<Condition> {
        let mut left = self.operand()?;
        loop {
            let combine = if self.take("&&") {
                Condition::And
            } else if self.take("||") {
                Condition::Or
            } else {
                return Some(left);
            };
            left = combine(Box::new(left), Box::new(self.operand()?));
        }
    }

    fn operand(&mut self) -> Option<Condition> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let operand = if self.take("!") {
            Condition::Not(Box::new(self.operand()?))
        } else if self.take("(") {
            let inner = self.expression()?;
            self.take(")").then_some(inner)?
        } else {
            self.topic()?
        };
        self.depth -= 1;
        Some(operand)
    }

    /// Parses `'name' in topics`.
    fn topic(&mut self) -> Option<Condition> {
        if !self.take("'") {
            return None;
        }
        let (name, rest) = self.rest.split_once('\'')?;
        self.rest = rest;
        self.topics += 1;
        let is_valid = is_topic_name(name)
            && self.topics <= MAX_TOPICS
            && self.take_word("in")
            && self.take_word("topics");
        is_valid.then(|| Condition::Topic(name.to_owned()))
    }

    /// Consumes a whole word if it is next.
    fn take_word(&mut self, word: &str) -> bool {
        self.take(word) && !self.rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Consumes an operator after white space if it is next.
    fn take(&mut self, operator: &str) -> bool {
        match self.rest.trim_start().strip_prefix(operator) {
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

    fn matches(condition: &str, topics: &[&str]) -> bool {
        Condition::parse(condition).unwrap().matches(&|topic| topics.contains(&topic))
    }

    #[test]
    fn parentheses_are_evaluated_first_and_the_rest_from_left_to_right() {
        let nested = "'a' in topics && ('b' in topics || 'c' in topics)";
        assert!(matches(nested, &["a", "c"]));
        assert!(!matches(nested, &["b", "c"]));
        let flat = "'a' in topics || 'b' in topics && 'c' in topics";
        assert!(!matches(flat, &["a"]), "unlike in C, where it means a || (b && c)");
        assert!(matches(flat, &["a", "c"]));
        assert!(matches("!('a' in topics)", &["b"]));
        assert!(!matches("!('a' in topics)&&'b' in topics", &["a", "b"]));
    }

    #[test]
    fn malformed_conditions_and_six_topics_are_refused() {
        let topics = |count: usize| vec!["'a' in topics"; count].join(" || ");
        assert!(Condition::parse(&topics(5)).is_some());
        let deep = format!("{}'a' in topics{}", "(".repeat(100_000), ")".repeat(100_000));
        for malformed in [
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
            assert_eq!(Condition::parse(malformed), None, "{}", &malformed[..malformed.len().min(80)]);
        }
    }
}
