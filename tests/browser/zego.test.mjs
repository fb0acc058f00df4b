// The published web package of ZPNs, unmodified, with the IM client of ours: what is written for the one works with the other.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium, stopWorkers, workerRuns } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";
import { FIREBASE, login, send, vapidKey, visit } from "./guide.mjs";
import { pages, Site } from "./site.mjs";

const published = (name) => new URL(import.meta.resolve(`zego-zpns-web/${name}`));
const SCRIPT = { "/zego-zpns-web/index.js": published("index.js"), "/firebase-messaging-sw.js": pages("hooks.js") };
const WORKER = { "/zego-zpns-web/firebase-messaging-sw.js": published("firebase-messaging-sw.js") };

const SCOPE = "/firebase-cloud-messaging-push-scope";

let desktop;
let browser;
let ann;

before(async () => {
  [desktop, browser] = await Promise.all([Desktop.open(), chromium()]);
  const anns = await Site.open();
  ann = await visit(browser, `http://127.0.0.1:${anns.port}/`);
  await login(ann, "ann");
});

after(async () => {
  await browser?.close();
  desktop?.close();
});

/** A page with the published script: registered, its user bound, and its worker told of it. */
async function settled(site, user) {
  const config = { ...FIREBASE, vapidKey: await vapidKey() };
  const page = await visit(browser, site.url);
  assert.equal(await page.evaluate(() => typeof ZPNs.getInstance().unregisterPush), "undefined", "it is not ours");
  // It does not wait for its worker to become active, and does not try again: it works where the worker is there already.
  await page.evaluate((scope) => navigator.serviceWorker.register("/firebase-messaging-sw.js", { scope }), SCOPE);
  await page.waitForFunction(async (scope) => (await navigator.serviceWorker.getRegistration(scope))?.active, {}, SCOPE);
  await login(page, user);
  const context = await page.evaluate(registerAndWait, config);
  assert.match(context.pushID, /^[\w-]{22}:APA91b[\w-]+$/, "a token of FCM");
  assert.equal(context.pushSDKVersion, "2.5.0");
  // Its worker takes pushes from then on.
  await site.told.first(({ said }) => said === "zimzpns_initApp");
  return page;
}

/** In the page: registers, and waits until the IM server has what the SDK gave its client; what that was. */
function registerAndWait(config) {
  const { setZPNsContext } = zim.engine;
  return new Promise((resolve) => {
    zim.engine.setZPNsContext = async (context) => {
      await setZPNsContext(context);
      resolve(context);
    };
    ZPNs.getInstance().register(config, zim);
  });
}

test("the published package registers with our IM client, and a push arrives", async () => {
  const site = await Site.open({ ...SCRIPT, ...WORKER });
  const page = await settled(site, "zoe");
  await page.close();
  await send(ann, "zoe", { title: "ann", content: "by the published package", payload: "p" });
  const shown = await desktop.notification(({ site: its }) => its === site.url);
  assert.deepEqual([shown.title, shown.body], ["ann", "by the published package"]);
  const { message } = await site.told.first(({ hook }) => hook === "arrived");
  assert.equal(message.extra.payload, "p");
  site.close();
});

test("with the published page script and our worker, a push that starts the worker is shown, once", async () => {
  const site = await Site.open(SCRIPT);
  const page = await settled(site, "zeno");
  await stopWorkers(page);
  await page.close();
  assert.ok(!workerRuns(browser));
  await send(ann, "zeno", { title: "ann", content: "to a worker that was stopped" });
  await desktop.notification(({ body }) => body === "to a worker that was stopped");
  await send(ann, "zeno", { title: "ann", content: "and one more" });
  await desktop.notification(({ body }) => body === "and one more");
  const bodies = desktop.shown.filter((one) => one.site === site.url).map(({ body }) => body);
  assert.deepEqual(bodies, ["to a worker that was stopped", "and one more"]);
  site.close();
});
