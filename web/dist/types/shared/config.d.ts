/** Configuration for `register`: the web configuration of a Firebase app, or only a VAPID key for standard Web Push. */
export interface ZPNsConfig {
    apiKey?: string;
    authDomain?: string;
    projectId?: string;
    storageBucket?: string;
    messagingSenderId?: string;
    appId?: string;
    measurementId?: string;
    /** Public key of the application server in base64url: 65 bytes, an uncompressed P-256 point. */
    vapidKey?: string;
}
/** Optional settings of a registration. */
export interface ZPNsOptions {
    /**
     * URL to which the worker reports a changed token while no page is open: a gateway's `…/devices:rotate`, or an endpoint that
     * accepts `{ old: { push_id }, new: { push_id } }`. Without it the next visit reports the change.
     */
    reportTo?: string;
    /**
     * User token of the gateway, sent with the report. A gateway requires one for a changed FCM token. After the user token
     * expires, the next visit reports the change.
     */
    reportToken?: string;
}
/** Values of a Firebase app that push needs. */
export interface FirebaseApp {
    apiKey: string;
    projectId: string;
    appId: string;
    messagingSenderId: string;
}
/** Validated configuration. */
export interface Settings {
    /** Firebase app. Without one, standard Web Push is used. */
    firebase?: FirebaseApp;
    /** Key of subscriptions. */
    vapidKey: string;
    /** `true` if Firebase's default key is used in place of a key of the app. */
    defaultKey: boolean;
    /** URL to which the worker reports a changed token. */
    reportTo?: string;
    /** User token that authenticates the report. */
    reportToken?: string;
}
/** Validates a configuration. The error names the key and the valid values. */
export declare function settings(config: ZPNsConfig | null | undefined, options?: ZPNsOptions): Settings;
