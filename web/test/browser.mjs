// What a page and a worker find in a browser, as far as the SDK asks for it.
import { load } from "./load.mjs";

/** A browser for one page: its push service, its notifications, and what the page asked of them. */
export async function page({ permission = "granted", fetch, location, without = [] } = {}) {
  const asked = [];
  const state = { subscription: null, subscribed: 0, worker: null };
  const listeners = new Set();
  const pushManager = {
    getSubscription: async () => state.subscription,
    subscribe: async ({ applicationServerKey }) => {
      if (state.refusesToSubscribe) {
        throw new Error("push service error");
      }
      state.subscribed += 1;
      const endpoint = `https://push.example/${state.subscribed}`;
      state.subscription = {
        endpoint,
        options: { applicationServerKey: applicationServerKey.buffer },
        toJSON: () => ({ endpoint, expirationTime: null, keys: { p256dh: "p256dh", auth: "auth" } }),
        unsubscribe: async () => {
          state.subscription = null;
          return true;
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
      return true;
    },
  };
  const serviceWorker = {
    addEventListener: (_, listener) => listeners.add(listener),
    getRegistration: async () => state.worker ?? undefined,
    register: async (url, options) => {
      asked.push(`register ${url} ${options.scope}`);
      state.worker = registration;
      return registration;
    },
  };
  const globals = {
    isSecureContext: true,
    location,
    navigator: { serviceWorker },
    PushManager: class {},
    Notification: { requestPermission: async () => permission },
    fetch: fetch ?? (() => Promise.reject(new Error("no network"))),
  };
  for (const name of without) {
    delete globals[name];
  }
  const { exported, context } = await load("page/index.ts", globals);
  const say = (data) => {
    for (const listener of listeners) {
      listener({ data });
    }
  };
  return { ...exported, asked, state, say, context };
}

/** An IM client of which the SDK knows nothing but the bridge. */
export function zim() {
  const contexts = [];
  return { contexts, engine: { setZPNsContext: (context) => contexts.push(context) } };
}
