import assert from "node:assert/strict";
import { test } from "node:test";
import { KEY, keep, load, plain, row } from "./load.mjs";

/** A worker that was just started, with these windows open. */
async function worker(windows = [], { fetch } = {}) {
  const listeners = {};
  const shown = [];
  const opened = [];
  const badges = [];
  const self = {
    navigator: { setAppBadge: async (count) => badges.push(count) },
    location: new URL("https://app.example/firebase-messaging-sw.js"),
    addEventListener: (name, listener) => {
      listeners[name] = listener;
    },
    skipWaiting: async () => {},
    registration: {
      showNotification: async (title, options) => {
        const notification = { title, ...options, close: () => shown.splice(shown.indexOf(notification), 1) };
        shown.push(notification);
      },
      getNotifications: async ({ tag }) => shown.filter((one) => one.tag === tag),
      pushManager: {
        subscribe: async ({ applicationServerKey }) =>
          subscription(`https://push.example/for-${toBase64Url(applicationServerKey).slice(0, 4)}`),
      },
    },
    clients: {
      claim: async () => {},
      matchAll: async () => windows,
      openWindow: async (url) => opened.push(url),
    },
  };
  const { context } = await load("worker/worker.ts", { self, ...(fetch ? { fetch } : {}) });
  const fire = async (name, event) => {
    const waits = [];
    listeners[name]({ waitUntil: (work) => waits.push(work), stopImmediatePropagation() {}, ...event });
    await Promise.all(waits);
  };
  const push = (json) =>
    fire("push", { data: { text: () => (typeof json === "string" ? json : JSON.stringify(json)) } });
  const click = (notification) =>
    fire("notificationclick", { notification: { close() {}, ...notification } });
  const dismiss = (notification) => fire("notificationclose", { notification });
  return { self, badges, dismiss, listeners, shown, opened, push, click, fire, context };
}

function subscription(endpoint) {
  return { endpoint, toJSON: () => ({ endpoint, keys: { p256dh: "p256dh", auth: "auth" } }) };
}

const toBase64Url = (bytes) => Buffer.from(bytes).toString("base64url");

/** A window of the site. */
function window(url, visibilityState = "hidden") {
  const page = { url, visibilityState, heard: [], focused: 0, moved: [] };
  page.postMessage = (message) => page.heard.push(message);
  page.focus = async () => {
    page.focused += 1;
    return page;
  };
  page.navigate = async (to) => page.moved.push(to);
  return page;
}

const PUSH = {
  notification: {
    title: "Ann",
    body: "你好",
    image: "https://app.example/ann.png",
    tag: "t",
    data: { evil: 1 },
  },
  data: { payload: '{"conversation":"ann"}', zego: '{"version":1,"zpns_request_id":"id-1"}' },
  fcmOptions: { link: "https://app.example/conversations/ann" },
  fcmMessageId: "other",
};

test("every listener is there when the script has run, before any page speaks", async () => {
  const { listeners } = await worker();
  assert.deepEqual(Object.keys(listeners).sort(), [
    "activate",
    "install",
    "message",
    "notificationclick",
    "notificationclose",
    "push",
    "pushsubscriptionchange",
  ]);
});

test("a push is shown once, with what the sender asked, and the hook gets its payload", async () => {
  const { self, push, shown } = await worker();
  const hooked = [];
  self.onNotificationArrived = (message) => hooked.push(plain(message));
  await push(PUSH);
  await push(PUSH);
  assert.equal(shown.length, 1);
  assert.deepEqual([shown[0].title, shown[0].body, shown[0].tag], ["Ann", "你好", "t"]);
  assert.deepEqual(hooked, [
    { title: "Ann", content: "你好", icon: "https://app.example/ann.png", extra: PUSH.data },
  ]);
});

/** A promise, and what resolves it. */
function deferred() {
  let resolve;
  const promise = new Promise((resolved) => {
    resolve = resolved;
  });
  return { promise, resolve };
}

/** Ids that the worker takes as seen. */
const seen = async ({ context }) => plain((await row(context, "seen")) ?? []);

test("a push whose notification could not be shown is shown when it comes again", async () => {
  const started = await worker();
  const { self, push, shown } = started;
  const { showNotification } = self.registration;
  self.registration.showNotification = () => Promise.reject(new Error("no permission yet"));
  await assert.rejects(push(PUSH));
  assert.deepEqual(await seen(started), []);
  self.registration.showNotification = showNotification;
  await push(PUSH);
  assert.deepEqual([shown.length, await seen(started)], [1, ["id-1"]]);
});

