// Builds dist/: the page script as a global and as a module, its types, and the service worker.
// `--check` builds beside it and fails when the committed files are not what the source gives.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = join(here, "dist");
const isCheck = process.argv.includes("--check");
const out = isCheck ? mkdtempSync(join(tmpdir(), "pushgate-web-")) : dist;
const licence = "/*! pushgate web SDK, Apache-2.0 OR MIT */";

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  target: "es2022",
  banner: { js: licence },
  legalComments: "none",
};
const page = { ...common, entryPoints: ["src/page/index.ts"] };
// The page script defines the global `ZPNs` and gives CommonJS and AMD loaders what they expect.
const globals = "globalThis.ZPNs=zpns.ZPNs;if(typeof module==='object')module.exports=zpns;";
await build({
  ...page,
  format: "iife",
  globalName: "zpns",
  footer: { js: globals },
  outfile: join(out, "index.js"),
});
await build({ ...page, format: "esm", outfile: join(out, "index.mjs") });
await build({
  ...common,
  entryPoints: ["src/worker/worker.ts"],
  format: "iife",
  outfile: join(out, "firebase-messaging-sw.js"),
});
const tsc = join(here, "node_modules", ".bin", "tsc");
const types = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--rootDir", "src"];
execFileSync(tsc, ["-p", "tsconfig.json", ...types, "--outDir", join(out, "types")], {
  cwd: here,
  stdio: "inherit",
});

for (const name of readdirSync(out, { recursive: true })) {
  const path = join(out, name);
  if (!statSync(path).isFile()) {
    continue;
  }
  const bytes = readFileSync(path);
  if (/\.m?js$/.test(name)) {
    console.log(`${name}: ${bytes.length} bytes, ${gzipSync(bytes).length} gzip`);
  }
  if (isCheck) {
    assert.ok(bytes.equals(readFileSync(join(dist, name))), `dist/${name} is not current: npm run build`);
  }
}
if (isCheck) {
  rmSync(out, { recursive: true });
}
