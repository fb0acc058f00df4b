import { toBase64Url } from "./base64.js";
import type { FirebaseApp, Settings } from "./config.js";
import * as database from "./database.js";
import { PushError } from "./errors.js";
import type { Transport } from "./transport.js";

/* The two services a web page talks to for an FCM token; what they take and give is what Firebase's own SDK sends them. */
const INSTALLATIONS = "https://firebaseinstallations.googleapis.com/v1/projects";
const REGISTRATIONS = "https://fcmregistrations.googleapis.com/v1/projects";
const SDK_VERSION = "w:0.6.20";
/** A token is used again for so long; then its registration is refreshed. */
const FRESH_MS = 7 * 24 * 3600 * 1000;
/** An installation's token is renewed so long before it ends. */
const MARGIN_MS = 60 * 60 * 1000;

/** FCM: the subscription is registered with Google, which gives a token for it. */
export function firebase(app: FirebaseApp, { vapidKey, defaultKey }: Settings): Transport {
  const registrations = `${REGISTRATIONS}/${app.projectId}/registrations`;

  async function ask(method: string, url: string, body?: unknown): Promise<Record<string, unknown>> {
    const { authToken } = await installation(app);
    return call(app, method, url, body, { "x-goog-firebase-installations-auth": `FIS ${authToken}` });
  }

  return {
    async token(subscription) {
      const { endpoint = "", keys = {} } = subscription.toJSON();
      const known = await database.read("registration");
      const same = known?.endpoint === endpoint;
      if (known && same && Date.now() - known.at < FRESH_MS) {
        return known.token;
      }
      const web = {
        endpoint,
        p256dh: keys.p256dh,
        auth: keys.auth,
        ...(defaultKey ? {} : { applicationPubKey: vapidKey }),
      };
      if (known && !same) {
        // What was registered before is dead with its subscription; Google need not try it.
        await ask("DELETE", `${registrations}/${known.token}`).catch(() => {});
      }
      const given =
        known && same
          ? await ask("PATCH", `${registrations}/${known.token}`, { web })
          : await ask("POST", registrations, { web });
      if (typeof given.token !== "string" || given.token === "") {
        throw new PushError("registration_failed", "Firebase gave no token for the subscription");
      }
      return given.token;
    },

    async forget(token) {
      await ask("DELETE", `${registrations}/${token}`);
    },
  };
}

/** This browser's installation, made once, with a token that is good for now. */
async function installation(app: FirebaseApp) {
  const known = await database.read("installation");
  if (known?.appId === app.appId && known.until - MARGIN_MS > Date.now()) {
    return known;
  }
  const url = `${INSTALLATIONS}/${app.projectId}/installations`;
  if (known?.appId === app.appId) {
    try {
      const authorization = { authorization: `FIS_v2 ${known.refreshToken}` };
      const given = await call(
        app,
        "POST",
        `${url}/${known.fid}/authTokens:generate`,
        { installation: { sdkVersion: SDK_VERSION } },
        authorization,
      );
      return await kept({ ...known, ...bearer(given) });
    } catch {
      // The installation is gone at Google's; a new one is made, as its own SDK does.
    }
  }
  const body = { fid: newFid(), authVersion: "FIS_v2", appId: app.appId, sdkVersion: SDK_VERSION };
  const given = await call(app, "POST", url, body);
  const { fid = body.fid, refreshToken = "", authToken } = given;
  return kept({
    appId: app.appId,
    fid: String(fid),
    refreshToken: String(refreshToken),
    ...bearer(authToken),
  });
}

async function kept<
  T extends { appId: string; fid: string; refreshToken: string; authToken: string; until: number },
>(row: T): Promise<T> {
  await database.write("installation", row);
  return row;
}

/** `{ token, expiresIn: "604800s" }` */
function bearer(given: unknown): { authToken: string; until: number } {
  const { token, expiresIn } = (given ?? {}) as { token?: unknown; expiresIn?: unknown };
  const seconds = Number.parseInt(String(expiresIn), 10);
  if (typeof token !== "string" || !(seconds > 0)) {
    throw new PushError("registration_failed", "Firebase gave no token for the installation");
  }
  return { authToken: token, until: Date.now() + seconds * 1000 };
}

/** 17 random bytes whose first four bits are 0111, as Firebase makes them: 22 characters that begin with c, d, e or f. */
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
  const answer = await fetch(url, {
    method,
    headers: {
      accept: "application/json",
      "content-type": "application/json",
      "x-goog-api-key": app.apiKey,
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const given = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
  if (!answer.ok) {
    const said = (given.error as { message?: unknown } | undefined)?.message;
    throw new PushError("registration_failed", `Firebase answers ${answer.status}${said ? `: ${said}` : ""}`);
  }
  return given;
}