test("a push is not seen before it is shown: a worker that is stopped in between loses nothing", async () => {
  const started = await worker();
  const { self } = started;
  const { promise: isShowing, resolve: showing } = deferred();
  self.registration.showNotification = () => {
    showing();
    return new Promise(() => {});
  };
  void started.push(PUSH);
  await isShowing;
  assert.deepEqual(await seen(started), []);
});

test("what is shown again stands in the same place, with a tag of the sender's or without", async () => {
  const { push, shown } = await worker();
  const { tag: _, ...untagged } = PUSH.notification;
  await push({ ...PUSH, notification: untagged });
  await push({ notification: untagged });
  await push({ ...PUSH, data: { zego: '{"zpns_request_id":"id-2"}' } });
  assert.deepEqual(
    shown.map(({ tag }) => tag),
    ["id-1", undefined, "t"],
  );
});

test("of a push that comes twice at once the second is not shown, unless the first could not be", async () => {
  const { self, push, shown } = await worker();
  await Promise.all([push(PUSH), push(PUSH)]);
  assert.equal(shown.length, 1);
  const { showNotification } = self.registration;
  self.registration.showNotification = (...shown) => {
    self.registration.showNotification = showNotification;
    return Promise.reject(new Error(`not ${shown.length}`));
  };
  const other = { ...PUSH, data: { zego: '{"zpns_request_id":"id-2"}' } };
  await Promise.allSettled([push(other), push(other)]);
  assert.equal(shown.length, 2);
});

test("a silent push that was cut off in its hook comes to the hook again", async () => {
  const started = await worker();
  const { promise: isHooked, resolve: hooked } = deferred();
  started.self.onNotificationArrived = () => {
    hooked();
    return new Promise(() => {});
  };
  void started.push({ data: PUSH.data });
  await isHooked;
  assert.deepEqual(await seen(started), []);
});

test("a push without payload makes no exception and has no extra", async () => {
  const { self, push } = await worker();
  const hooked = [];
  self.onNotificationArrived = (message) =>
    hooked.push(message.extra ? message.extra.payload : message.extra);
  await push({ notification: { title: "Ann", body: "hi" } });
  assert.deepEqual(hooked, [undefined]);
});

test("the hooks left alone do nothing, and a hook that throws ends nothing", async () => {
  const { self, push, shown } = await worker();
  await push(PUSH);
  self.onNotificationArrived = () => {
    throw new Error("the site's own");
  };
  const { console: told } = globalThis;
  globalThis.console = { ...told, error() {} };
  await push({ ...PUSH, data: {} });
  globalThis.console = told;
  assert.equal(shown.length, 2);
});

test("what is not ours is left alone", async () => {
  const { push, shown } = await worker();
  for (const text of ["", "not json", "[]", "null", "7", '"x"']) {
    await push(text);
  }
  assert.equal(shown.length, 0);
});

test("a visible page gets an event, and nothing is shown over it", async () => {
  const [visible, hidden] = [window("https://app.example/", "visible"), window("https://app.example/b")];
  const { push, shown } = await worker([visible, hidden]);
  await push(PUSH);
  assert.equal(shown.length, 0);
  for (const page of [visible, hidden]) {
    assert.deepEqual(
      page.heard.map(({ action }) => action),
      ["zimzpns_notificationArrived"],
    );
  }
});

test("a silent push shows nothing and calls the hook", async () => {
  const { self, push, shown } = await worker();
  const hooked = [];
  self.onNotificationArrived = (message) => hooked.push(plain(message));
  await push({ data: { payload: "quiet" } });
  assert.equal(shown.length, 0);
  assert.deepEqual(hooked, [{ title: "", content: "", extra: { payload: "quiet" } }]);
});

test("what is revoked is taken from the screen", async () => {
  const { push, shown } = await worker();
  await push(PUSH);
  await push({ data: { zego: '{"revoke":"t"}' } });
  assert.equal(shown.length, 0);
});

test("a click with no page opens the link and keeps the message for the page", async () => {
  const { self, push, shown, click, opened } = await worker();
  const hooked = [];
  self.onNotificationClicked = (message) => hooked.push(message.extra.payload);
  await push(PUSH);
  await click(plain(shown[0]));
  assert.deepEqual(opened, ["https://app.example/conversations/ann"]);
  assert.deepEqual(hooked, ['{"conversation":"ann"}']);
});

