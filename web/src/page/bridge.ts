import { pushId } from "../shared/envelope.js";
import { step } from "../shared/errors.js";
import { VERSION } from "../shared/version.js";

/** Part of an IM client that the SDK needs. Any object with this method is accepted. */
export interface ZIMLike {
  engine?: { setZPNsContext?: (context: { pushSDKVersion: string; pushID: string }) => unknown };
}

/** Passes the token to the IM client, which sends it to its server now or at the next login. An empty token unbinds. */
export async function passToken(zim: ZIMLike | null | undefined, token: string): Promise<void> {
  const engine = zim?.engine;
  if (typeof engine?.setZPNsContext === "function") {
    await step("bridge_failed", "the IM client does not accept the token", async () => {
      await engine.setZPNsContext?.({ pushSDKVersion: VERSION, pushID: token });
    });
  }
}

/** Returns the PushID of a token, for servers that receive it without the IM client. */
export function envelope(token: string): string {
  return pushId(token, VERSION);
}
