// Bundles a source file for a test and evaluates it with the globals it finds in a browser.
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { build } from "esbuild";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";

/** The exports of `entry`, run in a realm of its own with these globals. */
export async function load(entry, globals = {}) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`../src/${entry}`, import.meta.url))],
    bundle: true,
    format: "iife",
    globalName: "exported",
    write: false,
    target: "es2022",
  });
  const context = vm.createContext({
    ...{ console, URL, TextEncoder, TextDecoder, atob, btoa, crypto, setTimeout, clearTimeout },
    indexedDB: new IDBFactory(),
    IDBKeyRange,
    ...globals,
  });
  vm.runInContext(outputFiles[0].text, context);
  return { exported: vm.runInContext("exported", context), context };
}

/** What the SDK in this realm keeps under that name. */
export const row = (context, name) => rows(context, "readonly", (table) => table.get(name));

/** Puts into its keeping what an earlier visit would have left there. */
export const keep = (context, name, value) => rows(context, "readwrite", (table) => table.put(value, name));

async function rows({ indexedDB }, mode, work) {
  const done = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const opening = indexedDB.open("zpns", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("rows");
  const open = await done(opening);
  try {
    return await done(work(open.transaction("rows", mode).objectStore("rows")));
  } finally {
    open.close();
  }
}

/** A value of another realm as one of this, for deep comparison. */
export const plain = (value) => JSON.parse(JSON.stringify(value));

/** A VAPID key nobody has the private half of. */
export const KEY = "BDOU99-h67HcA6JeFXHbSNMu7e2yNNu3RzoMj8TM4W88jITfq7ZmPvIM1Iv-4_l2LxQcYwhqby2xGpWwzjfAnG4";
