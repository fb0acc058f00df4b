import { toBase64Url } from "./base64.js";
import type { FirebaseApp, Settings } from "./config.js";
import * as database from "./database.js";
import { PushError } from "./errors.js";
import type { Transport } from "./transport.js";

/* The two services that issue an FCM token for a web page. Requests and responses are those of Firebase's own SDK. */
const INSTALLATIONS = "https://firebaseinstallations.googleapis.com/v1/projects";
const REGISTRATIONS = "https://fcmregistrations.googleapis.com/v1/projects";
const SDK_VERSION = "w:0.6.20";
/** Age at which the registration of a token is refreshed. */
const REFRESH_AFTER_MS = 7 * 24 * 3600 * 1000;
/** Time before its expiry at which an installation's token is renewed. */
const RENEWAL_MARGIN_MS = 60 * 60 * 1000;

/** Transport for FCM: registers the subscription with Google, which returns a token for it. */
export function firebase(app: FirebaseApp, { vapidKey, defaultKey }: Settings): Transport {
  const registrations = `${REGISTRATIONS}/${app.projectId}/registrations`;

  async function callRegistrations(
    method: string,
    url: string,
    body?: unknown,
  ): Promise<Record<string, unknown>> {
    const { authToken } = await installation(app);
    return call(app, method, url, body, { "x-goog-firebase-installations-auth": `FIS ${authToken}` });
  }

  return {
    async token(subscription) {
      const { endpoint = "", keys = {} } = subscription.toJSON();
      const known = await database.read("registration");
      const isSameEndpoint = known?.endpoint === endpoint;
      if (known && isSameEndpoint && Date.now() - known.at < REFRESH_AFTER_MS) {
        return known.token;
      }
      const web = {
        endpoint,
        p256dh: keys.p256dh,
        auth: keys.auth,
        ...(defaultKey ? {} : { applicationPubKey: vapidKey }),
      };
      if (known && !isSameEndpoint) {
        // The previous registration is dead with its subscription. Deleting it spares Google attempts.
        await callRegistrations("DELETE", `${registrations}/${known.token}`).catch(() => {});
      }
      const response =
        known && isSameEndpoint
          ? await callRegistrations("PATCH", `${registrations}/${known.token}`, { web })
          : await callRegistrations("POST", registrations, { web });
      if (typeof response.token !== "string" || response.token === "") {
        throw new PushError("registration_failed", "Firebase gave no token for the subscription");
      }
      return response.token;
    },

    async forget(token) {
      await callRegistrations("DELETE", `${registrations}/${token}`);
    },
  };
}

/** Returns this browser's installation with a valid token. Creates the installation once. */
async function installation(app: FirebaseApp) {
  const known = await database.read("installation");
  if (known?.appId === app.appId && known.until - RENEWAL_MARGIN_MS > Date.now()) {
    return known;
  }
  const url = `${INSTALLATIONS}/${app.projectId}/installations`;
  if (known?.appId === app.appId) {
    try {
      const authorization = { authorization: `FIS_v2 ${known.refreshToken}` };
      const response = await call(
        app,
        "POST",
        `${url}/${known.fid}/authTokens:generate`,
        { installation: { sdkVersion: SDK_VERSION } },
        authorization,
      );
      return await store({ ...known, ...authToken(response) });
    } catch {
      // Google no longer knows the installation. A new one is created, as Firebase's SDK does.
    }
  }
  const body = { fid: newFid(), authVersion: "FIS_v2", appId: app.appId, sdkVersion: SDK_VERSION };
  const response = await call(app, "POST", url, body);
  const { fid = body.fid, refreshToken = "" } = response;
  return store({
    appId: app.appId,
    fid: String(fid),
    refreshToken: String(refreshToken),
    ...authToken(response.authToken),
  });
}

/** Stores the installation and returns it. */
async function store<
  T extends { appId: string; fid: string; refreshToken: string; authToken: string; until: number },
>(row: T): Promise<T> {
  await database.write("installation", row);
  return row;
}

/** Parses `{ token, expiresIn: "604800s" }`. */
function authToken(response: unknown): { authToken: string; until: number } {
  const { token, expiresIn } = (response ?? {}) as { token?: unknown; expiresIn?: unknown };
  const seconds = Number.parseInt(String(expiresIn), 10);
  if (typeof token !== "string" || !(seconds > 0)) {
    throw new PushError("registration_failed", "Firebase gave no token for the installation");
  }
  return { authToken: token, until: Date.now() + seconds * 1000 };
}

/** Generates a Firebase installation id: 17 random bytes whose first four bits are 0111, as 22 base64url characters. */
function newFid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(17));
  bytes[0] = 0x70 | ((bytes[0] ?? 0) & 0x0f);
  return toBase64Url(bytes).slice(0, 22);
}

async function call(
  app: FirebaseApp,
  method: string,
  url: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method,
    headers: {
      accept: "application/json",
      "content-type": "application/json",
      "x-goog-api-key": app.apiKey,
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const result = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  if (!response.ok) {
    const reason = (result.error as { message?: unknown } | undefined)?.message;
    throw new PushError(
      "registration_failed",
      `Firebase answers ${response.status}${reason ? `: ${reason}` : ""}`,
    );
  }
  return result;
}
