import { type Settings, settings, type ZPNsConfig, type ZPNsOptions } from "../shared/config.js";
import * as database from "../shared/database.js";
import { step } from "../shared/errors.js";
import { isFromWorker, type ZPNsMessage } from "../shared/message.js";
import { transport } from "../shared/transport.js";
import { VERSION } from "../shared/version.js";
import { envelope, tell, type ZIMLike } from "./bridge.js";
import * as browser from "./browser.js";

/** What a registration gives. */
export interface Registered {
  /** What the IM server binds to the user. */
  pushID: string;
  /** An FCM token, or the JSON of a Web Push subscription. */
  token: string;
}

/** What a page can listen to. */
export interface Events {
  /** This browser can be pushed to; also after its token has changed. */
  registered: Registered;
  /** A push came while a page was visible: it is not shown, the page shows it as it likes. */
  notificationArrived: ZPNsMessage;
  /** A notification was clicked; a page that the click has opened gets it too, once it listens. */
  notificationClicked: ZPNsMessage;
}

type Listeners = { [E in keyof Events]: Set<(event: Events[E]) => void> };

/** A click is kept so long for the page that it opens. */
const CLICK_MS = 60_000;

let instance: ZPNs | undefined;

/** Offline push for this page. There is one: `ZPNs.getInstance()`. */
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
      // biome-ignore lint/correctness/noConstructorReturn: there is one, however it is asked for
      return instance;
    }
    instance = this;
    globalThis.navigator?.serviceWorker?.addEventListener("message", ({ data }) => this.#heard(data));
  }

  /** The one instance. */
  static getInstance(): ZPNs {
    return instance ?? new ZPNs();
  }

  /** The version of the SDK. */
  static getVersion(): string {
    return VERSION;
  }

  /**
   * Asks the user for permission, subscribes this browser, and hands the token to the IM client, before or after its login.
   * Registering again is harmless, after a failure as well. In Safari it has to be called from a click.
   *
   * Rejects with a `PushError`: `invalid_config`, `unsupported_browser`, `permission_denied`, `permission_dismissed`,
   * `worker_failed`, `subscribe_failed`, `registration_failed`, `bridge_failed`.
   */
  async register(config: ZPNsConfig, zim?: ZIMLike | null, options?: ZPNsOptions): Promise<Registered> {
    const asked = settings(config, options);
    browser.assertSupported();
    this.#zim = zim;
    const same = JSON.stringify(asked) === JSON.stringify(this.#settings);
    if (!same || !this.#registering) {
      this.#settings = asked;
      this.#registering = this.#subscribed(asked);
    }
    const registering = this.#registering;
    try {
      const { token } = await registering;
      await tell(zim, token);
      return this.#announced(token);
    } catch (error) {
      if (this.#registering === registering) {
        this.#registering = undefined;
      }
      throw error;
    }
  }

  /** No more pushes for this browser: its token dies, the subscription ends, the IM client is told. */
  async unregisterPush(): Promise<void> {
    const registering = this.#registering;
    this.#registering = undefined;
    const zim = this.#zim;
    // A registration that is under way would come back to life after its end.
    await registering?.catch(() => {});
    await step("unregistration_failed", "the browser does not unsubscribe", async () => {
      const known = await database.read("registration");
      const asked = await database.read("settings");
      if (known && asked) {
        // The subscription ends in any case, and the token with it.
        await transport(asked)
          .forget(known.token)
          .catch(() => {});
      }
      const registration = await browser.registered();
      await (await registration?.pushManager.getSubscription())?.unsubscribe();
      await registration?.unregister();
      await database.erase("registration", "settings", "clicked");
    });
    await tell(zim, "");
  }

  /** The same as [unregisterPush]. */
  unregister(): Promise<void> {
    return this.unregisterPush();
  }

  /** Listens to an event. */
  on<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): this {
    this.#listeners[event].add(listener);
    if (event === "notificationClicked") {
      this.#heardBefore();
    }
    return this;
  }

  /** Listens no more; without a listener, nobody does. */
  off<E extends keyof Events>(event: E, listener?: (event: Events[E]) => void): this {
    if (listener) {
      this.#listeners[event].delete(listener);
    } else {
      this.#listeners[event].clear();
    }
    return this;
  }

  async #subscribed(asked: Settings): Promise<Registered> {
    await browser.permission();
    const worker = await browser.worker();
    const subscription = await browser.subscription(worker, asked);
    const token = await step("registration_failed", "the token cannot be had", () =>
      transport(asked).token(subscription),
    );
    await database.write("settings", asked);
    await database.write("registration", { token, endpoint: subscription.endpoint, at: Date.now() });
    return { token, pushID: envelope(token) };
  }

  #announced(token: string): Registered {
    const registered = { token, pushID: envelope(token) };
    this.#emit("registered", registered);
    return registered;
  }

  #emit<E extends keyof Events>(event: E, value: Events[E]): void {
    for (const listener of this.#listeners[event]) {
      try {
        listener(value);
      } catch (error) {
        // One listener's mistake is not another's.
        console.error(error);
      }
    }
  }

  #heard(data: unknown): void {
    if (!isFromWorker(data)) {
      return;
    }
    if (data.action === "zimzpns_notificationArrived") {
      this.#emit("notificationArrived", data.args[0]);
    } else if (data.action === "zimzpns_notificationClicked") {
      this.#emit("notificationClicked", data.args[0]);
    } else if (data.action === "zimzpns_tokenChanged" && this.#registering) {
      const token = data.args[0];
      this.#registering = Promise.resolve({ token, pushID: envelope(token) });
      void tell(this.#zim, token).then(() => this.#announced(token), console.error);
    }
  }

  /** The click that opened this page came before its script ran. */
  #heardBefore(): void {
    const taken = database.change("clicked", (row) => [undefined, row]);
    void taken.then((row) => {
      if (row && Date.now() - row.at < CLICK_MS) {
        this.#emit("notificationClicked", row.message);
      }
    }, console.error);
  }
}
