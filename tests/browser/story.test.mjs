// The whole story in the IM server's own page: away, pushed to, back again; called, answered; and no more of it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium, newProfile, opened, picture, pictureOf, startedWorker, stopWorkers, workerRuns } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";
import { login, settle, visit } from "./guide.mjs";
import { PAGE, comeIn, message, notifyMe, talk, write } from "./chat.mjs";
import { Site } from "./site.mjs";

let desktop;
let bobs;
let anns;
let ann;
let shown;

before(async () => {
  desktop = await Desktop.open();
  [bobs, anns] = await Promise.all([chromium(), chromium()]);
  await pictureOf(anns, PAGE, "who-are-you");
  ann = await comeIn(anns, "ann");
});

after(async () => {
  await Promise.all([bobs?.close(), anns?.close()]);
  desktop?.close();
});

test("zpns_17_a_push_is_shown_with_the_page_closed_and_the_worker_cold", async () => {
  const page = await comeIn(bobs, "bob");
  await notifyMe(page);
  await picture(page, "bob-can-be-notified");
  await stopWorkers(page);
  await page.close();
  assert.ok(!workerRuns(bobs));

  await write(ann, "bob", "are you there? 你好");
  shown = await desktop.notification(({ title }) => title === "ann");
  assert.equal(shown.body, "are you there? 你好");
  await startedWorker(bobs, PAGE);
  await picture(ann, "ann-has-written");
  await pictureOf(anns, "http://127.0.0.1:8444/", "what-the-emulator-shows");
});

test("zpns_18_whoever_comes_back_gets_the_messages_themselves", async () => {
  const known = bobs.targets();
  desktop.click(shown);
  const back = await opened(bobs, known, PAGE);
  assert.match(await message(back, "are you there?"), /while you were away/);
  assert.equal(await back.$eval("#with", (heading) => heading.textContent), "ann");
  await picture(back, "bob-is-back");
  await back.close();
});

test("zpns_45_whoever_comes_before_the_timeout_is_called_with_the_time_that_is_left", async () => {
  const [site, profile] = [await Site.open(), newProfile()];
  let carols = await chromium(profile);
  await settle(carols, site.url, "carol");
  await carols.close();
  const caller = await visit(anns, site.url);
  await login(caller, "cal");
  const pushConfig = { title: "cal is calling", content: "click to answer" };
  const { callID } = await caller.evaluate(
    (pushConfig) => zim.callInvite(["carol"], { timeout: 90, pushConfig, extendedData: "video" }),
    pushConfig,
  );
  const since = performance.now();

  carols = await chromium(profile);
  await desktop.notification(({ title }) => title === "cal is calling");
  const page = await visit(carols, site.url);
  await login(page, "carol");
  await page.waitForFunction(() => heard.some(({ event }) => event === "callInvitationReceived"));
  const left = 90 - (performance.now() - since) / 1000;
  const [{ data }] = await page.evaluate(() => heard.filter(({ event }) => event === "callInvitationReceived"));
  assert.equal(data.callID, callID);
  assert.equal(data.inviter, "cal");
  assert.equal(data.extendedData, "video");
  assert.ok(Math.abs(data.timeout - left) <= 1, `told of ${data.timeout} s where ${left} s are left`);
  await carols.close();
  await caller.close();
  site.close();
});

test("zpns_47_a_call_is_accepted_by_whom_the_push_has_brought_back", async () => {
  const page = await comeIn(bobs, "bob");
  await page.close();
  // When this is shown, the server has found out that he is away.
  await write(ann, "bob", "may I call you?");
  await desktop.notification(({ body }) => body === "may I call you?");
  await ann.click("#call");
  const shown = await desktop.notification(({ title }) => title === "ann is calling");
  const known = bobs.targets();
  desktop.click(shown);
  const back = await opened(bobs, known, PAGE);
  await back.waitForSelector("#ring:not([hidden])");
  const left = Number((await back.$eval("#ring-text", (text) => text.textContent)).match(/\((\d+) s\)/)[1]);
  assert.ok(left > 0 && left <= 60, `${left}`);
  await picture(back, "bob-is-called");
  await back.click("#accept");
  await ann.waitForFunction(() => document.getElementById("toast").textContent.includes("bob has answered"));
  await back.close();
});

test("a page that is open gets the message on its connection, and no notification", async () => {
  const page = await comeIn(bobs, "bob");
  await talk(page, "ann");
  await write(ann, "bob", "you are here");
  await message(page, "you are here");
  await page.close();
  // The notification of a later message is the next that is shown.
  await write(ann, "bob", "and now you are not");
  await desktop.notification(({ body }) => body === "and now you are not");
  assert.ok(!desktop.shown.some(({ body }) => body === "you are here"));
});

test("after unregisterPush nothing is shown any more, and the message waits all the same", async () => {
  const page = await comeIn(bobs, "bob");
  await page.click("#push");
  await page.waitForFunction(() => !document.getElementById("push").dataset.on);
  await page.close();
  const before = desktop.shown.length;
  await write(ann, "bob", "in silence");
  const back = await comeIn(bobs, "bob");
  await talk(back, "ann");
  assert.match(await message(back, "in silence"), /while you were away/);
  // Registered again, pushes come again: the silent one is not among them.
  await notifyMe(back);
  await back.close();
  await write(ann, "bob", "aloud again");
  await desktop.notification(({ body }) => body === "aloud again");
  assert.equal(desktop.shown.length, before + 1);
});
