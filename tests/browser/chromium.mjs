// A Chromium with a profile of its own: what it opens by itself, and whether its workers run.
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const { FOLDER, KEEP } = process.env;
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

/** The next page the browser opens by itself. */
export async function opened(browser, known, site) {
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

/** Leaves a picture behind of another page. */
export async function pictureOf(browser, url, name) {
  if (KEEP) {
    const page = await browser.newPage();
    await page.goto(url, { waitUntil: "networkidle2" });
    await picture(page, name);
    await page.close();
  }
}
