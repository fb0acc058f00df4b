//! SDK for channel plugins in Rust. Implement [`Channel`], pass the type to [`export_channel!`] and build a `cdylib`.
//! A plugin needs no unsafe code, runtime or TLS library. [`Host`] offers HTTP, timers, a clock, the log and metrics.
//! `README.md` is the tutorial.

mod channel;
mod delivery;
mod export;
mod host;
mod outcome;
mod runtime;

pub use channel::{Capability, Channel, Info, Probe, Rendered, TokenKind};
pub use delivery::{Act, Delivery, Message, Priority, Target};
pub use host::{Host, HttpError, Level, Request, Response};
pub use outcome::{Fault, Kind, Outcome};

/// Exports the entry function of a plugin with this [`Channel`]. Use it once in a crate with `crate-type = ["cdylib"]`.
#[macro_export]
macro_rules! export_channel {
    ($channel:ty) => {
        /// Entry function that the gateway calls after loading.
        ///
        /// # Safety
        /// The gateway calls it with its table and writable memory for the plugin's table.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn pushgate_plugin_v1(
            host: *const $crate::private::abi::Host,
            plugin: *mut $crate::private::abi::Plugin,
        ) -> i32 {
            // SAFETY: the gateway guarantees valid arguments.
            unsafe { $crate::private::entry::<$channel>(host, plugin) }
        }
    };
}

/// Implementation details of [`export_channel!`].
#[doc(hidden)]
pub mod private {
    pub use crate::export::entry;
    pub use pushgate_plugin_abi as abi;
}
