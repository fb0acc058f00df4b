//! What every vendor has behind its counter: faults, event log, clock and living connections; and what a request meets.
//! Knows no vendor: how one words its errors, it says itself.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use crate::clock::Clock;
use crate::event::{Event, Log, What};
use crate::fault::{Effect, Fault, Faults, Goaway, Last, Subject, Where};
use crate::wire::{Asked, Lines, Reply};

/// The machinery of one vendor.
pub(crate) struct Rig {
    pub(crate) clock: Clock,
    pub(crate) lines: Arc<Lines>,
    pub(crate) faults: Faults,
    log: Log,
}

impl Rig {
    /// With the connections of the port it answers at; vendors that share a port share them.
    pub(crate) fn new(clock: Clock, seed: u64, lines: Arc<Lines>) -> Self {
        Self { clock, lines, faults: Faults::new(seed), log: Log::default() }
    }

    /// Without a port, for what is asked without a wire.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        Self::new(Clock::default(), 0, Arc::new(Lines::new(100)))
    }

    pub(crate) fn tell(&self, what: What) {
        self.log.add(self.clock.now_ms(), what);
    }

    pub(crate) fn events(&self, seq: u64) -> Vec<Event> {
        self.log.after(seq)
    }

    pub(crate) async fn wait_for(&self, wanted: impl Fn(&What) -> bool, patience: Duration) -> Option<Event> {
        self.log.wait(wanted, patience).await
    }

    /// Makes requests go wrong. Gives the rule's number.
    pub(crate) fn fail(&self, fault: Fault) -> u64 {
        self.faults.add(fault)
    }

    /// How many streams every connection carries at most, the living ones and those to come.
    pub(crate) fn limit_streams(&self, streams: u32) {
        self.tell(What::StreamLimit { streams });
        self.lines.limit(streams);
    }

    /// Tells every living connection to go away.
    pub(crate) fn send_away(&self, goaway: &Goaway) {
        for last in self.lines.send_away(goaway) {
            self.tell(What::Goaway { last });
        }
    }
}

/// A vendor as its port sees it.
pub(crate) trait Site: Send + Sync + 'static {
    /// Its machinery.
    fn rig(&self) -> &Rig;
    /// Where a request goes.
    fn place(&self, asked: &Asked) -> Where;
    /// The name and the token of the device it is for, if it is for one.
    fn names(&self, asked: &Asked) -> Vec<String>;
    /// The honest answer. Whatever it brings about has come about when it returns.
    fn answer(&self, asked: &Asked) -> Reply;
    /// An error on demand, as the vendor words it.
    fn error(&self, asked: &Asked, status: u16, code: Option<&str>) -> Reply;
    /// What it says to credentials that were good once.
    fn expired(&self, asked: &Asked) -> Reply;
    /// Whether a request is for it, where vendors share a port; the first one answers what nobody else claims.
    fn claims(&self, _asked: &Asked) -> bool {
        false
    }
    /// How many streams a new connection carries until the vendor has released it; none: as many as any other.
    fn first_streams(&self, _certificate: Option<&CertificateDer<'_>>) -> Option<u32> {
        None
    }
    /// What the log says of an answer on demand.
    fn refusal(&self, asked: &Asked, status: u16, code: Option<String>) -> What {
        match self.place(asked) {
            Where::Token => What::Token { status },
            Where::Send | Where::Manage => {
                What::Send { status, code, device: self.names(asked).into_iter().next() }
            }
        }
    }
}

/// What a request meets.
#[derive(Debug)]
pub(crate) enum Met {
    /// An answer.
    Answer(Reply),
    /// An answer after a while.
    Late(Reply, Duration),
    /// Silence.
    Hang,
    /// A reset of its stream with this code.
    Reset(u32),
    /// The end of its connection.
    Close,
    /// The connection is told to go away; and the answer, if the request is processed.
    Away(Goaway, Option<Reply>),
}

/// The fault that is due for a request, or the honest answer.
pub(crate) fn meet(site: &dyn Site, asked: &Asked) -> Met {
    let at = site.place(asked);
    let names = || site.names(asked);
    let rig = site.rig();
    let Some((rule, effect)) = rig.faults.due(&Subject { at, device: &names }) else {
        return Met::Answer(site.answer(asked));
    };
    rig.tell(What::Fault { rule, effect: effect.name() });
    let refused = |reply: Reply, code: Option<String>| {
        rig.tell(site.refusal(asked, reply.status, code));
        Met::Answer(reply)
    };
    match effect {
        Effect::Error { status, code, retry_after } => {
            let reply = site.error(asked, status, code.as_deref());
            let wish = retry_after.map(|wish| wish.value(rig.clock.now()));
            refused(reply.maybe("retry-after", wish), code)
        }
        Effect::Raw { status, body } => refused(Reply::of(status, "text/html; charset=UTF-8", body), None),
        Effect::Redirect { status, location } => {
            refused(Reply { status, ..Reply::default() }.with("location", location), None)
        }
        Effect::ExpiredBearer => refused(site.expired(asked), None),
        Effect::Delay { ms } => Met::Late(site.answer(asked), Duration::from_millis(ms)),
        Effect::Hang => Met::Hang,
        Effect::LoseAnswer => {
            site.answer(asked);
            Met::Hang
        }
        Effect::Reset { code } => Met::Reset(code),
        Effect::Close => Met::Close,
        Effect::Goaway(goaway) => {
            let reply = (goaway.last != Last::Before).then(|| site.answer(asked));
            Met::Away(goaway, reply)
        }
        Effect::StreamLimit(streams) => {
            rig.limit_streams(streams);
            Met::Answer(site.answer(asked))
        }
    }
}
