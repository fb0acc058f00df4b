//! Push service as the control API sees it. The control API itself does what all services have in common.

use serde_json::Value;

use crate::inbox::{DeviceChange, ShownNotification};
use crate::service::PushService;

/// Part of the control API's manual that describes one push service.
pub(crate) struct ApiManual {
    /// Request body that creates a device. `None` if devices cannot be created.
    pub(crate) device: Option<Value>,
    /// Fields of that body and of the response.
    pub(crate) device_fields: Value,
    /// Routes and values that only this service has, by method and path.
    pub(crate) own_routes: Value,
}

/// Operations of the control API that each push service implements.
pub(crate) trait ControlledService: PushService {
    /// Creates a virtual device from a request body. Returns what its owner needs to know.
    ///
    /// # Errors
    /// The text for the caller if the body is not valid or the service has no virtual devices.
    fn create_device(&self, body: Value) -> Result<Value, String>;
    /// Returns `id`, `kind` and `state` of every device, and nothing secret.
    fn list_devices(&self) -> Vec<Value>;
    /// Returns the shown notifications of a device, newest first. `None` if the device is unknown.
    fn shown_notifications(&self, id: &str) -> Option<Vec<ShownNotification>>;
    /// Changes the state of a device. Returns `true` if the device exists.
    fn change_device(&self, id: &str, change: DeviceChange) -> bool;
    /// Returns the service's part of the manual.
    fn api_manual(&self) -> ApiManual;
    /// Returns the service's own verbs, each with an example of its body.
    fn verbs(&self) -> Value;
    /// Runs one of the service's own verbs. `None` if the verb is unknown.
    ///
    /// # Errors
    /// The text for the caller if the body is not valid for the verb.
    fn run_verb(&self, name: &str, body: Value) -> Option<Result<(), String>>;
}
