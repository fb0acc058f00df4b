//! Layers around every channel. Each layer is a `PushChannel` that wraps another; `stack.rs` defines their order.

pub mod concurrency;
pub mod gate;
pub mod guard;
pub mod meter;
pub mod revalidate;
pub mod stack;
pub mod throttle;
pub mod timeout;
pub mod trace;
mod withdrawals;

/// Implements the methods of `PushChannel` that a layer does not change: they delegate to `self.inner`.
macro_rules! delegate_to_inner {
    () => {
        fn info(&self) -> &crate::channel::ChannelInfo {
            self.inner.info()
        }
        fn admits(&self, address: &crate::device::Address) -> Result<(), crate::fault::Fault> {
            self.inner.admits(address)
        }
        fn render(&self, message: &crate::delivery::Message) -> crate::channel::Rendered {
            self.inner.render(message)
        }
        // Written as `async_trait` would expand it, because `async_trait` does not expand macros.
        fn probe<'life, 'result>(
            &'life self,
        ) -> std::pin::Pin<
            Box<dyn Future<Output = Result<crate::channel::Probe, crate::fault::Fault>> + Send + 'result>,
        >
        where
            'life: 'result,
            Self: 'result,
        {
            self.inner.probe()
        }
    };
}
pub(crate) use delegate_to_inner;
