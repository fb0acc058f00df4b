// A Chromium with a profile of its own, and what the tests do in it.
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const { FOLDER, KEEP } = process.env;
/** The IM server's page. A profile is a person: ann and bob have one each. */
export const PAGE = "http://localhost:8080/";

/** A new profile, which has been allowed to show notifications. */
export function newProfile() {
  const profile = mkdtempSync(join(FOLDER, "profile-"));
  mkdirSync(join(profile, "Default"));
  const allowed = { profile: { default_content_setting_values: { notifications: 1 } } };
  writeFileSync(join(profile, "Default", "Preferences"), JSON.stringify(allowed));
  return profile;
}

/** Starts a browser. */
export function chromium(profile = newProfile()) {
  return puppeteer.launch({
    executablePath: "/usr/bin/chromium",
    userDataDir: profile,
    args: ["--no-sandbox", "--no-first-run", "--disable-component-update", "--disable-sync"],
    defaultViewport: { width: 1100, height: 720 },
  });
}

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

/** The next page the browser opens by itself. */
export async function opened(browser, known, site = PAGE) {
  const isNew = (one) => one.type() === "page" && !known.includes(one) && one.url().startsWith(site);
  const target = await browser.waitForTarget(isNew);
  return target.page();
}

const isWorker = (target) => target.type() === "service_worker";

/** Stops every service worker of the browser: the next event finds none that runs. */
export async function stopWorkers(page) {
  const browser = page.browser();
  const session = await page.createCDPSession();
  await session.send("ServiceWorker.enable");
  await session.send("ServiceWorker.stopAllWorkers");
  for (const worker of browser.targets().filter(isWorker)) {
    await new Promise((resolve) => {
      const gone = (target) => {
        if (target === worker) {
          browser.off("targetdestroyed", gone);
          resolve();
        }
      };
      browser.on("targetdestroyed", gone);
      if (!browser.targets().includes(worker)) {
        gone(worker);
      }
    });
  }
  await session.detach();
}

/** Whether a service worker runs in the browser. */
export function workerRuns(browser) {
  return browser.targets().some(isWorker);
}

/** The running worker of a site. */
export async function startedWorker(browser, site) {
  const target = await browser.waitForTarget((one) => isWorker(one) && one.url().startsWith(site));
  return target.worker();
}

/** Leaves a picture behind where somebody wants one. */
export async function picture(page, name) {
  if (KEEP) {
    await page.screenshot({ path: join(KEEP, `${name}.png`) });
  }
}
