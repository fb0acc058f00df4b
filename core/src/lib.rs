//! Offline push for IM servers: the library an embedder depends on.
//!
//! Knows no vendor and no member of this workspace. `docs/ARCHITECTURE.md` is the map.

pub mod answer;
pub mod app;
pub mod channel;
pub mod clock;
pub mod delivery;
pub mod device;
pub mod fault;
pub mod fit;
pub mod gateway;
pub mod layer;
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

pub use app::App;
pub use channel::{Capability, ChannelInfo, Probe, PushChannel, Rendered};
pub use clock::{Clock, SystemClock};
pub use delivery::{Act, Delivery, Message, Target};
pub use device::{Address, Device, Platform, TokenKind, Traits};
pub use fault::{Fault, Kind, Scope};
pub use gateway::{Gateway, SubmitError, Ticket};
pub use notification::{Audience, Badge, Call, CallId, Notification, Priority, Purpose, TemplateUse, When};
pub use presence::{Connection, NobodyOnline, Presence};
pub use profile::{Mode, Profile};
pub use queue::Queue;
pub use receipt::{Receipt, Skip, SkipReason, State, Status};
pub use report::{Outcome, Report};
pub use rules::Rules;
pub use selector::{Route, Selector};
pub use store::{Count, Login, Named, Registered, Registration, StorageError, Store};
pub use transport::{Request, Response, Transport, TransportError};
pub use words::{
    AppId, ChannelName, DeliveryId, DeviceId, IdempotencyKey, InvalidName, NodeId, NotificationId, Secret,
    TemplateName, Timestamp, UserId,
};
