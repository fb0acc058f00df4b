import { type ZPNsConfig, type ZPNsOptions } from "../shared/config.js";
import { type ZPNsMessage } from "../shared/message.js";
import { type ZIMLike } from "./bridge.js";
/** What a registration gives. */
export interface Registered {
    /** What the IM server binds to the user. */
    pushID: string;
    /** An FCM token, or the JSON of a Web Push subscription. */
    token: string;
}
/** What a page can listen to. */
export interface Events {
    /** This browser can be pushed to; also after its token has changed. */
    registered: Registered;
    /** A push came while a page was visible: it is not shown, the page shows it as it likes. */
    notificationArrived: ZPNsMessage;
    /** A notification was clicked; a page that the click has opened gets it too, once it listens. */
    notificationClicked: ZPNsMessage;
}
/** Offline push for this page. There is one: `ZPNs.getInstance()`. */
export declare class ZPNs {
    #private;
    constructor();
    /** The one instance. */
    static getInstance(): ZPNs;
    /** The version of the SDK. */
    static getVersion(): string;
    /**
     * Asks the user for permission, subscribes this browser, and hands the token to the IM client, before or after its login.
     * Registering again is harmless, after a failure as well. In Safari it has to be called from a click.
     *
     * Rejects with a `PushError`: `invalid_config`, `unsupported_browser`, `permission_denied`, `permission_dismissed`,
     * `worker_failed`, `subscribe_failed`, `registration_failed`, `bridge_failed`.
     */
    register(config: ZPNsConfig, zim?: ZIMLike | null, options?: ZPNsOptions): Promise<Registered>;
    /** No more pushes for this browser: its token dies, the subscription ends, the IM client is told. */
    unregisterPush(): Promise<void>;
    /** The same as [unregisterPush]. */
    unregister(): Promise<void>;
    /** Listens to an event. */
    on<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): this;
    /** Listens no more; without a listener, nobody does. */
    off<E extends keyof Events>(event: E, listener?: (event: Events[E]) => void): this;
}
