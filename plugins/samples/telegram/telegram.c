/* A channel plugin in C, with the header alone: sends each notification as a message of a Telegram bot.
 * Bot API: https://core.telegram.org/bots/api#sendmessage - an address's token is the id of a chat.
 *
 *   cc -std=c99 -O2 -shared -fPIC -fvisibility=hidden -I../../abi/include telegram.c json.c -o libpushgate_telegram.so
 *
 *   [apps.demo.channels.telegram]
 *   kind = "telegram"
 *   bot_token = "env:TELEGRAM_BOT_TOKEN"
 *   base_url = "https://api.telegram.org"     # or a Bot API server of your own
 */
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "pushgate_plugin.h"

/* "1-4096 characters after entities parsing". We count bytes, which are never fewer. */
enum { MAX_TEXT = 4096, MAX_URL = 1024 };

static const pushgate_host *host;

struct pushgate_instance {
  pushgate_channel channel;
  char send_url[MAX_URL]; /* with the bot's token in it: never logged */
  char probe_url[MAX_URL];
};

static pushgate_str text(const char *words) {
  pushgate_str str;
  str.ptr = words;
  str.len = strlen(words);
  return str;
}

/* -- encode ---------------------------------------------------------------------------------------------------------- */

/* The members of sendMessage after the target. Gives how many bytes the text has that the limit is about. */
static size_t encode(json_out *out, const pushgate_message *message) {
  size_t counted;
  json_raw(out, "\"text\":\"");
  json_chars(out, message->title.ptr, message->title.len);
  if (message->title.len > 0 && message->content.len > 0) json_chars(out, "\n", 1);
  json_chars(out, message->content.ptr, message->content.len);
  if (message->link.ptr != NULL) {
    json_chars(out, "\n", 1);
    json_chars(out, message->link.ptr, message->link.len);
  }
  counted = out->unescaped;
  json_raw(out, "\",\"disable_notification\":");
  json_raw(out, message->priority == PUSHGATE_PRIORITY_HIGH ? "false" : "true");
  /* A JSON object without its braces: its members come last, so they win. */
  if (message->overrides.len > 2 && message->overrides.ptr[0] == '{') {
    json_raw(out, ",");
    json_bytes(out, message->overrides.ptr + 1, message->overrides.len - 2);
  }
  return counted;
}

/* The whole body: the target, then what `encode` wrote. */
static void address(json_out *out, const char *chat, size_t len, const json_out *members) {
  json_raw(out, "{\"chat_id\":");
  json_string(out, chat, len);
  json_raw(out, ",");
  json_bytes(out, members->ptr, members->len);
  json_raw(out, "}");
  out->failed |= members->failed;
}

/* -- decode: the only place that knows Telegram's errors --------------------------------------------------------------- */

static int says(json_str description, const char *words) {
  size_t i, n = strlen(words);
  for (i = 0; i + n <= description.len; i++)
    if (memcmp(description.ptr + i, words, n) == 0) return 1;
  return 0;
}

/* Texts of an outcome must live until `complete` returns: they are in `room`. */
static void decode(const pushgate_http_response *response, pushgate_outcome *outcome, char *room, size_t size) {
  json_str body = json_document(response->body.ptr, response->body.len);
  json_str description = json_at(body, "description");
  int64_t retry_after = json_int(json_at(body, "parameters.retry_after"), 0);
  json_str code = json_at(body, "error_code");

  if (response->status / 100 == 2 && json_is(json_at(body, "ok"), "true")) {
    json_str id = json_at(body, "result.message_id");
    outcome->code = PUSHGATE_ACCEPTED;
    if (id.ptr != NULL) {
      outcome->vendor_id.ptr = id.ptr;
      outcome->vendor_id.len = id.len;
    }
    return;
  }
  /* "description" tells of the request and not of its content: safe to log. It is JSON text still, escapes and all. */
  outcome->detail.ptr = description.ptr;
  outcome->detail.len = description.len;
  if (description.ptr == NULL) {
    snprintf(room, size, "telegram answered %u without a description", (unsigned)response->status);
    outcome->detail = text(room);
  }
  if (code.ptr != NULL) {
    outcome->vendor_code.ptr = code.ptr;
    outcome->vendor_code.len = code.len;
  }
  switch (response->status) {
    case 400:
      if (says(description, "chat not found")) {
        outcome->code = PUSHGATE_TOKEN_GONE;
      } else {
        outcome->code = PUSHGATE_BAD_MESSAGE;
      }
      break;
    case 401:
    case 404: /* "Not Found" is what a malformed bot token gets */
      outcome->code = PUSHGATE_CREDENTIALS;
      outcome->scope = PUSHGATE_SCOPE_LANE;
      break;
    case 403: /* blocked, deactivated, kicked, never started: in each case the user has to write to the bot first */
      outcome->code = PUSHGATE_TOKEN_GONE;
      break;
    case 429:
      /* A chat may be too fast alone, and the bot as a whole; Telegram does not say which. */
      outcome->code = PUSHGATE_THROTTLED;
      outcome->scope = PUSHGATE_SCOPE_LANE;
      outcome->retry_after_ms = retry_after > 0 && retry_after < 86400 ? (uint64_t)retry_after * 1000 : 0;
      break;
    default:
      outcome->code = response->status >= 500 ? PUSHGATE_VENDOR_DOWN : PUSHGATE_BAD_MESSAGE;
  }
}

