import type { Settings } from "../shared/config.js";
/** Throws `unsupported_browser` with the reason if this browser or page cannot receive pushes. */
export declare function assertSupported(): void;
/** Asks the user for permission. Safari requires this within a click, so it precedes all other waiting. */
export declare function requestPermission(): Promise<void>;
/** Registers the worker and waits until it is active. */
export declare function activeWorker(): Promise<ServiceWorkerRegistration>;
/** Returns the registration of the worker. `undefined` if there is none. */
export declare function existingRegistration(): Promise<ServiceWorkerRegistration | undefined>;
/** Returns a subscription for the key: the existing one, or a new one. */
export declare function subscription({ pushManager }: ServiceWorkerRegistration, { vapidKey }: Settings): Promise<PushSubscription>;
