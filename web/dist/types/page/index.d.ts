export type { ZPNsConfig, ZPNsOptions } from "../shared/config.js";
export { type ErrorCode, PushError } from "../shared/errors.js";
export type { ZPNsMessage } from "../shared/message.js";
export type { ZIMLike } from "./bridge.js";
export { type Events, type Registered, ZPNs } from "./zpns.js";