/* -- the channel ------------------------------------------------------------------------------------------------------- */

/* One question under way: what `user` of its requests points to. */
typedef struct question {
  pushgate_instance *self;
  pushgate_tag tag;
  json_out members; /* of the body, should it have to go to another chat; a probe has none */
  char moved_to[24]; /* the chat's new id; empty while it has none */
} question;

static void settle(question *asked, const pushgate_outcome *outcome) {
  host->complete(host, asked->tag, outcome, 1);
  free(asked->members.ptr);
  free(asked);
}

static void fail(question *asked, uint32_t code, const char *detail) {
  pushgate_outcome outcome;
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  outcome.code = code;
  outcome.detail = text(detail);
  settle(asked, &outcome);
}

static void request(question *asked, const char *url, const json_out *body, pushgate_http_done done) {
  static const pushgate_header json = {PUSHGATE_TEXT("content-type"), PUSHGATE_TEXT("application/json")};
  pushgate_http_request ask;
  if (body->failed) {
    fail(asked, PUSHGATE_BUG, "out of memory");
    return;
  }
  memset(&ask, 0, sizeof ask);
  ask.struct_size = sizeof ask;
  ask.url = text(url);
  ask.headers = &json;
  ask.header_count = 1;
  ask.body.ptr = body->ptr;
  ask.body.len = body->len;
  if (host->http_request(host, asked->self->channel, &ask, done, asked) != PUSHGATE_OK)
    fail(asked, PUSHGATE_UNREACHABLE, "the gateway does not take requests at present");
}

static void answered(void *user, const pushgate_http_response *response);

static void send_to(question *asked, const char *chat, size_t len) {
  json_out body = JSON_OUT;
  address(&body, chat, len, &asked->members);
  request(asked, asked->self->send_url, &body, answered);
  free(body.ptr);
}

/* What both kinds of questions make of an answer. */
static void read_answer(const pushgate_http_response *response, pushgate_outcome *outcome, char *room, size_t size) {
  memset(outcome, 0, sizeof *outcome);
  outcome->struct_size = sizeof *outcome;
  if (response->error == PUSHGATE_HTTP_OK) {
    decode(response, outcome, room, size);
  } else {
    outcome->code = pushgate_code_of_http_error(response->error);
    outcome->detail = response->detail;
  }
}

static void answered(void *user, const pushgate_http_response *response) {
  question *asked = user;
  pushgate_outcome outcome;
  char room[64];
  json_str body = json_document(response->body.ptr, response->body.len);
  json_str moved_to = json_at(body, "parameters.migrate_to_chat_id");
  /* The group has become a supergroup under another id, and nothing was sent: it goes there, once. */
  if (response->status == 400 && json_int(moved_to, 0) != 0 && asked->moved_to[0] == '\0') {
    snprintf(asked->moved_to, sizeof asked->moved_to, "%.*s", (int)moved_to.len, moved_to.ptr);
    send_to(asked, asked->moved_to, strlen(asked->moved_to));
    return;
  }
  read_answer(response, &outcome, room, sizeof room);
  if (outcome.code == PUSHGATE_ACCEPTED && asked->moved_to[0] != '\0') {
    outcome.code = PUSHGATE_REPLACED;
    outcome.token = text(asked->moved_to);
  }
  settle(asked, &outcome);
}

/* A probe is told the bot's name where a send is told the message's id. */
static void probed(void *user, const pushgate_http_response *response) {
  pushgate_outcome outcome;
  char room[64];
  json_str body = json_document(response->body.ptr, response->body.len);
  json_str name = json_at(body, "result.username");
  read_answer(response, &outcome, room, sizeof room);
  if (outcome.code == PUSHGATE_ACCEPTED) {
    outcome.vendor_id.ptr = name.ptr;
    outcome.vendor_id.len = name.len;
  }
  settle(user, &outcome);
}

static question *ask(pushgate_instance *self, pushgate_tag tag) {
  question *asked = calloc(1, sizeof *asked);
  if (asked != NULL) {
    asked->self = self;
    asked->tag = tag;
  }
  /* Without memory for a question there is none for an answer: the gateway gives it at the deadline. */
  return asked;
}

