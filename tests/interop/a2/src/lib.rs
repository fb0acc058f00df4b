//! The sample `plugins/samples/a2`, built with other roots and nothing else: it trusts the emulator.

pub use pushgate_plugin_a2::*;
