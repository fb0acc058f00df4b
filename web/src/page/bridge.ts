import { pushId } from "../shared/envelope.js";
import { step } from "../shared/errors.js";
import { VERSION } from "../shared/version.js";

/** What is needed of an IM client: any object with this method will do. */
export interface ZIMLike {
  engine?: { setZPNsContext?: (context: { pushSDKVersion: string; pushID: string }) => unknown };
}

/** Hands the token to the IM client, which tells its server at once or with the next login; an empty one unbinds. */
export async function tell(zim: ZIMLike | null | undefined, token: string): Promise<void> {
  const engine = zim?.engine;
  if (typeof engine?.setZPNsContext === "function") {
    await step("bridge_failed", "the IM client does not take the token", async () => {
      await engine.setZPNsContext?.({ pushSDKVersion: VERSION, pushID: token });
    });
  }
}

/** The PushID of a token, for servers that get it by another way than the IM client. */
export function envelope(token: string): string {
  return pushId(token, VERSION);
}
