// A page with Google's own SDK: nothing of ours is in it.
import { initializeApp } from "@firebase/app";
import { deleteToken, getMessaging, getToken, onMessage, onRegistered, register } from "@firebase/messaging";
import { FIREBASE } from "./firebase-config.js";

const messaging = getMessaging(initializeApp(FIREBASE));

// The tests call what a page would call, and read what it has heard.
window.heard = [];
onMessage(messaging, (message) => heard.push(message));
window.firebase = {
  getToken: (vapidKey) => getToken(messaging, { vapidKey }),
  deleteToken: () => deleteToken(messaging),
  register: (vapidKey) =>
    new Promise((resolve, reject) => {
      onRegistered(messaging, resolve);
      register(messaging, { vapidKey }).catch(reject);
    }),
};
