import { toBase64 } from "./base64.js";

/** The vendor byte of a web token in the envelope. */
const WEB = 7;

/**
 * The PushID that is handed to the IM server: an envelope around the token.
 *
 * `AF 00 01`, 1 for production, the vendor, the lengths of country, version and token (u8, u8, big-endian u16), then the
 * three texts. An empty token unbinds the device.
 */
export function pushId(token: string, version: string): string {
  const encoder = new TextEncoder();
  const [text, release] = [encoder.encode(token), encoder.encode(version)];
  const head = [0xaf, 0, 1, 1, WEB, 0, release.length, text.length >> 8, text.length & 0xff];
  return toBase64(Uint8Array.from([...head, ...release, ...text]));
}
