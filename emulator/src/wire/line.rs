//! One HTTP/2 connection as the vendor steers it: how many streams it carries, which have been processed, and how it ends.
//! Never says of a stream that it was not processed when it was.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use bytes::{BufMut as _, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fault::{Goaway, Last, Then};

/// The highest stream number there is (RFC 9113 §5.1.1).
const HIGHEST: u32 = 0x7fff_ffff;
/// SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2).
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
/// SETTINGS_INITIAL_WINDOW_SIZE, and what it is unless somebody says otherwise.
const INITIAL_WINDOW_SIZE: u16 = 4;
const INITIAL_WINDOW: u32 = 65_535;

/// A living connection.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) state: Mutex<State>,
    /// Rung when there is something to write, or the connection has been closed.
    pub(super) rung: Notify,
}

/// What is known of its streams.
#[derive(Debug)]
pub(super) struct State {
    pub(super) limit: u32,
    /// The limit is the vendor's for a connection it does not trust yet.
    held_back: bool,
    /// Who it was first used for.
    owner: Option<String>,
    /// Frames of our own, written between those of the server.
    pub(super) own: BytesMut,
    /// The highest stream the peer has opened.
    opened: u32,
    /// The highest stream whose request was processed, and the highest below it.
    processed: u32,
    below: u32,
    open: HashSet<u32>,
    refused: HashSet<u32>,
    /// Streams whose requests the server has read and handed on.
    accepted: HashSet<u32>,
    /// Streams that the server has reset by itself, as it could not read their requests.
    malformed: Vec<u32>,
    /// Streams above it are not processed any more.
    cut: Option<u32>,
    pub(super) end: End,
}

/// How far the end of a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It lives.
    Not,
    /// It ends when its open streams are answered.
    Drained,
    /// It ends when what has been written is out.
    Now,
    /// Nothing is written any more; what the peer still sends is read and dropped.
    Closed,
    /// It is dropped where it stands.
    Cut,
}

impl State {
    /// The peer opens a stream, or sends more on one.
    pub(super) fn open(&mut self, id: u32) {
        if id <= self.opened {
            return;
        }
        self.opened = id;
        if self.cut.is_some_and(|cut| id > cut) {
            return;
        }
        let full = self.open.len() >= usize::try_from(self.limit).unwrap_or(usize::MAX);
        let place = if full { &mut self.refused } else { &mut self.open };
        place.insert(id);
    }

    /// A stream has ended on the wire.
    pub(super) fn ended(&mut self, id: u32) {
        self.open.remove(&id);
        self.accepted.remove(&id);
    }

    /// The server resets a stream. Returns `true` if it has done so by itself, before anybody saw the request.
    pub(super) fn reset(&mut self, id: u32) -> bool {
        let is_malformed = self.open.contains(&id) && !self.accepted.contains(&id);
        if is_malformed {
            self.malformed.push(id);
        }
        self.ended(id);
        is_malformed
    }

    /// Whether the connection is to be closed now; a last GOAWAY is due if the peer was promised all streams there are.
    pub(super) fn closes(&mut self) -> bool {
        if self.end == End::Drained && self.open.is_empty() {
            if self.cut.is_none() {
                self.goaway(self.processed, 0, b"");
                self.cut = Some(self.processed);
            }
            self.end = End::Now;
        }
        self.end == End::Now
    }

    fn settings(&mut self, id: u16, value: u32) {
        self.frame(4, 6);
        self.own.put_u16(id);
        self.own.put_u32(value);
    }

    fn goaway(&mut self, last: u32, code: u32, debug: &[u8]) {
        self.frame(7, 8 + debug.len());
        self.own.put_u32(last);
        self.own.put_u32(code);
        self.own.extend_from_slice(debug);
    }

    /// The head of a frame on the connection itself (RFC 9113 §4.1).
    fn frame(&mut self, kind: u8, length: usize) {
        self.own.put_uint(length as u64, 3);
        self.own.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
    }
}

impl Line {
    fn new(limit: u32, held_back: bool) -> Self {
        let state = State {
            limit,
            held_back,
            owner: None,
            own: BytesMut::new(),
            opened: 0,
            processed: 0,
            below: 0,
            open: HashSet::new(),
            refused: HashSet::new(),
            accepted: HashSet::new(),
            malformed: Vec::new(),
            cut: None,
            end: End::Not,
        };
        Self { state: Mutex::new(state), rung: Notify::new() }
    }

    /// So many streams from now on, unless it is held back.
    fn limit(&self, streams: u32) {
        {
            let mut state = self.state.lock();
            if state.limit == streams || state.held_back {
                return;
            }
            state.limit = streams;
            state.settings(MAX_CONCURRENT_STREAMS, streams);
        }
        self.rung.notify_one();
    }

    /// Streams opened from now on may send so many bytes of a body before they are told to go on.
    fn window(&self, bytes: u32) {
        self.state.lock().settings(INITIAL_WINDOW_SIZE, bytes);
        self.rung.notify_one();
    }

