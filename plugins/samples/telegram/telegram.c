/* Channel plugin in C that needs only the header. Sends each notification as a message of a Telegram bot. The token of an
 * address is the id of a chat. Bot API: https://core.telegram.org/bots/api#sendmessage
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

/* Limit of the Bot API: "1-4096 characters after entities parsing". Bytes are counted, which are never fewer. */
enum { MAX_TEXT = 4096, MAX_URL = 1024 };

static const pushgate_host *host;

struct pushgate_instance {
  pushgate_channel channel;
  char send_url[MAX_URL]; /* contains the bot's token: never log it */
  char probe_url[MAX_URL];
};

static pushgate_str text(const char *literal) {
  pushgate_str str;
  str.ptr = literal;
  str.len = strlen(literal);
  return str;
}

/* -- encode ---------------------------------------------------------------------------------------------------------- */

/* Writes the fields of sendMessage other than `chat_id`. Returns the number of bytes that count against the limit. */
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
  /* Appends the object without its braces. Of duplicate fields the last one counts, so native options have priority. */
  if (message->overrides.len > 2 && message->overrides.ptr[0] == '{') {
    json_raw(out, ",");
    json_bytes(out, message->overrides.ptr + 1, message->overrides.len - 2);
  }
  return counted;
}

/* Writes the whole body: `chat_id` and the fields of `encode`. */
static void write_body(json_out *out, const char *chat, size_t len, const json_out *members) {
  json_raw(out, "{\"chat_id\":");
  json_string(out, chat, len);
  json_raw(out, ",");
  json_bytes(out, members->ptr, members->len);
  json_raw(out, "}");
  out->failed |= members->failed;
}

/* -- decode: the only place that knows the errors of Telegram ---------------------------------------------------------- */

static int contains(json_str description, const char *literal) {
  size_t i, n = strlen(literal);
  for (i = 0; i + n <= description.len; i++)
    if (memcmp(description.ptr + i, literal, n) == 0) return 1;
  return 0;
}

/* Sets the outcome of a response. Its texts are in the response or in `buffer` and live until `complete` returns. */
static void decode(const pushgate_http_response *response, pushgate_outcome *outcome, char *buffer, size_t size) {
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
  /* "description" does not contain the message, so it is safe to log. Its JSON escapes remain. */
  outcome->detail.ptr = description.ptr;
  outcome->detail.len = description.len;
  if (description.ptr == NULL) {
    snprintf(buffer, size, "telegram responded with status %u without a description", (unsigned)response->status);
    outcome->detail = text(buffer);
  }
  if (code.ptr != NULL) {
    outcome->vendor_code.ptr = code.ptr;
    outcome->vendor_code.len = code.len;
  }
  switch (response->status) {
    case 400:
      if (contains(description, "chat not found")) {
        outcome->code = PUSHGATE_TOKEN_GONE;
      } else {
        outcome->code = PUSHGATE_BAD_MESSAGE;
      }
      break;
    case 401:
    case 404: /* "Not Found", for a malformed bot token */
      outcome->code = PUSHGATE_CREDENTIALS;
      outcome->scope = PUSHGATE_SCOPE_LANE;
      break;
    case 403: /* the bot is blocked, or the user is deactivated: the user must write to the bot first */
      outcome->code = PUSHGATE_TOKEN_GONE;
      break;
    case 429:
      /* The limit may concern the chat or the whole bot. Telegram does not say which. */
      outcome->code = PUSHGATE_THROTTLED;
      outcome->scope = PUSHGATE_SCOPE_LANE;
      outcome->retry_after_ms = retry_after > 0 && retry_after < 86400 ? (uint64_t)retry_after * 1000 : 0;
      break;
    default:
      outcome->code = response->status >= 500 ? PUSHGATE_VENDOR_DOWN : PUSHGATE_BAD_MESSAGE;
  }
}

/* -- the channel ------------------------------------------------------------------------------------------------------- */

/* Call that is not completed. It is the `user` of its requests. */
typedef struct telegram_call {
  pushgate_instance *self;
  pushgate_tag tag;
  json_out members;  /* fields of the body, for a second request to another chat; empty for a probe */
  char new_chat[24]; /* new id of the chat; empty if there is none */
} telegram_call;

static void complete(telegram_call *call, const pushgate_outcome *outcome) {
  host->complete(host, call->tag, outcome, 1);
  free(call->members.ptr);
  free(call);
}

static void fail(telegram_call *call, uint32_t code, const char *detail) {
  pushgate_outcome outcome;
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  outcome.code = code;
  outcome.detail = text(detail);
  complete(call, &outcome);
}

static void start_request(telegram_call *call, const char *url, const json_out *body, pushgate_http_done done) {
  static const pushgate_header json = {PUSHGATE_TEXT("content-type"), PUSHGATE_TEXT("application/json")};
  pushgate_http_request request;
  if (body->failed) {
    fail(call, PUSHGATE_BUG, "out of memory");
    return;
  }
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.url = text(url);
  request.headers = &json;
  request.header_count = 1;
  request.body.ptr = body->ptr;
  request.body.len = body->len;
  if (host->http_request(host, call->self->channel, &request, done, call) != PUSHGATE_OK)
    fail(call, PUSHGATE_UNREACHABLE, "the gateway accepts no request now");
}

static void send_done(void *user, const pushgate_http_response *response);

