import type { Settings } from "./config.js";
import type { ZPNsMessage } from "./message.js";
/** What page and worker know of each other lives here: a worker that is started by a push has no page to ask. */
interface Rows {
    /** With what the page registered. */
    settings: Settings;
    /** The token in force, and the subscription it was made from. */
    registration: {
        token: string;
        endpoint: string;
        at: number;
    };
    /** The Firebase installation of this browser. */
    installation: {
        appId: string;
        fid: string;
        refreshToken: string;
        authToken: string;
        until: number;
    };
    /** The last click, for the page that it opens. */
    clicked: {
        message: ZPNsMessage;
        at: number;
    };
    /** Ids of the pushes that were shown, oldest first. */
    seen: string[];
}
/** The row of that name. */
export declare function read<K extends keyof Rows>(row: K): Promise<Rows[K] | undefined>;
/** Puts a row. */
export declare function write<K extends keyof Rows>(row: K, value: Rows[K]): Promise<void>;
/** Removes rows. */
export declare function erase(...rows: (keyof Rows)[]): Promise<void>;
/** Changes a row in one transaction, so that two pushes at once do not undo each other. */
export declare function change<K extends keyof Rows, T>(row: K, work: (value: Rows[K] | undefined) => [Rows[K] | undefined, T]): Promise<T>;
export {};
