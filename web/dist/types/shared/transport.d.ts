import type { Settings } from "./config.js";
/** A way from a subscription of this browser to the token a server sends to. */
export interface Transport {
    /** The token for this subscription, registered where that is needed. */
    token(subscription: PushSubscription): Promise<string>;
    /** Makes the token dead at the push service. */
    forget(token: string): Promise<void>;
}
/** The way the configuration asks for. */
export declare function transport(settings: Settings): Transport;
