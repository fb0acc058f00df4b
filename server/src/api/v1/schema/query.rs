//! Query parameters. Parameters that an operation does not have are refused.

use std::collections::BTreeMap;

use axum::extract::Query;
use http::Uri;
use pushgate_config::nearest;

use super::refused;
use super::strict::list;
use crate::problem::Problem;

/// Query parameters by name.
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Returns the value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(pairs(&parts.uri)?.into_iter().collect()))
    }
}

/// Refuses a query with a parameter that is not one of `known`, or is given twice.
pub(crate) fn refuse_unknown(uri: &Uri, known: &[&str]) -> Result<(), Problem> {
    if uri.query().is_none_or(str::is_empty) {
        return Ok(());
    }
    let pairs = pairs(uri)?;
    for (i, (name, _)) in pairs.iter().enumerate() {
        let field: String = name.chars().take(64).collect();
        if !known.contains(&name.as_str()) {
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it has none".to_owned(),
                None => format!("it has {}", list(known)),
            };
            return Err(refused(&field, format!("is not a query parameter of this operation; {hint}")));
        }
        if pairs[..i].iter().any(|(earlier, _)| earlier == name) {
            return Err(refused(&field, "is given twice; keep one of the two"));
        }
    }
    Ok(())
}

fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let Query(pairs) = Query::try_from_uri(uri).map_err(|_| {
        Problem::new(422, "invalid_field", "the query cannot be decoded; write it as ?name=value")
    })?;
    Ok(pairs)
}
