import type { FirebaseApp, Settings } from "./config.js";
import type { Transport } from "./transport.js";
/** FCM: the subscription is registered with Google, which gives a token for it. */
export declare function firebase(app: FirebaseApp, { vapidKey, defaultKey }: Settings): Transport;
