//! Offline push for IM servers: the library that an embedder depends on.
//!
//! Your IM server stores a message and delivers it to the users who are online. This crate does the rest: it finds the
//! devices of offline users, selects a channel for each device, and sends the notification. It keeps every accepted
//! notification until it is sent, retries it when a push service fails, and prunes addresses that are proven dead.
//!
//! It knows no vendor, and depends on no other crate of this workspace. `docs/ARCHITECTURE.md` has an overview.
//!
//! # A gateway in your process
//!
//! A *channel* is a way to a push service. Each is a crate beside this one, or your own. This example has a channel that
//! writes every message to a list.
//!
//! ```
//! # use std::sync::{Arc, Mutex};
//! # use std::time::Duration;
//! use async_trait::async_trait;
//! use pushgate::{
//!     Capability, ChannelInfo, ChannelName, Delivery, Fault, Message, Outcome, Probe, PushChannel, Rendered, Report,
//! };
//!
//! #[derive(Clone)]
//! struct Notebook { info: ChannelInfo, lines: Arc<Mutex<Vec<String>>> }
//!
//! #[async_trait]
//! impl PushChannel for Notebook {
//!     fn info(&self) -> &ChannelInfo { &self.info }
//!
//!     // Pure. Planning uses the size of the message, and previews show its body.
//!     fn render(&self, message: &Message) -> Rendered {
//!         Rendered { body: serde_json::Value::Null, counted: message.content.expose().len() }
//!     }
//!
//!     // Returns one outcome for each target, in order. Never retries, sleeps or reads a clock.
//!     async fn send(&self, delivery: &Delivery) -> Report {
//!         let message = &delivery.message;
//!         let line = format!("{}: {}", message.title.expose(), message.content.expose());
//!         self.lines.lock().unwrap().push(line);
//!         Report::new(delivery.targets.len(), vec![Outcome::accepted("1"); delivery.targets.len()])
//!     }
//!
//!     async fn probe(&self) -> Result<Probe, Fault> {
//!         Ok(Probe { identity: "a notebook".to_owned(), expires_at: None })
//!     }
//! }
//! # fn notebook() -> Notebook {
//! #     let name = ChannelName::new("notebook").unwrap();
//! #     let capability = Capability { silent: true, ..Capability::BASIC };
//! #     let info = ChannelInfo { kind: "notebook", name, timeout: Duration::from_secs(5), capability };
//! #     Notebook { info, lines: Arc::default() }
//! # }
//!
//! # use pushgate::{Address, AppId, Device, DeviceId, Platform, TokenKind, Traits, UserId};
//! # fn page(gateway: &pushgate::Gateway, id: &str, user: &str) -> Result<Device, pushgate::InvalidName> {
//! #     let address = Address { channel: ChannelName::new("notebook")?, kind: TokenKind::Token, token: id.into() };
//! #     let (app, id, user) = (AppId::new("chat")?, DeviceId::new(id)?, Some(UserId::new(user)?));
//! #     let (traits, registered_at) = (Traits::of(Platform::Web), gateway.now());
//! #     Ok(Device { app, id, user, traits, addresses: vec![address], registered_at })
//! # }
//! use pushgate::{Gateway, Notification};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let notebook = notebook();
//! let gateway = Gateway::builder().channel(notebook.clone()).start().await?;
//!
//! // Registers a device with its user and addresses. Idempotent.
//! gateway.register(page(&gateway, "bobs-page", "bob")?).await?;
//!
//! // Stores the notification. The ticket has the number of addresses, and the skipped users with the reasons.
//! let hello = Notification::to_user("chat", "bob")?.title("Ann").content("hello");
//! let ticket = gateway.submit(hello).await?;
//! assert_eq!((ticket.accepted, ticket.skipped.len()), (1, 0));
//!
//! let status = gateway.wait_until_settled(&AppId::new("chat")?, ticket.id, Duration::from_secs(5)).await?;
//! assert!(status.is_some_and(|status| status.is_settled()));
//! assert_eq!(*notebook.lines.lock().unwrap(), ["Ann: hello"]);
//! gateway.shutdown(Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```
//!
//! By default a gateway keeps everything in memory. [`gateway::Builder::store`] takes a durable store, such as
//! `pushgate-sqlite`. You can also implement [`Store`] and [`Queue`] on your own tables, and test them with the suite in
//! `pushgate-kit`. `examples/embed` is an IM server that does so.
//!
//! # Presence
//!
//! Implement [`Presence`] on your connections. A connected device gets no push. The user's other devices do, unless the
//! user's [`Rules`] forbid it.
//!
//! ```
//! use async_trait::async_trait;
//! use pushgate::{AppId, Gateway, Platform, Presence, UserId};
//!
//! struct Connections;
//!
//! #[async_trait]
//! impl Presence for Connections {
//!     async fn online_on(&self, _app: &AppId, user: &UserId) -> Vec<Platform> {
//!         if user.as_str() == "ann" { vec![Platform::Web] } else { vec![] }
//!     }
//! }
//!
//! let builder = Gateway::builder().presence(Connections);
//! # drop(builder);
//! ```
//!
//! A connection may be dead before the server notices. With [`Notification::ack_within`], online users get a push as well,
//! unless [`Gateway::acknowledge`] reports in time that they have received the message.
//!
//! # Users of a device
//!
//! One address belongs to at most one user. A registration for another user moves it, and so does [`Gateway::login`]. After
//! [`Gateway::logout`] the device has no user. A delayed push never goes to another user who has the device by then.
//!
//! ```
//! # use pushgate::{AppId, Device, DeviceId, Gateway, Platform, Takeover, Traits, UserId};
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let gateway = Gateway::builder().start().await?;
//! let (app, page) = (AppId::new("chat")?, DeviceId::new("page")?);
//! let (ann, bob) = (UserId::new("ann")?, UserId::new("bob")?);
//! let (traits, registered_at) = (Traits::of(Platform::Web), gateway.now());
//! let device =
//!     Device { app: app.clone(), id: page.clone(), user: Some(ann.clone()), traits, addresses: vec![], registered_at };
//! gateway.register(device).await?;
//! gateway.login(&app, &page, &bob, Takeover::Always).await?;
//! // Ann's logout arrives late, and does not undo Bob's login.
//! assert!(!gateway.logout(&app, &page, Some(&ann)).await?);
//! # Ok(()) }
//! ```
//!
//! # Calls, removal and revocation
//!
//! A [`Call`] rings with high priority, under its own id, and never after its timeout. [`Purpose::CallOver`] replaces or
//! removes the ring. [`Purpose::Removal`] removes a message that was read on another device. [`Gateway::revoke`] withdraws a
//! notification and removes it from screens.
//!
//! ```
//! use std::time::Duration;
//! use pushgate::{Call, CallId, Notification, Purpose};
//!
//! # fn main() -> Result<(), pushgate::InvalidName> {
//! let call = CallId::new("call-7")?;
//! let ring = Purpose::Call(Call::new(call.clone(), Duration::from_secs(60))?);
//! let ringing = Notification::to_user("chat", "bob")?.title("Ann calls").purpose(ring);
//! let missed = Notification::to_user("chat", "bob")?.title("Ann called").purpose(Purpose::CallOver(call));
//! assert_eq!(ringing.tag(), missed.tag());
//! # Ok(()) }
//! ```
//!
//! # Scheduled notifications and large audiences
//!
//! At [`Notification::send_at`] the gateway looks up the audience and sends the notification. An audience of more than a
//! thousand, or [`Audience::All`], is planned in batches from the queue. [`receipt::Progress`] counts them.
//!
//! # Device events
//!
//! A push that the push service accepted may still not be shown. With [`gateway::Builder::device_events`] each push carries an
//! event token, with which the SDK on the device reports events to your server. [`Gateway::record_event`] records an event:
//! [`Receipt::events`] shows it, and an [`observe::Observer`] receives it.
//!
//! # Failures
//!
//! Every failure is a [`Fault`] of one [`Kind`]. The kind determines who has to act and whether the gateway retries. An
//! [`observe::Observer`] receives every change of a status, every pruned address and every alarm. Titles, contents, payloads
//! and tokens are [`Secret`]s, which `Debug` does not show.

