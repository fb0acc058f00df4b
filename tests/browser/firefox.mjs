// A Firefox that is pointed at the emulator's autopush by the preferences which Firefox has for it.
import { existsSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const { FOLDER } = process.env;
const EXECUTABLE = "/usr/bin/firefox-esr";

/** Why there is none, if there is none. */
export const missing = existsSync(EXECUTABLE) ? false : "no firefox-esr";

const PREFERENCES = {
  "dom.push.serverURL": "ws://127.0.0.1:8444/autopush",
  "dom.push.testing.allowInsecureServerURL": true,
  "dom.push.connection.enabled": true,
  "permissions.default.desktop-notification": 1,
  // The page may ask without a click.
  "dom.webnotifications.requireuserinteraction": false,
  // Notifications go to the desktop, over D-Bus.
  "alerts.useSystemBackend": true,
};

/** Starts it, with a new profile. */
export function firefox() {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: EXECUTABLE,
    userDataDir: mkdtempSync(join(FOLDER, "firefox-")),
    extraPrefsFirefox: PREFERENCES,
  });
}
