// What the Firebase console gives for a web app; with the `vapidKey`, the eight keys of the guide.
export const FIREBASE = {
  apiKey: "any",
  authDomain: "demo.firebaseapp.com",
  projectId: "demo",
  storageBucket: "demo.appspot.com",
  messagingSenderId: "123456789012",
  appId: "1:123456789012:web:abcdef",
  measurementId: "G-ABCDEFGHIJ",
};
