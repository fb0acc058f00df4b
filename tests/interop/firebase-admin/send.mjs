// The unmodified npm package `firebase-admin` sends to a living device and to a dead one.
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
