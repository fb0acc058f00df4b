import { type Settings, settings, type ZPNsConfig, type ZPNsOptions } from "../shared/config.js";
import * as database from "../shared/database.js";
import { step } from "../shared/errors.js";
import { isWorkerMessage, type ZPNsMessage } from "../shared/message.js";
import { transport } from "../shared/transport.js";
import { VERSION } from "../shared/version.js";
import { envelope, passToken, type ZIMLike } from "./bridge.js";
import * as browser from "./browser.js";

/** Result of a registration. */
export interface Registered {
  /** PushID that the IM server binds to the user. */
  pushID: string;
  /** FCM token, or the JSON of a Web Push subscription. */
  token: string;
}

/** Events of the SDK. */
export interface Events {
  /** This browser was registered, or its token has changed. */
  registered: Registered;
  /** A push arrived while a page was visible. No notification is shown; the page can show it. */
  notificationArrived: ZPNsMessage;
  /** A notification was clicked. A page that the click has opened receives the event when it adds a listener. */
  notificationClicked: ZPNsMessage;
}

type Listeners = { [E in keyof Events]: Set<(event: Events[E]) => void> };

/** Time for which a click is kept for the page that it opens. */
const CLICK_RETENTION_MS = 60_000;

let instance: ZPNs | undefined;

/** Offline push for this page. The single instance is `ZPNs.getInstance()`. */
export class ZPNs {
  readonly #listeners: Listeners = {
    registered: new Set(),
    notificationArrived: new Set(),
    notificationClicked: new Set(),
  };
  #zim: ZIMLike | null | undefined;
  #settings: Settings | undefined;
  #registering: Promise<Registered> | undefined;

  constructor() {
    if (instance) {
      // biome-ignore lint/correctness/noConstructorReturn: `new` returns the single instance too
      return instance;
    }
    instance = this;
    globalThis.navigator?.serviceWorker?.addEventListener("message", ({ data }) => this.#receive(data));
  }

  /** Returns the single instance. */
  static getInstance(): ZPNs {
    return instance ?? new ZPNs();
  }

  /** Returns the version of the SDK. */
  static getVersion(): string {
    return VERSION;
  }

  /**
   * Asks the user for permission, subscribes this browser, and passes the token to the IM client, before or after its login.
   * It can be called again, also after a failure. Safari requires a call from a click handler.
   *
   * Rejects with a `PushError`: `invalid_config`, `unsupported_browser`, `permission_denied`, `permission_dismissed`,
   * `worker_failed`, `subscribe_failed`, `registration_failed`, `bridge_failed`.
   */
  async register(config: ZPNsConfig, zim?: ZIMLike | null, options?: ZPNsOptions): Promise<Registered> {
    const requested = settings(config, options);
    browser.assertSupported();
    this.#zim = zim;
    const isUnchanged = JSON.stringify(requested) === JSON.stringify(this.#settings);
    if (!isUnchanged || !this.#registering) {
      this.#settings = requested;
      this.#registering = this.#subscribe(requested);
    }
    const registering = this.#registering;
    try {
      const { token } = await registering;
      await passToken(zim, token);
      return this.#emitRegistered(token);
    } catch (error) {
      if (this.#registering === registering) {
        this.#registering = undefined;
      }
      throw error;
    }
  }

  /** Ends pushes to this browser: invalidates the token, unsubscribes, and passes an empty token to the IM client. */
  async unregisterPush(): Promise<void> {
    const registering = this.#registering;
    this.#registering = undefined;
    const zim = this.#zim;
    // A registration in progress would otherwise complete after this call.
    await registering?.catch(() => {});
    await step("unregistration_failed", "the browser does not unsubscribe", async () => {
      const stored = await database.read("registration");
      const storedSettings = await database.read("settings");
      if (stored && storedSettings) {
        // On failure the token still becomes invalid, because the subscription ends below.
        await transport(storedSettings)
          .forget(stored.token)
          .catch(() => {});
      }
      const registration = await browser.existingRegistration();
      await (await registration?.pushManager.getSubscription())?.unsubscribe();
      await registration?.unregister();
      await database.erase("registration", "settings", "clicked");
    });
    await passToken(zim, "");
  }

  /** Alias of [unregisterPush]. */
  unregister(): Promise<void> {
    return this.unregisterPush();
  }

  /** Adds a listener for an event. */
  on<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): this {
    this.#listeners[event].add(listener);
    if (event === "notificationClicked") {
      this.#emitStoredClick();
    }
    return this;
  }

  /** Removes a listener, or all listeners of the event if none is given. */
  off<E extends keyof Events>(event: E, listener?: (event: Events[E]) => void): this {
    if (listener) {
      this.#listeners[event].delete(listener);
    } else {
      this.#listeners[event].clear();
    }
    return this;
  }

  async #subscribe(requested: Settings): Promise<Registered> {
    await browser.requestPermission();
    const worker = await browser.activeWorker();
    const subscription = await browser.subscription(worker, requested);
    const token = await step("registration_failed", "no token can be obtained", () =>
      transport(requested).token(subscription),
    );
    await database.write("settings", requested);
    await database.write("registration", { token, endpoint: subscription.endpoint, at: Date.now() });
    return { token, pushID: envelope(token) };
  }

  #emitRegistered(token: string): Registered {
    const registered = { token, pushID: envelope(token) };
    this.#emit("registered", registered);
    return registered;
  }

  #emit<E extends keyof Events>(event: E, value: Events[E]): void {
    for (const listener of this.#listeners[event]) {
      try {
        listener(value);
      } catch (error) {
        // An error of one listener must not stop the others.
        console.error(error);
      }
    }
  }

  #receive(data: unknown): void {
    if (!isWorkerMessage(data)) {
      return;
    }
    if (data.action === "zimzpns_notificationArrived") {
      this.#emit("notificationArrived", data.args[0]);
    } else if (data.action === "zimzpns_notificationClicked") {
      this.#emit("notificationClicked", data.args[0]);
    } else if (data.action === "zimzpns_tokenChanged" && this.#registering) {
      const token = data.args[0];
      this.#registering = Promise.resolve({ token, pushID: envelope(token) });
      void passToken(this.#zim, token).then(() => this.#emitRegistered(token), console.error);
    }
  }

  /** Emits the click that opened this page, which preceded its script. */
  #emitStoredClick(): void {
    const click = database.change("clicked", (row) => [undefined, row]);
    void click.then((row) => {
      if (row && Date.now() - row.at < CLICK_RETENTION_MS) {
        this.#emit("notificationClicked", row.message);
      }
    }, console.error);
  }
}
