import { toBase64 } from "./base64.js";

/** Number of the push service for web tokens in the envelope. */
const WEB_SERVICE = 7;

/**
 * Returns the PushID for the IM server: an envelope around the token.
 *
 * Its bytes are `AF 00 01`, 1 for production, the number of the push service, and the lengths of country, version and token
 * (u8, u8, big-endian u16), followed by the three texts. An empty token unbinds the device.
 */
export function pushId(token: string, version: string): string {
  const encoder = new TextEncoder();
  const [text, release] = [encoder.encode(token), encoder.encode(version)];
  const head = [0xaf, 0, 1, 1, WEB_SERVICE, 0, release.length, text.length >> 8, text.length & 0xff];
  return toBase64(Uint8Array.from([...head, ...release, ...text]));
}
