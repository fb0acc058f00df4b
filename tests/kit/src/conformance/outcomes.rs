//! Promises about outcomes: one per address, in order, and addresses that are refused before a request.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use parking_lot::Mutex;
use pushgate::fault::Retry;
use pushgate::{Kind, Outcome, PushChannel, TokenKind, TransportError};
use serde_json::json;

use super::theatre::{Theatre, accepted, errors, play, took};
use super::{Subject, Verdict};
use crate::sample;

const KINDS: [TokenKind; 4] = [TokenKind::Token, TokenKind::Fid, TokenKind::Subscription, TokenKind::Voip];

/// Checks that the declared batch size and timeout are positive, and that kind and token kinds are valid.
///
/// # Panics
/// Panics if the promise is broken, as every function of this suite does.
pub fn what_is_declared_makes_sense<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let info = theatre.info();
    let capability = &info.capability;
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(!info.kind.is_empty() && info.kind.chars().all(is_word), "kind is a word: {}", info.kind);
    assert!(!info.timeout.is_zero(), "a send needs some time");
    assert!(capability.max_batch > 0 && capability.max_bytes > 0, "{capability:?}");
    assert!(!capability.tokens.is_empty(), "it takes no kind of token");
    assert!(!capability.max_ttl.is_zero(), "nothing lives for no time");
}

/// Checks that `capability.json` beside the crate's `Cargo.toml` equals the declared capabilities. The README's table
/// is generated from it. `UPDATE_GOLDEN=1` writes it.
pub fn what_is_declared_is_written_down<S: Subject>(subject: S, manifest: &str) {
    let theatre = Theatre::open(subject);
    let info = theatre.info();
    let declared = json!({ "kind": info.kind, "timeout": info.timeout, "capability": info.capability });
    let declared = format!("{declared:#}\n");
    let file = Path::new(manifest).join("capability.json");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &declared).expect("the crate's folder can be written");
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(written, declared, "{}; UPDATE_GOLDEN=1 writes it", file.display());
}

/// Returns the verdict for an address, in a pattern that does not repeat with the batch size.
fn verdict(number: usize) -> Verdict {
    if (number * number + number / 3) % 3 == 1 { Verdict::Gone } else { Verdict::Accepted }
}

/// Checks that each address gets the outcome of its own answer.
pub fn each_address_gets_its_own_outcome_in_order<S: Subject>(subject: S) {
    let theatre = Theatre::answering(subject, |subject, request| {
        let verdicts: Vec<_> = subject.to(request).into_iter().map(verdict).collect();
        Ok(subject.answer(&verdicts))
    });
    play(async {
        for wanted in [1, 2, 7, usize::MAX] {
            // Backwards, so that the order is the delivery's and not the numbers'.
            let numbers: Vec<_> = (0..theatre.batch(wanted)).rev().collect();
            let outcomes = theatre.send(&theatre.delivery(sample::message(), numbers.clone())).await;
            for (number, outcome) in numbers.into_iter().zip(outcomes) {
                match verdict(number) {
                    Verdict::Accepted => assert!(took(&outcome), "{number}: {outcome:?}"),
                    Verdict::Gone => assert_eq!(outcome.code(), "token_gone", "{number}: {outcome:?}"),
                }
            }
        }
    });
}

/// Checks that each transport error becomes a fault of the right kind, for the addresses of that request only.
pub fn an_error_of_the_transport_is_told_for_whom_it_concerns<S: Subject>(subject: S) {
    let subject = Arc::new(subject);
    for shift in 0..7 {
        let failed: Arc<Mutex<HashMap<usize, Option<TransportError>>>> = Arc::default();
        let told = Arc::clone(&failed);
        let theatre = Theatre::ruled(Arc::clone(&subject), move |subject, _, request| {
            if let Some(grant) = subject.grant(request) {
                return Ok(grant);
            }
            let numbers = subject.to(request);
            let error = errors(request).into_iter().nth((numbers[0] + shift) % 7);
            told.lock().extend(numbers.iter().map(|number| (*number, error.clone())));
            error.map_or_else(|| Ok(accepted(subject, request)), Err)
        });
        let numbers = 0..theatre.batch(12);
        let outcomes = play(theatre.send(&theatre.delivery(sample::message(), numbers.clone())));
        let failed = failed.lock();
        for (number, outcome) in numbers.zip(outcomes) {
            is_told(failed.get(&number).map(Option::as_ref), &outcome);
        }
    }
}

