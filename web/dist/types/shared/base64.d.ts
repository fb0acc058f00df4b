/** Encodes base64url without padding (RFC 4648 §5), the encoding of Web Push and VAPID keys. */
export declare function toBase64Url(bytes: Uint8Array): string;
/** Encodes base64 with padding (RFC 4648 §4), the encoding of a PushID. */
export declare function toBase64(bytes: Uint8Array): string;
/** Decodes base64url with or without padding. Returns `undefined` for any other text. */
export declare function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined;