test("a click goes to the page that shows the link already, and tells it", async () => {
  const pages = [window("https://app.example/"), window("https://app.example/conversations/ann")];
  const { push, shown, click, opened } = await worker(pages);
  await push(PUSH);
  await click(plain(shown[0]));
  assert.deepEqual(opened, []);
  assert.deepEqual([pages[0].focused, pages[1].focused], [0, 1]);
  assert.deepEqual(pages[1].moved, []);
  assert.equal(pages[1].heard.at(-1).args[0].extra.payload, '{"conversation":"ann"}');
});

test("a click brings an open page to the link", async () => {
  const pages = [window("https://app.example/elsewhere")];
  const { push, shown, click } = await worker(pages);
  await push(PUSH);
  await click(plain(shown[0]));
  assert.deepEqual(pages[0].moved, ["https://app.example/conversations/ann"]);
});

test("a link to another site opens this one", async () => {
  const { push, shown, click, opened } = await worker();
  await push({ ...PUSH, fcmOptions: { link: "https://evil.example/x" } });
  await click(plain(shown[0]));
  assert.deepEqual(opened, ["https://app.example"]);
});

test("a notification of somebody else's is not ours to handle", async () => {
  const { click, opened } = await worker();
  await click({ data: { FCM_MSG: {} } });
  assert.deepEqual(opened, []);
});

test("the gateway's own Web Push is read as well: link, id, badge", async () => {
  const { push, shown, click, opened, badges } = await worker();
  const own = {
    id: "id-2",
    notification: { title: "Ann", body: "hi", navigate: "https://app.example/ann", tag: "id-2" },
    data: { payload: "p" },
    app_badge: 3,
  };
  await push(own);
  await push(own);
  assert.equal(shown.length, 1);
  assert.equal(shown[0].navigate, undefined);
  assert.deepEqual(badges, [3]);
  await click(plain(shown[0]));
  assert.deepEqual(opened, ["https://app.example/ann"]);
});

/** A gateway that keeps what workers tell it. */
function gateway(answer = async () => ({ ok: true })) {
  const told = [];
  const fetch = (url, { method, body, keepalive, headers }) => {
    told.push({ url: String(url), method, keepalive, headers, body: JSON.parse(body) });
    return answer();
  };
  return { told, fetch };
}

const ASKING = {
  ...PUSH,
  data: {
    ...PUSH.data,
    zego: '{"version":1,"zpns_request_id":"id-1","receipt":"https://push.example/v1/receipts#t0k"}',
  },
};

test("the gateway that asks is told of arrival, click and dismissal, by the token and nothing of the text", async () => {
  const { told, fetch } = gateway();
  const { push, shown, click, dismiss } = await worker([], { fetch });
  await push(ASKING);
  const { data } = shown[0];
  await click(plain({ data }));
  await dismiss(plain({ data }));
  const request = {
    url: "https://push.example/v1/receipts",
    method: "POST",
    keepalive: true,
    headers: undefined,
  };
  assert.deepEqual(
    told,
    ["arrived", "clicked", "dismissed"].map((event) => ({ ...request, body: { token: "t0k", event } })),
  );
});

test("an address without a host is on this site, and who does not ask is told nothing", async () => {
  const { told, fetch } = gateway();
  const { push, click, dismiss } = await worker([], { fetch });
  await push(PUSH);
  await dismiss({ data: null });
  await click({ data: { FCM_MSG: {} } });
  assert.deepEqual(told, []);
  await push({ data: { zego: '{"receipt":"/receipts#t0k"}' } });
  assert.deepEqual(
    [told[0].url, told[0].body],
    ["https://app.example/receipts", { token: "t0k", event: "arrived" }],
  );
});

test("a gateway that does not answer, or is none, keeps nothing from being shown", {
  timeout: 10_000,
}, async () => {
  const silent = gateway(() => new Promise(() => {}));
  const waiting = await worker([], { fetch: silent.fetch });
  void waiting.push(ASKING);
  while (waiting.shown.length === 0) {
    await new Promise(setImmediate);
  }
  const refusing = gateway(() => Promise.reject(new Error("no network")));
  const refused = await worker([], { fetch: refusing.fetch });
  await refused.push(ASKING);
  const nowhere = { ...ASKING, data: { zego: '{"receipt":"http://[#t0k"}' } };
  await refused.push(nowhere);
  assert.deepEqual([refused.shown.length, refusing.told.length], [2, 1]);
});

