// A page as the guide has it: the SDK by its script tag, the IM client, and the guide's own lines run between them.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import vm from "node:vm";
import { build } from "esbuild";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import WebSocket from "ws";

const at = (path) => new URL(`../../${path}`, import.meta.url);
const SDK = readFileSync(at("dist/index.js"), "utf8");
const ZIM = await asScript(at("../examples/im-server/page/zim.js"));

/** The module as a script that leaves `ZIM` behind, as the IM client's own package does. */
async function asScript(url) {
  const { outputFiles } = await build({
    stdin: {
      contents: `import { ZIM } from ${JSON.stringify(url.pathname)}; globalThis.ZIM = ZIM;`,
      resolveDir: "/",
    },
    bundle: true,
    format: "iife",
    write: false,
    target: "es2022",
  });
  return outputFiles[0].text;
}

/** A browser with a page of this site open; `google` stands in for the services that give FCM tokens. */
export function open(site) {
  const sockets = new Set();
  const timers = new Set();
  const state = { subscription: null, worker: null };
  class Socket extends WebSocket {
    constructor(url) {
      super(url);
      sockets.add(this);
    }
  }
  const started = (start) => (work, after) => {
    const timer = start(work, after);
    timers.add(timer);
    return timer;
  };
  const context = vm.createContext({
    ...{ console, URL, TextEncoder, TextDecoder, atob, btoa, crypto, clearTimeout, clearInterval },
    setTimeout: started(setTimeout),
    setInterval: started(setInterval),
    indexedDB: new IDBFactory(),
    IDBKeyRange,
    isSecureContext: true,
    location: site,
    localStorage: storage(),
    navigator: { serviceWorker: workers(state) },
    PushManager: class {},
    Notification: { requestPermission: async () => "granted" },
    WebSocket: Socket,
    fetch: google(),
  });
  vm.runInContext(SDK, context);
  vm.runInContext(ZIM, context);
  return {
    context,
    state,
    /** Runs lines of the guide; what they give. */
    run: (lines) => vm.runInContext(lines, context),
    /** Closes the page without a word, as a user does; gone when the server has noticed. */
    close: async () => {
      timers.forEach(clearTimeout);
      await Promise.all([...sockets].map(closed));
    },
  };
}

function closed(socket) {
  return new Promise((resolve) => {
    socket.onclose = resolve;
    socket.close();
    if (socket.readyState === WebSocket.CLOSED) {
      resolve();
    }
  });
}

function storage() {
  const rows = new Map();
  return { getItem: (key) => rows.get(key) ?? null, setItem: (key, value) => rows.set(key, value) };
}

function workers(state) {
  const pushManager = {
    getSubscription: async () => state.subscription,
    subscribe: async () => {
      const endpoint = `https://push.example/${randomUUID()}`;
      state.subscription = {
        endpoint,
        toJSON: () => ({ endpoint, keys: { p256dh: "p256dh", auth: "auth" } }),
        unsubscribe: async () => {
          state.subscription = null;
        },
      };
      return state.subscription;
    },
  };
  const registration = {
    active: {},
    pushManager,
    unregister: async () => {
      state.worker = null;
    },
  };
  return {
    addEventListener() {},
    getRegistration: async () => state.worker ?? undefined,
    register: async () => {
      state.worker = registration;
      return registration;
    },
  };
}

/** What Google's registration services answer, with a token of its own for each browser. */
function google() {
  const token = `token-${randomUUID()}:APA91b${"x".repeat(134)}`;
  const authToken = { token: "jwt", expiresIn: "604800s" };
  return async () => ({ ok: true, json: async () => ({ fid: "c123456789012345678901", authToken, token }) });
}
