// The functions a site redefines in its worker, and what they are handed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium, opened, startedWorker } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";
import { push, vapid } from "./gateway.mjs";
import { clientOfGateway, login, register, send, settle, visit } from "./guide.mjs";
import { pages, Site } from "./site.mjs";

const PAYLOAD = '{"conversation":"ann","quote":"\\"你好\\" 👋🏽 שלום \\u0000"}';

let desktop;
let browser;
let site;
let ann;

before(async () => {
  desktop = await Desktop.open();
  const hooks = { "/firebase-messaging-sw.js": pages("hooks.js") };
  [browser, site] = await Promise.all([chromium(), Site.open(hooks)]);
  ann = await visit(browser, `http://127.0.0.1:${site.port}/`);
  await login(ann, "ann");
  const hugo = await settle(browser, site.url, "hugo");
  await hugo.close();
});

after(async () => {
  await browser?.close();
  site?.close();
  desktop?.close();
});

/** What a hook was called with for the message of this text. */
function called(hook, content) {
  return site.told.first((said) => said.hook === hook && said.message.content === content);
}

test("zpns_52_onNotificationArrived_is_called_with_the_payload", async () => {
  await send(ann, "hugo", { title: "ann", content: "arrives", payload: PAYLOAD });
  const { message } = await called("arrived", "arrives");
  assert.equal(message.extra.payload, PAYLOAD);
});

test("zpns_53_onNotificationClicked_is_called_with_the_payload", async () => {
  await send(ann, "hugo", { title: "ann", content: "is clicked", payload: PAYLOAD });
  const shown = await desktop.notification(({ body }) => body === "is clicked");
  assert.ok(!site.told.all.some(({ hook }) => hook === "clicked"));
  const known = browser.targets();
  desktop.click(shown);
  const { message } = await called("clicked", "is clicked");
  assert.equal(message.extra.payload, PAYLOAD);
  await (await opened(browser, known, site.url)).close();
});

test("zpns_54_both_hooks_are_told_title_content_and_icon", async () => {
  const other = await Site.open({ "/firebase-messaging-sw.js": pages("hooks.js") });
  const page = await visit(browser, other.url);
  await clientOfGateway(page, "doras", "dora");
  await register(page, { vapidKey: vapid() });
  await page.close();
  const notification = { icon: "/call.png" };
  const overrides = { webpush: { notification } };
  const { status } = await push({ to: { users: ["dora"] }, title: "Ann 你好", content: "calls", overrides });
  assert.equal(status.counts.sent, 1);
  const wanted = { title: "Ann 你好", content: "calls", icon: "/call.png" };
  const arrived = await other.told.first(({ hook }) => hook === "arrived");
  const { extra: _, ...told } = arrived.message;
  assert.deepEqual(told, wanted);
  const known = browser.targets();
  desktop.click(await desktop.notification((one) => one.site === other.url));
  const clicked = await other.told.first(({ hook }) => hook === "clicked");
  assert.deepEqual(clicked.message, arrived.message);
  await (await opened(browser, known, other.url)).close();
  other.close();
});

test("zpns_55_without_a_payload_no_exception_results", async () => {
  await send(ann, "hugo", { title: "ann", content: "no payload" });
  const arrived = await called("arrived", "no payload");
  assert.equal(arrived.payload, undefined);
  const known = browser.targets();
  desktop.click(await desktop.notification(({ body }) => body === "no payload"));
  const clicked = await called("clicked", "no payload");
  assert.equal(clicked.payload, undefined);
  await (await opened(browser, known, site.url)).close();
});

test("zpns_56_hooks_that_are_left_alone_do_nothing_and_the_push_is_shown", async () => {
  const plain = await Site.open();
  const page = await settle(browser, plain.url, "eve");
  const worker = await startedWorker(browser, plain.url);
  const results = await worker.evaluate(() => {
    const message = { title: "", content: "" };
    return [typeof self.onNotificationArrived, typeof self.onNotificationClicked].concat(
      [self.onNotificationArrived(message), self.onNotificationClicked(message)].map(String),
    );
  });
  assert.deepEqual(results, ["function", "function", "undefined", "undefined"]);
  await page.close();
  await send(ann, "eve", { title: "ann", content: "shown all the same" });
  const shown = await desktop.notification((one) => one.site === plain.url);
  assert.equal(shown.body, "shown all the same");
  assert.deepEqual(plain.told.all, []);
  plain.close();
});

test("receipts say that a push has arrived and was clicked, and the server takes them", async () => {
  await send(ann, "hugo", { title: "ann", content: "with a receipt" });
  const shown = await desktop.notification(({ body }) => body === "with a receipt");
  const { push } = await site.told.first(({ push }) => push?.notification.body === "with a receipt");
  const token = JSON.parse(push.data.zego).receipt.split("#")[1];
  const taken = (event) =>
    site.posted.first(({ body }) => body.includes(token) && JSON.parse(body).event === event);
  assert.equal((await taken("arrived")).status, 204);
  const known = browser.targets();
  desktop.click(shown);
  assert.equal((await taken("clicked")).status, 204);
  await (await opened(browser, known, site.url)).close();
});
