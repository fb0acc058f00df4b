/** What `register` takes: the web configuration of a Firebase app, or nothing but a VAPID key for standard Web Push. */
export interface ZPNsConfig {
    apiKey?: string;
    authDomain?: string;
    projectId?: string;
    storageBucket?: string;
    messagingSenderId?: string;
    appId?: string;
    measurementId?: string;
    /** The public key of the application server, base64url: 65 bytes, an uncompressed P-256 point. */
    vapidKey?: string;
}
/** What a page may add to the configuration. */
export interface ZPNsOptions {
    /**
     * Where the worker reports a token that has changed while no page could: a gateway's `…/devices:rotate`, or whatever takes
     * `{ old: { push_id }, new: { push_id } }`. Without it the next visit reports it.
     */
    reportTo?: string;
    /**
     * A user token of the gateway, sent with the report: a gateway takes a changed FCM token from nobody without one. It is used
     * as long as it is good; after that the next visit reports the change.
     */
    reportToken?: string;
}
/** A Firebase app, as far as push needs it. */
export interface FirebaseApp {
    apiKey: string;
    projectId: string;
    appId: string;
    messagingSenderId: string;
}
/** A configuration that was found to be right. */
export interface Settings {
    /** The app; without one, standard Web Push is used. */
    firebase?: FirebaseApp;
    /** The key subscriptions are made for. */
    vapidKey: string;
    /** Firebase's own key stands in for one of the app. */
    defaultKey: boolean;
    /** Where the worker reports a token that has changed. */
    reportTo?: string;
    /** What it proves itself with there. */
    reportToken?: string;
}
/** Checks a configuration; the error names the key and what would be right. */
export declare function settings(config: ZPNsConfig | null | undefined, options?: ZPNsOptions): Settings;
