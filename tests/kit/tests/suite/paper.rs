//! Minimal channel with a token endpoint, correct except for one selected defect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Uri};
use pushgate::vendor_response::{retry_after, safe_quote};
use pushgate::{
    Address, Capability, ChannelInfo, ChannelName, Delivery, Fault, Kind, Message, NotificationId, Outcome,
    Priority, Probe, PushChannel, Rendered, Report, Request, Response, Target, Transport,
};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::transport::ScriptedTransport;
use serde_json::{Value, json};

/// Defect of the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    NoBatch,
    Backwards,
    DeadWhenUnreachable,
    AnyKind,
    RefusesLate,
    CountsContent,
    Overfull,
    CutsBytes,
    NoControls,
    WholeLife,
    SomeLife,
    NoCollapse,
    SilentShows,
    NoBadge,
    NewId,
    NoNote,
    AnySuccess,
    DeadOn404,
    ReadsAll,
    SecondsOnly,
    WaitsForever,
    Quotes,
    ManyBearers,
    KeepsBearer,
    SendsAnyway,
    ShowsKey,
    QuotesKey,
    ProbesUser,
    OwnTimeout,
    Wedges,
}

const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Paper {
    info: ChannelInfo,
    key: String,
    defect: Option<Defect>,
    bearer: tokio::sync::Mutex<Option<String>>,
    busy: AtomicBool,
    transport: Arc<ScriptedTransport>,
    clock: Arc<ManualClock>,
}

impl std::fmt::Debug for Paper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Paper {}", if self.has(Defect::ShowsKey) { &self.key } else { "" })
    }
}

impl Paper {
    pub(crate) fn new(
        key: &str,
        defect: Option<Defect>,
        transport: Arc<ScriptedTransport>,
        clock: Arc<ManualClock>,
    ) -> Result<Self, String> {
        if !key.starts_with("key-") {
            let quoted = if defect == Some(Defect::QuotesKey) { key } else { "" };
            return Err(format!("not a key {quoted}"));
        }
        let capability = Capability {
            max_batch: if defect == Some(Defect::NoBatch) { 0 } else { 16 },
            collapse: true,
            priority: true,
            badge: true,
            silent: true,
            ..Capability::BASIC
        };
        let name = ChannelName::new("paper").unwrap();
        let info = ChannelInfo { kind: "paper", name, timeout: TIMEOUT, capability };
        let (bearer, busy) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        Ok(Self { info, key: key.to_owned(), defect, bearer, busy, transport, clock })
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    async fn ask(&self, path: &str, body: String, bearer: &str) -> Result<Response, Fault> {
        let uri: Uri = format!("https://paper.test{path}").parse().unwrap();
        let half = if self.has(Defect::OwnTimeout) { TIMEOUT } else { TIMEOUT / 2 };
        let mut request = Request::post(uri, body, half);
        if self.has(Defect::ReadsAll) {
            request.max_answer = usize::MAX;
        }
        let mut header = HeaderValue::try_from(format!("Bearer {bearer}")).unwrap();
        header.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, header);
        self.transport.send(request).await.map_err(|error| match self.defect {
            Some(Defect::DeadWhenUnreachable) => Fault::new(Kind::TokenGone, error.to_string()),
            _ => error.into(),
        })
    }

    async fn bearer(&self) -> Result<String, Fault> {
        let mut held = self.bearer.lock().await;
        if let Some(bearer) = held.as_ref().filter(|_| !self.has(Defect::ManyBearers)) {
            return Ok(bearer.clone());
        }
        let answer = self.ask("/token", String::new(), &self.key).await.map_err(Fault::of_lane)?;
        let grant: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match grant["bearer"].as_str().filter(|_| answer.status == 200) {
            Some(bearer) => Ok(held.insert(bearer.to_owned()).clone()),
            None if self.has(Defect::SendsAnyway) => Ok("none".to_owned()),
            None => Err(Fault::new(Kind::VendorDown, "no bearer").of_lane()),
        }
    }

    fn body(&self, message: &Message, left: u64) -> Value {
        let kept = |text: &str| match self.defect {
            Some(Defect::NoControls) => text.chars().filter(|c| !c.is_control()).collect(),
            Some(Defect::Overfull) => text.chars().take(1000).collect(),
            _ => text.to_owned(),
        };
        let shown = !message.silent || self.has(Defect::SilentShows);
        let collapse = message.collapse_key.as_ref().filter(|_| !self.has(Defect::NoCollapse));
        let id = if self.has(Defect::NewId) { NotificationId::new() } else { message.id };
        json!({
            "id": id, "ttl": if self.has(Defect::SomeLife) { left.max(1) } else { left },
            "title": shown.then(|| kept(message.title.expose())),
            "content": shown.then(|| kept(message.content.expose())),
            "payload": message.payload.as_ref().map(|payload| kept(payload.expose())),
            "collapse": collapse, "urgent": message.priority == Priority::High,
            "note": Some(message.note()).filter(|_| !self.has(Defect::NoNote)),
            "badge": message.badge.filter(|_| !self.has(Defect::NoBadge)),
        })
    }