static void send_to(telegram_call *call, const char *chat, size_t len) {
  json_out body = JSON_OUT;
  write_body(&body, chat, len, &call->members);
  start_request(call, call->self->send_url, &body, send_done);
  free(body.ptr);
}

/* Sets the outcome of a response or of a missing response. */
static void read_response(const pushgate_http_response *response, pushgate_outcome *outcome, char *buffer, size_t size) {
  memset(outcome, 0, sizeof *outcome);
  outcome->struct_size = sizeof *outcome;
  if (response->error == PUSHGATE_HTTP_OK) {
    decode(response, outcome, buffer, size);
  } else {
    outcome->code = pushgate_code_of_http_error(response->error);
    outcome->detail = response->detail;
  }
}

static void send_done(void *user, const pushgate_http_response *response) {
  telegram_call *call = user;
  pushgate_outcome outcome;
  char buffer[64];
  json_str body = json_document(response->body.ptr, response->body.len);
  json_str new_chat = json_at(body, "parameters.migrate_to_chat_id");
  /* The group has become a supergroup with another id, and nothing was sent. Sends to the new id, once. */
  if (response->status == 400 && json_int(new_chat, 0) != 0 && call->new_chat[0] == '\0') {
    snprintf(call->new_chat, sizeof call->new_chat, "%.*s", (int)new_chat.len, new_chat.ptr);
    send_to(call, call->new_chat, strlen(call->new_chat));
    return;
  }
  read_response(response, &outcome, buffer, sizeof buffer);
  if (outcome.code == PUSHGATE_ACCEPTED && call->new_chat[0] != '\0') {
    outcome.code = PUSHGATE_REPLACED;
    outcome.token = text(call->new_chat);
  }
  complete(call, &outcome);
}

/* Completes a probe with the bot's name as the identity. */
static void probe_done(void *user, const pushgate_http_response *response) {
  pushgate_outcome outcome;
  char buffer[64];
  json_str body = json_document(response->body.ptr, response->body.len);
  json_str name = json_at(body, "result.username");
  read_response(response, &outcome, buffer, sizeof buffer);
  if (outcome.code == PUSHGATE_ACCEPTED) {
    outcome.vendor_id.ptr = name.ptr;
    outcome.vendor_id.len = name.len;
  }
  complete(user, &outcome);
}

static telegram_call *new_call(pushgate_instance *self, pushgate_tag tag) {
  telegram_call *call = calloc(1, sizeof *call);
  if (call != NULL) {
    call->self = self;
    call->tag = tag;
  }
  /* Without memory the call is never completed, and the gateway reports a timeout. */
  return call;
}

/* Sends to one address: max_batch is 1. */
static void telegram_send(pushgate_instance *self, const pushgate_delivery *delivery, pushgate_tag tag) {
  const pushgate_str chat = delivery->targets[0]->token;
  telegram_call *call = new_call(self, tag);
  if (call == NULL) return;
  encode(&call->members, delivery->message);
  send_to(call, chat.ptr, chat.len);
}

static void telegram_probe(pushgate_instance *self, pushgate_tag tag) {
  json_out body = JSON_OUT;
  telegram_call *call = new_call(self, tag);
  if (call == NULL) return;
  json_raw(&body, "{}");
  start_request(call, self->probe_url, &body, probe_done);
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

/* Returns 1 for a valid bot token: digits, a colon, and about 35 characters of A-Z, a-z, 0-9, _ and -. None of these can
 * change the meaning of a URL. */
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

static int starts_with(json_str value, const char *literal) {
  size_t n = strlen(literal);
  return value.len > n && memcmp(value.ptr, literal, n) == 0;
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
    return refuse(error, self, "unknown key: write only bot_token and base_url");
  if (token.ptr == NULL || !is_bot_token(token))
    return refuse(error, self, "bot_token: write the token from @BotFather, such as 123456:ABC-DEF");
  if (base.ptr == NULL) {
    base.ptr = standard;
    base.len = sizeof standard - 1;
  }
  while (base.len > 0 && base.ptr[base.len - 1] == '/') base.len--;
  if (base.len > 512 || !(starts_with(base, "https://") || starts_with(base, "http://")))
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
    0,     /* max_ttl_s: Telegram keeps messages without limit */
    15000, /* timeout_ms */
    1000,  /* retry_floor_ms: "avoid sending more than one message per second" to one chat */
    30000, /* throttle_pause_ms */
    1, PUSHGATE_TOKEN, PUSHGATE_PRIORITY, 0};

static const pushgate_plugin table = {
    PUSHGATE_ABI_MAJOR, PUSHGATE_ABI_MINOR, sizeof(pushgate_plugin),
    PUSHGATE_TEXT("telegram"), PUSHGATE_TEXT("0.1.0"),
    PUSHGATE_TEXT("Sends notifications as messages of a Telegram bot; an address is the id of a chat."),
    PUSHGATE_TEXT("{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"bot_token\"],\"properties\":{"
                  "\"bot_token\":{\"type\":\"string\",\"description\":\"token from @BotFather; use env: or file:\"},"
                  "\"base_url\":{\"type\":\"string\",\"default\":\"https://api.telegram.org\"}}}"),
    &capability, telegram_open, telegram_close, telegram_render, telegram_probe, telegram_send};

PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *gateway, pushgate_plugin *plugin) {
  host = gateway;
  return pushgate_fill(plugin, &table);
}
