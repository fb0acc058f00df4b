// The unmodified npm package `@parse/node-apn` sends to a living iPhone, fifty times at once, and to a dead one.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import apn from "@parse/node-apn";

const { APNS_URL, APNS_KEY, APNS_KEY_ID, APNS_TEAM_ID, APNS_TOPIC, TOKEN, DEAD_TOKEN, TITLE, CONTENT, PAYLOAD } = process.env;
const { hostname: address, port } = new URL(APNS_URL);
const provider = new apn.Provider({
  token: { key: APNS_KEY, keyId: APNS_KEY_ID, teamId: APNS_TEAM_ID },
  production: true,
  address,
  port: Number(port),
  ca: readFileSync(process.env.NODE_EXTRA_CA_CERTS),
});
const message = () =>
  new apn.Notification({
    alert: { title: TITLE, body: CONTENT },
    payload: { payload: PAYLOAD },
    topic: APNS_TOPIC,
    pushType: "alert",
    collapseId: "interop",
  });

// The first one alone: it opens a second stream before it knows that a new connection carries one.
const first = await provider.send(message(), TOKEN);
assert.equal(first.sent.length, 1, JSON.stringify(first.failed));
const burst = await Promise.all(Array.from({ length: 50 }, () => provider.send(message(), TOKEN)));
assert.deepEqual(burst.flatMap((one) => one.failed), []);
const { failed } = await provider.send(message(), DEAD_TOKEN);
assert.deepEqual([failed[0].status, failed[0].response.reason], [410, "Unregistered"]);
console.log("accepted as", first.sent[0]["apns-id"], "and dead since", new Date(failed[0].response.timestamp).toISOString());
await provider.shutdown();