pub mod app;
pub mod channel;
pub mod clock;
pub mod dead;
pub mod delivery;
pub mod device;
pub mod device_event;
pub mod digest;
pub mod fault;
pub mod fit;
pub mod gateway;
mod guarded;
pub mod ids;
pub mod layer;
mod locale;
pub mod memory;
pub mod notification;
pub mod observe;
pub mod overrides;
pub mod plan;
pub mod presence;
pub mod profile;
pub mod queue;
pub mod receipt;
pub mod report;
pub mod rules;
pub mod schedule;
pub mod secret;
pub mod selector;
pub mod store;
pub mod template;
pub mod timestamp;
pub mod transport;
pub mod vendor_response;
mod worker;
pub mod x509;

pub use app::App;
pub use channel::{Capability, ChannelInfo, Probe, PushChannel, Rendered};
pub use clock::{Clock, SystemClock};
pub use dead::{
    DeadAddress, DeadAddresses, DeadId, DeadQuery, DeadState, Death, PruneGuardState, Restoration,
};
pub use delivery::{Act, Delivery, Message, Target};
pub use device::{Address, Device, Platform, TokenKind, Traits};
pub use device_event::{DeviceEvent, DeviceEvents, EventEndpoint};
pub use digest::RequestDigest;
pub use fault::{Fault, Kind, Scope};
pub use gateway::{Gateway, SubmitError, Ticket};
pub use ids::{
    AppId, ChannelName, DeliveryId, DeviceId, IdempotencyKey, InvalidName, NodeId, NotificationId,
    TemplateName, UserId,
};
pub use notification::{Audience, Badge, Call, CallId, Notification, Priority, Purpose, TemplateUse, When};
pub use presence::{Connection, NobodyOnline, Presence};
pub use profile::{Mode, Profile};
pub use queue::Queue;
pub use receipt::{Receipt, Skip, SkipReason, State, Status};
pub use report::{Outcome, Report};
pub use rules::Rules;
pub use schedule::RetryPolicy;
pub use secret::Secret;
pub use selector::{Route, Selector};
pub use store::{
    Count, IdentifiedBy, Login, Registered, Registration, Replacement, StorageError, Store, Takeover,
};
pub use timestamp::Timestamp;
pub use transport::{Request, Response, Transport, TransportError};
