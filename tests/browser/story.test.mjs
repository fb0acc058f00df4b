import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium, comeIn, message, notifyMe, opened, picture, talk, write } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";

let desktop;
let bobs;
let anns;
let ann;

before(async () => {
  desktop = await Desktop.open();
  [bobs, anns] = await Promise.all([chromium(), chromium()]);
  ann = await comeIn(anns, "ann");
});

after(async () => {
  await Promise.all([bobs?.close(), anns?.close()]);
  desktop?.close();
});

test("a page that is closed gets the message as a notification, and a click brings it back", async () => {
  const page = await comeIn(bobs, "bob");
  await notifyMe(page);
  await picture(page, "bob-can-be-notified");
  await page.close();

  await write(ann, "bob", "are you there? 你好");
  const shown = await desktop.notification(({ title }) => title === "ann");
  assert.equal(shown.body, "are you there? 你好");
  await picture(ann, "ann-has-written");

  const known = bobs.targets();
  desktop.click(shown);
  const back = await opened(bobs, known);
  assert.match(await message(back, "are you there?"), /while you were away/);
  assert.equal(await back.$eval("#with", (heading) => heading.textContent), "ann");
  await picture(back, "bob-is-back");
  await back.close();
});

test("a call rings where the page is closed, and goes on with the time that is left when it is opened", async () => {
  const page = await comeIn(bobs, "bob");
  await page.close();
  await ann.click("#call");
  const shown = await desktop.notification(({ title }) => title === "ann is calling");
  const known = bobs.targets();
  desktop.click(shown);
  const back = await opened(bobs, known);
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
