// What a page gets from the SDK, and what the SDK does in a real browser when it registers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "./chromium.mjs";
import { Desktop } from "./desktop.mjs";
import { FIREBASE, login, register, send, settle, vapidKey, visit } from "./guide.mjs";
import { pages, Site, sdk } from "./site.mjs";

const SCOPE = "firebase-cloud-messaging-push-scope";

let desktop;
let browser;
let site;
let ann;

before(async () => {
  desktop = await Desktop.open();
  [browser, site] = await Promise.all([chromium(), Site.open({ "/bare": pages("bare.html") })]);
  // Another origin: to its worker, the site's page is closed though she writes from the same browser.
  ann = await visit(browser, `http://127.0.0.1:${site.port}/`);
  await login(ann, "ann");
});

after(async () => {
  await browser?.close();
  site?.close();
  desktop?.close();
});

/** What ann writes to a user is shown once his page is closed, by the page's site. */
async function isPushedTo(user, page, content) {
  const its = `${new URL(page.url()).origin}/`;
  await page.close();
  await send(ann, user, { title: "ann", content });
  await desktop.notification((one) => one.site === its && one.body === content);
}

test("zpns_20_a_script_tag_defines_the_global_zpns", async () => {
  const page = await visit(browser, `${site.url}bare`);
  const found = await page.evaluate(() => ({
    scripts: [...document.scripts].map((script) => [script.getAttribute("src"), script.type]),
    kind: typeof window.ZPNs,
    version: ZPNs.getVersion(),
  }));
  assert.deepEqual(found.scripts, [["./zego-zpns-web/index.js", ""]]);
  assert.equal(found.kind, "function");
  assert.match(found.version, /^\d+\.\d+\.\d+$/);
  await page.close();
});

test("zpns_22_getInstance_always_gives_the_same_object", async () => {
  const page = await visit(browser, `${site.url}bare`);
  const same = await page.evaluate(() => {
    const first = ZPNs.getInstance();
    return [ZPNs.getInstance() === first, new ZPNs() === first, first instanceof ZPNs];
  });
  assert.deepEqual(same, [true, true, true]);
  await page.close();
});

test("zpns_05_register_asks_for_permission_and_then_gets_a_token_from_the_push_service", async () => {
  const other = await Site.open();
  const context = browser.defaultBrowserContext();
  const setting = (state) => context.setPermission(other.url, { permission: { name: "notifications" }, state });
  const page = await browser.newPage();
  await page.evaluateOnNewDocument(() => {
    window.asked = [];
    const ask = Notification.requestPermission.bind(Notification);
    Notification.requestPermission = async () => {
      const given = await ask();
      asked.push(given);
      return given;
    };
    const subscribe = PushManager.prototype.subscribe;
    PushManager.prototype.subscribe = function (options) {
      asked.push("subscribe");
      return subscribe.call(this, options);
    };
  });
  const config = { vapidKey: await vapidKey() };

  await setting("denied");
  await page.goto(other.url);
  assert.equal((await register(page, config)).code, "permission_denied");
  assert.deepEqual(await page.evaluate(() => asked), ["denied"]);

  await setting("granted");
  const { token } = await register(page, config);
  assert.deepEqual(await page.evaluate(() => asked), ["denied", "granted", "subscribe"]);
  const subscribed = await page.evaluate(async (scope) => {
    const { pushManager } = await navigator.serviceWorker.getRegistration(`/${scope}`);
    return (await pushManager.getSubscription()).toJSON();
  }, SCOPE);
  assert.match(subscribed.endpoint, /^https:\/\/(jmt17\.google|fcm\.googleapis)\.com\/fcm\/send\/./);
  assert.deepEqual(JSON.parse(token), { endpoint: subscribed.endpoint, keys: subscribed.keys });
  await page.close();
  other.close();
});

test("zpns_06_the_token_becomes_a_push_id", async () => {
  const page = await visit(browser, site.url);
  const { token, pushID } = await register(page, { vapidKey: await vapidKey() });
  const bytes = Buffer.from(pushID, "base64");
  assert.equal(bytes.toString("base64"), pushID, "the standard alphabet, padded");
  assert.equal(bytes.subarray(0, 6).toString("hex"), "af0001010700");
  const version = bytes[6];
  assert.equal(bytes.subarray(9, 9 + version).toString(), await page.evaluate(() => ZPNs.getVersion()));
  assert.equal(bytes.readUInt16BE(7), token.length);
  assert.equal(bytes.subarray(9 + version).toString(), token);
  await page.close();
});

test("zpns_07_the_push_id_is_bound_to_the_user_who_logs_in_before_or_after", async () => {
  const config = { vapidKey: await vapidKey() };
  const before = await visit(browser, site.url);
  await register(before, config);
  await login(before, "early");
  await isPushedTo("early", before, "registered, then logged in");

  const after = await visit(browser, site.url);
  await login(after, "late");
  await register(after, config);
  await isPushedTo("late", after, "logged in, then registered");
});

