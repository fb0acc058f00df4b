//! Check-in: gives a device its identity, or confirms the one it has.

use super::protobuf::{Message, Writer};
use super::registry::{DeviceRegistry, Identity};
use crate::wire::HttpResponse;

/// Handles a check-in request.
pub(super) fn respond(registry: &DeviceRegistry, body: &[u8]) -> HttpResponse {
    let Ok(request) = Message::parse(body) else {
        return HttpResponse { status: 400, ..HttpResponse::default() };
    };
    // Some clients omit a field instead of sending 0.
    let number = |field| request.number(field).unwrap_or_default();
    let Ok(identity) = registry.check_in(Identity { id: number(2), secret: number(13) }) else {
        // 401 makes the client discard its identity and ask for a new one.
        return HttpResponse { status: 401, ..HttpResponse::default() };
    };
    let body = Writer::default()
        .varint(1, 1)
        .varint(3, registry.now_ms())
        .fixed64(7, identity.id)
        .fixed64(8, identity.secret)
        .finish();
    HttpResponse::with_body(200, "application/x-protobuf", body)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::service::ServiceContext;

    fn issued_identity(response: &HttpResponse) -> (u64, u64) {
        let message = Message::parse(&response.body).unwrap();
        assert_eq!((response.status, message.number(1)), (200, Some(1)));
        (message.number(7).unwrap(), message.number(8).unwrap())
    }

    #[test]
    fn the_first_check_in_gives_an_identity_and_later_ones_keep_it() {
        let registry = DeviceRegistry::new(Arc::new(ServiceContext::for_test()));
        let first = issued_identity(&respond(
            &registry,
            &Writer::default().varint(2, 0).fixed64(13, 0).varint(14, 3).finish(),
        ));
        let again = Writer::default().varint(2, first.0).fixed64(13, first.1).finish();
        assert_eq!(issued_identity(&respond(&registry, &again)), first);
        assert_ne!(issued_identity(&respond(&registry, &[])), first, "an absent field means 0");
    }

    #[test]
    fn a_wrong_secret_and_a_malformed_message_are_refused() {
        let registry = DeviceRegistry::new(Arc::new(ServiceContext::for_test()));
        let (id, secret) = issued_identity(&respond(&registry, &[]));
        let wrong_secret = Writer::default().varint(2, id).fixed64(13, secret ^ 1).finish();
        assert_eq!(respond(&registry, &wrong_secret).status, 401);
        assert_eq!(respond(&registry, b"\xff").status, 400);
    }
}
