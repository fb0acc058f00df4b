// The lines of the guide, with only their syntax mended: a site that has them runs them as they are, against this SDK and
// the example's IM client. A real WebSocket, a real server, no push service.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import vm from "node:vm";
import { open } from "./guide/page.mjs";
import { server } from "./guide/server.mjs";
import { load, plain } from "./load.mjs";

// The first start builds the server.
const BUILDING = { timeout: 900_000 };
const SOON = { timeout: 30_000 };

/** The page script: a Firebase app's configuration as its console shows it. */
const REGISTER = `
  const config = {
    apiKey: "AIzaSyExample",
    authDomain: "demo.firebaseapp.com",
    projectId: "demo",
    storageBucket: "demo.appspot.com",
    messagingSenderId: "1",
    appId: "1:1:web:1",
    measurementId: "G-1",
    vapidKey: "BDOU99-h67HcA6JeFXHbSNMu7e2yNNu3RzoMj8TM4W88jITfq7ZmPvIM1Iv-4_l2LxQcYwhqby2xGpWwzjfAnG4",
  };
  ZPNs.getInstance().register(config, zim);
`;

const PUSH_CONFIG = `
  const pushConfig = {
    title: "push title",
    content: "push content",
    payload: "push payload",
  };
  const sendConfig = { priority: 2, pushConfig };
`;

let im;
const pages = new Set();

before(async () => {
  im = await server();
}, BUILDING);

after(() => im?.stop());

afterEach(async () => {
  await Promise.all([...pages].map((page) => page.close()));
  pages.clear();
});

/** A page with an IM client that has not logged in. */
function page() {
  const one = open(im.url);
  pages.add(one);
  one.run("var zim = ZIM.create({ appID: 1 });");
  return one;
}

/** A page whose user is logged in. */
async function loggedIn(user) {
  const one = page();
  await login(one, user);
  return one;
}

async function login(one, user) {
  const { token } = await (await fetch(new URL(`/token?user=${user}`, im.url))).json();
  await one.run(`zim.login(${JSON.stringify(user)}, { token: ${JSON.stringify(token)} })`);
}

/** A user who can be pushed to, with his page closed. */
async function away(user) {
  const one = page();
  await one.run(`(async () => { ${REGISTER} return ZPNs.getInstance().register(config, zim); })()`);
  await login(one, user);
  await one.close();
}

/** What comes with the next event of that name. */
function event(one, name) {
  return one.run(`new Promise((resolve) => zim.on("${name}", (_, data) => resolve(data)))`);
}

let users = 0;
/** A user nobody has heard of. */
const fresh = () => `user-${++users}`;

test(
  "zpns_31_sendMessage_takes_a_sendConfig_with_priority_and_pushConfig_and_resolves_with_the_message",
  SOON,
  async () => {
    const [anns, bob] = [await loggedIn(fresh()), fresh()];
    await away(bob);
    const sent = await anns.run(`(async () => {
    ${PUSH_CONFIG}
    const messageTextObj = { type: 1, message: "hello" };
    return zim.sendMessage(messageTextObj, "${bob}", 0, sendConfig)
      .then(function ({ message }) {
        return message;
      });
  })()`);
    assert.deepEqual([sent.message, sent.type, sent.conversationID], ["hello", 1, bob]);
    const bobs = page();
    const missed = event(bobs, "peerMessageReceived");
    await login(bobs, bob);
    assert.deepEqual(plain((await missed).messageList.map(({ messageID }) => messageID)), [sent.messageID]);
  },
);

test("zpns_32_a_message_that_cannot_be_sent_rejects_with_a_code_and_words", SOON, async () => {
  const anns = await loggedIn(fresh());
  const lines = `(async () => {
    ${PUSH_CONFIG}
    return zim.sendMessage({ type: 1, message: "hello" }, "a-group-of-others", 2, sendConfig)
      .then(function () {
        return undefined;
      })
      .catch(function (err) {
        return err;
      });
  })()`;
  const refused = await anns.run(lines);
  assert.equal(refused.code, 6000001);
  assert.match(refused.message, /a-group-of-others/);
  const nobodys = await page().run(lines);
  assert.equal(nobodys.code, 6000121);
});

const CALL = (invitee) => `(async () => {
  const pushConfig = {
    title: "push title",
    content: "push content",
    payload: "push payload",
    resourcesID: "call_resource",
  };
  const config = { timeout: 90, pushConfig };
  return zim.callInvite(${JSON.stringify(invitee)}, config);
})()`;

test("zpns_39_callInvite_takes_a_pushConfig_with_a_resourcesID", SOON, async () => {
  const [anns, bob] = [await loggedIn(fresh()), fresh()];
  await away(bob);
  assert.ok((await anns.run(CALL([bob]))).callID);
  const bobs = page();
  const rings = event(bobs, "callInvitationReceived");
  await login(bobs, bob);
  assert.ok((await rings).callID);
});

test(
  "zpns_40_callInvite_gives_the_callID_the_timeout_and_those_who_cannot_be_called_by_both_names",
  SOON,
  async () => {
    const [anns, bob, nobody] = [await loggedIn(fresh()), fresh(), fresh()];
    await away(bob);
    const { callID, timeout, errorInvitees, errorUserList } = await anns.run(CALL([bob, nobody]));
    assert.equal(typeof callID, "string");
    assert.equal(timeout, 90);
    assert.deepEqual(plain(errorInvitees), [{ userID: nobody, reason: 1 }]);
    assert.deepEqual(errorUserList, errorInvitees);
    const unsaid = await anns.run(`zim.callInvite(["${bob}"], {})`);
    assert.equal(unsaid.timeout, 90);
  },
);