/// Asserts that the outcome matches the transport result. `None` means that no request was sent for the address.
fn is_told(happened: Option<Option<&TransportError>>, outcome: &Outcome) {
    let Some(fault) = outcome.fault() else {
        assert!(matches!(happened, Some(None)), "{happened:?} is no success");
        return;
    };
    assert_ne!(fault.kind, Kind::TokenGone, "{fault}");
    match happened {
        None => {}
        Some(None) => panic!("it was taken, and the channel says {fault}"),
        Some(Some(TransportError::Unreachable { .. })) => assert_eq!(fault.kind, Kind::Unreachable),
        Some(Some(TransportError::Timeout { .. })) => assert_eq!(fault.kind, Kind::Timeout),
        Some(Some(TransportError::Refused { .. })) => {}
        Some(Some(error)) => assert_ne!(fault.info().retry, Retry::Never, "given up after {error}: {fault}"),
    }
}

/// Checks that an address of an undeclared kind is `Unsupported` and not sent, while the others are.
pub fn a_kind_of_token_not_declared_is_unsupported_and_delays_nobody<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let declared = theatre.info().capability.tokens;
    play(async {
        for kind in KINDS.into_iter().filter(|kind| !declared.contains(kind)) {
            let mut delivery = theatre.delivery(sample::message(), 0..theatre.batch(3));
            for target in delivery.targets.iter_mut().step_by(2) {
                target.address.kind = kind;
                let admitted = theatre.channel.admits(&target.address);
                assert_eq!(admitted.map_err(|fault| fault.kind), Err(Kind::Unsupported));
            }
            let before = theatre.sends().len();
            let outcomes = theatre.send(&delivery).await;
            for (number, outcome) in outcomes.iter().enumerate() {
                let expected = if number % 2 == 0 { "unsupported" } else { "accepted" };
                assert_eq!(outcome.code(), expected, "{number}: {outcome:?}");
            }
            let sent: Vec<_> = theatre.sends()[before..].iter().map(|one| theatre.subject.to(one)).collect();
            assert!(sent.concat().iter().all(|number| number % 2 == 1), "sent to {sent:?}");
        }
    });
}

/// Checks that `send` refuses the same addresses as `admits`, for the same reason and without a request.
pub fn what_admits_refuses_is_not_sent_and_what_it_takes_is<S: Subject>(subject: S) {
    let theatre = Theatre::answering(subject, |subject, _| Ok(subject.answer(&[Verdict::Accepted])));
    let odd = ["", " ", "a b", "a\nb", "a\0b", "../../evil", "{}", "[]", "{\"endpoint\":7}", "é", "x\"}"];
    let addresses = ["https://127.0.0.1/push", "{\"endpoint\":\"https://10.0.0.1/\"}"];
    let long = "x".repeat(pushgate::Address::MAX_TOKEN);
    play(async {
        for kind in theatre.info().capability.tokens {
            let good = theatre.subject.token(*kind, 0);
            let texts = [good.as_str(), &long].into_iter().chain(odd).chain(addresses);
            for text in texts {
                let address = theatre.address(*kind, text);
                let admitted = theatre.channel.admits(&address);
                assert!(text != good || admitted.is_ok(), "its own token is refused: {admitted:?}");
                let before = theatre.sends().len();
                let outcomes = theatre.send(&sample::delivery(sample::message(), [address])).await;
                let sent = theatre.sends().len() - before;
                match admitted {
                    Ok(()) => assert_eq!(sent, 1, "{text:?} is admitted and not sent: {outcomes:?}"),
                    Err(refused) => {
                        let fault = outcomes[0].fault();
                        let kind = fault.map(|fault| fault.kind);
                        assert_eq!((sent, kind), (0, Some(refused.kind)), "{text:?}: {refused}");
                        assert!(text.len() < 8 || !refused.to_string().contains(text), "{refused}");
                    }
                }
            }
        }
    });
}
