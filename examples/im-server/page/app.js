// The page: conversations, messages, calls, and the button that asks for notifications. No framework; read it downwards.
import { ZIM } from "/zim.js";

const at = (id) => document.getElementById(id);
const zim = ZIM.create({ appID: 1 });
const zpns = ZPNs.getInstance();

/** Conversations by name; a group's begins with #. */
const conversations = new Map();
let me = "";
let here = "";
let ringing = null;
let counting;

// ── coming in ────────────────────────────────────────────────────────────────────────────────────────────────────────

async function comeIn(user) {
  const answer = await fetch(`/token?user=${encodeURIComponent(user)}`);
  const { token, message } = await answer.json();
  if (!answer.ok) {
    throw { message };
  }
  me = user;
  localStorage.setItem("user", user);
  at("door").hidden = true;
  at("house").hidden = false;
  at("me").textContent = user;
  if (Notification.permission === "granted" && localStorage.getItem("push") === "on") {
    // Known before the login, so that it goes with it.
    await subscribe().catch(say);
  }
  await zim.login(user, { token });
  open(location.hash.slice(1) || "#everybody");
}

at("login").onsubmit = (event) => {
  event.preventDefault();
  comeIn(new FormData(event.target).get("user")).catch(say);
};

at("logout").onclick = async () => {
  await zim.logout();
  localStorage.removeItem("user");
  location.hash = "";
  location.reload();
};

// ── notifications ────────────────────────────────────────────────────────────────────────────────────────────────────

async function subscribe() {
  const { vapidKey } = await (await fetch("/config.json")).json();
  await zpns.register({ vapidKey }, zim, { reportTo: "/rotate" });
  localStorage.setItem("push", "on");
  pushIs(true);
}

function pushIs(on) {
  at("push").textContent = on ? "Notify me no more" : "Notify me when away";
  at("push").classList.toggle("quiet", on);
  at("push-note").textContent = on ? "Close this tab, and messages find you all the same." : "";
  at("push").dataset.on = on ? "yes" : "";
}

at("push").onclick = async () => {
  try {
    if (at("push").dataset.on) {
      await zpns.unregisterPush();
      localStorage.removeItem("push");
      pushIs(false);
    } else {
      await subscribe();
    }
  } catch (error) {
    say(error);
  }
};

zpns.on("notificationClicked", ({ extra }) => {
  const { conversation } = JSON.parse(extra?.payload ?? "{}");
  if (conversation) {
    open(conversation);
  }
});

// ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function received(conversation, { messageList, info }) {
  for (const { senderUserID, message, timestamp } of messageList) {
    keep(conversation, { from: senderUserID, text: message, timestamp, missed: info.isOfflineMessage });
  }
}

zim.on("peerMessageReceived", (_, data) => received(data.fromConversationID, data));
zim.on("groupMessageReceived", (_, data) => received(`#${data.fromConversationID}`, data));
zim.on("connectionStateChanged", (_, { state }) => at("state").classList.toggle("on", state === 2));

at("write").onsubmit = async (event) => {
  event.preventDefault();
  const field = event.target.elements.text;
  const text = field.value;
  const group = here.startsWith("#");
  const payload = JSON.stringify({ conversation: group ? here : me });
  const title = group ? `${me} in ${here}` : me;
  const config = { priority: 2, pushConfig: { title, content: text, payload } };
  try {
    const to = group ? here.slice(1) : here;
    const { message } = await zim.sendMessage({ type: 1, message: text }, to, group ? 2 : 0, config);
    keep(here, { from: me, text: message.message, timestamp: message.timestamp });
    field.value = "";
  } catch (error) {
    say(error);
  }
};

function keep(name, message) {
  const conversation = conversationOf(name);
  conversation.messages.push(message);
  if (name !== here && message.from !== me) {
    conversation.unread += 1;
  }
  draw();
}

function conversationOf(name) {
  if (!conversations.has(name)) {
    conversations.set(name, { messages: [], unread: 0 });
  }
  return conversations.get(name);
}

async function open(name) {
  here = name;
  conversationOf(name).unread = 0;
  history.replaceState(null, "", `#${name}`);
  draw();
  if (name.startsWith("#")) {
    await zim.joinGroup(name.slice(1)).catch(say);
  }
}

at("open").onsubmit = (event) => {
  event.preventDefault();
  open(event.target.elements.who.value);
  event.target.reset();
};

// ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────

at("call").onclick = async () => {
  const pushConfig = {
    title: `${me} is calling`,
    content: "Click to answer",
    payload: JSON.stringify({ conversation: me }),
    resourcesID: "call",
  };
  try {
    const { errorUserList } = await zim.callInvite([here], { timeout: 60, pushConfig });
    say({ message: errorUserList.length ? `${here} cannot be called now` : `Calling ${here}…` });
  } catch (error) {
    say(error);
  }
};

zim.on("callInvitationReceived", (_, { callID, inviter, timeout }) => {
  ringing = callID;
  const until = Date.now() + timeout * 1000;
  const count = () => {
    const left = Math.max(0, Math.round((until - Date.now()) / 1000));
    at("ring-text").textContent = `${inviter} is calling (${left} s)`;
  };
  count();
  clearInterval(counting);
  counting = setInterval(count, 1000);
  at("ring").hidden = false;
});

for (const event of ["callInvitationCancelled", "callInvitationTimeout", "callInvitationEnded"]) {
  zim.on(event, (_, { callID }) => {
    if (callID === ringing) {
      stopRinging();
    }
  });
}
zim.on("callInvitationAccepted", (_, { invitee }) => say({ message: `${invitee} has answered` }));
zim.on("callInvitationRejected", (_, { invitee }) => say({ message: `${invitee} cannot talk now` }));
zim.on("callInviteesAnsweredTimeout", (_, { invitees }) => say({ message: `${invitees} did not answer` }));

at("accept").onclick = () => zim.callAccept(ringing).then(stopRinging, say);
at("reject").onclick = () => zim.callReject(ringing).then(stopRinging, say);

function stopRinging() {
  ringing = null;
  clearInterval(counting);
  at("ring").hidden = true;
}

// ── drawing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function draw() {
  at("with").textContent = here;
  at("call").hidden = here.startsWith("#");
  at("conversations").replaceChildren(
    ...[...conversations].map(([name, { unread }]) => {
      const button = element("button", name);
      button.classList.toggle("here", name === here);
      if (unread) {
        button.append(element("b", unread));
      }
      button.onclick = () => open(name);
      return button;
    }),
  );
  at("messages").replaceChildren(
    ...conversationOf(here).messages.map(({ from, text, timestamp, missed }) => {
      const item = element("li", text);
      item.classList.toggle("mine", from === me);
      const time = new Date(timestamp).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      item.append(element("small", `${from === me ? "" : `${from}, `}${time}${missed ? ", while you were away" : ""}`));
      return item;
    }),
  );
  at("messages").lastElementChild?.scrollIntoView();
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

let hiding;
function say({ message }) {
  at("toast").textContent = message;
  at("toast").hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => {
    at("toast").hidden = true;
  }, 4000);
}

const known = localStorage.getItem("user");
if (known) {
  comeIn(known).catch(say);
}
