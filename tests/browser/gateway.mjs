// The gateway that runs beside the IM server, and the emulator: what their APIs are asked by the tests.
import { readFileSync } from "node:fs";
import { join } from "node:path";

const { FOLDER, GATEWAY_KEY } = process.env;
const GATEWAY = "http://127.0.0.1:8090/v1/apps/demo";
const EMULATOR = "http://127.0.0.1:8444/control";

async function call(url, method, body, headers = {}) {
  const answer = await fetch(url, {
    method,
    headers: { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) {
    throw new Error(`${method} ${url}: ${answer.status} ${text}`);
  }
  return text ? JSON.parse(text) : null;
}

/** The key that pages subscribe with where the gateway pushes. */
export function vapid() {
  return readFileSync(join(FOLDER, "vapid.pub"), "utf8");
}

/** Asks the gateway. */
export function gateway(method, path, body) {
  return call(GATEWAY + path, method, body, { authorization: `Bearer ${GATEWAY_KEY}` });
}

/** Sends, and waits until it is known what became of it; how many addresses it was for, and its status. */
export function push(notification) {
  return gateway("POST", "/notifications?wait=20s", { when: "always", ...notification });
}

/** Asks the emulator. */
export function emulator(method, path, body) {
  return call(EMULATOR + path, method, body);
}
