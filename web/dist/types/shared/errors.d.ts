/** Stable code of an error, written like the codes of the gateway. */
export type ErrorCode = "invalid_config" | "unsupported_browser" | "permission_denied" | "permission_dismissed" | "worker_failed" | "subscribe_failed" | "registration_failed" | "unregistration_failed" | "bridge_failed";
/** Only error type that this SDK throws or rejects with. */
export declare class PushError extends Error {
    readonly code: ErrorCode;
    readonly name = "PushError";
    /** Error number of the native ZPNs SDKs. */
    readonly errorCode: number;
    constructor(code: ErrorCode, message: string, options?: ErrorOptions);
}
/** Runs a step. An error of it becomes the cause of a [PushError] with this code; a `PushError` is thrown unchanged. */
export declare function step<T>(code: ErrorCode, description: string, work: () => Promise<T>): Promise<T>;
