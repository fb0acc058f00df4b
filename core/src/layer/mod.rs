//! What every channel is wrapped in, written once. Each layer is a `PushChannel` around another; `stack.rs` has their order.

pub mod concurrency;
pub mod gate;
pub mod guard;
pub mod meter;
pub mod pace;
pub mod recall;
pub mod stack;
pub mod timeout;
pub mod trace;
mod withdrawals;

/// What a layer does not change goes to the channel inside.
macro_rules! inside {
    () => {
        fn info(&self) -> &crate::channel::ChannelInfo {
            self.inside.info()
        }
        fn admits(&self, address: &crate::device::Address) -> Result<(), crate::fault::Fault> {
            self.inside.admits(address)
        }
        fn render(&self, message: &crate::delivery::Message) -> crate::channel::Rendered {
            self.inside.render(message)
        }
        // Spelled out as `async_trait` would: it does not look inside a macro.
        fn probe<'life, 'result>(
            &'life self,
        ) -> std::pin::Pin<
            Box<dyn Future<Output = Result<crate::channel::Probe, crate::fault::Fault>> + Send + 'result>,
        >
        where
            'life: 'result,
            Self: 'result,
        {
            self.inside.probe()
        }
    };
}
pub(crate) use inside;
