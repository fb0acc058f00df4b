//! State of HTTP/2 connections: their stream limits, the processed streams, and their end.
//! A GOAWAY never names a stream below a processed one, because the client would repeat that request.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use bytes::{BufMut as _, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fault::{AfterGoaway, Goaway, LastStream};

/// Highest possible stream id (RFC 9113 §5.1.1).
const MAX_STREAM_ID: u32 = 0x7fff_ffff;
/// Id of SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2).
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
/// Id of SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Default of that setting, in bytes.
const DEFAULT_WINDOW: u32 = 65_535;

/// Open HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) inner: Mutex<Inner>,
    /// Notified when frames are to be written or the connection has ended.
    pub(super) changed: Notify,
}

/// Streams and pending frames of a connection.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) limit: u32,
    /// `true` while the service restricts the limit of a connection that it does not trust yet.
    is_restricted: bool,
    /// Sender for whom the connection was first used.
    sender: Option<String>,
    /// Frames to write between those of the h2 server.
    pub(super) injected: BytesMut,
    /// Highest stream that the peer has opened.
    last_opened: u32,
    /// Highest stream whose request was processed.
    last_processed: u32,
    /// Second-highest stream whose request was processed.
    previous_processed: u32,
    open: HashSet<u32>,
    /// Streams above the limit, until their requests are refused.
    refused: HashSet<u32>,
    /// Open streams whose requests the h2 server has read and handed on.
    received: HashSet<u32>,
    /// Streams that the h2 server has reset on its own because it could not read their requests.
    malformed: Vec<u32>,
    /// Last stream id of the GOAWAY. Streams above it are not processed.
    goaway_last: Option<u32>,
    pub(super) lifecycle: ConnectionState,
}

/// Phase in the life of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// Open.
    Open,
    /// Ends when its open streams have their responses.
    Draining,
    /// Ends when the written bytes are sent.
    Flushing,
    /// Nothing is written any more. Bytes from the peer are read and dropped.
    Closed,
    /// Dropped at once, without flushing.
    Aborted,
}

impl Inner {
    /// Records that the peer has sent a HEADERS frame, which may open a stream.
    pub(super) fn open(&mut self, stream_id: u32) {
        if stream_id <= self.last_opened {
            return;
        }
        self.last_opened = stream_id;
        if self.goaway_last.is_some_and(|last| stream_id > last) {
            return;
        }
        let is_full = self.open.len() >= usize::try_from(self.limit).unwrap_or(usize::MAX);
        let streams = if is_full { &mut self.refused } else { &mut self.open };
        streams.insert(stream_id);
    }

    /// Records that a stream has ended on the wire.
    pub(super) fn stream_ended(&mut self, stream_id: u32) {
        self.open.remove(&stream_id);
        self.received.remove(&stream_id);
    }

    /// Records that the h2 server resets a stream. Returns `true` if it did so on its own, before the request was
    /// handed on.
    pub(super) fn stream_reset(&mut self, stream_id: u32) -> bool {
        let is_malformed = self.open.contains(&stream_id) && !self.received.contains(&stream_id);
        if is_malformed {
            self.malformed.push(stream_id);
        }
        self.stream_ended(stream_id);
        is_malformed
    }

    /// Moves a drained connection to the flushing phase. Returns `true` if the connection is to be closed now.
    /// A peer that got only [`LastStream::Highest`] gets a second GOAWAY with the true last stream id.
    pub(super) fn close_if_drained(&mut self) -> bool {
        if self.lifecycle == ConnectionState::Draining && self.open.is_empty() {
            if self.goaway_last.is_none() {
                self.inject_goaway(self.last_processed, 0, b"");
                self.goaway_last = Some(self.last_processed);
            }
            self.lifecycle = ConnectionState::Flushing;
        }
        self.lifecycle == ConnectionState::Flushing
    }

    /// Adds a SETTINGS frame with one setting.
    fn inject_setting(&mut self, setting: u16, value: u32) {
        self.inject_head(4, 6);
        self.injected.put_u16(setting);
        self.injected.put_u32(value);
    }

