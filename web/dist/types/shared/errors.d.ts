/** Why something failed. The codes are stable and are written as the gateway writes its own. */
export type ErrorCode = "invalid_config" | "unsupported_browser" | "permission_denied" | "permission_dismissed" | "worker_failed" | "subscribe_failed" | "registration_failed" | "unregistration_failed" | "bridge_failed";
/** The only error this SDK throws or rejects with. */
export declare class PushError extends Error {
    readonly code: ErrorCode;
    readonly name = "PushError";
    /** The number native SDKs use. */
    readonly errorCode: number;
    constructor(code: ErrorCode, message: string, options?: ErrorOptions);
}
/** Runs a step; what it throws becomes a [PushError] of this code, with its cause. */
export declare function step<T>(code: ErrorCode, doing: string, work: () => Promise<T>): Promise<T>;
