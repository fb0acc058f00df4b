// A worker with Google's own SDK.
import { initializeApp } from "@firebase/app";
import { getMessaging, onBackgroundMessage } from "@firebase/messaging/sw";
import { FIREBASE } from "./firebase-config.js";

onBackgroundMessage(getMessaging(initializeApp(FIREBASE)), (message) =>
  fetch("/told", { method: "POST", body: JSON.stringify(message) }),
);
