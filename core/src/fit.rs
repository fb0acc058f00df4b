//! Size limits of channels. Cuts the content of a message first, then its title, at grapheme boundaries, and never the
//! payload. Shortens collapse keys to a length that every push service accepts.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use unicode_segmentation::UnicodeSegmentation;

use crate::channel::PushChannel;
use crate::delivery::Message;
use crate::secret::Secret;

/// Result of fitting a message to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The message fits unchanged.
    Whole,
    /// Content or title were cut so that the message fits.
    Cut,
    /// The message does not fit even with an empty title and content.
    TooLarge {
        /// Minimum number of bytes it needs.
        needs: usize,
        /// Maximum number of bytes of the channel.
        limit: usize,
    },
}

const ELLIPSIS: &str = "…";

/// Cuts the message to the size limit of the channel.
pub fn fit(channel: &dyn PushChannel, message: &mut Message) -> Fit {
    let limit = channel.info().capability.max_bytes;
    let fits = |message: &Message| channel.render(message).counted <= limit;
    if fits(message) {
        return Fit::Whole;
    }
    let title = message.title.clone();
    if cut(message, |m| &mut m.content, fits) {
        return Fit::Cut;
    }
    if cut(message, |m| &mut m.title, fits) {
        return Fit::Cut;
    }
    let needs = channel.render(message).counted;
    message.title = title;
    Fit::TooLarge { needs, limit }
}

/// Cuts one field to its longest beginning with which the message fits. Returns `false`, and leaves the field empty, if no
/// beginning fits. The binary search renders about a dozen times, and only for messages that are too large.
fn cut(
    message: &mut Message,
    part: impl Fn(&mut Message) -> &mut Secret,
    fits: impl Fn(&Message) -> bool,
) -> bool {
    let whole = part(message).clone();
    let ends: Vec<usize> = whole.expose().grapheme_indices(true).map(|(start, _)| start).collect();
    let (mut good, mut bad) = (None, ends.len());
    let mut low = 0;
    while low < bad {
        let middle = low + (bad - low) / 2;
        *part(message) = shortened(whole.expose(), ends[middle]);
        if fits(message) {
            good = Some(middle);
            low = middle + 1;
        } else {
            bad = middle;
        }
    }
    *part(message) = good.map_or_else(|| Secret::from(""), |middle| shortened(whole.expose(), ends[middle]));
    good.is_some()
}

fn shortened(text: &str, end: usize) -> Secret {
    match text[..end].trim_end() {
        "" => Secret::from(""),
        kept => Secret::from(format!("{kept}{ELLIPSIS}")),
    }
}

/// Returns a digest of a collapse key of any length and script: 32 characters of base64url, which every push service
/// accepts. RFC 8030 §5.4 permits at most 32 in a Topic, and some push services decode it, so shorter ones may fail.
#[must_use]
pub fn collapse_key_digest(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, key.as_bytes()).as_ref()[..24])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Delivery;
    use crate::channel::{Capability, ChannelInfo, Probe, Rendered};
    use crate::fault::Fault;
    use crate::ids::{AppId, ChannelName, NotificationId};
    use crate::report::Report;
    use crate::timestamp::Timestamp;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Channel that counts the bytes of title, content and payload.
    struct Narrow(ChannelInfo);

    #[async_trait::async_trait]
    impl PushChannel for Narrow {
        fn info(&self) -> &ChannelInfo {
            &self.0
        }
        fn render(&self, m: &Message) -> Rendered {
            let payload = m.payload.as_ref().map_or(0, |p| p.expose().len());
            let counted = m.title.expose().len() + m.content.expose().len() + payload;
            Rendered { body: serde_json::Value::Null, counted }
        }
        async fn send(&self, delivery: &Delivery) -> Report {
            Report::new(delivery.targets.len(), Vec::new())
        }
        async fn probe(&self) -> Result<Probe, Fault> {
            Ok(Probe { identity: String::new(), expires_at: None })
        }
    }

    fn narrow(max_bytes: usize) -> Narrow {
        Narrow(ChannelInfo {
            kind: "narrow",
            name: ChannelName::new("narrow").unwrap(),
            timeout: Duration::from_secs(1),
            capability: Capability { max_bytes, ..Capability::BASIC },
        })
    }

    fn message(title: &str, content: &str, payload: &str) -> Message {
        let (id, app) = (NotificationId::new(), AppId::new("demo").unwrap());
        let blank = Message::new(id, app, Timestamp::from_millis(0));
        Message { title: title.into(), content: content.into(), payload: Some(payload.into()), ..blank }
    }

    #[test]
    fn content_is_cut_first_and_between_graphemes() {
        let family = "👨‍👩‍👧‍👦";
        let mut m = message("Ann", &family.repeat(3), "p");
        assert_eq!(fit(&narrow(3 + family.len() * 2 + "…".len() + 1), &mut m), Fit::Cut);
        assert_eq!(m.title.expose(), "Ann");
        assert_eq!(m.content.expose(), format!("{}…", family.repeat(2)));
    }

    #[test]
    fn the_title_is_cut_only_when_no_content_is_left() {
        let mut m = message("Annabelle", "hello", "payload");
        assert_eq!(fit(&narrow(7 + 3 + 3), &mut m), Fit::Cut);
        assert_eq!((m.content.expose(), m.title.expose()), ("", "Ann…"));
    }

    #[test]
    fn the_payload_is_never_cut() {
        let mut m = message("Ann", "hello", "0123456789");
        assert_eq!(fit(&narrow(9), &mut m), Fit::TooLarge { needs: 10, limit: 9 });
        assert_eq!(m.payload.unwrap().expose(), "0123456789");
    }

    proptest! {
        #[test]
        fn a_cut_message_fits_the_channel(title in ".{0,20}", content in ".{0,60}", limit in 0usize..120) {
            let channel = narrow(limit);
            let mut m = message(&title, &content, "");
            match fit(&channel, &mut m) {
                Fit::Whole => prop_assert!(title.len() + content.len() <= limit),
                Fit::Cut => prop_assert!(channel.render(&m).counted <= limit),
                Fit::TooLarge { .. } => prop_assert!(false, "nothing but cuttable text"),
            }
        }
    }
}
