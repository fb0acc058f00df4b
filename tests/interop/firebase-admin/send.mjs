// The unmodified npm package `firebase-admin` sends to a living device and to a dead one, and by a topic.
// Over HTTP/1.1: its HTTP/2 sends `:scheme` with a colon, which strict servers refuse and Google's does not.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { cert, initializeApp } from "firebase-admin/app";
import { getMessaging } from "firebase-admin/messaging";

const { ACCOUNT, TOKEN, DEAD_TOKEN, TITLE, CONTENT, PAYLOAD } = process.env;
initializeApp({ credential: cert(JSON.parse(readFileSync(ACCOUNT, "utf8"))) });
const messaging = getMessaging();
messaging.enableLegacyHttpTransport();
const message = { notification: { title: TITLE, body: CONTENT }, data: { payload: PAYLOAD } };

console.log("accepted as", await messaging.send({ ...message, token: TOKEN }));
await assert.rejects(messaging.send({ ...message, token: DEAD_TOKEN }), (error) => {
  console.log("dead token:", error.code);
  return error.code === "messaging/registration-token-not-registered";
});
const { successCount, failureCount } = await messaging.sendEachForMulticast({
  ...message,
  tokens: [DEAD_TOKEN, TOKEN],
});
assert.deepEqual({ successCount, failureCount }, { successCount: 1, failureCount: 1 });

// A topic: who has subscribed gets what is sent to it, and nothing after the end of the subscription.
const { TOPIC } = process.env;
if (TOPIC) {
  const added = await messaging.subscribeToTopic([TOKEN, DEAD_TOKEN], TOPIC);
  assert.deepEqual([added.successCount, added.failureCount], [1, 1]);
  assert.deepEqual([added.errors[0].index, added.errors[0].error.code], [1, "messaging/registration-token-not-registered"]);
  console.log("topic:", await messaging.send({ topic: TOPIC, notification: { title: `${TITLE} to a topic`, body: CONTENT } }));
  const removed = await messaging.unsubscribeFromTopic(TOKEN, TOPIC);
  assert.equal(removed.successCount, 1);
  await messaging.send({ condition: `'${TOPIC}' in topics`, notification: { title: "nobody is left for this", body: CONTENT } });
  await assert.rejects(messaging.send({ condition: `'${TOPIC}' in`, notification: { title: TITLE } }), (error) => {
    console.log("malformed condition:", error.code);
    return error.code === "messaging/invalid-argument";
  });
}