test("zpns_03_the_sdk_needs_nothing_of_the_im_client_but_setZPNsContext", async () => {
  const page = await visit(browser, site.url);
  await login(page, "bob");
  const touched = await page.evaluate(async (vapidKey) => {
    const touched = [];
    const watched = (object, above) =>
      new Proxy(object, {
        get(target, name) {
          touched.push(above + String(name));
          const value = target[name];
          return typeof value === "object" ? watched(value, `${String(name)}.`) : value;
        },
      });
    await ZPNs.getInstance().register({ vapidKey }, watched(zim, ""));
    return [...new Set(touched)];
  }, await vapidKey());
  assert.deepEqual(touched, ["engine", "engine.setZPNsContext"]);
  await isPushedTo("bob", page, "with no binding code");
});

test("zpns_04_it_works_in_chromium_at_its_scope_and_elsewhere_says_what_is_missing", async () => {
  // A page below the root gets the same worker at the same scope.
  const deep = { "/chat/room/": pages("guide.html"), "/chat/room/zego-zpns-web/index.js": sdk("index.js") };
  const other = await Site.open(deep);
  const page = await visit(browser, `${other.url}chat/room/`);
  assert.ok((await register(page, { vapidKey: await vapidKey() })).token);
  const registrations = await page.evaluate(async () => {
    const all = await navigator.serviceWorker.getRegistrations();
    return all.map(({ scope, active }) => [scope, active.scriptURL]);
  });
  assert.deepEqual(registrations, [[`${other.url}${SCOPE}`, `${other.url}firebase-messaging-sw.js`]]);
  await page.close();
  other.close();

  // To a browser, plain http from another machine is no secure context: there are neither workers nor push.
  const insecure = await Site.open({}, { host: "10.99.0.1" });
  const elsewhere = await visit(browser, `http://10.99.0.1:${insecure.port}/`);
  const refused = await register(elsewhere, { vapidKey: await vapidKey() });
  assert.equal(refused.code, "unsupported_browser");
  assert.match(refused.message, /https/);
  await login(elsewhere, "guest");
  await send(elsewhere, "ann", { title: "guest", content: "the page goes on" });
  await ann.waitForFunction(() => heard.some(({ data }) => data.fromConversationID === "guest"));
  await elsewhere.close();
  insecure.close();
});

test("zpns_21_the_worker_at_the_root_is_the_only_other_file_that_is_needed", async () => {
  const fresh = await Site.open();
  const bob = await settle(browser, fresh.url, "bob");
  await isPushedTo("bob", bob, "from two files");
  const im = ["/zim.js", "/token", "/ws"];
  const needed = fresh.got.filter((path) => path !== "/" && !im.includes(path));
  assert.deepEqual([...new Set(needed)], ["/zego-zpns-web/index.js", "/firebase-messaging-sw.js"]);
  fresh.close();
});

test("zpns_23_register_takes_exactly_the_eight_keys_of_the_guide", async () => {
  const fresh = await Site.open();
  const page = await visit(browser, fresh.url);
  const ninth = await register(page, { ...FIREBASE, vapidKey: await vapidKey(), databaseURL: "https://demo.firebaseio.com" });
  assert.equal(ninth.code, "invalid_config");
  assert.match(ninth.message, /`databaseURL`/);
  for (const needed of ["apiKey", "projectId", "messagingSenderId", "appId"]) {
    const { [needed]: _, ...seven } = FIREBASE;
    const refused = await register(page, { ...seven, vapidKey: await vapidKey() });
    assert.equal(refused.code, "invalid_config");
    assert.match(refused.message, new RegExp(`\\b${needed}\\b`));
  }
  const { token } = await register(page, { ...FIREBASE, vapidKey: await vapidKey() });
  assert.match(token, /^[\w-]{22}:APA91b[\w-]+$/, "a token of FCM");
  await login(page, "carol");
  await isPushedTo("carol", page, "through FCM");
  fresh.close();
});

test("zpns_24_registering_again_is_harmless", async () => {
  const page = await settle(browser, site.url, "bob");
  const config = { vapidKey: await vapidKey() };
  const [first, second] = await page.evaluate(
    (config) => Promise.all([1, 2].map(() => ZPNs.getInstance().register(config, zim))),
    config,
  );
  assert.deepEqual(second, first);
  assert.deepEqual(await register(page, config), first);
  assert.equal(await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length), 1);
  await isPushedTo("bob", page, "registered four times");
  await send(ann, "bob", { title: "ann", content: "and what comes after" });
  await desktop.notification((one) => one.site === site.url && one.body === "and what comes after");
  const here = desktop.shown.filter((one) => one.site === site.url && one.body === "registered four times");
  assert.equal(here.length, 1);
});
