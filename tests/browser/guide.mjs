// The guide's page (pages/guide.html) and what its developer has it do.

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
