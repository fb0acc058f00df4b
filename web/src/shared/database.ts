import type { Settings } from "./config.js";
import type { ZPNsMessage } from "./message.js";

/** What page and worker know of each other lives here: a worker that is started by a push has no page to ask. */
interface Rows {
  /** With what the page registered. */
  settings: Settings;
  /** The token in force, and the subscription it was made from. */
  registration: { token: string; endpoint: string; at: number };
  /** The Firebase installation of this browser. */
  installation: { appId: string; fid: string; refreshToken: string; authToken: string; until: number };
  /** The last click, for the page that it opens. */
  clicked: { message: ZPNsMessage; at: number };
  /** Ids of the pushes that were shown, oldest first. */
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
    // Told by the request as well; unheard here it would be an unhandled rejection.
    done.catch(() => {});
    const asked = work(transaction.objectStore(TABLE));
    const result = await (asked instanceof Promise ? asked : answer(asked));
    await done;
    return result;
  } finally {
    open.close();
  }
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The row of that name. */
export function read<K extends keyof Rows>(row: K): Promise<Rows[K] | undefined> {
  return inTransaction("readonly", (table) => table.get(row));
}

/** Puts a row. */
export async function write<K extends keyof Rows>(row: K, value: Rows[K]): Promise<void> {
  await inTransaction("readwrite", (table) => table.put(value, row));
}

/** Removes rows. */
export async function erase(...rows: (keyof Rows)[]): Promise<void> {
  await inTransaction("readwrite", async (table) => {
    await Promise.all(rows.map((row) => answer(table.delete(row))));
  });
}

/** Changes a row in one transaction, so that two pushes at once do not undo each other. */
export function change<K extends keyof Rows, T>(
  row: K,
  work: (value: Rows[K] | undefined) => [Rows[K] | undefined, T],
): Promise<T> {
  return inTransaction("readwrite", async (table) => {
    const [value, result] = work(await answer(table.get(row)));
    if (value === undefined) {
      await answer(table.delete(row));
    } else {
      await answer(table.put(value, row));
    }
    return result;
  });
}
