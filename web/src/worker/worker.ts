/// <reference lib="webworker" />
import { fromBase64Url } from "../shared/base64.js";
import { settings, type ZPNsConfig } from "../shared/config.js";
import * as database from "../shared/database.js";
import { pushId } from "../shared/envelope.js";
import type { WorkerMessage, ZPNsMessage } from "../shared/message.js";
import { transport } from "../shared/transport.js";
import { VERSION } from "../shared/version.js";
import { type Push, parsePush } from "./push.js";

/*
 * The service worker. All listeners are added when the script runs, because a push starts it while no page is open.
 * It reads the page's registration from the database.
 */

declare const self: ServiceWorkerGlobalScope & {
  /** Hook for a presented push. Sites may redefine it below this script. By default it does nothing. */
  onNotificationArrived?: (message: ZPNsMessage) => unknown;
  /** Hook for a clicked notification. */
  onNotificationClicked?: (message: ZPNsMessage) => unknown;
};

/** Number of stored ids of presented pushes. A repeated push is shown only once. */
const MAX_SEEN_IDS = 200;

/** Pushes that this run of the worker is presenting, by id. */
const presenting = new Map<string, Promise<void>>();

/** Data of a notification, for its click. */
interface NotificationData {
  zpns: { message: ZPNsMessage; link: string | undefined; eventEndpoint: string | undefined };
}

self.onNotificationArrived ??= () => {};
self.onNotificationClicked ??= () => {};

self.addEventListener("install", (event) => event.waitUntil(self.skipWaiting()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  const push = event.data && parsePush(event.data.text());
  if (push) {
    event.waitUntil(handlePush(push));
    event.waitUntil(reportEvent(push.eventEndpoint, "arrived"));
  }
});

self.addEventListener("notificationclick", (event) => {
  const shown = (event.notification.data as Partial<NotificationData> | null)?.zpns;
  if (shown) {
    event.stopImmediatePropagation();
    event.notification.close();
    event.waitUntil(handleClick(shown));
    event.waitUntil(reportEvent(shown.eventEndpoint, "clicked"));
  }
});

self.addEventListener("notificationclose", (event) => {
  const shown = (event.notification.data as Partial<NotificationData> | null)?.zpns;
  event.waitUntil(reportEvent(shown?.eventEndpoint, "dismissed"));
});

self.addEventListener("pushsubscriptionchange", (event) => {
  const { newSubscription } = event as PushSubscriptionChangeEvent;
  (event as ExtendableEvent).waitUntil(replaceSubscription(newSubscription));
});

self.addEventListener("message", (event) => {
  const message = event.data as { action?: unknown; args?: unknown[] } | null;
  // ZEGO's page script sends its configuration in this message. This SDK's page script has stored it already.
  if (message?.action === "zimzpns_initApp" && event.source) {
    event.waitUntil(initialize(message.args?.[0] as ZPNsConfig, event.source));
  }
});

async function handlePush(arrived: Push): Promise<void> {
  if (arrived.revokes !== undefined) {
    return closeNotifications(arrived.revokes);
  }
  const { id } = arrived;
  if (id === undefined) {
    return present(arrived);
  }
  // The same push may arrive twice at once. The second waits for the first, and is presented if the first fails.
  const earlier = presenting.get(id)?.catch(() => {});
  const work = presentUnlessSeen(arrived, id, earlier);
  presenting.set(id, work);
  try {
    await work;
  } finally {
    if (presenting.get(id) === work) {
      presenting.delete(id);
    }
  }
}

async function presentUnlessSeen(
  arrived: Push,
  id: string,
  earlier: Promise<void> | undefined,
): Promise<void> {
  await earlier;
  if (!(await wasSeen(id))) {
    await present(arrived);
  }
}

/** Shows a push and then marks it as seen. A worker that is stopped in between shows it again, under the same tag. */
async function present(arrived: Push): Promise<void> {
  const { id, message, link, eventEndpoint } = arrived;
  await setBadge(arrived.badge);
  const pages = await windows();
  if (pages.some((page) => page.visibilityState === "visible")) {
    await postToPages(pages, { action: "zimzpns_notificationArrived", args: [message] });
    return markSeen(id);
  }
  if (arrived.visible) {
    const data: NotificationData = { zpns: { message, link, eventEndpoint } };
    // Without a tag of the sender the id is the tag, so that a repeated notification replaces the first one.
    const tag = id === undefined ? {} : { tag: id };
    await self.registration.showNotification(message.title, { ...tag, ...arrived.options, data });
    await markSeen(id);
    return runHook(self.onNotificationArrived, message);
  }
  // A silent push is seen when its hook has run.
  await runHook(self.onNotificationArrived, message);
  return markSeen(id);
}

/** Reports a device event if the gateway wants it. Nothing waits for the report, and its errors are ignored. */
async function reportEvent(
  eventEndpoint: string | undefined,
  event: "arrived" | "clicked" | "dismissed",
): Promise<void> {
  try {
    if (eventEndpoint) {
      const url = new URL(eventEndpoint, self.location.origin);
      const token = url.hash.slice(1);
      url.hash = "";
      await post(url, { token, event });
    }
  } catch {
    // A missing event does not affect the user.
  }
}

