//! Whether a message is what the FCM reference allows; the first thing that is not, as Google says it.
//! Knows nothing of projects, bearers or devices.

use serde_json::Value;

use super::answer;
use super::condition::Condition;
use super::topic::is_topic_name;
use crate::wire::Reply;

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
/// In bytes, without the target; half of it for a topic.
const LIMIT: usize = 4096;

/// The target of a good message.
pub(super) enum Target<'a> {
    Token(&'a str),
    Fid(&'a str),
    Topic(&'a str),
    Condition(Condition),
}

pub(super) fn check(message: &Value) -> Result<Target<'_>, Reply> {
    let Some(fields) = message.as_object() else {
        return Err(answer::field("message", "Message is required."));
    };
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let text = format!(
            "Invalid JSON payload received. Unknown name \"{unknown}\" at 'message': Cannot find field."
        );
        return Err(answer::field("message", &text));
    }
    data(&message["data"], "message.data")?;
    data(&message["webpush"]["data"], "message.webpush.data")?;
    data(&message["android"]["data"], "message.android.data")?;
    web(&message["webpush"])?;
    android(&message["android"])?;
    strings(&message["apns"]["headers"], "message.apns.headers")?;
    let counted: serde_json::Map<_, _> = fields
        .iter()
        .filter(|(key, _)| !["token", "fid", "topic", "condition"].contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let target = target(message)?;
    let limit = match target {
        Target::Token(_) | Target::Fid(_) => LIMIT,
        Target::Topic(_) | Target::Condition(_) => LIMIT / 2,
    };
    if Value::Object(counted).to_string().len() > limit {
        return Err(answer::invalid("Android message is too big"));
    }
    Ok(target)
}

fn target(message: &Value) -> Result<Target<'_>, Reply> {
    let given =
        ["token", "fid", "topic", "condition"].map(|kind| message[kind].as_str().map(|text| (kind, text)));
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(("token", token)), None) => Ok(Target::Token(token)),
        (Some(("fid", fid)), None) => Ok(Target::Fid(fid)),
        (Some(("topic", topic)), None) if is_topic_name(topic) => Ok(Target::Topic(topic)),
        (Some(("topic", _)), None) => Err(answer::invalid("Malformed topic name")),
        (Some(("condition", text)), None) => Condition::parse(text)
            .map(Target::Condition)
            .ok_or_else(|| answer::invalid("Invalid condition expression provided.")),
        _ => Err(answer::field("message", "Exactly one of token, topic or condition is required")),
    }
}

fn strings(object: &Value, field: &str) -> Result<(), Reply> {
    for (i, (_, value)) in object.as_object().into_iter().flatten().enumerate() {
        if !value.is_string() {
            let text = format!("Invalid value at '{field}[{i}].value' (TYPE_STRING), {value}");
            return Err(answer::field(&format!("{field}[{i}].value"), &text));
        }
    }
    Ok(())
}

fn data(data: &Value, field: &str) -> Result<(), Reply> {
    strings(data, field)?;
    for key in data.as_object().into_iter().flatten().map(|(key, _)| key) {
        if key == "from" || key == "message_type" || key.starts_with("google") || key.starts_with("gcm") {
            return Err(answer::invalid(&format!("Invalid data payload key: {key}")));
        }
    }
    Ok(())
}

fn web(web: &Value) -> Result<(), Reply> {
    strings(&web["headers"], "message.webpush.headers")?;
    let header = |name: &str| web["headers"][name].as_str();
    let bad = |field: &str, text: &str| Err(answer::field(&format!("message.webpush.{field}"), text));
    if header("TTL")
        .is_some_and(|ttl| ttl.parse::<u32>().is_ok_and(|ttl| ttl > 2_419_200) || ttl.parse::<u32>().is_err())
    {
        return bad("headers", "Invalid TTL");
    }
    if header("Urgency").is_some_and(|urgency| !["very-low", "low", "normal", "high"].contains(&urgency)) {
        return bad("headers", "Invalid Urgency");
    }
    let base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if header("Topic").is_some_and(|topic| topic.len() > 32 || !topic.chars().all(base64url)) {
        return bad("headers", "Invalid Topic");
    }
    if web["fcm_options"]["link"].as_str().is_some_and(|link| !link.starts_with("https://")) {
        return bad("fcm_options.link", "Link must be https");
    }
    Ok(())
}

fn android(android: &Value) -> Result<(), Reply> {
    let seconds =
        android["ttl"].as_str().map(|ttl| ttl.strip_suffix('s').and_then(|s| s.parse::<f64>().ok()));
    if seconds.is_some_and(|seconds| seconds.is_none_or(|s| !(0.0..=2_419_200.0).contains(&s))) {
        return Err(answer::field(
            "message.android.ttl",
            "Illegal duration format; duration must end with 's'",
        ));
    }
    if android["priority"].as_str().is_some_and(|p| !["NORMAL", "HIGH", "normal", "high"].contains(&p)) {
        return Err(answer::field("message.android.priority", "Invalid value at 'message.android.priority'"));
    }
    Ok(())
}
