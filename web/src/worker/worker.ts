/// <reference lib="webworker" />
import { fromBase64Url } from "../shared/base64.js";
import { settings, type ZPNsConfig } from "../shared/config.js";
import * as database from "../shared/database.js";
import { pushId } from "../shared/envelope.js";
import type { WorkerSays, ZPNsMessage } from "../shared/message.js";
import { transport } from "../shared/transport.js";
import { VERSION } from "../shared/version.js";
import { type Push, push } from "./push.js";

/*
 * The service worker. Its listeners are there as soon as the script has run, because a push starts it with no page open;
 * what it has to know of the page's registration is in the database.
 */

declare const self: ServiceWorkerGlobalScope & {
  /** Called when a push was shown. Redefine it below this script; it does nothing by itself. */
  onNotificationArrived?: (message: ZPNsMessage) => unknown;
  /** Called when a notification was clicked. */
  onNotificationClicked?: (message: ZPNsMessage) => unknown;
};

/** How many ids are remembered, so that a push which comes again is shown once. */
const REMEMBERED = 200;

/** Pushes that are being presented by this run of the worker, by id. */
const presenting = new Map<string, Promise<void>>();

/** What stands in a notification for the click. */
interface Shown {
  zpns: { message: ZPNsMessage; link: string | undefined; receipt: string | undefined };
}

self.onNotificationArrived ??= () => {};
self.onNotificationClicked ??= () => {};

self.addEventListener("install", (event) => event.waitUntil(self.skipWaiting()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  const arrived = event.data && push(event.data.text());
  if (arrived) {
    event.waitUntil(take(arrived));
    event.waitUntil(report(arrived.receipt, "arrived"));
  }
});

self.addEventListener("notificationclick", (event) => {
  const shown = (event.notification.data as Partial<Shown> | null)?.zpns;
  if (shown) {
    event.stopImmediatePropagation();
    event.notification.close();
    event.waitUntil(clicked(shown));
    event.waitUntil(report(shown.receipt, "clicked"));
  }
});

self.addEventListener("notificationclose", (event) => {
  const shown = (event.notification.data as Partial<Shown> | null)?.zpns;
  event.waitUntil(report(shown?.receipt, "dismissed"));
});

self.addEventListener("pushsubscriptionchange", (event) => {
  const { newSubscription } = event as PushSubscriptionChangeEvent;
  (event as ExtendableEvent).waitUntil(changed(newSubscription));
});

self.addEventListener("message", (event) => {
  const said = event.data as { action?: unknown; args?: unknown[] } | null;
  // The published page script hands its configuration over like this; ours is in the database already.
  if (said?.action === "zimzpns_initApp" && event.source) {
    event.waitUntil(initialised(said.args?.[0] as ZPNsConfig, event.source));
  }
});

