//! Promises about access tokens, secrets and probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use pushgate::{Kind, Outcome, PushChannel, Scope};
use serde_json::Value;

use super::hostile::{bodies, shows_none};
use super::theatre::{Theatre, accepted, errors, play, took};
use super::{Subject, Verdict};
use crate::clock::ManualClock;
use crate::sample;
use crate::transport::{Reply, ScriptedTransport, answer};

/// Starts `count` sends in parallel, all before the vendor answers the first request.
async fn at_once<S: Subject>(theatre: &Theatre<S>, count: usize) -> Vec<Outcome> {
    theatre.transport.hold();
    let before = theatre.transport.requests().len();
    let send = |number| {
        let (channel, delivery) = (theatre.channel.clone(), theatre.delivery(sample::message(), [number]));
        tokio::spawn(async move { channel.send(&delivery).await.into_outcomes() })
    };
    let sends: Vec<_> = (0..count).map(send).collect();
    theatre.transport.arrived(before + 1).await;
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
    theatre.transport.release();
    let sent = join_all(sends).await;
    sent.into_iter().flat_map(|outcomes| outcomes.expect("a send does not panic")).collect()
}

/// Checks that a thousand sends without an access token fetch one and all use it.
pub fn a_thousand_sends_share_one_bearer<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    play(async {
        let outcomes = at_once(&theatre, 1000).await;
        assert!(outcomes.iter().all(took), "{:?}", outcomes.iter().find(|outcome| !took(outcome)));
        assert!(theatre.grants() <= 1, "{} bearers were fetched", theatre.grants());
        let sends = theatre.sends();
        let first = sends[0].headers.get(AUTHORIZATION);
        assert!(
            sends.iter().all(|send| send.headers.get(AUTHORIZATION) == first),
            "several bearers are used"
        );
    });
}

/// Checks that a refused access token is replaced once, even if it was refused many times.
pub fn a_refused_bearer_is_replaced_once_for_the_next_send<S: Subject>(subject: S) {
    let Some(refusal) = subject.refusal() else { return };
    let refuses = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&refuses);
    let theatre = Theatre::answering(subject, move |subject, request| {
        Ok(if asked.load(Ordering::SeqCst) { refusal.clone() } else { accepted(subject, request) })
    });
    play(async {
        theatre.sent(sample::message()).await;
        refuses.store(true, Ordering::SeqCst);
        let refused = at_once(&theatre, 100).await;
        let told: Vec<_> = refused.iter().map(Outcome::code).collect();
        assert!(told.iter().all(|code| *code == "auth_expired"), "{told:?}");
        let fetched = theatre.grants();
        refuses.store(false, Ordering::SeqCst);
        assert!(at_once(&theatre, 100).await.iter().all(took));
        assert_eq!(theatre.grants(), fetched * 2, "bearers that were fetched, before and after");
    });
}

/// Checks that any failure of the token endpoint is a fault of the whole lane, and that no message is sent.
pub fn without_a_bearer_nothing_is_sent<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    play(theatre.sent(sample::message()));
    let first = theatre.transport.requests().remove(0);
    let Some(grant) = theatre.subject.grant(&first) else { return };
    let mut replies: Vec<Reply> = errors(&first).into_iter().map(Err).collect();
    for status in [200, 204, 302, 400, 401, 403, 404, 429, 500, 503] {
        replies.extend(bodies(&grant.body).into_iter().map(|body| Ok(answer(status, body))));
        let body = String::from_utf8_lossy(&first.body).into_owned();
        let echo = serde_json::json!({"error": body, "error_description": body, "message": body});
        replies.push(Ok(answer(status, echo.to_string())));
    }
    for reply in replies {
        let shown = format!("{reply:?}");
        let theatre = Theatre::ruled(Arc::clone(&theatre.subject), move |_, _, _| reply.clone());
        let numbers = 0..theatre.batch(2);
        for outcome in play(theatre.send(&theatre.delivery(sample::message(), numbers))) {
            let fault = outcome.fault().unwrap_or_else(|| panic!("{shown} is no bearer"));
            assert_eq!(fault.scope, Scope::Lane, "{shown}: {fault}");
            assert_ne!(fault.kind, Kind::TokenGone, "{shown}: {fault}");
            let asked = theatre.transport.requests().remove(0);
            let asked = String::from_utf8_lossy(&asked.body).into_owned();
            // An assertion or a client's secret is longer than the words of the form around it.
            let long: Vec<_> = asked.split(['=', '&']).filter(|part| part.len() >= 64).collect();
            shows_none(&format!("{fault} {fault:?}"), &long);
        }
        assert!(theatre.sends().is_empty(), "{shown}: sent without a bearer");
    }
}

