// The desktop's notification daemon, as far as browsers use it (freedesktop.org, Desktop Notifications 1.2): what is shown,
// and a click on it, which is a real one for the browser.
import dbus from "dbus-next";
import { Happenings } from "./happenings.mjs";

const { Interface } = dbus.interface;

class Notifications extends Interface {
  #next = 1;
  shown = new Happenings();
  closed = new Happenings();

  Notify(_app, replaces, _icon, summary, body, actions) {
    const id = replaces || this.#next++;
    this.shown.add({ id, title: summary, ...parts(body), actions });
    return id;
  }

  CloseNotification(id) {
    this.NotificationClosed(id, 3);
    this.closed.add(id);
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

/** Chromium puts a link to the site above the text; Firefox does not. */
function parts(body) {
  const [, site, text] = body.match(/^<a href="([^"]*)">[^<]*<\/a>\n\n(.*)$/s) ?? [null, undefined, body];
  return { site, body: text };
}

/** The desktop: takes the name that browsers look for. */
export class Desktop {
  static async open() {
    const desktop = new Desktop();
    desktop.bus = dbus.sessionBus();
    desktop.daemon = new Notifications("org.freedesktop.Notifications");
    desktop.bus.export("/org/freedesktop/Notifications", desktop.daemon);
    await desktop.bus.requestName("org.freedesktop.Notifications");
    return desktop;
  }

  /** All that has been shown, the oldest first. */
  get shown() {
    return this.daemon.shown.all;
  }

  /** The first notification that fits, now or to come. */
  notification(fits) {
    return this.daemon.shown.first(fits);
  }

  /** Waits until it is taken from the screen. */
  gone(id) {
    return this.daemon.closed.first((one) => one === id);
  }

  /** Clicks on it. */
  click({ id }) {
    this.daemon.ActionInvoked(id, "default");
  }

  close() {
    this.bus.disconnect();
  }
}
