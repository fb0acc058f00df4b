/** Push message for hooks and listeners. */
export interface ZPNsMessage {
  title: string;
  content: string;
  icon?: string;
  /** Data of the sender. `extra.payload` is the payload of the `pushConfig`. Absent without data. */
  extra?: Record<string, string>;
}

/** Message from the worker to pages. Pages ignore any other message. */
export type WorkerMessage =
  | { action: "zimzpns_notificationArrived"; args: [ZPNsMessage] }
  | { action: "zimzpns_notificationClicked"; args: [ZPNsMessage] }
  | { action: "zimzpns_tokenChanged"; args: [string] }
  | { action: "zimzpns_initAppACK"; args: [] };

const ACTIONS: readonly WorkerMessage["action"][] = [
  "zimzpns_notificationArrived",
  "zimzpns_notificationClicked",
  "zimzpns_tokenChanged",
  "zimzpns_initAppACK",
];

/** Returns `true` if posted data is a message of the worker. */
export function isWorkerMessage(data: unknown): data is WorkerMessage {
  const message = data as WorkerMessage | null;
  return (
    typeof message === "object" &&
    ACTIONS.some((action) => message?.action === action) &&
    Array.isArray(message?.args)
  );
}
