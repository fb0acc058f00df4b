//! Write a channel plugin for the push gateway in Rust: implement [`Channel`], name it in [`export_channel!`], build a
//! `cdylib`. No unsafe code, no runtime, no TLS: HTTP, timers, clock, log and metrics are the gateway's, through [`Host`].
//! `README.md` is the tutorial.

mod channel;
mod export;
mod host;
mod outcome;
mod runtime;
mod sent;

pub use channel::{Capability, Channel, Info, Probe, Rendered, TokenKind};
pub use host::{Host, HttpError, Level, Request, Response};
pub use outcome::{Fault, Kind, Outcome};
pub use sent::{Act, Delivery, Message, Priority, Target};

/// Makes the crate a plugin whose channels are of this type. Once in a crate, which has `crate-type = ["cdylib"]`.
#[macro_export]
macro_rules! export_channel {
    ($channel:ty) => {
        /// What the gateway calls after loading.
        ///
        /// # Safety
        /// Called by the gateway, with its table and room for ours.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn pushgate_plugin_v1(
            host: *const $crate::private::abi::Host,
            plugin: *mut $crate::private::abi::Plugin,
        ) -> i32 {
            // SAFETY: handed on as it came.
            unsafe { $crate::private::entry::<$channel>(host, plugin) }
        }
    };
}

/// For [`export_channel!`] alone.
#[doc(hidden)]
pub mod private {
    pub use crate::export::entry;
    pub use pushgate_plugin_abi as abi;
}
