//! Settings of users: push rules, and counters of unread notifications.

use std::collections::HashMap;

use pushgate::{AppId, Count, Rules, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::quarantine::{Findings, Source, decode};
use crate::text;

pub(crate) fn rules(
    c: &Connection,
    app: &AppId,
    users: &[UserId],
    findings: &mut Findings,
) -> rusqlite::Result<HashMap<UserId, Rules>> {
    let mut found = HashMap::new();
    let mut read = c.prepare_cached("SELECT body FROM rules WHERE app = ?1 AND user = ?2")?;
    for user in users {
        let rules =
            read.query_row([app.as_str(), user.as_str()], |row| Ok(decode(row.get_ref(0)?))).optional()?;
        let source = || Source::Rules { app: app.to_string(), user: user.to_string() };
        let rules = rules.and_then(|rules| findings.check(rules, source));
        found.extend(rules.map(|rules| (user.clone(), rules)));
    }
    Ok(found)
}

pub(crate) fn set_rules(c: &Connection, app: &AppId, user: &UserId, rules: &Rules) -> rusqlite::Result<()> {
    let whose = [app.as_str(), user.as_str()];
    if rules.is_empty() {
        c.prepare_cached("DELETE FROM rules WHERE app = ?1 AND user = ?2")?.execute(whose)?;
    } else {
        c.prepare_cached("INSERT OR REPLACE INTO rules (app, user, body) VALUES (?1, ?2, ?3)")?
            .execute(params![app.as_str(), user.as_str(), text(rules)?])?;
    }
    Ok(())
}

pub(crate) fn count(
    c: &Connection,
    app: &AppId,
    users: &[UserId],
    change: Count,
) -> rusqlite::Result<HashMap<UserId, u32>> {
    let mut numbers = HashMap::new();
    let mut read = c.prepare_cached("SELECT number FROM counters WHERE app = ?1 AND user = ?2")?;
    let mut write =
        c.prepare_cached("INSERT OR REPLACE INTO counters (app, user, number) VALUES (?1, ?2, ?3)")?;
    for user in users {
        let whose = [app.as_str(), user.as_str()];
        // A number that is none counts from zero again.
        let before = read.query_row(whose, |row| Ok(row.get(0).unwrap_or(0))).optional()?.unwrap_or(0);
        let number = change.of(before);
        write.execute(params![app.as_str(), user.as_str(), number])?;
        numbers.insert(user.clone(), number);
    }
    Ok(numbers)
}