    async fn send_one(&self, message: &Message, target: &Target) -> Outcome {
        if let Err(fault) = self.admits(&target.address)
            && !self.has(Defect::AnyKind)
        {
            return Outcome::Failed(fault);
        }
        let token = target.address.token.expose();
        if self.has(Defect::RefusesLate) && token.contains(' ') {
            return Outcome::Failed(Fault::new(Kind::BadMessage, "a blank"));
        }
        let bearer = match self.bearer().await {
            Ok(bearer) => bearer,
            Err(fault) => return Outcome::Failed(fault),
        };
        let now = if self.has(Defect::WholeLife) { message.created_at } else { self.clock.now() };
        let left = message.seconds_left(now).min(self.info.capability.max_ttl.as_secs());
        let mut text = self.body(message, left);
        if self.has(Defect::CutsBytes) {
            text["content"] =
                text["content"].as_str().map(|text| text.chars().take(7).collect::<String>()).into();
        }
        let body = json!({"to": token, "message": text}).to_string();
        let answer = match self.ask("/send", body, &bearer).await {
            Ok(answer) => answer,
            Err(fault) => return Outcome::Failed(fault),
        };
        let private = [token, &bearer, message.title.expose(), message.content.expose(), text_of(message)];
        let outcome = self.read(&answer, &private);
        if answer.status == 401 && !self.has(Defect::KeepsBearer) {
            *self.bearer.lock().await = None;
        }
        outcome
    }

    fn read(&self, answer: &Response, private: &[&str]) -> Outcome {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status.is_success() && (self.has(Defect::AnySuccess) || body["ok"] == true) {
            return Outcome::Accepted { vendor_id: None };
        }
        let said = body["message"].as_str().unwrap_or_default();
        let said = if self.has(Defect::Quotes) { said.to_owned() } else { safe_quote(said, private) };
        let kind = match answer.status.as_u16() {
            _ if body["gone"] == true => Kind::TokenGone,
            404 if self.has(Defect::DeadOn404) => Kind::TokenGone,
            401 => Kind::AuthExpired,
            429 => Kind::Throttled,
            400..500 => Kind::BadMessage,
            _ => Kind::VendorDown,
        };
        let seconds =
            || answer.headers.get("retry-after")?.to_str().ok()?.parse().ok().map(Duration::from_secs);
        let wish = match self.defect {
            Some(Defect::SecondsOnly | Defect::WaitsForever) => seconds(),
            _ => retry_after(&answer.headers, self.clock.now()),
        };
        // Past the constructor, which bounds it.
        Outcome::Failed(Fault { retry_after: wish, ..Fault::new(kind, said) })
    }
}

fn text_of(message: &Message) -> &str {
    message.payload.as_ref().map_or("", |payload| payload.expose())
}

#[async_trait]
impl PushChannel for Paper {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn admits(&self, address: &Address) -> Result<(), Fault> {
        if self.info.capability.tokens.contains(&address.kind) {
            return Ok(());
        }
        Err(Fault::new(Kind::Unsupported, "another kind"))
    }

    fn render(&self, message: &Message) -> Rendered {
        let body = self.body(message, message.seconds_left(message.created_at).min(2_419_200));
        let counted = match self.defect {
            Some(Defect::CountsContent) => message.content.expose().len() + text_of(message).len(),
            _ => body.to_string().len(),
        };
        Rendered { body, counted }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        if self.has(Defect::Wedges) && self.busy.swap(true, Ordering::SeqCst) {
            return Report::all_failed(delivery.targets.len(), &Fault::new(Kind::Bug, "busy"));
        }
        let sending = delivery.targets.iter().map(|target| self.send_one(&delivery.message, target));
        let mut outcomes = join_all(sending).await;
        if self.has(Defect::Backwards) {
            outcomes.reverse();
        }
        self.busy.store(false, Ordering::SeqCst);
        Report::new(delivery.targets.len(), outcomes)
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let bearer = self.bearer().await?;
        if self.has(Defect::ProbesUser) {
            self.ask("/send", json!({"to": "somebody"}).to_string(), &bearer).await?;
        }
        Ok(Probe { identity: "paper".to_owned(), expires_at: None })
    }
}
