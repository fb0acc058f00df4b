import type { ZPNsMessage } from "../shared/message.js";

/** A push, read from what the push service handed over. */
export interface Push {
  message: ZPNsMessage;
  /** Whether there is something to show. */
  visible: boolean;
  /** The notification as the browser shows it. */
  options: NotificationOptions;
  /** The same id is the same push, however often it comes. */
  id: string | undefined;
  /** Where a click leads: on this site, or nowhere. */
  link: string | undefined;
  /** The number for the icon of an installed page; zero takes it away. */
  badge: number | undefined;
  /** The tag of what is to be taken from the screen. */
  revokes: string | undefined;
  /** Where the gateway wants to be told what becomes of it: an address, `#`, and the token by which it is told. */
  receipt: string | undefined;
}

/** What arrives: from FCM, and from the gateway's own Web Push channel, which has `id`, `app_badge` and `navigate` beside it. */
interface Wire {
  id?: unknown;
  app_badge?: unknown;
  notification?: Record<string, unknown>;
  data?: Record<string, unknown>;
  fcmOptions?: { link?: unknown };
  fcmMessageId?: unknown;
}

/** Reads a push; nothing when it is none of ours. */
export function push(text: string): Push | undefined {
  let wire: Wire;
  try {
    wire = JSON.parse(text) as Wire;
  } catch {
    return undefined;
  }
  if (typeof wire !== "object" || wire === null || Array.isArray(wire)) {
    return undefined;
  }
  const notification = isTable(wire.notification) ? wire.notification : undefined;
  const extra = strings(wire.data);
  const { version: _, ...zego } = parsed(extra?.zego);
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
    id: string(wire.id) ?? string(zego.zpns_request_id) ?? string(wire.fcmMessageId),
    link: string(wire.fcmOptions?.link) ?? string(navigate) ?? string(click_action),
    badge: typeof wire.app_badge === "number" ? wire.app_badge : undefined,
    revokes: string(zego.revoke),
    receipt: string(zego.receipt),
  };
}

function options(
  rest: Record<string, unknown>,
  texts: Record<string, string | undefined>,
): NotificationOptions {
  const given = Object.entries(texts).filter(([, text]) => text !== undefined);
  // What the sender asks of the browser goes through, but for the data, which is ours for the click.
  const { data: _, ...asked } = rest;
  return { ...(asked as NotificationOptions), ...Object.fromEntries(given) };
}

/** A table whose values are all texts, as FCM has it; other values become their JSON. Nothing when it is empty. */
function strings(data: unknown): Record<string, string> | undefined {
  if (!isTable(data)) {
    return undefined;
  }
  const texts = Object.entries(data).map(([key, value]) => [key, string(value) ?? JSON.stringify(value)]);
  return texts.length > 0 ? Object.fromEntries(texts) : undefined;
}

function parsed(text: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    return isTable(value) ? value : {};
  } catch {
    return {};
  }
}

function string(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
