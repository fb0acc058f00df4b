// A site as a developer makes it from the guide: a page, a worker at its root, the SDK's folder, the IM server behind it.
import { readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { connect } from "node:net";
import { Happenings } from "./happenings.mjs";

const { FOLDER } = process.env;
const IM_SERVER = { host: "127.0.0.1", port: 8080 };
const KINDS = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8" };

/** A file of this folder, or of the SDK's build. */
export const pages = (name) => new URL(`pages/${name}`, import.meta.url);
export const sdk = (name) => new URL(`../../web/dist/${name}`, import.meta.url);

/** What every site has, unless it has something else there. */
const FILES = {
  "/": pages("guide.html"),
  "/zego-zpns-web/index.js": sdk("index.js"),
  "/zego-zpns-web/firebase-messaging-sw.js": sdk("firebase-messaging-sw.js"),
  "/firebase-messaging-sw.js": sdk("firebase-messaging-sw.js"),
};

/** The certificate is for localhost, and browsers started here trust who has signed it. */
const certificate = () => ({ key: readFileSync(`${FOLDER}/site.key`), cert: readFileSync(`${FOLDER}/site.pem`) });
const servers = {
  http: (answer) => createServer(answer),
  https: (answer) => createSecureServer(certificate(), answer),
};

/** A site on a port of its own, which makes it an origin of its own. */
export class Site {
  /** The paths of what was got, in order. */
  got = [];
  /** What its workers have said. */
  told = new Happenings();
  /** What the IM server was told by requests, and how it answered. */
  posted = new Happenings();
  #files;
  #server;

  /** `files`: a path, and what is there: a file's URL or a text. `host`: where it listens. `scheme`: http, or https. */
  static async open(files = {}, { host = "127.0.0.1", scheme = "http" } = {}) {
    const site = new Site();
    site.#files = { ...FILES, ...files };
    site.#server = servers[scheme]((asked, answer) => site.#answer(asked, answer));
    site.#server.on("upgrade", forwardUpgrade);
    // A test that has failed leaves it open, and ends all the same.
    site.#server.unref();
    await new Promise((resolve) => site.#server.listen(0, host, resolve));
    site.port = site.#server.address().port;
    /** As its users know it; a browser takes it for secure. */
    site.url = `${scheme}://localhost:${site.port}/`;
    return site;
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(asked, answer) {
    const { pathname } = new URL(asked.url, "http://site");
    if (asked.method === "GET") {
      this.got.push(pathname);
    }
    const file = this.#files[pathname];
    if (pathname === "/told") {
      this.#hear(asked, answer);
    } else if (file) {
      const kind = KINDS[pathname.split(".")[1] ?? "html"];
      answer.writeHead(200, { "content-type": kind, "cache-control": "no-cache" });
      answer.end(file instanceof URL ? readFileSync(file) : file);
    } else {
      const { method } = asked;
      forward(asked, answer, (status, body) => method === "POST" && this.posted.add({ pathname, status, body }));
    }
  }

  async #hear(asked, answer) {
    const parts = await asked.toArray();
    this.told.add(JSON.parse(Buffer.concat(parts).toString()));
    answer.writeHead(204).end();
  }
}

async function forward(asked, answer, note) {
  const { method, url: path, headers } = asked;
  const body = Buffer.concat(await asked.toArray());
  const onward = request({ ...IM_SERVER, method, path, headers }, (given) => {
    answer.writeHead(given.statusCode, given.headers);
    given.pipe(answer);
    note(given.statusCode, body.toString());
  });
  onward.on("error", (error) => answer.destroy(error));
  onward.end(body);
}

/** A WebSocket: the request as it came, then bytes in both directions. */
function forwardUpgrade({ method, url, rawHeaders }, near, head) {
  const far = connect(IM_SERVER);
  const lines = [`${method} ${url} HTTP/1.1`];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  }
  far.write(`${lines.join("\r\n")}\r\n\r\n`);
  far.write(head);
  near.pipe(far).pipe(near);
  near.on("error", () => far.destroy());
  far.on("error", () => near.destroy());
  near.on("close", () => far.destroy());
}
