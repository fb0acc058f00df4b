/**
 * The PushID that is handed to the IM server: an envelope around the token.
 *
 * `AF 00 01`, 1 for production, the vendor, the lengths of country, version and token (u8, u8, big-endian u16), then the
 * three texts. An empty token unbinds the device.
 */
export declare function pushId(token: string, version: string): string;
