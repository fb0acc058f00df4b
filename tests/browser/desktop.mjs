// The desktop's notification daemon, as far as browsers use it (freedesktop.org, Desktop Notifications 1.2): what is shown,
// and a click on it, which is a real one for the browser.
import { EventEmitter, once } from "node:events";
import dbus from "dbus-next";

const { Interface } = dbus.interface;

class Notifications extends Interface {
  #next = 1;
  told = new EventEmitter();

  Notify(_app, replaces, _icon, summary, body, actions) {
    const id = replaces || this.#next++;
    this.told.emit("shown", { id, title: summary, body: text(body), actions });
    return id;
  }

  CloseNotification(id) {
    this.NotificationClosed(id, 3);
    this.told.emit("closed", id);
  }

  GetCapabilities() {
    return ["actions", "body", "body-hyperlinks", "icon-static", "persistence"];
  }

  GetServerInformation() {
    return ["tests", "pushgate", "1.0", "1.2"];
  }

  ActionInvoked(id, key) {
    return [id, key];
  }

  NotificationClosed(id, reason) {
    return [id, reason];
  }
}

Notifications.configureMembers({
  methods: {
    Notify: { inSignature: "susssasa{sv}i", outSignature: "u" },
    CloseNotification: { inSignature: "u" },
    GetCapabilities: { outSignature: "as" },
    GetServerInformation: { outSignature: "ssss" },
  },
  signals: { ActionInvoked: { signature: "us" }, NotificationClosed: { signature: "uu" } },
});

/** Chromium puts the site above the text. */
function text(body) {
  return body.split("\n\n").at(-1);
}

/** The desktop: takes the name that browsers look for. */
export class Desktop {
  shown = [];
  closed = [];

  static async open() {
    const desktop = new Desktop();
    desktop.bus = dbus.sessionBus();
    desktop.daemon = new Notifications("org.freedesktop.Notifications");
    desktop.daemon.told.on("shown", (one) => desktop.shown.push(one));
    desktop.daemon.told.on("closed", (id) => desktop.closed.push(id));
    desktop.bus.export("/org/freedesktop/Notifications", desktop.daemon);
    await desktop.bus.requestName("org.freedesktop.Notifications");
    return desktop;
  }

  /** The first notification that fits, now or to come. */
  async notification(fits) {
    for (;;) {
      const found = this.shown.find(fits);
      if (found) {
        return found;
      }
      await once(this.daemon.told, "shown", { signal: AbortSignal.timeout(20_000) });
    }
  }

  /** Waits until it is taken from the screen. */
  async gone(id) {
    while (!this.closed.includes(id)) {
      await once(this.daemon.told, "closed", { signal: AbortSignal.timeout(20_000) });
    }
  }

  /** Clicks on it. */
  click({ id }) {
    this.daemon.ActionInvoked(id, "default");
  }

  close() {
    this.bus.disconnect();
  }
}