    /// Whether the connection is used for the same one as the first time it was asked.
    pub(crate) fn belongs_to(&self, owner: &str) -> bool {
        let mut state = self.state.lock();
        state.owner.get_or_insert_with(|| owner.to_owned()) == owner
    }

    /// Records that the server has read the request of a stream.
    pub(super) fn accepted(&self, id: u32) {
        let mut state = self.state.lock();
        // It may have ended on the wire already.
        if state.open.contains(&id) {
            state.accepted.insert(id);
        }
    }

    /// Returns the streams that the server has reset by itself since the last call.
    pub(super) fn take_malformed(&self) -> Vec<u32> {
        std::mem::take(&mut self.state.lock().malformed)
    }

    /// Whether the stream was over the limit when it was opened; asked once.
    pub(super) fn refuses(&self, id: u32) -> bool {
        self.state.lock().refused.remove(&id)
    }

    /// Whether the stream's request is to be processed; then it counts as processed.
    pub(super) fn admits(&self, id: u32) -> bool {
        let mut state = self.state.lock();
        if matches!(state.end, End::Closed | End::Cut) || state.cut.is_some_and(|cut| id > cut) {
            return false;
        }
        if id > state.processed {
            state.below = state.processed;
            state.processed = id;
        } else {
            state.below = state.below.max(id);
        }
        true
    }

    /// Tells the peer to go away, once; gives the last stream it is told of. `stream` is the one that brought it about.
    pub(super) fn send_away(&self, goaway: &Goaway, stream: Option<u32>) -> Option<u32> {
        let last = {
            let mut state = self.state.lock();
            if state.end != End::Not {
                return None;
            }
            let last = match goaway.last {
                Last::Highest => HIGHEST,
                Last::Before if stream == Some(state.processed) => state.below,
                Last::Before | Last::This => state.processed,
            };
            // Longer debug data than a frame takes has no use.
            let debug = &goaway.debug.as_bytes()[..goaway.debug.len().min(8 * 1024)];
            state.goaway(last, goaway.code, debug);
            if last != HIGHEST {
                state.cut = Some(last);
                state.open.retain(|id| *id <= last);
            }
            state.end = if goaway.then == Then::Drain { End::Drained } else { End::Now };
            last
        };
        self.rung.notify_one();
        Some(last)
    }

    /// Drops the connection where it stands.
    pub(super) fn cut(&self) {
        self.state.lock().end = End::Cut;
        self.rung.notify_one();
    }

    pub(super) fn end(&self) -> End {
        self.state.lock().end
    }
}

/// The living connections of one vendor.
pub(crate) struct Lines {
    limit: AtomicU32,
    stalled: AtomicBool,
    lines: Mutex<Vec<Weak<Line>>>,
}

impl Lines {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit: AtomicU32::new(limit), stalled: AtomicBool::new(false), lines: Mutex::default() }
    }

    /// A new one, with the limit of all or one of its own until it is released.
    pub(super) fn open(&self, first: Option<u32>) -> Arc<Line> {
        let mut lines = self.lines.lock();
        lines.retain(|line| line.strong_count() > 0);
        let line = Arc::new(Line::new(first.unwrap_or_else(|| self.streams()), first.is_some()));
        lines.push(Arc::downgrade(&line));
        drop(lines);
        if self.stalled.load(Ordering::Acquire) {
            line.window(0);
        }
        line
    }

    /// The connection is trusted from now on: it carries as many streams as any other.
    pub(crate) fn release(&self, line: &Line) {
        line.state.lock().held_back = false;
        line.limit(self.streams());
    }

    /// No body is read any more: no stream gets room to send one.
    pub(crate) fn stall(&self) {
        self.stalled.store(true, Ordering::Release);
        self.living().iter().for_each(|line| line.window(0));
    }

    /// Bodies are read again.
    pub(crate) fn resume(&self) {
        if self.stalled.swap(false, Ordering::AcqRel) {
            self.living().iter().for_each(|line| line.window(INITIAL_WINDOW));
        }
    }

    /// How many live.
    pub(crate) fn count(&self) -> usize {
        self.living().len()
    }

    /// The limit of every connection, the living ones and those to come.
    pub(crate) fn limit(&self, streams: u32) {
        self.limit.store(streams, Ordering::Release);
        self.living().iter().for_each(|line| line.limit(streams));
    }

    /// The limit of a connection that is opened now.
    pub(crate) fn streams(&self) -> u32 {
        self.limit.load(Ordering::Acquire)
    }

    /// Tells all of them to go away; gives what each was told.
    pub(crate) fn send_away(&self, goaway: &Goaway) -> Vec<u32> {
        self.living().iter().filter_map(|line| line.send_away(goaway, None)).collect()
    }

    fn living(&self) -> Vec<Arc<Line>> {
        let living: Vec<_> = self.lines.lock().iter().filter_map(Weak::upgrade).collect();
        living.into_iter().filter(|line| matches!(line.end(), End::Not | End::Drained)).collect()
    }
}
