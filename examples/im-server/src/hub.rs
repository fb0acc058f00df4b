//! Execution of client requests: store first, then notify connected users, then push to absent ones.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pushgate::UserId;
use serde_json::{Value, json};

use crate::calls::{self, Call, Calls, Over, State};
use crate::mailbox::Mailbox;
use crate::options::Options;
use crate::push::{Matter, Push};
use crate::session::{Sessions, Who};
use crate::wire::{Conversation, PushConfig, Refusal, What, event};

/// Lifetime of a login token in seconds.
const TOKEN_S: u64 = 24 * 3600;

/// State of the server.
pub(crate) struct Hub {
    pub(crate) sessions: Sessions,
    pub(crate) push: Push,
    /// Time without a frame after which a connection counts as dead.
    pub(crate) silence: Duration,
    ack: Duration,
    mailbox: Mailbox,
    calls: Calls,
    secret: hmac::Key,
}

/// Event for users that is stored in their mailboxes.
struct Letter {
    users: Vec<String>,
    event: &'static str,
    data: Value,
    shown: PushConfig,
}

impl Hub {
    pub(crate) async fn open(options: &Options) -> Result<Arc<Self>, Box<dyn std::error::Error>> {
        let sessions = Sessions::default();
        let push = Push::open(options, sessions.clone()).await?;
        let mailbox = Mailbox::open(&options.data.join("messages.db"))?;
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret(&options.data)?);
        let (silence, ack) = (options.silence(), options.ack());
        Ok(Arc::new(Self { sessions, push, silence, ack, mailbox, calls: Calls::default(), secret }))
    }

    pub(crate) async fn close(&self) {
        self.push.close().await;
    }

    /// Issues a login token for a user. A real server would check a password here.
    pub(crate) fn token(&self, user: &str) -> Result<String, Refusal> {
        UserId::new(user).map_err(|error| Refusal::parameter(error.to_string()))?;
        let claims = URL_SAFE_NO_PAD.encode(json!({"user": user, "until": now_s() + TOKEN_S}).to_string());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.secret, claims.as_bytes()));
        Ok(format!("{claims}.{signature}"))
    }

    /// Returns the user of a valid login token.
    fn user_of(&self, token: &str) -> Option<String> {
        let (claims, signature) = token.split_once('.')?;
        hmac::verify(&self.secret, claims.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        (claims["until"].as_u64()? > now_s()).then(|| claims["user"].as_str().map(str::to_owned))?
    }

    /// Logs a user in, and binds the push token of the browser to the user if there is one.
    pub(crate) async fn admit(
        &self,
        token: &str,
        device: &str,
        push_token: Option<&str>,
    ) -> Result<Who, Refusal> {
        let user = self.user_of(token).ok_or_else(Refusal::not_logged_in)?;
        if let Some(push_token) = push_token {
            self.push.bind(&user, device, push_token).await?;
        }
        Ok(Who { user, device: device.to_owned() })
    }

    /// Returns the missed messages in order and the calls that ring now, as frames, and the number of the last
    /// message.
    pub(crate) async fn missed(self: &Arc<Self>, user: &str) -> (Vec<String>, i64) {
        let owner = user.to_owned();
        let waiting = self.on_disk(move |mailbox| mailbox.waiting(&owner)).await.unwrap_or_default();
        let last = waiting.last().map_or(0, |letter| letter.seq);
        let mut frames: Vec<_> = waiting
            .into_iter()
            .map(|letter| {
                let data = json!({"messageList": [letter.data],
                    "fromConversationID": letter.data["conversationID"], "info": {"isOfflineMessage": true}});
                event(&letter.event, &data, Some(letter.seq))
            })
            .collect();
        frames
            .extend(self.calls.ringing(user).iter().map(|call| event("callInvitationReceived", call, None)));
        (frames, last)
    }

    /// Unbinds the push token of the session, so that pushes for the user no longer reach this browser.
    pub(crate) async fn logout(&self, who: &Who) -> Result<Value, Refusal> {
        self.push.unbind(&who.user, &who.device).await?;
        Ok(json!({}))
    }

    /// Executes a request.
    pub(crate) async fn asked(self: &Arc<Self>, who: &Who, what: What) -> Result<Value, Refusal> {
        match what {
            What::Login { .. } | What::Logout | What::Beat => Ok(json!({})),
            What::Report { push_token } => {
                self.push.bind(&who.user, &who.device, &push_token).await?;
                Ok(json!({}))
            }
            What::Send { to, kind, message, push } => {
                self.send(&who.user, &to, kind, message, push.unwrap_or_default()).await
            }
            What::Ack { seq } => {
                let user = who.user.clone();
                if let Some(pushed) = self.on_disk(move |mailbox| mailbox.arrived(&user, seq)).await? {
                    self.push.acknowledge(pushed, &who.user).await;
                }
                Ok(json!({}))
            }
            What::Join { group } => {
                let user = who.user.clone();
                self.on_disk(move |mailbox| mailbox.join(&group, &user)).await.map(|()| json!({}))
            }
            What::Leave { group } => {
                let user = who.user.clone();
                self.on_disk(move |mailbox| mailbox.leave(&group, &user)).await.map(|()| json!({}))
            }
            What::CallInvite { invitees, timeout, extended_data, push } => {
                let timeout = calls::timeout(timeout)?;
                calls::check_count(&invitees)?;
                self.invite(
                    Call::new(&who.user, &invitees, timeout, &extended_data),
                    push.unwrap_or_default(),
                )
                .await
            }
            What::CallAccept { call, extended_data } => {
                self.answer_call(who, &call, State::Accepted, &extended_data).await
            }
            What::CallReject { call, extended_data } => {
                self.answer_call(who, &call, State::Rejected, &extended_data).await
            }
            What::CallCancel { call, extended_data, push } => {
                self.cancel(who, &call, &extended_data, &push.unwrap_or_default()).await
            }
        }
    }

    async fn send(
        self: &Arc<Self>,
        from: &str,
        to: &str,
        kind: Conversation,
        message: Value,
        shown: PushConfig,
    ) -> Result<Value, Refusal> {
        let id = uuid::Uuid::now_v7();
        let (users, event, conversation, number) = match kind {
            Conversation::Peer => (vec![to.to_owned()], "peerMessageReceived", from, 0),
            Conversation::Group => {
                let group = to.to_owned();
                let mut members = self.on_disk(move |mailbox| mailbox.members(&group)).await?;
                if !members.iter().any(|member| member == from) {
                    return Err(Refusal::parameter(format!("join the group `{to}` first")));
                }
                // His other devices have it from him, not from us.
                members.retain(|member| member != from);
                (members, "groupMessageReceived", to, 2)
            }
        };
        let mut data = json!({"messageID": id, "senderUserID": from, "conversationID": conversation,
            "conversationType": number, "timestamp": now_s() * 1000});
        if let (Value::Object(data), Value::Object(message)) = (&mut data, message) {
            data.extend(message.into_iter().filter(|(key, _)| matches!(key.as_str(), "type" | "message")));
        }
        let mut sent = data.clone();
        sent["conversationID"] = to.into();
        self.deliver(Letter { users, event, data, shown }).await?;
        Ok(json!({"message": sent}))
    }

    /// Stores an event for all recipients, sends it to open connections, and lets the gateway push to the others. It
    /// also pushes to users who do not acknowledge in time, because the page of an open connection may be suspended.
    async fn deliver(self: &Arc<Self>, letter: Letter) -> Result<(), Refusal> {
        let (users, name, data) = (letter.users.clone(), letter.event, letter.data.clone());
        let numbers = self.on_disk(move |mailbox| mailbox.store(&users, name, &data)).await?;
        let conversation = letter.data["conversationID"].as_str().unwrap_or_default();
        let told = json!({"messageList": [letter.data], "fromConversationID": conversation,
            "info": {"isOfflineMessage": false}});
        for (user, seq) in letter.users.iter().zip(&numbers) {
            self.sessions.tell(user, name, &told, Some(*seq));
        }
        let matter = Matter::Message { conversation, ack_within: self.ack };
        let Some(id) = self.push.notify(&letter.users, &letter.shown, matter).await else { return Ok(()) };
        let pushed = numbers.clone();
        let early = self.on_disk(move |mailbox| mailbox.pushed(&pushed, id)).await?;
        for (user, _) in letter.users.iter().zip(numbers).filter(|(_, seq)| early.contains(seq)) {
            self.push.acknowledge(id, user).await;
        }
        Ok(())
    }

    async fn invite(self: &Arc<Self>, mut call: Call, shown: PushConfig) -> Result<Value, Refusal> {
        let id = uuid::Uuid::now_v7().to_string();
        // Who is neither connected nor can be pushed to cannot be called.
        let mut unreachable = Vec::new();
        let mut away = Vec::new();
        let invited: Vec<_> = call.invitees.keys().cloned().collect();
        for user in invited {
            if self.sessions.tell(&user, "callInvitationReceived", &call.received(&id), None) > 0 {
                continue;
            }
            if self.push.knows(&user).await? {
                away.push(user);
            } else {
                call.invitees.remove(&user);
                unreachable.push(json!({"userID": user, "reason": 1}));
            }
        }
        let timeout = call.timeout;
        if !shown.is_blank() {
            call.pushed_to.clone_from(&away);
        }
        self.calls.open(&id, call);
        self.push.notify(&away, &shown, Matter::Call { id: &id, timeout }).await;
        tokio::spawn(ring_out(Arc::clone(self), id.clone(), timeout));
        Ok(json!({"callID": id, "timeout": timeout.as_secs(), "errorUserList": unreachable,
            "errorInvitees": unreachable}))
    }

    async fn answer_call(&self, who: &Who, id: &str, state: State, data: &str) -> Result<Value, Refusal> {
        let over = self.calls.answer(id, &who.user, state)?;
        let name = if state == State::Accepted { "callInvitationAccepted" } else { "callInvitationRejected" };
        let said = json!({"callID": id, "invitee": who.user, "extendedData": data, "state": state as u8});
        self.sessions.tell(&over.caller, name, &said, None);
        // His other pages stop ringing, and so do his browsers whose page is closed.
        self.sessions.tell(&who.user, "callInvitationEnded", &json!({"callID": id}), None);
        self.take_back(id, &over, &PushConfig::default()).await;
        Ok(json!({"callID": id}))
    }

    async fn cancel(&self, who: &Who, id: &str, data: &str, shown: &PushConfig) -> Result<Value, Refusal> {
        let said = json!({"callID": id, "inviter": who.user, "extendedData": data,
            "state": State::Cancelled as u8});
        let over = self.calls.cancel(id, &who.user)?;
        for user in &over.users {
            self.sessions.tell(user, "callInvitationCancelled", &said, None);
        }
        self.take_back(id, &over, shown).await;
        Ok(json!({"callID": id, "errorInvitees": []}))
    }

    /// Revokes the pushes of a call that has ended, and shows a replacement if there is one.
    async fn take_back(&self, id: &str, over: &Over, shown: &PushConfig) {
        self.push.notify(&over.pushed_to, shown, Matter::CallOver { id }).await;
    }

    /// Runs blocking disk access on a thread of its own, because a commit takes milliseconds.
    async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Mailbox) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let hub = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&hub.mailbox)).await;
        done.map_err(|error| Refusal::storage(&error))?.map_err(|error| Refusal::storage(&error))
    }
}

/// Waits for the timeout of a call and then informs both sides.
async fn ring_out(hub: Arc<Hub>, id: String, timeout: Duration) {
    tokio::time::sleep(timeout).await;
    let Some(over) = hub.calls.time_out(&id) else { return };
    let said = json!({"callID": id, "state": State::TimedOut as u8});
    for user in &over.users {
        hub.sessions.tell(user, "callInvitationTimeout", &said, None);
    }
    hub.take_back(&id, &over, &PushConfig::default()).await;
    let said = json!({"callID": id, "invitees": over.users});
    hub.sessions.tell(&over.caller, "callInviteesAnsweredTimeout", &said, None);
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the key that signs login tokens. It is created at the first start and kept, so that a restart logs nobody
/// out.
fn secret(data: &Path) -> std::io::Result<Vec<u8>> {
    let path = data.join("secret");
    if let Ok(secret) = std::fs::read(&path) {
        return Ok(secret);
    }
    let mut secret = vec![0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(std::io::Error::other)?;
    std::fs::write(&path, &secret)?;
    Ok(secret)
}
