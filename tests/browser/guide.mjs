// The guide's page (pages/guide.html) and what its developer has it do.
import { gateway } from "./gateway.mjs";

export { FIREBASE } from "./pages/firebase-config.js";

/** The key that the IM server's pages subscribe with. */
export async function vapidKey() {
  const answer = await fetch("http://127.0.0.1:8080/config.json");
  return (await answer.json()).vapidKey;
}

/** Opens the page of a site. */
export async function visit(browser, url) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error("page:", error.message));
  await page.goto(url);
  return page;
}

/** Logs in to the IM server. */
export function login(page, user) {
  return page.evaluate(async (user) => {
    const { token } = await (await fetch(`/token?user=${user}`)).json();
    await zim.login(user, { token });
  }, user);
}

/** Registers for pushes; what the SDK's promise gives, or the error's code and message. */
export function register(page, config) {
  return page.evaluate(async (config) => {
    try {
      return await ZPNs.getInstance().register(config, window.zim);
    } catch ({ code, message }) {
      return { code, message };
    }
  }, config);
}

/** Opens the page, logs in, registers. */
export async function settle(browser, url, user) {
  const page = await visit(browser, url);
  await login(page, user);
  await register(page, { vapidKey: await vapidKey() });
  return page;
}

/** Sends a message with a pushConfig. */
export function send(page, to, pushConfig) {
  const message = { type: 1, message: pushConfig.content };
  const config = { priority: 2, pushConfig };
  return page.evaluate((...given) => zim.sendMessage(...given), message, to, 0, config);
}

/** Gives a page an IM client whose server is the gateway: what the SDK reports makes the browser that user's device. */
export async function clientOfGateway(page, device, user) {
  await page.exposeFunction("report", (token, version) =>
    gateway("PUT", `/devices/${device}`, { user, push_id: pushId(token, version) }),
  );
  await page.evaluate(() => {
    const setZPNsContext = ({ pushID, pushSDKVersion }) => report(pushID, pushSDKVersion);
    window.zim = { engine: { setZPNsContext } };
  });
}

/** The envelope in which clients hand their token on. */
function pushId(token, version) {
  const head = Buffer.from([0xaf, 0, 1, 1, 7, 0, version.length, token.length >> 8, token.length & 0xff]);
  return Buffer.concat([head, Buffer.from(version + token)]).toString("base64");
}
