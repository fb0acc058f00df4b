import type { ZPNsMessage } from "../shared/message.js";

/** Push, parsed from the message of the push service. */
export interface Push {
  message: ZPNsMessage;
  /** `true` if there is a notification to show. */
  visible: boolean;
  /** Options of the browser's notification. */
  options: NotificationOptions;
  /** Id of the push. A repeated push has the same id. */
  id: string | undefined;
  /** Page that a click opens. */
  link: string | undefined;
  /** Number for the icon of an installed page. Zero removes it. */
  badge: number | undefined;
  /** Tag of the notifications to remove from the screen. */
  revokes: string | undefined;
  /** URL for device events, `#`, and the event token. Absent if the gateway wants no events. */
  eventEndpoint: string | undefined;
}

/** Message of FCM, or of the gateway's Web Push channel, which adds `id`, `app_badge` and `navigate`. */
interface RawPush {
  id?: unknown;
  app_badge?: unknown;
  notification?: Record<string, unknown>;
  data?: Record<string, unknown>;
  fcmOptions?: { link?: unknown };
  fcmMessageId?: unknown;
}

/** Parses a push. Returns `undefined` for a message of another sender. */
export function parsePush(text: string): Push | undefined {
  let raw: RawPush;
  try {
    raw = JSON.parse(text) as RawPush;
  } catch {
    return undefined;
  }
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
    return undefined;
  }
  const notification = isObject(raw.notification) ? raw.notification : undefined;
  const extra = strings(raw.data);
  const { version: _, ...zego } = parseTable(extra?.zego);
  const { title, body, image, icon, click_action, navigate, ...rest } = notification ?? {};
  const picture = string(icon) ?? string(image);
  return {
    message: {
      title: string(title) ?? "",
      content: string(body) ?? "",
      ...(picture ? { icon: picture } : {}),
      ...(extra ? { extra } : {}),
    },
    visible: notification !== undefined && (string(title) !== undefined || string(body) !== undefined),
    options: options(rest, { body: string(body), icon: string(icon), image: string(image) }),
    id: string(raw.id) ?? string(zego.zpns_request_id) ?? string(raw.fcmMessageId),
    link: string(raw.fcmOptions?.link) ?? string(navigate) ?? string(click_action),
    badge: typeof raw.app_badge === "number" ? raw.app_badge : undefined,
    revokes: string(zego.revoke),
    eventEndpoint: string(zego.receipt),
  };
}

function options(
  rest: Record<string, unknown>,
  texts: Record<string, string | undefined>,
): NotificationOptions {
  const present = Object.entries(texts).filter(([, text]) => text !== undefined);
  // Options of the sender are passed on. `data` is left out, because the worker uses it for clicks.
  const { data: _, ...senderOptions } = rest;
  return { ...(senderOptions as NotificationOptions), ...Object.fromEntries(present) };
}

/** Returns a table of texts, as FCM has it. Other values become JSON texts. `undefined` if the table is empty. */
function strings(data: unknown): Record<string, string> | undefined {
  if (!isObject(data)) {
    return undefined;
  }
  const texts = Object.entries(data).map(([key, value]) => [key, string(value) ?? JSON.stringify(value)]);
  return texts.length > 0 ? Object.fromEntries(texts) : undefined;
}

function parseTable(text: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function string(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
