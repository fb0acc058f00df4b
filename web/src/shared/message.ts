/** A push, as hooks and listeners get it. */
export interface ZPNsMessage {
  title: string;
  content: string;
  icon?: string;
  /** What the sender added; `extra.payload` is the payload of his `pushConfig`. Absent when there is nothing. */
  extra?: Record<string, string>;
}

/** What pages hear from the worker; anything else is ignored. */
export type WorkerSays =
  | { action: "zimzpns_notificationArrived"; args: [ZPNsMessage] }
  | { action: "zimzpns_notificationClicked"; args: [ZPNsMessage] }
  | { action: "zimzpns_tokenChanged"; args: [string] }
  | { action: "zimzpns_initAppACK"; args: [] };

const ACTIONS: readonly WorkerSays["action"][] = [
  "zimzpns_notificationArrived",
  "zimzpns_notificationClicked",
  "zimzpns_tokenChanged",
  "zimzpns_initAppACK",
];

/** Whether something that was posted is one of the worker's messages. */
export function isFromWorker(data: unknown): data is WorkerSays {
  const said = data as WorkerSays | null;
  return (
    typeof said === "object" && ACTIONS.some((action) => said?.action === action) && Array.isArray(said?.args)
  );
}
