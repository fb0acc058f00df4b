//! FCM's Web Push endpoints: errors as plain text and HTML, never as JSON.

use super::{PushResponse, Refusal, ServiceProfile, random_id};

pub(super) struct Google;

const OTHER_KEY: &str = "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.\n";
const UNAUTHORIZED: &str = "<HTML>\n<HEAD>\n<TITLE>UnauthorizedRegistration</TITLE>\n</HEAD>\n<BODY BGCOLOR=\"#FFFFFF\" TEXT=\"#000000\">\n<H1>UnauthorizedRegistration</H1>\n<H2>Error 400</H2>\n</BODY>\n</HTML>\n";

impl ServiceProfile for Google {
    fn origin(&self) -> &'static str {
        "https://fcm.googleapis.com"
    }

    fn path_prefix(&self) -> &'static str {
        "/fcm/send/"
    }

    fn random_path(&self) -> String {
        format!("{}{}:APA91b{}", self.path_prefix(), &random_id::<9>()[..11], random_id::<96>())
    }

    fn max_ttl(&self) -> u64 {
        2_419_200
    }

    fn message_path(&self) -> String {
        format!("/0:{}%7{:x}", rand::random::<u32>(), rand::random::<u64>())
    }

    fn refusal_response(&self, refusal: Refusal) -> PushResponse {
        let (status, text) = match refusal {
            Refusal::Method => return PushResponse::empty(405).with_header("allow", "POST"),
            Refusal::Unknown | Refusal::Mangled => (404, "invalid push subscription endpoint\n"),
            Refusal::Gone => (410, "push subscription has unsubscribed or expired.\n"),
            Refusal::TtlMissing => (400, "missing TTL header\n"),
            Refusal::Ttl | Refusal::CachePolicy => (400, "invalid TTL header\n"),
            Refusal::Urgency => (400, "invalid Urgency header\n"),
            Refusal::Topic => (400, "invalid Topic header\n"),
            Refusal::Encoding => (400, "invalid Content-Encoding header\n"),
            Refusal::TooLarge => (413, "payload too large\n"),
            Refusal::Vapid(_) => return PushResponse::html(400, UNAUTHORIZED),
            Refusal::OtherKey => (403, OTHER_KEY),
        };
        PushResponse::text(status, text)
    }

    fn fault_response(&self, status: u16, code: Option<&str>) -> PushResponse {
        let text = match (status, code) {
            (_, Some(code)) => code,
            (403, None) => OTHER_KEY,
            (404, None) => "invalid push subscription endpoint\n",
            (410, None) => "push subscription has unsubscribed or expired.\n",
            (400, None) => return PushResponse::html(400, UNAUTHORIZED),
            _ => "Fault injected by the emulator.\n",
        };
        PushResponse::text(status, text)
    }
}
