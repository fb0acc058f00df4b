import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium, comeIn, message, notifyMe, opened, picture, write } from "./chromium.mjs";
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
