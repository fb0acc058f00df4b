// The example IM server, built from this tree and started on a port of its own, with no push service within its reach.
import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
/** Whoever the server would send to; the discard port answers nobody. */
const VENDORS = ["fcm.googleapis.com", "oauth2.googleapis.com"];

/** A server that listens: where, and how it is stopped. */
export async function server() {
  const folder = mkdtempSync(join(tmpdir(), "pushgate-guide-"));
  writeFileSync(join(folder, "account.json"), JSON.stringify(serviceAccount()));
  const options = [
    "--listen=127.0.0.1:0",
    `--data=${join(folder, "data")}`,
    `--service-account=${join(folder, "account.json")}`,
    ...VENDORS.map((host) => `--connect-to=${host}=127.0.0.1:9`),
  ];
  const cargo = ["run", "--quiet", "--locked", "--package", "pushgate-im-server", "--", ...options];
  const running = spawn("cargo", cargo, { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(running, "exit");
  try {
    const port = await Promise.race([listening(running), ended.then(died, died)]);
    const stop = async () => {
      running.kill("SIGINT");
      await ended;
      rmSync(folder, { recursive: true });
    };
    return { url: new URL(`http://127.0.0.1:${port}/`), stop };
  } catch (error) {
    running.kill();
    throw error;
  }
}

/** The port it says that it listens on. */
function listening({ stderr }) {
  return new Promise((resolve) => {
    let said = "";
    stderr.on("data", (text) => {
      said += text;
      const port = said.match(/http:\/\/localhost:(\d+)/)?.[1];
      if (port) {
        resolve(port);
      }
    });
  });
}

function died(why) {
  throw new Error(`the IM server does not start (${why}); \`cargo run -p pushgate-im-server\` says why`);
}

/** What the server sends to FCM with, made up: the guide's configuration is that of a Firebase app. */
function serviceAccount() {
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  return {
    type: "service_account",
    project_id: "demo",
    private_key_id: "one",
    private_key: privateKey,
    client_email: "push@demo.iam.gserviceaccount.com",
    token_uri: "https://oauth2.googleapis.com/token",
  };
}
