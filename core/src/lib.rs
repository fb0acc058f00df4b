//! Offline push for IM servers: the library an embedder depends on.
//!
//! Your IM server stores a message and delivers it to whoever is connected. This crate does the rest: it finds the devices of
//! those who are away, picks a way to the push service behind each, and hands the notification over. What it has accepted
//! it sends, tries again when a push service is in trouble, and forgets addresses that are proven dead.
//!
//! It knows no vendor and no member of this workspace; `docs/ARCHITECTURE.md` is the map.
//!
//! # A gateway in your process
//!
//! Ways to push services are *channels*: a crate each beside this one, or your own. To have something to watch, here is one
//! that writes down what it would send.
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
//!     // Pure: planning asks it how large a message becomes, previews show it.
//!     fn render(&self, message: &Message) -> Rendered {
//!         Rendered { body: serde_json::Value::Null, counted: message.content.expose().len() }
//!     }
//!
//!     // One outcome for each target, in order. No retry, no sleep, no clock in here.
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
//! // A device says who is logged in on it and where it is reached. Idempotent.
//! gateway.register(page(&gateway, "bobs-page", "bob")?).await?;
//!
//! // Accepted means stored; the ticket says to how many addresses, and who gets nothing and why.
//! let hello = Notification::to_user("chat", "bob")?.title("Ann").content("hello");
//! let ticket = gateway.submit(hello).await?;
//! assert_eq!((ticket.accepted, ticket.skipped.len()), (1, 0));
//!
//! let status = gateway.settled(&AppId::new("chat")?, ticket.id, Duration::from_secs(5)).await?;
//! assert!(status.is_some_and(|status| status.is_settled()));
//! assert_eq!(*notebook.lines.lock().unwrap(), ["Ann: hello"]);
//! gateway.shutdown(Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```
//!
//! Without anything else said it keeps everything in memory. [`gateway::Builder::store`] takes a durable store, such as
//! `pushgate-sqlite`; the traits [`Store`] and [`Queue`] can be put on tables of your own, and `pushgate-kit` has the suite
//! that holds them to their promises. `examples/embed` is an IM server that does so.
//!
//! # Who is away
//!
//! Tell the gateway by a [`Presence`] what your connections know. A device that is connected gets no push; the user's other
//! devices do, unless his [`Rules`] say otherwise.
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
//! A connection may be dead before anybody notices. With [`Notification::ack_within`] those who are online are pushed to as
//! well, unless [`Gateway::acknowledge`] tells in time that they have got it.
//!
//! # Whose device it is
//!
//! One address belongs to at most one user. Registering it for another moves it; so does [`Gateway::login`], and after
//! [`Gateway::logout`] the device is nobody's. A push that had to wait does not go to whoever has the device by then.
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
//! // Ann's logout comes late, and does not undo Bob's login.
//! assert!(!gateway.logout(&app, &page, Some(&ann)).await?);
//! # Ok(()) }
//! ```
//!
//! # Calls, and taking back
//!
//! A [`Call`] rings urgently, under its own id, and never after its time. What comes of it takes the ring's place or removes
//! it, and so does a [`Purpose::Removal`] for a message that was read elsewhere; [`Gateway::revoke`] takes back a notification.
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
//! # Later, and to many
//!
//! [`Notification::send_at`] is an hour at which the audience is looked up and sent to. An audience of more than a thousand, or
//! [`Audience::All`], is planned piece by piece from the queue: [`receipt::Progress`] says how far it has come.
//!
//! # What devices tell
//!
//! That a push service took a push says nothing of whether it was shown. With [`gateway::Builder::receipts`] each push brings
//! a token by which the SDK on the device tells your server, and [`Gateway::receipt`] takes it in: [`Receipt::echoes`] has it
//! then, and an [`observe::Observer`] hears of it.
//!
//! # What goes wrong
//!
//! Every failure is a [`Fault`] of one [`Kind`]; the kind's row says whose it is and whether it is tried again. An
//! [`observe::Observer`] hears of every receipt, every address that was forgotten, and every alarm. Titles, contents, payloads
//! and tokens are [`Secret`]s, which do not print.

pub mod answer;
pub mod app;
pub mod channel;
pub mod clock;
pub mod dead;
pub mod delivery;
pub mod device;
pub mod digest;
pub mod echo;
pub mod fault;
pub mod fit;
pub mod gateway;
mod guarded;
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
pub mod selector;
pub mod store;
pub mod template;
pub mod transport;
pub mod words;
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
pub use digest::RequestDigest;
pub use echo::{Echo, Echoes, ReturnAddress};
pub use fault::{Fault, Kind, Scope};
pub use gateway::{Gateway, SubmitError, Ticket};
pub use notification::{Audience, Badge, Call, CallId, Notification, Priority, Purpose, TemplateUse, When};
pub use presence::{Connection, NobodyOnline, Presence};
pub use profile::{Mode, Profile};
pub use queue::Queue;
pub use receipt::{Receipt, Skip, SkipReason, State, Status};
pub use report::{Outcome, Report};
pub use rules::Rules;
pub use schedule::RetryPolicy;
pub use selector::{Route, Selector};
pub use store::{Count, Login, Named, Registered, Registration, Replacement, StorageError, Store, Takeover};
pub use transport::{Request, Response, Transport, TransportError};
pub use words::{
    AppId, ChannelName, DeliveryId, DeviceId, IdempotencyKey, InvalidName, NodeId, NotificationId, Secret,
    TemplateName, Timestamp, UserId,
};
