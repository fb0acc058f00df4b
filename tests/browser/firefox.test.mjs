// A push service that is not Google's, and a browser that is not Chromium: autopush, and Firefox. Skipped where there is none.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { opened } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";
import { firefox, missing } from "./firefox.mjs";
import { login, register, send, settle, vapidKey, visit } from "./guide.mjs";
import { pages, Site } from "./site.mjs";

let desktop;
let browser;
let site;
let ann;

before(async () => {
  if (missing) {
    return;
  }
  const hooks = { "/firebase-messaging-sw.js": pages("hooks.js") };
  [desktop, browser, site] = await Promise.all([Desktop.open(), firefox(), Site.open(hooks)]);
  ann = await visit(browser, `http://127.0.0.1:${site.port}/`);
  await login(ann, "ann");
});

after(async () => {
  await browser?.close();
  site?.close();
  desktop?.close();
});

test("a Firefox subscribes at Mozilla's push service, and is pushed to while its page is closed", { skip: missing }, async () => {
  const page = await settle(browser, site.url, "fiona");
  const { token } = await register(page, { vapidKey: await vapidKey() });
  assert.match(JSON.parse(token).endpoint, /^https:\/\/updates\.push\.services\.mozilla\.com\/wpush\/v2\/./);
  await page.close();
  const payload = '{"conversation":"ann"}';
  await send(ann, "fiona", { title: "Ann 你好", content: "are you there? 👋🏽", payload });
  const { message } = await site.told.first(({ hook }) => hook === "arrived");
  assert.deepEqual([message.title, message.content], ["Ann 你好", "are you there? 👋🏽"]);
  assert.equal(message.extra.payload, payload);
  const shown = await desktop.notification(({ title }) => title === "Ann 你好");
  assert.equal(shown.body, "are you there? 👋🏽");
});

test("a click in Firefox opens the page, and the hook is called", { skip: missing }, async () => {
  const known = browser.targets();
  desktop.click(await desktop.notification(({ title }) => title === "Ann 你好"));
  const back = await opened(browser, known, site.url);
  const { payload } = await site.told.first(({ hook }) => hook === "clicked");
  assert.equal(payload, '{"conversation":"ann"}');
  await back.close();
});

test("after unregisterPush Firefox shows nothing more", { skip: missing }, async () => {
  const page = await settle(browser, site.url, "fiona");
  await page.evaluate(() => ZPNs.getInstance().unregisterPush());
  await page.close();
  await send(ann, "fiona", { title: "ann", content: "in silence" });
  const back = await settle(browser, site.url, "fiona");
  await back.waitForFunction(() => heard.some(({ data }) => data.messageList[0].message === "in silence"));
  await back.close();
  await send(ann, "fiona", { title: "ann", content: "aloud again" });
  await desktop.notification(({ body }) => body === "aloud again");
  assert.ok(!desktop.shown.some(({ body }) => body === "in silence"));
});
