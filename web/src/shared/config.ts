import { fromBase64Url } from "./base64.js";
import { PushError } from "./errors.js";

/** What `register` takes: the web configuration of a Firebase app, or nothing but a VAPID key for standard Web Push. */
export interface ZPNsConfig {
  apiKey?: string;
  authDomain?: string;
  projectId?: string;
  storageBucket?: string;
  messagingSenderId?: string;
  appId?: string;
  measurementId?: string;
  /** The public key of the application server, base64url: 65 bytes, an uncompressed P-256 point. */
  vapidKey?: string;
}

/** What a page may add to the configuration. */
export interface ZPNsOptions {
  /**
   * Where the worker reports a token that has changed while no page could: a gateway's `…/devices:rotate`, or whatever takes
   * `{ old: { push_id }, new: { push_id } }`. Without it the next visit reports it.
   */
  reportTo?: string;
  /**
   * A user token of the gateway, sent with the report: a gateway takes a changed FCM token from nobody without one. It is used
   * as long as it is good; after that the next visit reports the change.
   */
  reportToken?: string;
}

/** A Firebase app, as far as push needs it. */
export interface FirebaseApp {
  apiKey: string;
  projectId: string;
  appId: string;
  messagingSenderId: string;
}

/** A configuration that was found to be right. */
export interface Settings {
  /** The app; without one, standard Web Push is used. */
  firebase?: FirebaseApp;
  /** The key subscriptions are made for. */
  vapidKey: string;
  /** Firebase's own key stands in for one of the app. */
  defaultKey: boolean;
  /** Where the worker reports a token that has changed. */
  reportTo?: string;
  /** What it proves itself with there. */
  reportToken?: string;
}

/** The key Firebase subscribes with for apps that have none of their own. */
const FIREBASE_KEY =
  "BDOU99-h67HcA6JeFXHbSNMu7e2yNNu3RzoMj8TM4W88jITfq7ZmPvIM1Iv-4_l2LxQcYwhqby2xGpWwzjfAnG4";
const KEYS = [
  "apiKey",
  "authDomain",
  "projectId",
  "storageBucket",
  "messagingSenderId",
  "appId",
  "measurementId",
  "vapidKey",
] as const;
const NEEDED = ["apiKey", "projectId", "appId", "messagingSenderId"] as const;

/** Checks a configuration; the error names the key and what would be right. */
export function settings(config: ZPNsConfig | null | undefined, options: ZPNsOptions = {}): Settings {
  if (typeof config !== "object" || config === null) {
    throw wrong("register takes a configuration: a Firebase app's, or { vapidKey } for standard Web Push");
  }
  for (const [key, value] of Object.entries(config)) {
    if (!KEYS.some((known) => known === key)) {
      throw wrong(`\`${key}\` is no key of the configuration; there are ${KEYS.join(", ")}`);
    }
    if (value !== undefined && typeof value !== "string") {
      throw wrong(`\`${key}\` is a string`);
    }
  }
  const isFirebase = NEEDED.some((key) => config[key]);
  const missing = NEEDED.filter((key) => !config[key]);
  if (isFirebase && missing.length > 0) {
    throw wrong(`Firebase needs ${missing.join(", ")} as well; copy the whole web configuration of the app`);
  }
  const vapidKey = config.vapidKey || (isFirebase ? FIREBASE_KEY : "");
  const point = fromBase64Url(vapidKey);
  if (point?.length !== 65 || point[0] !== 4) {
    throw wrong("`vapidKey` is a public VAPID key: 65 bytes in base64url, 87 characters that begin with B");
  }
  const { apiKey = "", projectId = "", appId = "", messagingSenderId = "" } = config;
  const firebase = { apiKey, projectId, appId, messagingSenderId };
  return {
    ...(isFirebase ? { firebase } : {}),
    vapidKey,
    defaultKey: !config.vapidKey,
    ...(options.reportTo === undefined ? {} : { reportTo: address(options.reportTo) }),
    ...(options.reportToken === undefined ? {} : { reportToken: userToken(options.reportToken) }),
  };
}

/** Whole, since the worker is at another place of the site than the page. */
function address(reportTo: unknown): string {
  try {
    const url = new URL(String(reportTo), globalThis.location?.href);
    if (/^https?:$/.test(url.protocol)) {
      return url.href;
    }
  } catch {
    // Told below.
  }
  throw wrong("`reportTo` is the address of a gateway's devices:rotate, or a path on this site");
}

/** What stands in a header: three parts of base64url. */
function userToken(reportToken: unknown): string {
  if (typeof reportToken === "string" && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(reportToken)) {
    return reportToken;
  }
  throw wrong("`reportToken` is a user token of the gateway: a JSON Web Token that your server signs");
}

function wrong(message: string): PushError {
  return new PushError("invalid_config", message);
}
