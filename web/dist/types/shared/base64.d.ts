/** base64url without padding (RFC 4648 §5): what push services and VAPID keys are written in. */
export declare function toBase64Url(bytes: Uint8Array): string;
/** base64 with padding (RFC 4648 §4): what a PushID is written in. */
export declare function toBase64(bytes: Uint8Array): string;
/** Reads base64url, padded or not; nothing when it is none. */
export declare function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined;
