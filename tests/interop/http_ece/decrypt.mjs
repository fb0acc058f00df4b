// The other way round: what our Web Push channel sends is decrypted by the unmodified npm package `http_ece`, which plays a
// push service and the browser behind it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createECDH, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import ece from "http_ece";

const { PUSHGATE, VAPID_PRIVATE, TITLE, CONTENT, PAYLOAD } = process.env;
const browser = createECDH("prime256v1");
browser.generateKeys();
const auth = randomBytes(16);

const service = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray());
  service.emit("push", request, body);
  response.writeHead(201, { location: "/m/1" }).end();
});
service.listen(0, "127.0.0.1");
await once(service, "listening");

const folder = mkdtempSync(join(tmpdir(), "http_ece-"));
const config = join(folder, "pushgate.toml");
const [key, hash] = await keys();
writeFileSync(
  config,
  `[server]
listen = "127.0.0.1:0"
[storage]
path = "${join(folder, "pushgate.db")}"
[apps.demo.channels.webpush]
kind = "webpush"
private_key = "${VAPID_PRIVATE}"
subject = "mailto:push@example.com"
insecure_loopback_endpoints = true
[[keys]]
id = "demo"
hash = "${hash}"
apps = ["demo"]
scopes = ["send"]
`,
);
const gateway = spawn(PUSHGATE, ["serve", "--config", config], { stdio: ["ignore", "pipe", "inherit"] });
try {
  const [line] = await once(createInterface(gateway.stdout), "line");
  const subscription = {
    endpoint: `http://127.0.0.1:${service.address().port}/push/1`,
    keys: { p256dh: browser.getPublicKey("base64url"), auth: auth.toString("base64url") },
  };
  const asked = {
    to: { addresses: [{ channel: "webpush", subscription }] },
    title: TITLE,
    content: CONTENT,
    payload: PAYLOAD,
  };
  const pushed = once(service, "push");
  const answer = await fetch(`${line.replace("listening on ", "")}/v1/apps/demo/notifications`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(asked),
  });
  assert.equal(answer.status, 202, await answer.text());
  const [{ headers }, body] = await pushed;
  assert.equal(headers["content-encoding"], "aes128gcm");
  const text = ece.decrypt(body, { version: "aes128gcm", privateKey: browser, authSecret: auth.toString("base64url") });
  const { notification, data } = JSON.parse(text);
  assert.deepEqual([notification.title, notification.body, data.payload], [TITLE, CONTENT, PAYLOAD]);
  console.log("decrypted", text.length, "bytes");
} finally {
  gateway.kill();
  service.close();
}

/** A new server key and its digest, as the gateway's own command makes them. */
async function keys() {
  const made = spawn(PUSHGATE, ["keys", "new", "--app", "demo"], { stdio: ["ignore", "pipe", "inherit"] });
  const said = (await made.stdout.toArray()).join("");
  return [said.match(/pgk_[\w-]+/)[0], said.match(/sha256:[0-9a-f]{64}/)[0]];
}
