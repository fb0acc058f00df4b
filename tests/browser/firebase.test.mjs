// Firebase's own SDK, unmodified, in a page and a worker of its own: what the gateway sends through FCM is what it takes.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { chromium, opened, stopWorkers, workerRuns } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";
import { gateway, push, vapid } from "./gateway.mjs";
import { visit } from "./guide.mjs";
import { pages, Site } from "./site.mjs";

const TEXTS = { title: "Ann 你好", content: "are you there? 👋🏽", payload: '{"conversation":"ann"}' };

let desktop;
let browser;
let site;

before(async () => {
  const [page, worker] = await Promise.all(["firebase-page.js", "firebase-worker.js"].map(bundled));
  const files = {
    "/": '<!doctype html><title>Firebase</title><link rel="icon" href="data:," /><script src="/page.js"></script>',
    "/page.js": page,
    "/firebase-messaging-sw.js": worker,
  };
  // Over https: FCM takes no other links.
  [desktop, browser, site] = await Promise.all([Desktop.open(), chromium(), Site.open(files, { scheme: "https" })]);
});

after(async () => {
  await browser?.close();
  site?.close();
  desktop?.close();
});

/** A script with what it imports, as any bundler makes it. */
async function bundled(name) {
  const options = { bundle: true, write: false, format: "iife", target: "es2022", logLevel: "error" };
  const { outputFiles } = await build({ ...options, entryPoints: [fileURLToPath(pages(name))] });
  return outputFiles[0].text;
}

/** Makes the page a device of the user, by the token that Firebase gives it. */
async function settleByToken(page, user) {
  const token = await page.evaluate((vapidKey) => firebase.getToken(vapidKey), vapid());
  await bound(user, { token });
  return token;
}

function bound(user, address) {
  const addresses = [{ channel: "fcm", ...address }];
  return gateway("PUT", `/devices/${user}s`, { user, platform: "web", addresses });
}

/** Sends to the user through FCM; what became of it on his one device. */
async function sent(user, more) {
  const { status } = await push({ to: { users: [user] }, ...TEXTS, ...more });
  return status.devices[0];
}

test("the token of getToken is pushed to: the page is closed, and the push is shown by a worker that starts for it", async () => {
  const page = await visit(browser, site.url);
  const token = await settleByToken(page, "fay");
  assert.match(token, /^[\w-]{22}:APA91b[\w-]+$/);
  await stopWorkers(page);
  await page.close();
  assert.ok(!workerRuns(browser));
  assert.equal((await sent("fay")).state, "sent");
  const shown = await desktop.notification(({ title }) => title === TEXTS.title);
  assert.equal(shown.body, TEXTS.content);
  // What onBackgroundMessage was handed.
  const { notification, data } = await site.told.first(() => true);
  assert.deepEqual([notification.title, notification.body], [TEXTS.title, TEXTS.content]);
  assert.equal(data.payload, TEXTS.payload);
});

test("a click on it opens the link", async () => {
  const page = await visit(browser, site.url);
  await settleByToken(page, "flo");
  await page.close();
  const { state } = await sent("flo", { content: "with a link", link: `${site.url}?room=ann` });
  assert.equal(state, "sent");
  const known = browser.targets();
  desktop.click(await desktop.notification(({ body }) => body === "with a link"));
  const back = await opened(browser, known, site.url);
  assert.equal(back.url(), `${site.url}?room=ann`);
  await back.close();
});

test("onMessage of a page that is open gets it, and nothing is shown", async () => {
  const page = await visit(browser, site.url);
  await settleByToken(page, "fred");
  assert.equal((await sent("fred", { content: "over the page" })).state, "sent");
  await page.waitForFunction(() => heard.length > 0);
  const [{ notification, data }] = await page.evaluate(() => heard);
  assert.deepEqual([notification.title, notification.body], [TEXTS.title, "over the page"]);
  assert.equal(data.payload, TEXTS.payload);
  await page.close();
  await sent("fred", { content: "over no page" });
  await desktop.notification(({ body }) => body === "over no page");
  assert.ok(!desktop.shown.some(({ body }) => body === "over the page"));
});

test("after deleteToken the gateway learns that it is unregistered, and forgets the address", async () => {
  const page = await visit(browser, site.url);
  await settleByToken(page, "finn");
  const addresses = async () => (await gateway("GET", "/devices/finns")).addresses;
  assert.equal((await addresses()).length, 1);
  assert.equal(await page.evaluate(() => firebase.deleteToken()), true);
  const { state, fault } = await sent("finn");
  assert.deepEqual([state, fault.vendor_code], ["failed", "UNREGISTERED"]);
  assert.deepEqual(await addresses(), []);
  await page.close();
});

test("an installation that register makes known is pushed to without a token", async () => {
  const page = await visit(browser, site.url);
  const fid = await page.evaluate((vapidKey) => firebase.register(vapidKey), vapid());
  assert.match(fid, /^[cdef][\w-]{21}$/);
  await bound("fritz", { fid });
  await page.close();
  assert.equal((await sent("fritz", { content: "by installation" })).state, "sent");
  await desktop.notification(({ body }) => body === "by installation");
});