    /// Adds a GOAWAY frame.
    fn inject_goaway(&mut self, last: u32, code: u32, debug: &[u8]) {
        self.inject_head(7, 8 + debug.len());
        self.injected.put_u32(last);
        self.injected.put_u32(code);
        self.injected.extend_from_slice(debug);
    }

    /// Adds the head of a frame on stream 0 (RFC 9113 §4.1).
    fn inject_head(&mut self, kind: u8, length: usize) {
        self.injected.put_uint(length as u64, 3);
        self.injected.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
    }
}

/// Initial limit of concurrent streams of a connection.
enum StreamLimit {
    /// Limit of all connections of the port.
    Shared(u32),
    /// Limit of a connection that the service does not trust yet.
    Restricted(u32),
}

impl Connection {
    fn new(limit: StreamLimit) -> Self {
        let (limit, is_restricted) = match limit {
            StreamLimit::Shared(limit) => (limit, false),
            StreamLimit::Restricted(limit) => (limit, true),
        };
        let inner = Inner {
            limit,
            is_restricted,
            sender: None,
            injected: BytesMut::new(),
            last_opened: 0,
            last_processed: 0,
            previous_processed: 0,
            open: HashSet::new(),
            refused: HashSet::new(),
            received: HashSet::new(),
            malformed: Vec::new(),
            goaway_last: None,
            lifecycle: ConnectionState::Open,
        };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// Changes the limit of concurrent streams, unless the connection is restricted.
    fn set_stream_limit(&self, streams: u32) {
        {
            let mut inner = self.inner.lock();
            if inner.limit == streams || inner.is_restricted {
                return;
            }
            inner.limit = streams;
            inner.inject_setting(MAX_CONCURRENT_STREAMS, streams);
        }
        self.changed.notify_one();
    }

    /// Sets the initial flow-control window of new streams: the bytes of a body that a client may send without a
    /// WINDOW_UPDATE.
    fn set_window(&self, bytes: u32) {
        self.inner.lock().inject_setting(INITIAL_WINDOW_SIZE, bytes);
        self.changed.notify_one();
    }

    /// Binds the connection to its first sender. Returns `true` if `sender` is the one it is bound to.
    pub(crate) fn bind_sender(&self, sender: &str) -> bool {
        let mut inner = self.inner.lock();
        inner.sender.get_or_insert_with(|| sender.to_owned()) == sender
    }

    /// Records that the h2 server has handed on the request of a stream.
    pub(super) fn request_received(&self, stream_id: u32) {
        let mut inner = self.inner.lock();
        // The stream may already have ended on the wire.
        if inner.open.contains(&stream_id) {
            inner.received.insert(stream_id);
        }
    }

    /// Returns the streams that the h2 server has reset on its own since the last call.
    pub(super) fn take_malformed(&self) -> Vec<u32> {
        std::mem::take(&mut self.inner.lock().malformed)
    }

    /// Returns `true` if the stream was above the limit when it was opened. Forgets the stream.
    pub(super) fn take_refused(&self, stream_id: u32) -> bool {
        self.inner.lock().refused.remove(&stream_id)
    }

    /// Returns `true` if the request of the stream is to be processed, and records it as processed.
    pub(super) fn accept_request(&self, stream_id: u32) -> bool {
        let mut inner = self.inner.lock();
        if matches!(inner.lifecycle, ConnectionState::Closed | ConnectionState::Aborted)
            || inner.goaway_last.is_some_and(|last| stream_id > last)
        {
            return false;
        }
        if stream_id > inner.last_processed {
            inner.previous_processed = inner.last_processed;
            inner.last_processed = stream_id;
        } else {
            inner.previous_processed = inner.previous_processed.max(stream_id);
        }
        true
    }

    /// Sends GOAWAY unless the connection is already ending. Returns its last stream id, or `None` if no frame was
    /// sent. `stream` is the stream of the request that caused it.
    pub(super) fn send_goaway(&self, goaway: &Goaway, stream: Option<u32>) -> Option<u32> {
        let last = {
            let mut inner = self.inner.lock();
            if inner.lifecycle != ConnectionState::Open {
                return None;
            }
            let last = match goaway.last {
                LastStream::Highest => MAX_STREAM_ID,
                LastStream::Before if stream == Some(inner.last_processed) => inner.previous_processed,
                LastStream::Before | LastStream::This => inner.last_processed,
            };
            // Cut to half the default frame size.
            let debug = &goaway.debug.as_bytes()[..goaway.debug.len().min(8 * 1024)];
            inner.inject_goaway(last, goaway.code, debug);
            if last != MAX_STREAM_ID {
                inner.goaway_last = Some(last);
                inner.open.retain(|stream_id| *stream_id <= last);
            }
            inner.lifecycle = if goaway.then == AfterGoaway::Drain {
                ConnectionState::Draining
            } else {
                ConnectionState::Flushing
            };
            last
        };
        self.changed.notify_one();
        Some(last)
    }

    /// Drops the connection without flushing.
    pub(super) fn abort(&self) {
        self.inner.lock().lifecycle = ConnectionState::Aborted;
        self.changed.notify_one();
    }

    pub(super) fn lifecycle(&self) -> ConnectionState {
        self.inner.lock().lifecycle
    }
}

/// Open connections of one port, and the settings of new ones.
pub(crate) struct Connections {
    limit: AtomicU32,
    is_stalled: AtomicBool,
    list: Mutex<Vec<Weak<Connection>>>,
}

impl Connections {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit: AtomicU32::new(limit), is_stalled: AtomicBool::new(false), list: Mutex::default() }
    }

    /// Adds a connection. `restricted_limit` replaces the limit of all connections until the service lifts it.
    pub(super) fn open(&self, restricted_limit: Option<u32>) -> Arc<Connection> {
        let mut list = self.list.lock();
        list.retain(|connection| connection.strong_count() > 0);
        let shared = || StreamLimit::Shared(self.stream_limit());
        let limit = restricted_limit.map_or_else(shared, StreamLimit::Restricted);
        let connection = Arc::new(Connection::new(limit));
        list.push(Arc::downgrade(&connection));
        drop(list);
        if self.is_stalled.load(Ordering::Acquire) {
            connection.set_window(0);
        }
        connection
    }

    /// Lifts the restriction of a trusted connection: it gets the limit of all connections.
    pub(crate) fn lift_restriction(&self, connection: &Connection) {
        connection.inner.lock().is_restricted = false;
        connection.set_stream_limit(self.stream_limit());
    }

    /// Stops reading bodies: new streams get a flow-control window of 0.
    pub(crate) fn stall(&self) {
        self.is_stalled.store(true, Ordering::Release);
        self.open_connections().iter().for_each(|connection| connection.set_window(0));
    }

    /// Reads bodies again after [`Connections::stall`].
    pub(crate) fn resume(&self) {
        if self.is_stalled.swap(false, Ordering::AcqRel) {
            self.open_connections().iter().for_each(|connection| connection.set_window(DEFAULT_WINDOW));
        }
    }

    /// Returns the number of open connections.
    pub(crate) fn count(&self) -> usize {
        self.open_connections().len()
    }

    /// Sets the limit of concurrent streams for open and future connections.
    pub(crate) fn set_stream_limit(&self, streams: u32) {
        self.limit.store(streams, Ordering::Release);
        self.open_connections().iter().for_each(|connection| connection.set_stream_limit(streams));
    }

    /// Returns the limit of concurrent streams of a new connection.
    pub(crate) fn stream_limit(&self) -> u32 {
        self.limit.load(Ordering::Acquire)
    }

    /// Sends GOAWAY on all open connections. Returns the last stream id of each frame.
    pub(crate) fn send_goaway(&self, goaway: &Goaway) -> Vec<u32> {
        self.open_connections().iter().filter_map(|connection| connection.send_goaway(goaway, None)).collect()
    }

    fn open_connections(&self) -> Vec<Arc<Connection>> {
        let connections: Vec<_> = self.list.lock().iter().filter_map(Weak::upgrade).collect();
        let is_open = |connection: &Arc<Connection>| {
            matches!(connection.lifecycle(), ConnectionState::Open | ConnectionState::Draining)
        };
        connections.into_iter().filter(is_open).collect()
    }
}