/** Posts JSON as plain text, which needs no CORS preflight. The request continues when the worker is stopped. */
function post(url: URL, body: unknown, userToken?: string): Promise<Response> {
  const headers = userToken === undefined ? {} : { headers: { Authorization: `Bearer ${userToken}` } };
  const text = JSON.stringify(body);
  return fetch(url, { method: "POST", body: text, keepalive: true, credentials: "omit", ...headers });
}

/** Returns `true` if a push with this id was presented before. */
async function wasSeen(id: string): Promise<boolean> {
  try {
    return (await database.read("seen"))?.includes(id) ?? false;
  } catch {
    // Showing a push twice is better than not at all. Its tag keeps it a single notification.
    return false;
  }
}

/** Stores that the push with this id was presented. */
async function markSeen(id: string | undefined): Promise<void> {
  if (id !== undefined) {
    const add = (seen: string[] = []): [string[], null] => [[...seen, id].slice(-MAX_SEEN_IDS), null];
    await database.change("seen", add).catch(() => {});
  }
}

/** Shows the number on the icon of an installed page. */
async function setBadge(count: number | undefined): Promise<void> {
  if (count !== undefined) {
    await self.navigator.setAppBadge?.(count).catch(() => {});
  }
}

async function closeNotifications(tag: string): Promise<void> {
  const notifications = await self.registration.getNotifications({ tag });
  for (const notification of notifications) {
    notification.close();
  }
}

async function handleClick({ message, link }: NotificationData["zpns"]): Promise<void> {
  const pages = await windows();
  // Browsers allow opening a window only while a click is handled, so this precedes the hook, which may take long.
  const page = await focusOrOpen(pages, link);
  if (page) {
    await postToPages([page], { action: "zimzpns_notificationClicked", args: [message] });
  } else {
    await database.write("clicked", { message, at: Date.now() }).catch(() => {});
  }
  await runHook(self.onNotificationClicked, message);
}

/** Opens the link in an open page, and returns that page. Returns `undefined` if a new page was opened. */
async function focusOrOpen(
  pages: readonly WindowClient[],
  link: string | undefined,
): Promise<WindowClient | undefined> {
  const target = new URL(link ?? "/", self.location.origin);
  // Links to other sites are not opened, because the sender is not trusted.
  const url = target.origin === self.location.origin ? target.href : self.location.origin;
  const page = pages.find((open) => open.url === url) ?? pages[0];
  if (!page) {
    await self.clients.openWindow(url).catch(() => null);
    return undefined;
  }
  const focused = await page.focus().catch(() => page);
  if (link !== undefined && focused.url !== url) {
    // A worker cannot navigate a page that it does not control. That page gets the message and can navigate itself.
    await focused.navigate(url).catch(() => null);
  }
  return focused;
}

/** Registers the token of a changed subscription, and reports it to pages and to the gateway. */
async function replaceSubscription(changed: PushSubscription | null | undefined): Promise<void> {
  const stored = await database.read("settings");
  if (!stored) {
    return;
  }
  const applicationServerKey = fromBase64Url(stored.vapidKey) ?? null;
  const subscription =
    changed ??
    (await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey }));
  const previous = await database.read("registration");
  const token = await transport(stored).token(subscription);
  await database.write("registration", { token, endpoint: subscription.endpoint, at: Date.now() });
  await postToPages(await windows(), { action: "zimzpns_tokenChanged", args: [token] });
  // Reported also while pages are open: they may never have registered, and a second report has no effect.
  if (stored.reportTo && previous && previous.token !== token) {
    const [oldId, newId] = [previous.token, token].map((value) => ({ push_id: pushId(value, VERSION) }));
    // After a failure the next visit registers the new token.
    await post(new URL(stored.reportTo), { old: oldId, new: newId }, stored.reportToken).catch(() => {});
  }
}

/** Stores the configuration that a page of ZEGO's script sends, and acknowledges it. */
async function initialize(config: ZPNsConfig, page: Client | ServiceWorker | MessagePort): Promise<void> {
  await database.write("settings", settings(config));
  page.postMessage({ action: "zimzpns_initAppACK", args: [] } satisfies WorkerMessage);
}

/** Returns all windows of the site. None is within the worker's scope, so none is controlled. */
function windows(): Promise<readonly WindowClient[]> {
  return self.clients.matchAll({ type: "window", includeUncontrolled: true });
}

async function postToPages(pages: readonly Client[], message: WorkerMessage): Promise<void> {
  for (const page of pages) {
    page.postMessage(message);
  }
}

/** Runs a hook of the site. Its errors are logged and do not affect the worker. */
async function runHook(
  hook: ((message: ZPNsMessage) => unknown) | undefined,
  message: ZPNsMessage,
): Promise<void> {
  try {
    await hook?.(message);
  } catch (error) {
    console.error(error);
  }
}
