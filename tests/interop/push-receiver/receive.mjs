// The unmodified npm package `@eneris/push-receiver` registers as a browser does and waits for one push.
import { PushReceiver } from "@eneris/push-receiver";

const firebase = {
  apiKey: "any",
  appId: "1:123456789012:web:abcdef",
  projectId: "demo",
  messagingSenderId: "123456789012",
};
const receiver = new PushReceiver({ firebase, persistentIds: [], heartbeatIntervalMs: 2000 });
receiver.onNotification(({ message }) => {
  console.log("GOT", JSON.stringify(message));
  process.exit(0);
});
await receiver.connect();
console.log("TOKEN", receiver.fcmToken);
