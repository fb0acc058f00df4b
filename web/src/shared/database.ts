import type { Settings } from "./config.js";
import type { ZPNsMessage } from "./message.js";

/** Rows that page and worker share. A worker that a push starts has no open page to ask. */
interface Rows {
  /** Settings of the registration. */
  settings: Settings;
  /** Current token, and the endpoint of its subscription. */
  registration: { token: string; endpoint: string; at: number };
  /** Firebase installation of this browser. */
  installation: { appId: string; fid: string; refreshToken: string; authToken: string; until: number };
  /** Last click, for the page that it opens. */
  clicked: { message: ZPNsMessage; at: number };
  /** Ids of presented pushes, oldest first. */
  seen: string[];
}

const NAME = "zpns";
const TABLE = "rows";

function database(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

async function inTransaction<T>(
  mode: IDBTransactionMode,
  work: (table: IDBObjectStore) => IDBRequest<T> | Promise<T>,
): Promise<T> {
  const open = await database();
  try {
    const transaction = open.transaction(TABLE, mode);
    const done = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      transaction.onerror = () => reject(transaction.error);
    });
    // The request reports the error too. Without a handler here it would be an unhandled rejection.
    done.catch(() => {});
    const request = work(transaction.objectStore(TABLE));
    const result = await (request instanceof Promise ? request : resultOf(request));
    await done;
    return result;
  } finally {
    open.close();
  }
}

function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Reads a row. Returns `undefined` if there is none. */
export function read<K extends keyof Rows>(row: K): Promise<Rows[K] | undefined> {
  return inTransaction("readonly", (table) => table.get(row));
}

/** Writes a row. */
export async function write<K extends keyof Rows>(row: K, value: Rows[K]): Promise<void> {
  await inTransaction("readwrite", (table) => table.put(value, row));
}

/** Removes rows. */
export async function erase(...rows: (keyof Rows)[]): Promise<void> {
  await inTransaction("readwrite", async (table) => {
    await Promise.all(rows.map((row) => resultOf(table.delete(row))));
  });
}

/** Changes a row in one transaction, so that concurrent pushes do not overwrite each other's changes. */
export function change<K extends keyof Rows, T>(
  row: K,
  work: (value: Rows[K] | undefined) => [Rows[K] | undefined, T],
): Promise<T> {
  return inTransaction("readwrite", async (table) => {
    const [value, result] = work(await resultOf(table.get(row)));
    if (value === undefined) {
      await resultOf(table.delete(row));
    } else {
      await resultOf(table.put(value, row));
    }
    return result;
  });
}
