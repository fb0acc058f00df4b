import { fromBase64Url } from "./base64.js";
import { PushError } from "./errors.js";

/** Configuration for `register`: the web configuration of a Firebase app, or only a VAPID key for standard Web Push. */
export interface ZPNsConfig {
  apiKey?: string;
  authDomain?: string;
  projectId?: string;
  storageBucket?: string;
  messagingSenderId?: string;
  appId?: string;
  measurementId?: string;
  /** Public key of the application server in base64url: 65 bytes, an uncompressed P-256 point. */
  vapidKey?: string;
}

/** Optional settings of a registration. */
export interface ZPNsOptions {
  /**
   * URL to which the worker reports a changed token while no page is open: a gateway's `…/devices:rotate`, or an endpoint that
   * accepts `{ old: { push_id }, new: { push_id } }`. Without it the next visit reports the change.
   */
  reportTo?: string;
  /**
   * User token of the gateway, sent with the report. A gateway requires one for a changed FCM token. After the user token
   * expires, the next visit reports the change.
   */
  reportToken?: string;
}

/** Values of a Firebase app that push needs. */
export interface FirebaseApp {
  apiKey: string;
  projectId: string;
  appId: string;
  messagingSenderId: string;
}

/** Validated configuration. */
export interface Settings {
  /** Firebase app. Without one, standard Web Push is used. */
  firebase?: FirebaseApp;
  /** Key of subscriptions. */
  vapidKey: string;
  /** `true` if Firebase's default key is used in place of a key of the app. */
  defaultKey: boolean;
  /** URL to which the worker reports a changed token. */
  reportTo?: string;
  /** User token that authenticates the report. */
  reportToken?: string;
}

/** Default key with which Firebase subscribes for apps without a key of their own. */
const FIREBASE_KEY =
  "BDOU99-h67HcA6JeFXHbSNMu7e2yNNu3RzoMj8TM4W88jITfq7ZmPvIM1Iv-4_l2LxQcYwhqby2xGpWwzjfAnG4";
const KNOWN_KEYS = [
  "apiKey",
  "authDomain",
  "projectId",
  "storageBucket",
  "messagingSenderId",
  "appId",
  "measurementId",
  "vapidKey",
] as const;
const REQUIRED_KEYS = ["apiKey", "projectId", "appId", "messagingSenderId"] as const;

/** Validates a configuration. The error names the key and the valid values. */
export function settings(config: ZPNsConfig | null | undefined, options: ZPNsOptions = {}): Settings {
  if (typeof config !== "object" || config === null) {
    throw invalidConfig(
      "register needs a configuration: that of a Firebase app, or { vapidKey } for standard Web Push",
    );
  }
  for (const [key, value] of Object.entries(config)) {
    if (!KNOWN_KEYS.some((known) => known === key)) {
      throw invalidConfig(
        `\`${key}\` is not a key of the configuration; known keys: ${KNOWN_KEYS.join(", ")}`,
      );
    }
    if (value !== undefined && typeof value !== "string") {
      throw invalidConfig(`\`${key}\` must be a string`);
    }
  }
  const isFirebase = REQUIRED_KEYS.some((key) => config[key]);
  const missing = REQUIRED_KEYS.filter((key) => !config[key]);
  if (isFirebase && missing.length > 0) {
    throw invalidConfig(
      `Firebase needs ${missing.join(", ")} as well; copy the whole web configuration of the app`,
    );
  }
  const vapidKey = config.vapidKey || (isFirebase ? FIREBASE_KEY : "");
  const point = fromBase64Url(vapidKey);
  if (point?.length !== 65 || point[0] !== 4) {
    throw invalidConfig(
      "`vapidKey` must be a public VAPID key: 65 bytes in base64url, 87 characters that begin with B",
    );
  }
  const { apiKey = "", projectId = "", appId = "", messagingSenderId = "" } = config;
  const firebase = { apiKey, projectId, appId, messagingSenderId };
  return {
    ...(isFirebase ? { firebase } : {}),
    vapidKey,
    defaultKey: !config.vapidKey,
    ...(options.reportTo === undefined ? {} : { reportTo: absoluteUrl(options.reportTo) }),
    ...(options.reportToken === undefined ? {} : { reportToken: userToken(options.reportToken) }),
  };
}

/** Returns the absolute URL, because the worker's base URL differs from the page's. */
function absoluteUrl(reportTo: unknown): string {
  try {
    const url = new URL(String(reportTo), globalThis.location?.href);
    if (/^https?:$/.test(url.protocol)) {
      return url.href;
    }
  } catch {
    // Reported below.
  }
  throw invalidConfig("`reportTo` must be the URL of a gateway's devices:rotate, or a path on this site");
}

/** Validates a JSON Web Token: three parts of base64url. */
function userToken(reportToken: unknown): string {
  if (typeof reportToken === "string" && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(reportToken)) {
    return reportToken;
  }
  throw invalidConfig(
    "`reportToken` must be a user token of the gateway: a JSON Web Token that your server signs",
  );
}

function invalidConfig(message: string): PushError {
  return new PushError("invalid_config", message);
}
