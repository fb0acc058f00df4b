/**
 * Returns the PushID for the IM server: an envelope around the token.
 *
 * Its bytes are `AF 00 01`, 1 for production, the number of the push service, and the lengths of country, version and token
 * (u8, u8, big-endian u16), followed by the three texts. An empty token unbinds the device.
 */
export declare function pushId(token: string, version: string): string;