/// Checks that the `Debug` output of channel, configuration, requests and reports shows no secret, token or message
/// text.
pub fn debug_shows_no_secret<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let delivery = theatre.delivery(sample::message(), [0]);
    let outcomes = play(theatre.send(&delivery));
    let config: S::Config =
        serde_json::from_value(theatre.subject.config()).expect("it has been read before");
    let requests = theatre.transport.requests();
    let shown = format!(
        "{:?} {:#?} {config:?} {requests:?} {outcomes:?} {delivery:?}",
        theatre.channel, theatre.channel
    );
    let secrets = theatre.subject.secrets();
    let token = delivery.targets[0].address.token.expose();
    let private: Vec<_> = secrets.iter().map(String::as_str).chain([token]).collect();
    shows_none(&shown, &private);
    // `HeaderMap` prints what is not marked.
    for request in &requests {
        shows_none(&format!("{:?}", request.headers), &private);
        let bearer = request.headers.get(AUTHORIZATION);
        assert!(bearer.is_none_or(HeaderValue::is_sensitive), "the bearer is not marked as sensitive");
    }
}

/// Checks that no error quotes a secret that was truncated, doubled or put in the wrong place.
pub fn a_refused_configuration_is_told_without_its_secrets<S: Subject>(subject: S) {
    let secrets = subject.secrets();
    let pieces: Vec<_> = secrets.iter().filter_map(|secret| secret.get(..secret.len().min(16))).collect();
    for config in spoiled(&subject.config(), &secrets) {
        // What cannot be read at all is told by the configuration's reader, which quotes nothing.
        let Ok(config) = serde_json::from_value::<S::Config>(config) else { continue };
        shows_none(&format!("{config:?}"), &pieces);
        let made = subject.channel(&config, ScriptedTransport::new().into(), ManualClock::default().into());
        match made {
            Ok(channel) => shows_none(&format!("{channel:?}"), &pieces),
            Err(error) => shows_none(&error, &pieces),
        }
    }
}

/// Returns variants of the table, each with one damaged text that contains a secret.
fn spoiled(config: &Value, secrets: &[String]) -> Vec<Value> {
    let Some(table) = config.as_object() else { panic!("a configuration is a table") };
    let mut all = Vec::new();
    for (key, value) in table {
        let Some(text) = value.as_str().filter(|text| secrets.iter().any(|secret| text.contains(secret)))
        else {
            continue;
        };
        let half =
            text.char_indices().nth(text.chars().count() / 2).map_or("", |(middle, _)| &text[..middle]);
        let astray = secrets.join(" ");
        for spoilt in
            [half, &text[half.len()..], &text.repeat(2), &format!("x{text}"), &format!("{text}\n\0"), &astray]
        {
            let mut table = table.clone();
            table.insert(key.clone(), spoilt.into());
            all.push(table.into());
        }
    }
    all
}

/// Checks that a successful probe returns the identity at the vendor, reaches no user, and that a failed one returns
/// a fault.
pub fn a_probe_reaches_no_user_and_tells_no_secret<S: Subject>(subject: S) {
    let subject = Arc::new(subject);
    let open = Theatre::ruled(Arc::clone(&subject), |subject, _, request| {
        Ok(subject.grant(request).unwrap_or_else(|| subject.answer(&[Verdict::Accepted])))
    });
    let probe = play(open.channel.probe()).expect("a vendor that takes everything takes a probe");
    let secrets = subject.secrets();
    let private: Vec<_> = secrets.iter().map(String::as_str).collect();
    shows_none(&format!("{probe:?}"), &private);
    let asked = open.sends();
    assert!(asked.iter().all(|request| subject.reaches_nobody(request)), "a user sees this probe: {asked:?}");
    for number in 0..6 {
        let dead =
            Theatre::ruled(Arc::clone(&subject), move |_, _, request| Err(errors(request)[number].clone()));
        let probed = play(dead.channel.probe());
        assert!(probed.is_err() || dead.transport.requests().is_empty(), "nobody answered: {probed:?}");
        shows_none(&format!("{probed:?}"), &private);
    }
}
