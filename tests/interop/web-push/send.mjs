// The unmodified npm package `web-push` sends to a browser of every push service, and to one that is gone.
import assert from "node:assert/strict";
import webpush from "web-push";

const { SUBSCRIPTIONS, DEAD_SUBSCRIPTION, VAPID_PUBLIC, VAPID_PRIVATE, TEXT } = process.env;
const vapidDetails = { subject: "mailto:push@example.com", publicKey: VAPID_PUBLIC, privateKey: VAPID_PRIVATE };
const options = { vapidDetails, TTL: 60, urgency: "high", topic: "upd8" };

for (const subscription of JSON.parse(SUBSCRIPTIONS)) {
  const { statusCode, headers } = await webpush.sendNotification(subscription, TEXT, options);
  console.log(new URL(subscription.endpoint).host, statusCode, headers.location);
  assert.equal(statusCode, 201);
}
await assert.rejects(webpush.sendNotification(JSON.parse(DEAD_SUBSCRIPTION), TEXT, options), (error) => {
  console.log("dead subscription:", error.statusCode, error.body);
  return error.statusCode === 410;
});
