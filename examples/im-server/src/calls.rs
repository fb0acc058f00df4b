//! Call invitations: callers, invitees, timeouts and answers. Knows neither sockets nor pushes.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::wire::Refusal;

/// Default ringing time of an invitation in seconds.
const DEFAULT_S: u32 = 90;
const LONGEST_S: u32 = 600;
const MOST_INVITEES: usize = 9;

/// State of an invitee, with the numbers that ZIM clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Inviting = 0,
    Accepted = 1,
    Rejected = 2,
    Cancelled = 3,
    TimedOut = 6,
}

/// Call that may still ring.
pub(crate) struct Call {
    pub(crate) caller: String,
    pub(crate) extended_data: String,
    pub(crate) timeout: Duration,
    pub(crate) invitees: BTreeMap<String, State>,
    /// Users whose browsers ring because of a push, which must be revoked at the end.
    pub(crate) pushed_to: Vec<String>,
    until: Instant,
}

/// Users for whom a call has stopped ringing.
pub(crate) struct Over {
    pub(crate) caller: String,
    pub(crate) users: Vec<String>,
    /// Users among them who had got a push.
    pub(crate) pushed_to: Vec<String>,
}

/// All calls that may still ring.
#[derive(Default)]
pub(crate) struct Calls(Mutex<HashMap<String, Call>>);

/// Returns the requested timeout if it is valid.
pub(crate) fn timeout(asked: Option<u32>) -> Result<Duration, Refusal> {
    match asked.unwrap_or(DEFAULT_S) {
        seconds @ 1..=LONGEST_S => Ok(Duration::from_secs(seconds.into())),
        _ => Err(Refusal::parameter(format!("timeout is 1 to {LONGEST_S} seconds"))),
    }
}

/// Checks the number of invitees.
pub(crate) fn check_count(invitees: &[String]) -> Result<(), Refusal> {
    match invitees.len() {
        1..=MOST_INVITEES => Ok(()),
        _ => Err(Refusal::parameter(format!("1 to {MOST_INVITEES} are called at once"))),
    }
}

impl Call {
    pub(crate) fn new(caller: &str, invitees: &[String], timeout: Duration, extended_data: &str) -> Self {
        let invitees = invitees.iter().map(|user| (user.clone(), State::Inviting)).collect();
        let (caller, extended_data) = (caller.to_owned(), extended_data.to_owned());
        let until = Instant::now() + timeout;
        Self { caller, extended_data, timeout, invitees, pushed_to: Vec::new(), until }
    }

    fn over_for(&self, users: Vec<String>) -> Over {
        let pushed_to = users.iter().filter(|user| self.pushed_to.contains(user)).cloned().collect();
        Over { caller: self.caller.clone(), users, pushed_to }
    }

    /// Returns the event for an invitee, with the remaining time.
    pub(crate) fn received(&self, id: &str) -> Value {
        let left = self.until.saturating_duration_since(Instant::now());
        json!({"callID": id, "caller": self.caller, "inviter": self.caller, "mode": 0,
            "extendedData": self.extended_data, "timeout": left.as_secs_f64().round()})
    }
}

impl Calls {
    pub(crate) fn open(&self, id: &str, call: Call) {
        self.0.lock().insert(id.to_owned(), call);
    }

    /// Returns the calls that ring for a user now.
    pub(crate) fn ringing(&self, user: &str) -> Vec<Value> {
        let calls = self.0.lock();
        let mine = calls.iter().filter(|(_, call)| call.invitees.get(user) == Some(&State::Inviting));
        mine.map(|(id, call)| call.received(id)).collect()
    }

    /// Records the answer of an invitee.
    pub(crate) fn answer(&self, id: &str, user: &str, state: State) -> Result<Over, Refusal> {
        let mut calls = self.0.lock();
        let call = calls.get_mut(id).ok_or_else(ended)?;
        match call.invitees.get_mut(user) {
            Some(mine) if *mine == State::Inviting => *mine = state,
            Some(_) => return Err(Refusal::parameter("you have answered this call")),
            None => return Err(Refusal::parameter("you are not called")),
        }
        let over = call.over_for(vec![user.to_owned()]);
        Self::forget_settled(&mut calls, id);
        Ok(over)
    }

    /// Ends a call that the caller cancels.
    pub(crate) fn cancel(&self, id: &str, user: &str) -> Result<Over, Refusal> {
        let mut calls = self.0.lock();
        if calls.get(id).ok_or_else(ended)?.caller != user {
            return Err(Refusal::parameter("only the caller cancels"));
        }
        let call = calls.remove(id).ok_or_else(ended)?;
        Ok(call.over_for(ringing_in(&call)))
    }

    /// Ends a call after its timeout.
    pub(crate) fn time_out(&self, id: &str) -> Option<Over> {
        let call = self.0.lock().remove(id)?;
        Some(call.over_for(ringing_in(&call)))
    }

    fn forget_settled(calls: &mut HashMap<String, Call>, id: &str) {
        if calls.get(id).is_some_and(|call| ringing_in(call).is_empty()) {
            calls.remove(id);
        }
    }
}

fn ringing_in(call: &Call) -> Vec<String> {
    let ringing = call.invitees.iter().filter(|(_, state)| **state == State::Inviting);
    ringing.map(|(user, _)| user.clone()).collect()
}

fn ended() -> Refusal {
    Refusal { code: 6_000_276, message: "there is no such call, or it has ended".to_owned() }
}
