import type { Settings } from "./config.js";
import type { ZPNsMessage } from "./message.js";
/** Rows that page and worker share. A worker that a push starts has no open page to ask. */
interface Rows {
    /** Settings of the registration. */
    settings: Settings;
    /** Current token, and the endpoint of its subscription. */
    registration: {
        token: string;
        endpoint: string;
        at: number;
    };
    /** Firebase installation of this browser. */
    installation: {
        appId: string;
        fid: string;
        refreshToken: string;
        authToken: string;
        until: number;
    };
    /** Last click, for the page that it opens. */
    clicked: {
        message: ZPNsMessage;
        at: number;
    };
    /** Ids of presented pushes, oldest first. */
    seen: string[];
}
/** Reads a row. Returns `undefined` if there is none. */
export declare function read<K extends keyof Rows>(row: K): Promise<Rows[K] | undefined>;
/** Writes a row. */
export declare function write<K extends keyof Rows>(row: K, value: Rows[K]): Promise<void>;
/** Removes rows. */
export declare function erase(...rows: (keyof Rows)[]): Promise<void>;
/** Changes a row in one transaction, so that concurrent pushes do not overwrite each other's changes. */
export declare function change<K extends keyof Rows, T>(row: K, work: (value: Rows[K] | undefined) => [Rows[K] | undefined, T]): Promise<T>;
export {};
