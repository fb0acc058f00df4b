import { type ZPNsConfig, type ZPNsOptions } from "../shared/config.js";
import { type ZPNsMessage } from "../shared/message.js";
import { type ZIMLike } from "./bridge.js";
/** Result of a registration. */
export interface Registered {
    /** PushID that the IM server binds to the user. */
    pushID: string;
    /** FCM token, or the JSON of a Web Push subscription. */
    token: string;
}
/** Events of the SDK. */
export interface Events {
    /** This browser was registered, or its token has changed. */
    registered: Registered;
    /** A push arrived while a page was visible. No notification is shown; the page can show it. */
    notificationArrived: ZPNsMessage;
    /** A notification was clicked. A page that the click has opened receives the event when it adds a listener. */
    notificationClicked: ZPNsMessage;
}
/** Offline push for this page. The single instance is `ZPNs.getInstance()`. */
export declare class ZPNs {
    #private;
    constructor();
    /** Returns the single instance. */
    static getInstance(): ZPNs;
    /** Returns the version of the SDK. */
    static getVersion(): string;
    /**
     * Asks the user for permission, subscribes this browser, and passes the token to the IM client, before or after its login.
     * It can be called again, also after a failure. Safari requires a call from a click handler.
     *
     * Rejects with a `PushError`: `invalid_config`, `unsupported_browser`, `permission_denied`, `permission_dismissed`,
     * `worker_failed`, `subscribe_failed`, `registration_failed`, `bridge_failed`.
     */
    register(config: ZPNsConfig, zim?: ZIMLike | null, options?: ZPNsOptions): Promise<Registered>;
    /** Ends pushes to this browser: invalidates the token, unsubscribes, and passes an empty token to the IM client. */
    unregisterPush(): Promise<void>;
    /** Alias of [unregisterPush]. */
    unregister(): Promise<void>;
    /** Adds a listener for an event. */
    on<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): this;
    /** Removes a listener, or all listeners of the event if none is given. */
    off<E extends keyof Events>(event: E, listener?: (event: Events[E]) => void): this;
}
