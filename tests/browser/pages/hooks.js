// The site's worker: the SDK's, with both hooks redefined as the guide has it.
importScripts("/zego-zpns-web/firebase-messaging-sw.js");

const tell = (said) => fetch("/told", { method: "POST", body: JSON.stringify(said) });

self.onNotificationArrived = (message) => {
  const payload = message.extra ? message.extra.payload : message.extra;
  return tell({ hook: "arrived", message, payload });
};
self.onNotificationClicked = (message) => {
  const payload = message.extra ? message.extra.payload : message.extra;
  return tell({ hook: "clicked", message, payload });
};

// Every push, and every word of a page, once the SDK has had it.
self.addEventListener("push", (event) => event.waitUntil(tell({ push: event.data.json() })));
self.addEventListener("message", (event) => event.waitUntil(tell({ said: event.data.action })));