test("zpns_41_each_callID_is_another_one_and_good_for_cancel_accept_and_reject", SOON, async () => {
  const [anns, bob] = [await loggedIn(fresh()), fresh()];
  const bobs = await loggedIn(bob);
  const accepted = event(anns, "callInvitationAccepted");
  const rejected = event(anns, "callInvitationRejected");
  const cancelled = event(bobs, "callInvitationCancelled");
  const calls = [];
  for (let i = 0; i < 3; i += 1) {
    calls.push((await anns.run(CALL([bob]))).callID);
  }
  assert.equal(new Set(calls).size, 3);
  await bobs.run(`zim.callAccept("${calls[0]}", { extendedData: "" })`);
  await bobs.run(`zim.callReject("${calls[1]}", { extendedData: "" })`);
  await anns.run(`zim.callCancel(["${bob}"], "${calls[2]}", { extendedData: "" })`);
  const told = await Promise.all([accepted, rejected, cancelled]);
  assert.deepEqual(
    told.map(({ callID }) => callID),
    calls,
  );
  for (const over of calls) {
    await assert.rejects(bobs.run(`zim.callAccept("${over}")`), ({ message }) => /call/.test(message));
  }
});

test("the older names of sending, and the older form of login, do the same", SOON, async () => {
  const [ann, bob] = [fresh(), fresh()];
  const bobs = await loggedIn(bob);
  const anns = page();
  const { token } = await (await fetch(new URL(`/token?user=${ann}`, im.url))).json();
  await anns.run(`zim.login({ userID: "${ann}", userName: "Ann" }, "${token}")`);
  const peer = event(bobs, "receivePeerMessage");
  const sent = await anns.run(`(async () => {
    ${PUSH_CONFIG}
    return zim.sendPeerMessage({ type: 1, message: "to you" }, "${bob}", sendConfig);
  })()`);
  assert.equal((await peer).messageList[0].messageID, sent.message.messageID);
  const group = `group-${ann}`;
  await anns.run(`zim.joinGroup("${group}")`);
  await bobs.run(`zim.joinGroup("${group}")`);
  const grouped = event(bobs, "receiveGroupMessage");
  await anns.run(`(async () => {
    ${PUSH_CONFIG}
    return zim.sendGroupMessage({ type: 1, message: "to you all" }, "${group}", sendConfig);
  })()`);
  assert.equal((await grouped).messageList[0].message, "to you all");
});

test("register before login, and logout before the next user", SOON, async () => {
  const [ann, bob, eve] = [fresh(), fresh(), fresh()];
  const one = page();
  one.run(`(() => { ${REGISTER} })()`);
  await one.run("new Promise((resolve) => ZPNs.getInstance().on('registered', resolve))");
  const eves = await loggedIn(eve);
  const callable = async (user) => (await eves.run(CALL([user]))).errorUserList.length === 0;
  await login(one, ann);
  await one.run("zim.logout()");
  assert.equal(await callable(ann), false, "this browser is hers no more");
  await login(one, bob);
  await one.close();
  assert.equal(await callable(bob), true, "and is his now, by the login alone");
});

for (const verb of ["unregister", "unregisterPush"]) {
  test(`after ${verb} this browser is nobody's to push to`, SOON, async () => {
    const [ann, eves] = [fresh(), await loggedIn(fresh())];
    const one = page();
    await one.run(`(async () => { ${REGISTER} return ZPNs.getInstance().register(config, zim); })()`);
    await login(one, ann);
    await one.run(`ZPNs.getInstance().${verb}()`);
    await one.close();
    assert.equal((await eves.run(CALL([ann]))).errorUserList.length, 1);
    assert.deepEqual([one.state.subscription, one.state.worker], [null, null]);
  });
}

test("the hooks, redefined below the script as the guide has it, get the payload", SOON, async () => {
  const listeners = {};
  const self = {
    addEventListener: (name, listener) => {
      listeners[name] = listener;
    },
    location: im.url,
    registration: { showNotification: async () => {} },
    clients: { matchAll: async () => [], openWindow: async () => null },
  };
  const { context } = await load("shared/version.ts", { self, payloads: [] });
  const built = readFileSync(new URL("../dist/firebase-messaging-sw.js", import.meta.url), "utf8");
  vm.runInContext(built, context);
  vm.runInContext(
    `self.onNotificationArrived = function (message) {
      let payload = message.extra ? message.extra.payload : message.extra;
      payloads.push("arrived " + payload);
    };
    self.onNotificationClicked = function (message) {
      let payload = message.extra ? message.extra.payload : message.extra;
      payloads.push("clicked " + payload);
    };`,
    context,
  );
  const fire = async (name, event) => {
    const waits = [];
    const waitUntil = (work) => waits.push(work);
    listeners[name]({ waitUntil, stopImmediatePropagation() {}, ...event });
    await Promise.all(waits);
  };
  const message = { title: "push title", content: "push content", extra: { payload: "push payload" } };
  const json = {
    notification: { title: "push title", body: "push content" },
    data: { payload: "push payload" },
  };
  await fire("push", { data: { text: () => JSON.stringify(json) } });
  await fire("notificationclick", { notification: { close() {}, data: { zpns: { message } } } });
  await fire("push", { data: { text: () => JSON.stringify({ notification: json.notification }) } });
  assert.deepEqual(plain(context.payloads), [
    "arrived push payload",
    "clicked push payload",
    "arrived undefined",
  ]);
});
