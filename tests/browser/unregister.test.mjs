// What ends a browser's pushes, and what it does not end.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";
import { emulator, gateway, push, vapid } from "./gateway.mjs";
import { clientOfGateway, login, register, send, settle, vapidKey, visit } from "./guide.mjs";
import { pages, Site } from "./site.mjs";

let desktop;
let laptop;
let desk;
let site;
let ann;

before(async () => {
  desktop = await Desktop.open();
  const hooks = { "/firebase-messaging-sw.js": pages("hooks.js") };
  [laptop, desk, site] = await Promise.all([chromium(), chromium(), Site.open(hooks)]);
  ann = await visit(laptop, `http://127.0.0.1:${site.port}/`);
  await login(ann, "ann");
});

after(async () => {
  await Promise.all([laptop?.close(), desk?.close()]);
  site?.close();
  desktop?.close();
});

/** What is left of a registration in a browser. */
function left(page) {
  return page.evaluate(async () => {
    const registrations = await navigator.serviceWorker.getRegistrations();
    const subscriptions = await Promise.all(registrations.map(({ pushManager }) => pushManager.getSubscription()));
    return { workers: registrations.length, subscriptions: subscriptions.filter(Boolean).length };
  });
}

/** What the Web Push services were asked to take since then. */
async function asked(since) {
  const events = await emulator("GET", `/webpush/events?after=${since}`);
  return events.filter(({ event }) => event === "web_push");
}

async function now() {
  return (await emulator("GET", "/webpush/events")).at(-1)?.seq ?? 0;
}

test("zpns_25_after_unregister_the_user_gets_no_more_pushes", async () => {
  const page = await settle(laptop, site.url, "uma");
  assert.deepEqual(await left(page), { workers: 1, subscriptions: 1 });
  await page.evaluate(() => ZPNs.getInstance().unregister());
  assert.deepEqual(await left(page), { workers: 0, subscriptions: 0 });
  await page.close();
  // Another user, whom the same message goes out to after hers, is pushed to: hers is not even sent.
  const other = await Site.open();
  const witness = await settle(laptop, other.url, "witness");
  await witness.close();
  const since = await now();
  await send(ann, "uma", { title: "ann", content: "to nobody's screen" });
  await send(ann, "witness", { title: "ann", content: "to a screen" });
  await desktop.notification(({ body }) => body === "to a screen");
  assert.equal((await asked(since)).length, 1);
  assert.ok(!desktop.shown.some(({ body }) => body === "to nobody's screen"));
  other.close();
});

test("zpns_26_register_works_again_after_unregister", async () => {
  const page = await settle(laptop, site.url, "ulla");
  const config = { vapidKey: await vapidKey() };
  const first = await register(page, config);
  await page.evaluate(() => ZPNs.getInstance().unregister());
  const second = await register(page, config);
  assert.notEqual(second.token, first.token);
  assert.deepEqual(await left(page), { workers: 1, subscriptions: 1 });
  await page.close();
  await send(ann, "ulla", { title: "ann", content: "registered again" });
  await desktop.notification(({ body }) => body === "registered again");
});

/** A page of the laptop's that registers with the gateway; and the subscription, as a server may have kept it. */
async function settledAtGateway(user) {
  const page = await visit(laptop, site.url);
  await clientOfGateway(page, `${user}-laptop`, user);
  const { token } = await register(page, { vapidKey: vapid() });
  return { page, kept: { channel: "webpush", subscription: JSON.parse(token) } };
}

/** Unregisters, and registers for another user: what is shown or told from then on can be waited for. */
async function anotherTakesOver(page, user) {
  await page.evaluate(() => ZPNs.getInstance().unregisterPush());
  await page.close();
  const next = await settledAtGateway(user);
  await next.page.close();
}

test("zpns_48_unregisterPush_stops_this_devices_pushes", async () => {
  const { page } = await settledAtGateway("una");
  const addresses = async () => (await gateway("GET", "/devices/una-laptop")).addresses.length;
  assert.equal(await addresses(), 1);
  assert.deepEqual(await left(page), { workers: 1, subscriptions: 1 });
  assert.equal(await page.evaluate(() => ZPNs.getInstance().unregisterPush()), undefined);
  assert.equal(await addresses(), 0);
  assert.deepEqual(await left(page), { workers: 0, subscriptions: 0 });
  await page.close();
});

test("zpns_49_after_unregisterPush_no_popup_appears_on_this_device", async () => {
  const { page, kept } = await settledAtGateway("ute");
  const popup = (to, content) => push({ to, title: "ann", content });
  await page.close();
  await popup({ users: ["ute"] }, "a popup");
  await desktop.notification(({ body }) => body === "a popup");

  const again = await settledAtGateway("ute");
  await anotherTakesOver(again.page, "urs");
  const { accepted } = await popup({ users: ["ute"] }, "no popup");
  assert.equal(accepted, 0);
  await popup({ addresses: [kept, again.kept] }, "no popup");
  await popup({ users: ["urs"] }, "a popup for another");
  await desktop.notification(({ body }) => body === "a popup for another");
  assert.ok(!desktop.shown.some(({ body }) => body === "no popup"));
});

test("zpns_50_after_unregisterPush_no_silent_push_takes_effect_on_this_device", async () => {
  const { page, kept } = await settledAtGateway("uwe");
  const silent = (to, payload) => push({ to, silent: true, payload });
  const came = ({ hook, payload }, wanted) => hook === "arrived" && payload === wanted;
  await page.close();
  await silent({ users: ["uwe"] }, "in silence");
  await site.told.first((said) => came(said, "in silence"));

  const again = await settledAtGateway("uwe");
  await anotherTakesOver(again.page, "ursula");
  const { accepted } = await silent({ users: ["uwe"] }, "in vain");
  assert.equal(accepted, 0);
  await silent({ addresses: [kept, again.kept] }, "in vain");
  await silent({ users: ["ursula"] }, "for another");
  await site.told.first((said) => came(said, "for another"));
  assert.ok(!site.told.all.some(({ push }) => push?.data.payload === "in vain"));
});

test("zpns_51_other_devices_of_the_user_still_get_pushes", async () => {
  const atDesk = `http://127.0.0.1:${site.port}/`;
  const there = await settle(desk, atDesk, "udo");
  const here = await settle(laptop, site.url, "udo");
  await there.close();
  const shownBy = (its, content) => desktop.notification((one) => one.site === its && one.body === content);

  await here.evaluate(() => ZPNs.getInstance().unregisterPush());
  await here.close();
  await send(ann, "udo", { title: "ann", content: "to the desk alone" });
  await shownBy(atDesk, "to the desk alone");

  const back = await settle(laptop, site.url, "udo");
  await back.close();
  await send(ann, "udo", { title: "ann", content: "to both" });
  await Promise.all([shownBy(atDesk, "to both"), shownBy(site.url, "to both")]);
  const alone = desktop.shown.filter(({ body }) => body === "to the desk alone");
  assert.equal(alone.length, 1);
});
