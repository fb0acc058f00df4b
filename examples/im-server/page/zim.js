// An IM client with the call shapes of ZIM: what pages written for it call, this has. Speaks src/wire.rs over a WebSocket.

/** What a conversation is. */
const KINDS = { 0: "peer", 2: "group" };
/** Under which names older pages listen for an event. */
const OLDER = { peerMessageReceived: "receivePeerMessage", groupMessageReceived: "receiveGroupMessage" };
/** How often we say that we are here; the server takes 30 seconds of silence for our end. */
const BEAT_MS = 10_000;
const LONGEST_PAUSE_MS = 15_000;

let instance = null;

/** The client. There is one: `ZIM.create`, then `ZIM.getInstance`. */
export class ZIM {
  #listeners = new Map();
  #waiting = new Map();
  #socket = null;
  #next = 1;
  #login = null;
  #pushToken;
  #beat;

  /** What the push SDK hands the token to. */
  engine = { setZPNsContext: (context) => this.#setPushToken(context.pushID) };

  static create({ appID }) {
    if (instance) {
      return null;
    }
    instance = new ZIM();
    instance.appID = appID;
    return instance;
  }

  static getInstance() {
    return instance;
  }

  /** Logs in; what was missed comes as events. Older clients give `({ userID }, token)`. */
  async login(user, config) {
    const userID = user.userID ?? user;
    this.#login = { userID, token: config?.token ?? config };
    await this.#connect();
  }

  /** Logs out: this browser gets no more pushes for the user. */
  async logout() {
    this.#login = null;
    await this.#ask("logout").catch(() => {});
    this.#socket?.close();
  }

  /** `kind`: 0 a user, 2 a group. `config.pushConfig` says what those who are away are shown. */
  sendMessage(message, to, kind, config = {}) {
    return this.#ask("send", { to, kind: KINDS[kind] ?? String(kind), message, push: config.pushConfig });
  }

  sendPeerMessage(message, userID, config) {
    return this.sendMessage(message, userID, 0, config);
  }

  sendGroupMessage(message, groupID, config) {
    return this.sendMessage(message, groupID, 2, config);
  }

  joinGroup(groupID) {
    return this.#ask("join", { group: groupID });
  }

  leaveGroup(groupID) {
    return this.#ask("leave", { group: groupID });
  }

  callInvite(invitees, { timeout, extendedData = "", pushConfig } = {}) {
    return this.#ask("call_invite", { invitees, timeout, extended_data: extendedData, push: pushConfig });
  }

  callAccept(callID, { extendedData = "" } = {}) {
    return this.#ask("call_accept", { call: callID, extended_data: extendedData });
  }

  callReject(callID, { extendedData = "" } = {}) {
    return this.#ask("call_reject", { call: callID, extended_data: extendedData });
  }

  callCancel(_invitees, callID, { extendedData = "", pushConfig } = {}) {
    return this.#ask("call_cancel", { call: callID, extended_data: extendedData, push: pushConfig });
  }

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  off(event) {
    this.#listeners.delete(event);
  }

  #setPushToken(token) {
    this.#pushToken = token;
    if (this.#socket?.readyState === WebSocket.OPEN) {
      return this.#ask("report", { push_token: token });
    }
    // Before the login: it goes with it.
    return undefined;
  }

  async #connect(pause = 500) {
    const { token } = this.#login;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#heard(JSON.parse(data));
    socket.onclose = () => this.#closed(socket, pause);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject({ code: 6000103, message: "no connection" });
    });
    await this.#ask("login", { token, device: device(), push_token: this.#pushToken });
    clearInterval(this.#beat);
    this.#beat = setInterval(() => this.#ask("beat").catch(() => {}), BEAT_MS);
    this.#emit("connectionStateChanged", { state: 2, event: 0 });
  }

  #closed(socket, pause) {
    if (this.#socket !== socket) {
      return;
    }
    clearInterval(this.#beat);
    for (const { reject } of this.#waiting.values()) {
      reject({ code: 6000103, message: "the connection broke" });
    }
    this.#waiting.clear();
    this.#emit("connectionStateChanged", { state: this.#login ? 3 : 0, event: this.#login ? 3 : 0 });
    if (this.#login) {
      const later = Math.min(pause * 2, LONGEST_PAUSE_MS);
      setTimeout(() => this.#login && this.#connect(later).catch(() => {}), pause);
    }
  }

  #ask(verb, parameters = {}) {
    const n = this.#next++;
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) {
        reject({ code: 6000121, message: "log in first" });
        return;
      }
      this.#waiting.set(n, { resolve, reject });
      this.#socket.send(JSON.stringify({ n, do: verb, ...parameters }));
    });
  }

  #heard({ n, ok, error, event, data, seq }) {
    if (event === undefined) {
      const asked = this.#waiting.get(n);
      this.#waiting.delete(n);
      if (error) {
        asked?.reject(error);
      } else {
        asked?.resolve(ok);
      }
      return;
    }
    this.#emit(event, data);
    if (seq !== null) {
      // Only what has been handed to the page counts as arrived.
      this.#ask("ack", { seq }).catch(() => {});
    }
  }

  #emit(event, data) {
    for (const name of [event, OLDER[event]]) {
      for (const listener of this.#listeners.get(name) ?? []) {
        listener(this, data);
      }
    }
  }
}

/** This browser's own name for itself, the same at every visit. */
function device() {
  const known = localStorage.getItem("device");
  if (known) {
    return known;
  }
  // Not randomUUID: a page that was not served over https has none, and logs in all the same.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const made = `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  localStorage.setItem("device", made);
  return made;
}
