import type { Settings } from "./config.js";
import { firebase } from "./firebase.js";

/** Source of the token for a subscription of this browser. */
export interface Transport {
  /** Returns the token for this subscription. Registers the subscription if the push service needs that. */
  token(subscription: PushSubscription): Promise<string>;
  /** Invalidates the token at the push service. */
  forget(token: string): Promise<void>;
}

/** Returns the transport for the configuration. */
export function transport(settings: Settings): Transport {
  return settings.firebase ? firebase(settings.firebase, settings) : standard;
}

/** Transport for standard Web Push. The token is the subscription itself. */
const standard: Transport = {
  async token(subscription) {
    const { endpoint, keys } = subscription.toJSON();
    return JSON.stringify({ endpoint, keys: { p256dh: keys?.p256dh, auth: keys?.auth } });
  },
  async forget() {},
};
