/** A push, as hooks and listeners get it. */
export interface ZPNsMessage {
    title: string;
    content: string;
    icon?: string;
    /** What the sender added; `extra.payload` is the payload of his `pushConfig`. Absent when there is nothing. */
    extra?: Record<string, string>;
}
/** What pages hear from the worker; anything else is ignored. */
export type WorkerSays = {
    action: "zimzpns_notificationArrived";
    args: [ZPNsMessage];
} | {
    action: "zimzpns_notificationClicked";
    args: [ZPNsMessage];
} | {
    action: "zimzpns_tokenChanged";
    args: [string];
} | {
    action: "zimzpns_initAppACK";
    args: [];
};
/** Whether something that was posted is one of the worker's messages. */
export declare function isFromWorker(data: unknown): data is WorkerSays;
