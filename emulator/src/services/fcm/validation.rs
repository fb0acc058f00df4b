//! Validation of a message against the FCM reference. The first violation is returned as Google's error.
//! This module knows no projects, bearers and devices.

use serde_json::Value;

use super::condition::Condition;
use super::responses;
use super::topics::is_topic_name;
use crate::wire::HttpResponse;

const FIELDS: [&str; 11] = [
    "name",
    "data",
    "notification",
    "android",
    "webpush",
    "apns",
    "fcm_options",
    "token",
    "topic",
    "condition",
    "fid",
];
/// Maximum size of a message in bytes, without its target. Messages to topics get half of it.
const MAX_MESSAGE_SIZE: usize = 4096;

/// Target of a valid message.
pub(super) enum Target<'a> {
    Token(&'a str),
    Fid(&'a str),
    Topic(&'a str),
    Condition(Condition),
}

/// Validates a message and returns its target.
pub(super) fn validate(message: &Value) -> Result<Target<'_>, HttpResponse> {
    let Some(fields) = message.as_object() else {
        return Err(responses::field_violation("message", "Message is required."));
    };
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let text = format!(
            "Invalid JSON payload received. Unknown name \"{unknown}\" at 'message': Cannot find field."
        );
        return Err(responses::field_violation("message", &text));
    }
    validate_data(&message["data"], "message.data")?;
    validate_data(&message["webpush"]["data"], "message.webpush.data")?;
    validate_data(&message["android"]["data"], "message.android.data")?;
    validate_web(&message["webpush"])?;
    validate_android(&message["android"])?;
    require_strings(&message["apns"]["headers"], "message.apns.headers")?;
    let counted: serde_json::Map<_, _> = fields
        .iter()
        .filter(|(key, _)| !["token", "fid", "topic", "condition"].contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let target = parse_target(message)?;
    let limit = match target {
        Target::Token(_) | Target::Fid(_) => MAX_MESSAGE_SIZE,
        Target::Topic(_) | Target::Condition(_) => MAX_MESSAGE_SIZE / 2,
    };
    if Value::Object(counted).to_string().len() > limit {
        return Err(responses::invalid_argument("Android message is too big"));
    }
    Ok(target)
}

fn parse_target(message: &Value) -> Result<Target<'_>, HttpResponse> {
    let given =
        ["token", "fid", "topic", "condition"].map(|kind| message[kind].as_str().map(|text| (kind, text)));
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(("token", token)), None) => Ok(Target::Token(token)),
        (Some(("fid", fid)), None) => Ok(Target::Fid(fid)),
        (Some(("topic", topic)), None) if is_topic_name(topic) => Ok(Target::Topic(topic)),
        (Some(("topic", _)), None) => Err(responses::invalid_argument("Malformed topic name")),
        (Some(("condition", text)), None) => Condition::parse(text)
            .map(Target::Condition)
            .ok_or_else(|| responses::invalid_argument("Invalid condition expression provided.")),
        _ => {
            Err(responses::field_violation("message", "Exactly one of token, topic or condition is required"))
        }
    }
}

/// Requires that every value of an object is a string.
fn require_strings(object: &Value, field: &str) -> Result<(), HttpResponse> {
    for (i, (_, value)) in object.as_object().into_iter().flatten().enumerate() {
        if !value.is_string() {
            let text = format!("Invalid value at '{field}[{i}].value' (TYPE_STRING), {value}");
            return Err(responses::field_violation(&format!("{field}[{i}].value"), &text));
        }
    }
    Ok(())
}

fn validate_data(data: &Value, field: &str) -> Result<(), HttpResponse> {
    require_strings(data, field)?;
    for key in data.as_object().into_iter().flatten().map(|(key, _)| key) {
        if key == "from" || key == "message_type" || key.starts_with("google") || key.starts_with("gcm") {
            return Err(responses::invalid_argument(&format!("Invalid data payload key: {key}")));
        }
    }
    Ok(())
}

fn validate_web(web: &Value) -> Result<(), HttpResponse> {
    require_strings(&web["headers"], "message.webpush.headers")?;
    let header = |name: &str| web["headers"][name].as_str();
    let violation =
        |field: &str, text: &str| Err(responses::field_violation(&format!("message.webpush.{field}"), text));
    if header("TTL")
        .is_some_and(|ttl| ttl.parse::<u32>().is_ok_and(|ttl| ttl > 2_419_200) || ttl.parse::<u32>().is_err())
    {
        return violation("headers", "Invalid TTL");
    }
    if header("Urgency").is_some_and(|urgency| !["very-low", "low", "normal", "high"].contains(&urgency)) {
        return violation("headers", "Invalid Urgency");
    }
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if header("Topic").is_some_and(|topic| topic.len() > 32 || !topic.chars().all(is_base64url)) {
        return violation("headers", "Invalid Topic");
    }
    if web["fcm_options"]["link"].as_str().is_some_and(|link| !link.starts_with("https://")) {
        return violation("fcm_options.link", "Link must be https");
    }
    Ok(())
}

fn validate_android(android: &Value) -> Result<(), HttpResponse> {
    let seconds =
        android["ttl"].as_str().map(|ttl| ttl.strip_suffix('s').and_then(|s| s.parse::<f64>().ok()));
    if seconds.is_some_and(|seconds| seconds.is_none_or(|s| !(0.0..=2_419_200.0).contains(&s))) {
        return Err(responses::field_violation(
            "message.android.ttl",
            "Illegal duration format; duration must end with 's'",
        ));
    }
    if android["priority"].as_str().is_some_and(|p| !["NORMAL", "HIGH", "normal", "high"].contains(&p)) {
        return Err(responses::field_violation(
            "message.android.priority",
            "Invalid value at 'message.android.priority'",
        ));
    }
    Ok(())
}