/** The token in a PushID. */
const tokenOf = ({ push_id }) => Buffer.from(push_id, "base64").subarray(14).toString();
const REGISTERED = {
  vapidKey: KEY,
  defaultKey: false,
  reportTo: "https://push.example/v1/apps/chat/devices:rotate",
};

/** A worker of a browser that was registered, whose subscription has changed. */
async function changed(event, { settings = REGISTERED, windows = [], fetch } = {}) {
  const one = await worker(windows, { fetch });
  await keep(one.context, "settings", settings);
  await keep(one.context, "registration", { token: "old", endpoint: "https://push.example/old", at: 0 });
  await one.fire("pushsubscriptionchange", event);
  return one;
}

test("a subscription that is gone is made anew with the same key, and reported with the old token as proof", async () => {
  const { told, fetch } = gateway();
  const { context } = await changed({ newSubscription: null }, { fetch });
  const token = JSON.stringify({
    endpoint: "https://push.example/for-BDOU",
    keys: { p256dh: "p256dh", auth: "auth" },
  });
  assert.equal((await row(context, "registration")).token, token);
  assert.deepEqual(
    [told.length, told[0].url, told[0].method, told[0].headers],
    [1, REGISTERED.reportTo, "POST", undefined],
  );
  assert.deepEqual([tokenOf(told[0].body.old), tokenOf(told[0].body.new)], ["old", token]);
});

test("a subscription the browser has made already is taken, told to pages and reported", async () => {
  const { told, fetch } = gateway();
  const page = window("https://app.example/");
  const made = subscription("https://push.example/made");
  const { context } = await changed({ newSubscription: made }, { windows: [page], fetch });
  const { token, endpoint } = await row(context, "registration");
  assert.equal(endpoint, "https://push.example/made");
  assert.deepEqual(plain(page.heard), [{ action: "zimzpns_tokenChanged", args: [token] }]);
  assert.equal(tokenOf(told[0].body.new), token);
});

test("an FCM token is made anew as well, and that is what is reported", async () => {
  const firebase = { apiKey: "key", projectId: "demo", appId: "1:1:web:1", messagingSenderId: "1" };
  const told = [];
  const fetch = async (url, { method, body }) => {
    told.push(`${method} ${url}`);
    if (String(url) === REGISTERED.reportTo) {
      const { old, new: now } = JSON.parse(body);
      told.push(`${tokenOf(old)} ${tokenOf(now)}`);
    }
    const authToken = { token: "jwt", expiresIn: "604800s" };
    return { ok: true, json: async () => ({ fid: "c123456789012345678901", authToken, token: "fcm-new" }) };
  };
  await changed({ newSubscription: null }, { settings: { ...REGISTERED, firebase }, fetch });
  assert.deepEqual(told.slice(-3), [
    "POST https://fcmregistrations.googleapis.com/v1/projects/demo/registrations",
    `POST ${REGISTERED.reportTo}`,
    "old fcm-new",
  ]);
});

test("a user token goes with the report of an FCM token", async () => {
  const { told, fetch } = gateway();
  const settings = { ...REGISTERED, reportToken: "head.claims.signature" };
  await changed({ newSubscription: null }, { settings, fetch });
  assert.deepEqual(plain(told[0].headers), { Authorization: "Bearer head.claims.signature" });
});

test("without an address nothing is reported, and a report that fails loses no token", async () => {
  const silent = gateway();
  const { reportTo: _, ...without } = REGISTERED;
  await changed({ newSubscription: null }, { settings: without, fetch: silent.fetch });
  assert.deepEqual(silent.told, []);
  const { told, fetch } = gateway(() => Promise.reject(new Error("no network")));
  const { context } = await changed({ newSubscription: null }, { fetch });
  assert.deepEqual(
    [told.length, (await row(context, "registration")).endpoint],
    [1, "https://push.example/for-BDOU"],
  );
});

test("a worker that knows of no registration does nothing with a change", async () => {
  const { told, fetch } = gateway();
  const { fire } = await worker([], { fetch });
  await fire("pushsubscriptionchange", { newSubscription: null });
  assert.deepEqual(told, []);
});
