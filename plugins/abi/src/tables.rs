//! Structs of the header. New fields are only appended, in both files at once.

use std::ffi::c_void;

use crate::Str;

/// `pushgate_channel`: the host's number of an open channel.
pub type Channel = u64;
/// `pushgate_tag`: the host's number of a call that the plugin must complete.
pub type Tag = u64;
/// `pushgate_instance`: the plugin's object for one channel, opaque to the host.
pub type Instance = c_void;

/// `pushgate_sink`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Sink {
    pub state: *mut c_void,
    pub write: Option<unsafe extern "C" fn(state: *mut c_void, piece: Str)>,
}

/// `pushgate_capability`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Capability {
    pub struct_size: usize,
    pub max_bytes: u64,
    pub max_ttl_s: u64,
    pub timeout_ms: u64,
    pub retry_floor_ms: u64,
    pub throttle_pause_ms: u64,
    pub max_batch: u32,
    pub tokens: u32,
    pub features: u32,
    pub reserved: u32,
}

/// `pushgate_message`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Message {
    pub struct_size: usize,
    pub id: Str,
    pub app: Str,
    pub title: Str,
    pub content: Str,
    pub payload: Str,
    pub image: Str,
    pub link: Str,
    pub collapse_key: Str,
    pub thread: Str,
    pub category: Str,
    pub overrides: Str,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
    pub ttl_s: u64,
    pub badge: i64,
    pub priority: u32,
    pub silent: u32,
    pub tag: Str,
    pub call: Str,
    pub act: u32,
    pub voip: u32,
}

/// `pushgate_target`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Target {
    pub struct_size: usize,
    pub token: Str,
    pub device: Str,
    pub user: Str,
    pub kind: u32,
    pub index: u32,
}

/// `pushgate_delivery`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Delivery {
    pub struct_size: usize,
    pub id: Str,
    pub message: *const Message,
    pub targets: *const *const Target,
    pub target_count: usize,
    pub deadline_ms: i64,
    pub attempt: u32,
    pub reserved: u32,
}

/// `pushgate_outcome`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Outcome {
    pub struct_size: usize,
    pub vendor_id: Str,
    pub token: Str,
    pub vendor_code: Str,
    pub detail: Str,
    pub retry_after_ms: u64,
    pub since_ms: i64,
    pub expires_at_ms: i64,
    pub code: u32,
    pub scope: u32,
}

/// `pushgate_header`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Header {
    pub name: Str,
    pub value: Str,
}

/// `pushgate_http_request`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct HttpRequest {
    pub struct_size: usize,
    pub method: Str,
    pub url: Str,
    pub headers: *const Header,
    pub header_count: usize,
    pub body: Str,
    pub timeout_ms: u64,
    pub max_answer: u64,
}

/// `pushgate_http_response`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct HttpResponse {
    pub struct_size: usize,
    pub error: u32,
    pub status: u32,
    pub headers: *const Header,
    pub header_count: usize,
    pub body: Str,
    pub detail: Str,
}

/// `pushgate_http_done`
pub type HttpDone = unsafe extern "C" fn(user: *mut c_void, response: *const HttpResponse);
/// `pushgate_timer_done`
pub type TimerDone = unsafe extern "C" fn(user: *mut c_void, cancelled: u32);

/// `pushgate_host`: functions of the gateway.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Host {
    pub abi_major: u32,
    pub abi_minor: u32,
    pub struct_size: usize,
    pub complete: Option<unsafe extern "C" fn(*const Host, Tag, *const Outcome, usize)>,
    pub log: Option<unsafe extern "C" fn(*const Host, Channel, u32, Str)>,
    pub counter: Option<unsafe extern "C" fn(*const Host, Channel, Str, u64)>,
    pub histogram: Option<unsafe extern "C" fn(*const Host, Channel, Str, f64)>,
    pub http_request: Option<
        unsafe extern "C" fn(*const Host, Channel, *const HttpRequest, Option<HttpDone>, *mut c_void) -> i32,
    >,
    pub timer: Option<unsafe extern "C" fn(*const Host, Channel, u64, Option<TimerDone>, *mut c_void) -> i32>,
    pub now_ms: Option<unsafe extern "C" fn(*const Host) -> i64>,
}

/// `pushgate_open`: arguments of opening a channel.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Open {
    pub struct_size: usize,
    pub channel: Channel,
    pub name: Str,
    pub config: Str,
}

/// `pushgate_plugin`: functions of the plugin.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header documents fields")]
pub struct Plugin {
    pub abi_major: u32,
    pub abi_minor: u32,
    pub struct_size: usize,
    pub kind: Str,
    pub version: Str,
    pub description: Str,
    pub config_schema: Str,
    pub capability: *const Capability,
    pub open: Option<unsafe extern "C" fn(*const Host, *const Open, *mut *mut Instance, *const Sink) -> i32>,
    pub close: Option<unsafe extern "C" fn(*mut Instance)>,
    pub render: Option<unsafe extern "C" fn(*mut Instance, *const Message, *mut u64, *const Sink)>,
    pub probe: Option<unsafe extern "C" fn(*mut Instance, Tag)>,
    pub send: Option<unsafe extern "C" fn(*mut Instance, *const Delivery, Tag)>,
}

impl Plugin {
    /// Empty table, as the host passes it to the entry function.
    pub const EMPTY: Self = Self {
        abi_major: 0,
        abi_minor: 0,
        struct_size: std::mem::size_of::<Self>(),
        kind: Str::NONE,
        version: Str::NONE,
        description: Str::NONE,
        config_schema: Str::NONE,
        capability: std::ptr::null(),
        open: None,
        close: None,
        render: None,
        probe: None,
        send: None,
    };
}

// SAFETY: the table is written once and then only read. The data behind its pointers lives as long as the process and is
// never written.
unsafe impl Send for Plugin {}
// SAFETY: as above.
unsafe impl Sync for Plugin {}

/// `pushgate_plugin_v1`
pub type Entry = unsafe extern "C" fn(host: *const Host, plugin: *mut Plugin) -> i32;
