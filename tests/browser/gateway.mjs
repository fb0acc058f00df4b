// The gateway that runs beside the IM server, and the emulator: what their APIs are asked by the tests.

const { GATEWAY_KEY } = process.env;
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

/** Asks the gateway. */
export function gateway(method, path, body) {
  return call(GATEWAY + path, method, body, { authorization: `Bearer ${GATEWAY_KEY}` });
}

/** Makes a browser a device of a user, by the PushID that its page was given. */
export function bind(device, user, pushID) {
  return gateway("PUT", `/devices/${device}`, { user, push_id: pushID });
}

/** Sends, and waits until it is known what became of it. */
export async function push(notification) {
  const { status } = await gateway("POST", "/notifications?wait=20s", { when: "always", ...notification });
  return status;
}

/** Asks the emulator. */
export function emulator(method, path, body) {
  return call(EMULATOR + path, method, body);
}
