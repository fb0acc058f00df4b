// What is shown of a push, and when: the texts as they were sent, once, and only while no page is looked at.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium, newProfile, stopWorkers, workerRuns } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";
import { push, vapid } from "./gateway.mjs";
import { FIREBASE, login, register, send, settle, visit } from "./guide.mjs";
import { pages, Site } from "./site.mjs";

const profile = newProfile();

let desktop;
let browser;
let anns;
let site;
let ann;

before(async () => {
  desktop = await Desktop.open();
  const hooks = { "/firebase-messaging-sw.js": pages("hooks.js") };
  [browser, anns, site] = await Promise.all([chromium(profile), chromium(), Site.open(hooks)]);
  ann = await visit(anns, site.url);
  await login(ann, "ann");
  const bill = await settle(browser, site.url, "bill");
  await bill.close();
});

after(async () => {
  await Promise.all([browser?.close(), anns?.close()]);
  site?.close();
  desktop?.close();
});

/** What the worker was handed of the message of this text. */
async function arrived(content) {
  const said = await site.told.first((said) => said.hook === "arrived" && said.message.content === content);
  return said.message;
}

test("zpns_27_the_title_of_the_pushConfig_is_the_notifications_title", async () => {
  const title = 'Ann "Антонина" <b>&amp;</b> 你好 👋🏽';
  await send(ann, "bill", { title, content: "under a title" });
  const shown = await desktop.notification(({ body }) => body === "under a title");
  assert.equal(shown.title, title);
});

test("zpns_28_the_content_of_the_pushConfig_is_the_notifications_body", async () => {
  const content = "first line\n\nthird: 'quotes', \"quotes\", 你好 👋🏽 שלום";
  await send(ann, "bill", { title: "the content", content });
  const shown = await desktop.notification(({ title }) => title === "the content");
  assert.equal(shown.body, content);
});

test("zpns_29_a_payload_is_optional_and_arrives_unchanged", async () => {
  const payloads = ['{"a":["\\u4f60",1e3,null],"b":"\\"\'"}', "", " plain 你好 👋🏽\t\n", "null"];
  for (const [number, payload] of payloads.entries()) {
    await send(ann, "bill", { title: "ann", content: `payload ${number}`, payload });
    assert.equal((await arrived(`payload ${number}`)).extra?.payload, payload);
  }
  await send(ann, "bill", { title: "ann", content: "none" });
  assert.equal((await arrived("none")).extra?.payload, undefined);
});

test("zpns_63_each_push_is_one_notification_though_it_comes_twice", async () => {
  // The browser can be reached in two ways, and the gateway takes both: the push comes through FCM, and by itself.
  const page = await visit(browser, site.url);
  const { token } = await register(page, { ...FIREBASE, vapidKey: vapid() });
  const subscription = await page.evaluate(async () => {
    const [{ pushManager }] = await navigator.serviceWorker.getRegistrations();
    const { endpoint, keys } = (await pushManager.getSubscription()).toJSON();
    return { endpoint, keys };
  });
  await page.close();
  const addresses = [
    { channel: "fcm", token },
    { channel: "webpush", subscription },
  ];
  const sent = (content) => push({ to: { addresses }, title: "ann", content });
  assert.equal((await sent("comes twice")).status.counts.sent, 2);
  await site.told.nth(2, ({ push }) => push?.notification.body === "comes twice");
  await sent("comes after it");
  await desktop.notification(({ body }) => body === "comes after it");
  assert.equal(desktop.shown.filter(({ body }) => body === "comes twice").length, 1);
  await (await settle(browser, site.url, "bill")).close();
});

test("zpns_64_a_page_that_is_looked_at_gets_an_event_and_nothing_is_shown", async () => {
  const page = await visit(browser, site.url);
  await page.evaluate(() => {
    window.pushes = [];
    ZPNs.getInstance().on("notificationArrived", (message) => pushes.push(message));
  });
  // The page has not logged in, so its user counts as away.
  await send(ann, "bill", { title: "ann", content: "over the page", payload: "p" });
  await page.waitForFunction(() => pushes.length > 0);
  const [{ extra, ...texts }] = await page.evaluate(() => pushes);
  assert.deepEqual([texts, extra.payload], [{ title: "ann", content: "over the page" }, "p"]);
  await page.close();
  await send(ann, "bill", { title: "ann", content: "over no page" });
  await desktop.notification(({ body }) => body === "over no page");
  assert.ok(!desktop.shown.some(({ body }) => body === "over the page"));
});

test("zpns_65_a_push_starts_the_worker_and_the_browser_has_no_page", async () => {
  await browser.close();
  await send(ann, "bill", { title: "ann", content: "while the browser was closed" });
  browser = await chromium(profile);
  const shown = await desktop.notification(({ body }) => body === "while the browser was closed");
  assert.equal(shown.title, "ann");
  assert.ok(!browser.targets().some((target) => target.url() === site.url));

  // And once more, in a browser that goes on: its worker has stopped.
  const [blank] = await browser.pages();
  await stopWorkers(blank);
  assert.ok(!workerRuns(browser));
  await send(ann, "bill", { title: "ann", content: "while the worker was stopped" });
  await desktop.notification(({ body }) => body === "while the worker was stopped");
});
