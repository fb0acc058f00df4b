import assert from "node:assert/strict";
import { test } from "node:test";
import { page, zim } from "./browser.mjs";
import { KEY, plain, row } from "./load.mjs";

const FIREBASE = {
  apiKey: "key",
  projectId: "demo",
  appId: "1:1:web:1",
  messagingSenderId: "1",
  vapidKey: KEY,
};

test("getInstance and new give the one instance", async () => {
  const { ZPNs } = await page();
  assert.equal(ZPNs.getInstance(), ZPNs.getInstance());
  assert.equal(new ZPNs(), ZPNs.getInstance());
  assert.equal(ZPNs.getVersion(), "2.5.0");
});

test("register subscribes by the worker at the root and hands the PushID to the IM client", async () => {
  const { ZPNs, asked } = await page();
  const client = zim();
  const { token, pushID } = await ZPNs.getInstance().register({ vapidKey: KEY }, client);
  assert.deepEqual(asked, ["register /firebase-messaging-sw.js /firebase-cloud-messaging-push-scope"]);
  assert.deepEqual(JSON.parse(token), {
    endpoint: "https://push.example/1",
    keys: { p256dh: "p256dh", auth: "auth" },
  });
  assert.deepEqual(plain(client.contexts), [{ pushSDKVersion: "2.5.0", pushID: token }]);
  assert.equal(Buffer.from(pushID, "base64").subarray(14).toString(), token);
});

test("a second register is harmless and tells the IM client of now", async () => {
  const { ZPNs, state } = await page();
  const [first, second] = [zim(), zim()];
  await ZPNs.getInstance().register({ vapidKey: KEY }, first);
  await ZPNs.getInstance().register({ vapidKey: KEY }, second);
  assert.equal(state.subscribed, 1);
  assert.equal(second.contexts.length, 1);
});

test("register works again after a failure", async () => {
  const { ZPNs, state } = await page();
  state.refusesToSubscribe = true;
  await assert.rejects(ZPNs.getInstance().register({ vapidKey: KEY }, zim()), { code: "subscribe_failed" });
  state.refusesToSubscribe = false;
  const { token } = await ZPNs.getInstance().register({ vapidKey: KEY }, zim());
  assert.match(token, /push\.example/);
});

test("register, unregister, register works, and unregister leaves nothing", async () => {
  for (const verb of ["unregister", "unregisterPush"]) {
    const { ZPNs, state } = await page();
    const client = zim();
    await ZPNs.getInstance().register({ vapidKey: KEY }, client);
    await ZPNs.getInstance()[verb]();
    assert.equal(state.subscription, null);
    assert.equal(state.worker, null);
    assert.deepEqual(plain(client.contexts.at(-1)), { pushSDKVersion: "2.5.0", pushID: "" });
    await ZPNs.getInstance().register({ vapidKey: KEY }, client);
    assert.match(client.contexts.at(-1).pushID, /push\.example\/2/);
  }
});

test("what the user or the browser does not allow is told by its code", async () => {
  const cases = [
    [{ permission: "denied" }, "permission_denied"],
    [{ permission: "default" }, "permission_dismissed"],
    [{ without: ["PushManager"] }, "unsupported_browser"],
    [{ without: ["isSecureContext"] }, "unsupported_browser"],
  ];
  for (const [browser, code] of cases) {
    const { ZPNs, PushError } = await page(browser);
    await assert.rejects(ZPNs.getInstance().register({ vapidKey: KEY }, zim()), (error) => {
      return error instanceof PushError && error.code === code && error.message.length > 20;
    });
  }
});

test("a wrong configuration is refused by the name of its key", async () => {
  const { ZPNs } = await page();
  const cases = [
    [undefined, /configuration/],
    [{ vapidKey: KEY, apikey: "x" }, /`apikey`/],
    [{ vapidKey: "short" }, /`vapidKey`/],
    [{ ...FIREBASE, projectId: "" }, /projectId/],
    [{ vapidKey: 7 }, /`vapidKey` must be a string/],
  ];
  for (const [config, message] of cases) {
    await assert.rejects(ZPNs.getInstance().register(config, zim()), { code: "invalid_config", message });
  }
});

