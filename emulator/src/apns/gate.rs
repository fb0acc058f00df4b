//! One environment's port: where a request goes, who sends it, and what is answered.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::auth::Terms;
use super::broadcast::Ask;
use super::check::{check, judge_environment};
use super::reason::Reason;
use super::{Apns, Environment, MissingPushType};
use crate::event::What;
use crate::fault::Where;
use crate::rig::{Rig, Site};
use crate::wire::{Asked, Reply};

/// The service in one environment.
pub(crate) struct Gate {
    pub(crate) apns: Arc<Apns>,
    pub(crate) environment: Environment,
}

/// Where a request goes.
enum Path<'a> {
    Device(&'a str),
    Broadcast(&'a str),
    Manage(&'a str, Ask),
}

/// The path of a request, if there is anything.
fn path(asked: &Asked) -> Result<Path<'_>, Reason> {
    let path = asked.head.uri.path();
    if let Some(token) = path.strip_prefix("/3/device") {
        return match token.strip_prefix('/') {
            Some(token) if token.contains('/') => Err(Reason::BadPath),
            Some(token) if !token.is_empty() => Ok(Path::Device(token)),
            Some(_) => Err(Reason::MissingDeviceToken),
            None if token.is_empty() => Err(Reason::MissingDeviceToken),
            None => Err(Reason::BadPath),
        };
    }
    if let Some(bundle) = path.strip_prefix("/4/broadcasts/apps/") {
        return Ok(Path::Broadcast(bundle));
    }
    match path.strip_prefix("/1/apps/").and_then(|rest| rest.rsplit_once('/')) {
        Some((bundle, "channels")) => Ok(Path::Manage(bundle, Ask::One)),
        Some((bundle, "all-channels")) => Ok(Path::Manage(bundle, Ask::All)),
        _ => Err(Reason::BadPath),
    }
}

impl Gate {
    fn judged(&self, asked: &Asked) -> Result<Reply, Reason> {
        let apns = &self.apns;
        let rules = *apns.rules.lock();
        let terms = Terms { team: &apns.team, now_s: apns.rig.clock.now_s(), rules: &rules };
        let sender = apns.credentials.sender(asked, &terms)?;
        judge_environment(&sender, self.environment)?;
        if let Some(line) = &asked.peer.line {
            // Who has shown good credentials is trusted with more than one stream.
            apns.rig.lines.release(line);
        }
        match path(asked)? {
            Path::Manage(bundle, ask) if bundle == apns.bundle => apns.manage(asked, self.environment, &ask),
            Path::Manage(..) => Err(Reason::TopicDisallowed),
            _ if asked.head.method != http::Method::POST => Err(Reason::MethodNotAllowed),
            Path::Broadcast(bundle) if bundle == apns.bundle => apns.broadcast(asked, self.environment),
            Path::Broadcast(_) => Err(Reason::TopicDisallowed),
            Path::Device(token) => {
                let push = check(asked, &sender, &apns.bundle, &rules)?;
                let phone = apns.phones.target(token, &push, self.environment)?;
                // Last, so that a client without the header learns whatever else is wrong.
                if !push.has_type && rules.missing_push_type == MissingPushType::Refused {
                    return Err(Reason::InvalidPushType);
                }
                let told = phone.arrive(&push, apns.rig.clock.now_ms());
                told.into_iter().for_each(|what| apns.rig.tell(what));
                let reply = Reply { status: 200, ..Reply::default() };
                // Only the sandbox gives the id under which the delivery can be looked up.
                let unique =
                    (self.environment == Environment::Sandbox).then(|| uuid::Uuid::now_v7().to_string());
                Ok(reply.maybe("apns-unique-id", unique))
            }
        }
    }

    /// An answer under the id the sender gave, or one of our own.
    fn named(&self, asked: &Asked, reply: Reply) -> Reply {
        if !matches!(path(asked), Ok(Path::Device(_)) | Err(_)) {
            return reply;
        }
        let given = asked.header("apns-id").map(str::to_owned);
        reply.with("apns-id", given.unwrap_or_else(|| uuid::Uuid::now_v7().to_string().to_uppercase()))
    }
}

/// Explains the refusals that depend on a rule of the emulator, and how to change that rule.
fn hint(asked: &Asked, reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::TooManyProviderTokenUpdates => Some(
            "this key showed another provider token within the last mint_every_s seconds; \
             POST /control/apns/do/rules {\"mint_every_s\": 0} switches the rule off, \
             POST /control/apns/do/forget_provider_tokens lets every key begin anew",
        ),
        Reason::InvalidPushType if asked.header("apns-push-type").is_none() => Some(
            "the push has no apns-push-type; \
             POST /control/apns/do/rules {\"missing_push_type\": \"alert\"} takes it as an alert",
        ),
        _ => None,
    }
}

/// The body of a refusal.
fn refused(status: u16, reason: &str, since_ms: Option<u64>) -> Reply {
    let mut body = json!({"reason": reason});
    if let Some(since) = since_ms {
        body["timestamp"] = since.into();
    }
    Reply::of(status, "application/json", body.to_string())
}

impl Site for Gate {
    fn rig(&self) -> &Rig {
        &self.apns.rig
    }

    fn first_streams(&self, certificate: Option<&CertificateDer<'_>>) -> Option<u32> {
        certificate.is_none().then(|| self.apns.rules.lock().first_streams)
    }

    fn place(&self, asked: &Asked) -> Where {
        if matches!(path(asked), Ok(Path::Manage(..))) { Where::Manage } else { Where::Send }
    }

    fn names(&self, asked: &Asked) -> Vec<String> {
        let Ok(Path::Device(token)) = path(asked) else { return Vec::new() };
        let phone = self.apns.phones.addressed(token).map(|(phone, _)| phone.id.clone());
        phone.into_iter().chain([token.to_owned()]).collect()
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let reason = match self.judged(asked) {
            Ok(reply) => {
                self.rig().tell(self.refusal(asked, reply.status, None));
                return self.named(asked, reply);
            }
            Err(reason) => reason,
        };
        let (status, word) = reason.row();
        self.rig().tell(self.refusal(asked, status, Some(word.to_owned())));
        let reply = self.named(asked, refused(status, word, reason.since_ms()));
        match hint(asked, reason) {
            Some(text) => {
                self.rig().tell(What::Hint { text: text.to_owned() });
                reply.with("x-emulator-hint", text.to_owned())
            }
            None => reply,
        }
    }

    fn error(&self, asked: &Asked, status: u16, code: Option<&str>) -> Reply {
        let usual = match status {
            400 => "BadDeviceToken",
            403 => "InvalidProviderToken",
            410 => "Unregistered",
            413 => "PayloadTooLarge",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            _ => "InternalServerError",
        };
        let since = (status == 410).then(|| self.rig().clock.now_ms());
        self.named(asked, refused(status, code.unwrap_or(usual), since))
    }

    fn expired(&self, asked: &Asked) -> Reply {
        self.named(asked, refused(403, "ExpiredProviderToken", None))
    }

    fn refusal(&self, asked: &Asked, status: u16, code: Option<String>) -> What {
        let known = self.names(asked).into_iter().find(|name| self.apns.phones.named(name).is_some());
        What::Send { status, code, device: known }
    }
}

/// For the control API: what a wish for an iPhone says.
pub(super) fn wished(wish: Value) -> Result<(String, Environment), String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        id: String,
        #[serde(default)]
        environment: Environment,
    }
    let Wish { id, environment } = serde_json::from_value(wish).map_err(|error| error.to_string())?;
    Ok((id, environment))
}
