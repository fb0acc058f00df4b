import type { Settings } from "./config.js";
/** Source of the token for a subscription of this browser. */
export interface Transport {
    /** Returns the token for this subscription. Registers the subscription if the push service needs that. */
    token(subscription: PushSubscription): Promise<string>;
    /** Invalidates the token at the push service. */
    forget(token: string): Promise<void>;
}
/** Returns the transport for the configuration. */
export declare function transport(settings: Settings): Transport;
