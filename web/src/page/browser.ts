import { fromBase64Url, toBase64Url } from "../shared/base64.js";
import type { Settings } from "../shared/config.js";
import { PushError, step } from "../shared/errors.js";

/** Served from the site's root; a page anywhere on the site registers the same worker. */
const WORKER = "/firebase-messaging-sw.js";
/** Apart from the scope of a worker the site may have for itself. */
const SCOPE = "/firebase-cloud-messaging-push-scope";

/** Refuses browsers and pages that cannot get a push, and says why. */
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

/** Asks the user. Safari wants to be asked within a click, so this comes before anything that waits. */
export async function permission(): Promise<void> {
  const given = await Notification.requestPermission();
  if (given === "denied") {
    throw new PushError(
      "permission_denied",
      "the user does not allow notifications; the site's settings can change that",
    );
  }
  if (given !== "granted") {
    throw new PushError("permission_dismissed", "the user closed the question; ask again after a click");
  }
}

/** The worker, registered and active. */
export function worker(): Promise<ServiceWorkerRegistration> {
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
    const look = () => {
      if (starting.state === "activated") {
        resolve();
      } else if (starting.state === "redundant") {
        reject(new Error("the script throws or was replaced while it started"));
      }
    };
    starting.addEventListener("statechange", look);
    look();
  });
}

/** The registration, if there is one. */
export function registered(): Promise<ServiceWorkerRegistration | undefined> {
  // The scope has no page below it, so it is asked for by name.
  return navigator.serviceWorker.getRegistration(SCOPE);
}

/** A subscription for the key, that which there is or a new one. */
export function subscription(
  { pushManager }: ServiceWorkerRegistration,
  { vapidKey }: Settings,
): Promise<PushSubscription> {
  return step("subscribe_failed", "the browser's push service does not subscribe", async () => {
    const known = await pushManager.getSubscription();
    if (known && isFor(known, vapidKey)) {
      return known;
    }
    // Made for another key: the browser refuses a second one beside it.
    await known?.unsubscribe();
    const applicationServerKey = fromBase64Url(vapidKey) ?? null;
    return pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  });
}

function isFor(subscription: PushSubscription, vapidKey: string): boolean {
  const key = subscription.options?.applicationServerKey;
  return !key || toBase64Url(new Uint8Array(key)) === vapidKey.replace(/=+$/, "");
}