/* One address at a time, so one request is one answer: max_batch is 1. */
static void telegram_send(pushgate_instance *self, const pushgate_delivery *delivery, pushgate_tag tag) {
  const pushgate_str chat = delivery->targets[0]->token;
  question *asked = ask(self, tag);
  if (asked == NULL) return;
  encode(&asked->members, delivery->message);
  send_to(asked, chat.ptr, chat.len);
}

static void telegram_probe(pushgate_instance *self, pushgate_tag tag) {
  json_out body = JSON_OUT;
  question *asked = ask(self, tag);
  if (asked == NULL) return;
  json_raw(&body, "{}");
  request(asked, self->probe_url, &body, probed);
  free(body.ptr);
}

static void telegram_render(pushgate_instance *self, const pushgate_message *message, uint64_t *counted,
                            const pushgate_sink *sink) {
  json_out body = JSON_OUT;
  pushgate_str piece;
  (void)self;
  json_raw(&body, "{");
  *counted = encode(&body, message);
  json_raw(&body, "}");
  piece.ptr = body.ptr;
  piece.len = body.len;
  if (!body.failed) sink->write(sink->state, piece);
  free(body.ptr);
}

static int32_t refuse(const pushgate_sink *error, pushgate_instance *self, const char *why) {
  error->write(error->state, text(why));
  free(self);
  return PUSHGATE_REFUSED;
}

/* A bot token is digits, a colon, and 35 or so of A-Z a-z 0-9 _ -: nothing that could change a URL's meaning. */
static int is_bot_token(json_str token) {
  size_t i;
  int colons = 0;
  for (i = 0; i < token.len; i++) {
    char c = token.ptr[i];
    if (c == ':') colons++;
    else if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-'))
      return 0;
  }
  return colons == 1 && token.len >= 10 && token.len <= 128;
}

static int begins(json_str value, const char *words) {
  size_t n = strlen(words);
  return value.len > n && memcmp(value.ptr, words, n) == 0;
}

static int32_t telegram_open(const pushgate_host *table, const pushgate_open *args, pushgate_instance **instance,
                             const pushgate_sink *error) {
  static const char standard[] = "https://api.telegram.org";
  json_str config = json_document(args->config.ptr, args->config.len);
  json_str token = json_at(config, "bot_token"), base = json_at(config, "base_url");
  pushgate_instance *self = calloc(1, sizeof *self);
  (void)table;
  if (self == NULL) return PUSHGATE_REFUSED;
  if (json_other_key(config, "bot_token base_url") != NULL)
    return refuse(error, self, "there is a key that is neither bot_token nor base_url");
  if (token.ptr == NULL || !is_bot_token(token))
    return refuse(error, self, "bot_token: write the token that @BotFather gave, like 123456:ABC-DEF");
  if (base.ptr == NULL) {
    base.ptr = standard;
    base.len = sizeof standard - 1;
  }
  while (base.len > 0 && base.ptr[base.len - 1] == '/') base.len--;
  if (base.len > 512 || !(begins(base, "https://") || begins(base, "http://")))
    return refuse(error, self, "base_url: write https://host");
  self->channel = args->channel;
  snprintf(self->send_url, MAX_URL, "%.*s/bot%.*s/sendMessage", (int)base.len, base.ptr, (int)token.len, token.ptr);
  snprintf(self->probe_url, MAX_URL, "%.*s/bot%.*s/getMe", (int)base.len, base.ptr, (int)token.len, token.ptr);
  *instance = self;
  return PUSHGATE_OK;
}

static void telegram_close(pushgate_instance *self) { free(self); }

/* -- the table --------------------------------------------------------------------------------------------------------- */

static const pushgate_capability capability = {
    sizeof(pushgate_capability), MAX_TEXT,
    0,     /* Telegram keeps a message for ever */
    15000, /* ms for one send */
    1000,  /* "avoid sending more than one message per second" to one chat */
    30000,
    1, PUSHGATE_TOKEN, PUSHGATE_PRIORITY, 0};

static const pushgate_plugin table = {
    PUSHGATE_ABI_MAJOR, PUSHGATE_ABI_MINOR, sizeof(pushgate_plugin),
    PUSHGATE_TEXT("telegram"), PUSHGATE_TEXT("0.1.0"),
    PUSHGATE_TEXT("Sends notifications as messages of a Telegram bot; an address is the id of a chat."),
    PUSHGATE_TEXT("{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"bot_token\"],\"properties\":{"
                  "\"bot_token\":{\"type\":\"string\",\"description\":\"what @BotFather gave; use env: or file:\"},"
                  "\"base_url\":{\"type\":\"string\",\"default\":\"https://api.telegram.org\"}}}"),
    &capability, telegram_open, telegram_close, telegram_render, telegram_probe, telegram_send};

PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *gateway, pushgate_plugin *plugin) {
  host = gateway;
  return pushgate_fill(plugin, &table);
}
