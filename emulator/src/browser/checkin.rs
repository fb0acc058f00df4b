//! Check-in: a device gets its identity, or shows the one it has.

use super::post::{Identity, Post};
use super::protobuf::{Message, Writer};
use crate::wire::Reply;

pub(super) fn answer(post: &Post, body: &[u8]) -> Reply {
    let Ok(request) = Message::read(body) else { return Reply { status: 400, ..Reply::default() } };
    // Absent is what some clients send instead of 0.
    let number = |field| request.number(field).unwrap_or_default();
    let Ok(who) = post.check_in(Identity { id: number(2), secret: number(13) }) else {
        // Makes the client forget its identity and ask for a new one.
        return Reply { status: 401, ..Reply::default() };
    };
    let body = Writer::default()
        .varint(1, 1)
        .varint(3, post.now_ms())
        .fixed64(7, who.id)
        .fixed64(8, who.secret)
        .finish();
    Reply::of(200, "application/x-protobuf", body)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rig::Rig;

    fn identity(answer: &Reply) -> (u64, u64) {
        let message = Message::read(&answer.body).unwrap();
        assert_eq!((answer.status, message.number(1)), (200, Some(1)));
        (message.number(7).unwrap(), message.number(8).unwrap())
    }

    #[test]
    fn the_first_check_in_gives_an_identity_and_later_ones_keep_it() {
        let post = Post::new(Arc::new(Rig::alone()));
        let first =
            identity(&answer(&post, &Writer::default().varint(2, 0).fixed64(13, 0).varint(14, 3).finish()));
        let again = Writer::default().varint(2, first.0).fixed64(13, first.1).finish();
        assert_eq!(identity(&answer(&post, &again)), first);
        assert_ne!(identity(&answer(&post, &[])), first, "absent is 0");
    }

    #[test]
    fn a_wrong_secret_and_what_is_no_message_are_refused() {
        let post = Post::new(Arc::new(Rig::alone()));
        let (id, secret) = identity(&answer(&post, &[]));
        let wrong = Writer::default().varint(2, id).fixed64(13, secret ^ 1).finish();
        assert_eq!(answer(&post, &wrong).status, 401);
        assert_eq!(answer(&post, b"\xff").status, 400);
    }
}
