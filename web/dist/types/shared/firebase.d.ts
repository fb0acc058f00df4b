import type { FirebaseApp, Settings } from "./config.js";
import type { Transport } from "./transport.js";
/** Transport for FCM: registers the subscription with Google, which returns a token for it. */
export declare function firebase(app: FirebaseApp, { vapidKey, defaultKey }: Settings): Transport;
