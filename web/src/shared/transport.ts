import type { Settings } from "./config.js";
import { firebase } from "./firebase.js";

/** A way from a subscription of this browser to the token a server sends to. */
export interface Transport {
  /** The token for this subscription, registered where that is needed. */
  token(subscription: PushSubscription): Promise<string>;
  /** Makes the token dead at the push service. */
  forget(token: string): Promise<void>;
}

/** The way the configuration asks for. */
export function transport(settings: Settings): Transport {
  return settings.firebase ? firebase(settings.firebase, settings) : standard;
}

/** Standard Web Push: the subscription itself is the token, and ends with it. */
const standard: Transport = {
  async token(subscription) {
    const { endpoint, keys } = subscription.toJSON();
    return JSON.stringify({ endpoint, keys: { p256dh: keys?.p256dh, auth: keys?.auth } });
  },
  async forget() {},
};
