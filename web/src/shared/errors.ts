/** Stable code of an error, written like the codes of the gateway. */
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

/** Error numbers of the native ZPNs SDKs, by code. */
const NUMBERS: Partial<Record<ErrorCode, number>> = {
  registration_failed: 6000403,
  unregistration_failed: 6000405,
};

/** Only error type that this SDK throws or rejects with. */
export class PushError extends Error {
  override readonly name = "PushError";
  /** Error number of the native ZPNs SDKs. */
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

/** Runs a step. An error of it becomes the cause of a [PushError] with this code; a `PushError` is thrown unchanged. */
export async function step<T>(code: ErrorCode, description: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof PushError) {
      throw cause;
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PushError(code, `${description}: ${why}`, { cause });
  }
}
