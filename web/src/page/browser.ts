import { fromBase64Url, toBase64Url } from "../shared/base64.js";
import type { Settings } from "../shared/config.js";
import { PushError, step } from "../shared/errors.js";

/** Path of the worker at the site's root. All pages of the site register the same worker. */
const WORKER = "/firebase-messaging-sw.js";
/** Scope of the worker, separate from that of another worker of the site. */
const SCOPE = "/firebase-cloud-messaging-push-scope";

/** Throws `unsupported_browser` with the reason if this browser or page cannot receive pushes. */
export function assertSupported(): void {
  const missing =
    (!globalThis.isSecureContext && "the page is not served over https (http is enough on localhost)") ||
    (!("serviceWorker" in navigator) && "this browser has no service workers") ||
    (!("PushManager" in globalThis) &&
      "this browser has no push (on an iPhone, add the page to the home screen first)") ||
    (!("Notification" in globalThis) && "this browser shows no notifications") ||
    (!("indexedDB" in globalThis) && "this browser keeps no data for the page");
  if (missing) {
    throw new PushError("unsupported_browser", missing);
  }
}

/** Asks the user for permission. Safari requires this within a click, so it precedes all other waiting. */
export async function requestPermission(): Promise<void> {
  const permission = await Notification.requestPermission();
  if (permission === "denied") {
    throw new PushError(
      "permission_denied",
      "the user does not allow notifications; the site's settings can change that",
    );
  }
  if (permission !== "granted") {
    throw new PushError(
      "permission_dismissed",
      "the user closed the permission prompt; ask again after a click",
    );
  }
}

/** Registers the worker and waits until it is active. */
export function activeWorker(): Promise<ServiceWorkerRegistration> {
  return step("worker_failed", `${WORKER} does not start`, async () => {
    const registration = await navigator.serviceWorker.register(WORKER, { scope: SCOPE });
    const starting = registration.installing ?? registration.waiting;
    if (!registration.active && starting) {
      await activated(starting);
    }
    return registration;
  });
}

function activated(starting: ServiceWorker): Promise<void> {
  return new Promise((resolve, reject) => {
    const check = () => {
      if (starting.state === "activated") {
        resolve();
      } else if (starting.state === "redundant") {
        reject(new Error("the script threw an error or was replaced while it started"));
      }
    };
    starting.addEventListener("statechange", check);
    check();
  });
}

/** Returns the registration of the worker. `undefined` if there is none. */
export function existingRegistration(): Promise<ServiceWorkerRegistration | undefined> {
  // No page is within the scope, so the registration is found by its scope.
  return navigator.serviceWorker.getRegistration(SCOPE);
}

/** Returns a subscription for the key: the existing one, or a new one. */
export function subscription(
  { pushManager }: ServiceWorkerRegistration,
  { vapidKey }: Settings,
): Promise<PushSubscription> {
  return step("subscribe_failed", "the browser's push service does not subscribe", async () => {
    const existing = await pushManager.getSubscription();
    if (existing && hasKey(existing, vapidKey)) {
      return existing;
    }
    // A browser refuses a second subscription with another key.
    await existing?.unsubscribe();
    const applicationServerKey = fromBase64Url(vapidKey) ?? null;
    return pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  });
}

function hasKey(subscription: PushSubscription, vapidKey: string): boolean {
  const key = subscription.options?.applicationServerKey;
  return !key || toBase64Url(new Uint8Array(key)) === vapidKey.replace(/=+$/, "");
}
