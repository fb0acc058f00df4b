import type { Settings } from "../shared/config.js";
/** Refuses browsers and pages that cannot get a push, and says why. */
export declare function assertSupported(): void;
/** Asks the user. Safari wants to be asked within a click, so this comes before anything that waits. */
export declare function permission(): Promise<void>;
/** The worker, registered and active. */
export declare function worker(): Promise<ServiceWorkerRegistration>;
/** The registration, if there is one. */
export declare function registered(): Promise<ServiceWorkerRegistration | undefined>;
/** A subscription for the key, that which there is or a new one. */
export declare function subscription({ pushManager }: ServiceWorkerRegistration, { vapidKey }: Settings): Promise<PushSubscription>;
