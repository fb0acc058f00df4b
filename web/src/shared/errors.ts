/** Why something failed. The codes are stable and are written as the gateway writes its own. */
export type ErrorCode =
  | "invalid_config"
  | "unsupported_browser"
  | "permission_denied"
  | "permission_dismissed"
  | "worker_failed"
  | "subscribe_failed"
  | "registration_failed"
  | "unregistration_failed"
  | "bridge_failed";

/** The numbers that the native SDKs of the same family give for a failure of this kind. */
const NUMBERS: Partial<Record<ErrorCode, number>> = {
  registration_failed: 6000403,
  unregistration_failed: 6000405,
};

/** The only error this SDK throws or rejects with. */
export class PushError extends Error {
  override readonly name = "PushError";
  /** The number native SDKs use. */
  readonly errorCode: number;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.errorCode = NUMBERS[code] ?? 6000404;
  }
}

/** Runs a step; what it throws becomes a [PushError] of this code, with its cause. */
export async function step<T>(code: ErrorCode, doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof PushError) {
      throw cause;
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PushError(code, `${doing}: ${why}`, { cause });
  }
}
