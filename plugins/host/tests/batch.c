/* Channel to an invented service that accepts a batch in one request and returns one result for each token:
 *   {"tokens":["a","b"],"message":{"title":"..","content":".."}}  ->  {"results":[{"id":"1"},{"error":"gone"}]}
 * It passes `pushgate plugin check`. The tests compile it with the JSON code of the sample. */
#include <stdlib.h>

#include "../../samples/telegram/json.h"
#include "pushgate_plugin.h"

enum { MAX_BATCH = 50 };

static const pushgate_host *host;

struct pushgate_instance {
  pushgate_channel channel;
  char url[256];
};

/* Delivery that is not completed. */
typedef struct batch {
  pushgate_tag tag;
  size_t count;
} batch;

static pushgate_str text(const char *literal) {
  pushgate_str str;
  str.ptr = literal;
  str.len = strlen(literal);
  return str;
}

static void encode(json_out *out, const pushgate_message *message) {
  json_raw(out, "{\"title\":");
  json_string(out, message->title.ptr, message->title.len);
  json_raw(out, ",\"content\":");
  json_string(out, message->content.ptr, message->content.len);
  json_raw(out, "}");
}

/* Completes a call with the same outcome for every address. */
static void complete_all(pushgate_tag tag, size_t count, uint32_t code, pushgate_str detail) {
  pushgate_outcome *outcomes = calloc(count, sizeof *outcomes);
  size_t i;
  if (outcomes == NULL) return; /* the gateway reports a timeout */
  for (i = 0; i < count; i++) {
    outcomes[i].struct_size = sizeof *outcomes;
    outcomes[i].code = code;
    outcomes[i].detail = detail;
  }
  host->complete(host, tag, outcomes, count);
  free(outcomes);
}

/* Returns the end of the object that starts at `at`, or NULL if there is none. */
static const char *object_end(const char *at, const char *end) {
  size_t len;
  for (len = 1; at + len <= end; len++)
    if (at[len - 1] == '}' && json_document(at, len).ptr != NULL) return at + len;
  return NULL;
}

/* Sets one outcome for each result. Returns the number of results, or count + 1 if there are more than `count`. */
static size_t decode(json_str results, pushgate_outcome *outcomes, size_t count) {
  const char *at = results.ptr, *end = results.ptr + results.len;
  size_t index = 0;
  while (at != NULL && at < end) {
    const char *close;
    json_str result, id;
    if (*at != '{') {
      at++;
      continue;
    }
    if (index == count) return count + 1;
    close = object_end(at, end);
    if (close == NULL) return 0;
    result = json_document(at, (size_t)(close - at));
    id = json_at(result, "id");
    outcomes[index].struct_size = sizeof *outcomes;
    if (id.ptr != NULL) {
      outcomes[index].code = PUSHGATE_ACCEPTED;
      outcomes[index].vendor_id.ptr = id.ptr;
      outcomes[index].vendor_id.len = id.len;
    } else if (json_is(json_at(result, "error"), "gone")) {
      outcomes[index].code = PUSHGATE_TOKEN_GONE;
    } else {
      outcomes[index].code = PUSHGATE_BAD_MESSAGE;
    }
    index++;
    at = close;
  }
  return index;
}

static void send_done(void *user, const pushgate_http_response *response) {
  batch *call = user;
  pushgate_outcome *outcomes = calloc(call->count, sizeof *outcomes);
  json_str results = json_at(json_document(response->body.ptr, response->body.len), "results");
  if (response->error != PUSHGATE_HTTP_OK) {
    complete_all(call->tag, call->count, pushgate_code_of_http_error(response->error), response->detail);
  } else if (response->status == 429) {
    complete_all(call->tag, call->count, PUSHGATE_THROTTLED, text("the service is too busy"));
  } else if (response->status == 400) {
    complete_all(call->tag, call->count, PUSHGATE_BAD_MESSAGE, text("the service refused the request"));
  } else if (outcomes == NULL || response->status != 200 || decode(results, outcomes, call->count) != call->count) {
    /* The results cannot be assigned to the tokens. */
    complete_all(call->tag, call->count, PUSHGATE_VENDOR_DOWN, text("no result for each token"));
  } else {
    host->complete(host, call->tag, outcomes, call->count);
  }
  free(outcomes);
  free(call);
}

static void batch_send(pushgate_instance *self, const pushgate_delivery *delivery, pushgate_tag tag) {
  json_out body = JSON_OUT;
  pushgate_http_request request;
  batch *call = calloc(1, sizeof *call);
  size_t i;
  if (call == NULL) return;
  call->tag = tag;
  call->count = delivery->target_count;
  json_raw(&body, "{\"tokens\":[");
  for (i = 0; i < delivery->target_count; i++) {
    if (i > 0) json_raw(&body, ",");
    json_string(&body, delivery->targets[i]->token.ptr, delivery->targets[i]->token.len);
  }
  json_raw(&body, "],\"message\":");
  encode(&body, delivery->message);
  json_raw(&body, "}");
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.url = text(self->url);
  request.body.ptr = body.ptr;
  request.body.len = body.len;
  if (body.failed || host->http_request(host, self->channel, &request, send_done, call) != PUSHGATE_OK) {
    complete_all(tag, call->count, PUSHGATE_UNREACHABLE, text("the gateway accepts no request now"));
    free(call);
  }
  free(body.ptr);
}

static void batch_probe(pushgate_instance *self, pushgate_tag tag) {
  (void)self;
  complete_all(tag, 1, PUSHGATE_ACCEPTED, text(""));
}

static void batch_render(pushgate_instance *self, const pushgate_message *message, uint64_t *counted,
                         const pushgate_sink *sink) {
  json_out body = JSON_OUT;
  pushgate_str piece;
  (void)self;
  encode(&body, message);
  piece.ptr = body.ptr;
  piece.len = body.len;
  *counted = body.len;
  if (!body.failed) sink->write(sink->state, piece);
  free(body.ptr);
}

static int32_t batch_open(const pushgate_host *table, const pushgate_open *args, pushgate_instance **instance,
                          const pushgate_sink *error) {
  json_str config = json_document(args->config.ptr, args->config.len), url = json_at(config, "url");
  pushgate_instance *self = calloc(1, sizeof *self);
  (void)table;
  if (self == NULL || json_other_key(config, "url") != NULL || url.ptr == NULL || url.len >= sizeof self->url) {
    error->write(error->state, text("write url, and no other key"));
    free(self);
    return PUSHGATE_REFUSED;
  }
  memcpy(self->url, url.ptr, url.len);
  self->channel = args->channel;
  *instance = self;
  return PUSHGATE_OK;
}

static void batch_close(pushgate_instance *self) { free(self); }

static const pushgate_capability capability = {
    sizeof(pushgate_capability), 4096, 0, 0, 0, 0, MAX_BATCH, PUSHGATE_TOKEN, 0, 0};

/* Has no configuration schema, which is optional. */
static const pushgate_plugin table = {
    PUSHGATE_ABI_MAJOR, PUSHGATE_ABI_MINOR, sizeof(pushgate_plugin),
    PUSHGATE_TEXT("batch"), PUSHGATE_TEXT("0.1.0"), PUSHGATE_TEXT("Sends to many tokens in one request."), {NULL, 0},
    &capability, batch_open, batch_close, batch_render, batch_probe, batch_send};

PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *gateway, pushgate_plugin *plugin) {
  host = gateway;
  return pushgate_fill(plugin, &table);
}