async function take(arrived: Push): Promise<void> {
  if (arrived.revokes !== undefined) {
    return close(arrived.revokes);
  }
  const { id } = arrived;
  if (id === undefined) {
    return present(arrived);
  }
  // The same push may come twice at once. The second one waits for what becomes of the first, and takes its place if it fails.
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

/** Shows a push and then marks it as seen: a worker that is stopped in between shows it again, under the same tag. */
async function present(arrived: Push): Promise<void> {
  const { id, message, link, receipt } = arrived;
  await badge(arrived.badge);
  const pages = await windows();
  if (pages.some((page) => page.visibilityState === "visible")) {
    await say(pages, { action: "zimzpns_notificationArrived", args: [message] });
    return markSeen(id);
  }
  if (arrived.visible) {
    const data: Shown = { zpns: { message, link, receipt } };
    // Without a tag of the sender's, the id is the tag: what is shown again replaces what is there.
    const tag = id === undefined ? {} : { tag: id };
    await self.registration.showNotification(message.title, { ...tag, ...arrived.options, data });
    await markSeen(id);
    return hook(self.onNotificationArrived, message);
  }
  // Nothing is on the screen, so the hook is all that the push does.
  await hook(self.onNotificationArrived, message);
  return markSeen(id);
}

/** Tells the gateway what became of a push, where it wants to know. Nothing waits for it, and its failure stops nothing. */
async function report(
  receipt: string | undefined,
  event: "arrived" | "clicked" | "dismissed",
): Promise<void> {
  try {
    if (receipt) {
      const to = new URL(receipt, self.location.origin);
      const token = to.hash.slice(1);
      to.hash = "";
      await post(to, { token, event });
    }
  } catch {
    // The gateway knows less, and the user notices nothing.
  }
}

/** Plain text, so that no browser asks another site's server for leave first; goes on when the worker is stopped. */
function post(to: URL, body: unknown, userToken?: string): Promise<Response> {
  const headers = userToken === undefined ? {} : { headers: { Authorization: `Bearer ${userToken}` } };
  const text = JSON.stringify(body);
  return fetch(to, { method: "POST", body: text, keepalive: true, credentials: "omit", ...headers });
}

/** Returns whether a push with this id was presented before. */
async function wasSeen(id: string): Promise<boolean> {
  try {
    return (await database.read("seen"))?.includes(id) ?? false;
  } catch {
    // Shown twice is better than not at all; its tag makes it one on the screen.
    return false;
  }
}

/** Remembers that the push with this id was presented. */
async function markSeen(id: string | undefined): Promise<void> {
  if (id !== undefined) {
    const add = (seen: string[] = []): [string[], null] => [[...seen, id].slice(-REMEMBERED), null];
    await database.change("seen", add).catch(() => {});
  }
}

/** Puts the number on the icon, where the browser has one for the page. */
async function badge(count: number | undefined): Promise<void> {
  if (count !== undefined) {
    await self.navigator.setAppBadge?.(count).catch(() => {});
  }
}

async function close(tag: string): Promise<void> {
  const shown = await self.registration.getNotifications({ tag });
  for (const notification of shown) {
    notification.close();
  }
}

async function clicked({ message, link }: Shown["zpns"]): Promise<void> {
  const pages = await windows();
  // A window may be opened only while the click is being handled, so this comes before the hook, which may take long.
  const opened = await show(pages, link);
  if (opened) {
    await say([opened], { action: "zimzpns_notificationClicked", args: [message] });
  } else {
    await database.write("clicked", { message, at: Date.now() }).catch(() => {});
  }
  await hook(self.onNotificationClicked, message);
}

/** Brings the user to the link, or to the page that is open; the page that was open, or nothing when one is opened anew. */
async function show(
  pages: readonly WindowClient[],
  link: string | undefined,
): Promise<WindowClient | undefined> {
  const target = new URL(link ?? "/", self.location.origin);
  // Another site is not ours to open: a sender may be anybody.
  const url = target.origin === self.location.origin ? target.href : self.location.origin;
  const page = pages.find((one) => one.url === url) ?? pages[0];
  if (!page) {
    await self.clients.openWindow(url).catch(() => null);
    return undefined;
  }
  const focused = await page.focus().catch(() => page);
  if (link !== undefined && focused.url !== url) {
    // A page that this worker does not control cannot be moved; it gets the message and moves itself.
    await focused.navigate(url).catch(() => null);
  }
  return focused;
}

async function changed(given: PushSubscription | null | undefined): Promise<void> {
  const known = await database.read("settings");
  if (!known) {
    return;
  }
  const applicationServerKey = fromBase64Url(known.vapidKey) ?? null;
  const subscription =
    given ?? (await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey }));
  const before = await database.read("registration");
  const token = await transport(known).token(subscription);
  await database.write("registration", { token, endpoint: subscription.endpoint, at: Date.now() });
  await say(await windows(), { action: "zimzpns_tokenChanged", args: [token] });
  // An open page may be one that never registered, and to report it twice does no harm.
  if (known.reportTo && before && before.token !== token) {
    const [old, now] = [before.token, token].map((one) => ({ push_id: pushId(one, VERSION) }));
    // What fails here is made good by the next visit, which registers and finds the new token.
    await post(new URL(known.reportTo), { old, new: now }, known.reportToken).catch(() => {});
  }
}

async function initialised(config: ZPNsConfig, page: Client | ServiceWorker | MessagePort): Promise<void> {
  await database.write("settings", settings(config));
  page.postMessage({ action: "zimzpns_initAppACK", args: [] } satisfies WorkerSays);
}

/** Every window of the site: the worker's scope has no page in it, so none is controlled. */
function windows(): Promise<readonly WindowClient[]> {
  return self.clients.matchAll({ type: "window", includeUncontrolled: true });
}

async function say(pages: readonly Client[], message: WorkerSays): Promise<void> {
  for (const page of pages) {
    page.postMessage(message);
  }
}

/** Runs the site's own function; its mistake is the site's, and told, but ends nothing of ours. */
async function hook(
  hooked: ((message: ZPNsMessage) => unknown) | undefined,
  message: ZPNsMessage,
): Promise<void> {
  try {
    await hooked?.(message);
  } catch (error) {
    console.error(error);
  }
}
