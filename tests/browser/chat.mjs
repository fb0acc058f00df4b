// The IM server's page, and what people do in it. A profile is a person: ann and bob have one each.

export const PAGE = "http://localhost:8080/";

/** Opens the page and comes in under a name. */
export async function comeIn(browser, user) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error("page:", error.message));
  await page.goto(PAGE);
  // Who was here before is known, and comes in by himself.
  const known = await page.evaluate(() => localStorage.getItem("user"));
  if (known !== user) {
    await page.type("#login input", user);
    await page.click("#login button");
  }
  await page.waitForSelector("#state.on");
  return page;
}

/** Asks to be notified; resolves when the browser can be pushed to. */
export async function notifyMe(page) {
  await page.click("#push");
  await page.waitForFunction(() => document.getElementById("push").dataset.on === "yes");
}

/** Opens a conversation. */
export async function talk(page, to) {
  await page.type("#open input", to);
  await page.click("#open button");
  await page.waitForFunction((name) => document.getElementById("with").textContent === name, {}, to);
}

/** Writes to somebody. */
export async function write(page, to, text) {
  await talk(page, to);
  await page.type("#write input", text);
  await page.click("#write button");
}

/** Waits for a message on the page; its whole text. */
export async function message(page, text) {
  const found = await page.waitForFunction(
    (wanted) => [...document.querySelectorAll("#messages li")].find((li) => li.textContent.includes(wanted)),
    {},
    text,
  );
  return found.evaluate((li) => li.textContent);
}
