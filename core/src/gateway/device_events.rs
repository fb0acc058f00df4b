//! Taking in what devices tell of what they got.

use super::Gateway;
use crate::echo::Echo;
use crate::observe::Event;
use crate::queue::Heard;
use crate::store::StorageError;

/// Why what a device tells is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// This gateway has made no such token.
    #[error("this gateway has made no such receipt token")]
    Unknown,
    /// It was a token, of a notification that is forgotten by now.
    #[error("the notification was too long ago; nothing is kept of it")]
    Late,
    /// Storage failed; it was not taken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Gateway {
    /// Keeps what a device tells of a notification, by the receipt token that stood in the push. Telling it again is harmless:
    /// the first time counts. Whether it was news.
    ///
    /// # Errors
    /// [`ReceiptError`]; then nothing is changed.
    pub async fn receipt(&self, token: &str, echo: Echo) -> Result<bool, ReceiptError> {
        let mailroom = self.inner.mailroom.as_ref().ok_or(ReceiptError::Unknown)?;
        let speaker = mailroom.speaker(token).ok_or(ReceiptError::Unknown)?;
        let context = &self.inner.context;
        let heard = context.queue.hear(speaker, echo, context.clock.now()).await?;
        let Heard { app, receipt, is_news } = heard.ok_or(ReceiptError::Late)?;
        if is_news {
            let labels = [("app", app.to_string()), ("receipt", echo.as_str().to_owned())];
            metrics::counter!("pushgate_receipts_total", &labels).increment(1);
            context.notify_observers(&Event::Echo {
                id: speaker.notification,
                app,
                echo,
                index: speaker.index,
                receipt,
            });
        }
        Ok(is_news)
    }
}