test("the eight keys of a Firebase app are taken, and its token is registered with Google", async () => {
  const calls = [];
  const answers = {
    installations: {
      fid: "c123456789012345678901",
      refreshToken: "2_x",
      authToken: { token: "jwt", expiresIn: "604800s" },
    },
    registrations: { token: "fcm-token" },
  };
  const fetch = async (url, { method, headers, body }) => {
    calls.push({
      url,
      method,
      auth: headers["x-goog-firebase-installations-auth"],
      body: JSON.parse(body ?? "null"),
    });
    return { ok: true, json: async () => answers[url.match(/installations$|registrations/)[0]] };
  };
  const { ZPNs } = await page({ fetch });
  const all = { ...FIREBASE, authDomain: "a", storageBucket: "s", measurementId: "m" };
  const client = zim();
  const { token } = await ZPNs.getInstance().register(all, client);
  assert.equal(token, "fcm-token");
  assert.deepEqual(
    calls.map(({ url, method }) => `${method} ${url}`),
    [
      "POST https://firebaseinstallations.googleapis.com/v1/projects/demo/installations",
      "POST https://fcmregistrations.googleapis.com/v1/projects/demo/registrations",
    ],
  );
  assert.match(calls[0].body.fid, /^[cdef][\w-]{21}$/);
  assert.equal(calls[1].auth, "FIS jwt");
  const web = { endpoint: "https://push.example/1", p256dh: "p256dh", auth: "auth", applicationPubKey: KEY };
  assert.deepEqual(calls[1].body, { web });

  await ZPNs.getInstance().unregisterPush();
  assert.deepEqual(calls.at(-1).method, "DELETE");
  assert.ok(calls.at(-1).url.endsWith("/registrations/fcm-token"));
});

test("a refusal of Google is told in its own words", async () => {
  const fetch = async () => ({
    ok: false,
    status: 403,
    json: async () => ({ error: { message: "API key not valid" } }),
  });
  const { ZPNs } = await page({ fetch });
  await assert.rejects(ZPNs.getInstance().register(FIREBASE, zim()), {
    code: "registration_failed",
    message: /403: API key not valid/,
  });
});

test("an IM client without the bridge is no error, and one whose bridge throws is told", async () => {
  const { ZPNs } = await page();
  await ZPNs.getInstance().register({ vapidKey: KEY }, {});
  await ZPNs.getInstance().register({ vapidKey: KEY }, null);
  const broken = {
    engine: {
      setZPNsContext() {
        throw new Error("not initialised");
      },
    },
  };
  await assert.rejects(ZPNs.getInstance().register({ vapidKey: KEY }, broken), { code: "bridge_failed" });
});

test("a changed token is told to the IM client and to listeners; unknown messages change nothing", async () => {
  const { ZPNs, say } = await page();
  const client = zim();
  const heard = [];
  ZPNs.getInstance().on("registered", ({ token }) => heard.push(token));
  await ZPNs.getInstance().register({ vapidKey: KEY }, client);
  say({ action: "zimzpns_unregister", args: [] });
  say({ action: "zimzpns_tokenChanged", args: ["new"] });
  say("nonsense");
  await new Promise(setImmediate);
  assert.equal(client.contexts.at(-1).pushID, "new");
  assert.equal(heard.at(-1), "new");
});

test("a push that comes while a page is visible is an event of that page", async () => {
  const { ZPNs, say } = await page();
  const heard = [];
  ZPNs.getInstance().on("notificationArrived", (message) => heard.push(message));
  const message = { title: "Ann", content: "hello", extra: { payload: "p" } };
  say({ action: "zimzpns_notificationArrived", args: [message] });
  assert.deepEqual(heard, [message]);
});

test("the user token for reports is kept, and what is none is refused", async () => {
  const { ZPNs, context } = await page({ location: new URL("https://app.example/chat/") });
  await ZPNs.getInstance().register({ vapidKey: KEY }, zim(), {
    reportTo: "/rotate",
    reportToken: "a.b-_.c",
  });
  assert.equal((await row(context, "settings")).reportToken, "a.b-_.c");
  for (const reportToken of ["", "pgk_key", "a.b.c\r\nx: y", 7]) {
    const wrong = ZPNs.getInstance().register({ vapidKey: KEY }, zim(), { reportTo: "/rotate", reportToken });
    await assert.rejects(wrong, { code: "invalid_config", message: /`reportToken`/ });
  }
});

test("where the worker reports a changed token is kept whole, and a wrong address is refused", async () => {
  const { ZPNs, context } = await page({ location: new URL("https://app.example/chat/") });
  await ZPNs.getInstance().register({ vapidKey: KEY }, zim(), { reportTo: "/rotate" });
  assert.equal((await row(context, "settings")).reportTo, "https://app.example/rotate");
  for (const reportTo of ["https://[", "javascript:alert(1)", "http://"]) {
    const wrong = ZPNs.getInstance().register({ vapidKey: KEY }, zim(), { reportTo });
    await assert.rejects(wrong, { code: "invalid_config", message: /`reportTo`/ });
  }
  await ZPNs.getInstance().register({ vapidKey: KEY }, zim());
  assert.equal((await row(context, "settings")).reportTo, undefined);
});
