/* A channel to an invented service that takes a batch in one request and answers token by token:
 *   {"tokens":["a","b"],"message":{"title":"..","content":".."}}  ->  {"results":[{"id":"1"},{"error":"gone"}]}
 * It keeps every promise of `pushgate plugin check`. Built by the tests, with the JSON of the sample beside it. */
#include <stdlib.h>

#include "../../samples/telegram/json.h"
#include "pushgate_plugin.h"

enum { MAX_BATCH = 50 };

static const pushgate_host *host;

struct pushgate_instance {
  pushgate_channel channel;
  char url[256];
};

/* One delivery under way. */
typedef struct batch {
  pushgate_tag tag;
  size_t count;
} batch;

static pushgate_str text(const char *words) {
  pushgate_str str;
  str.ptr = words;
  str.len = strlen(words);
  return str;
}

static void encode(json_out *out, const pushgate_message *message) {
  json_raw(out, "{\"title\":");
  json_string(out, message->title.ptr, message->title.len);
  json_raw(out, ",\"content\":");
  json_string(out, message->content.ptr, message->content.len);
  json_raw(out, "}");
}

/* Answers every address alike, or a probe. */
static void complete_all(pushgate_tag tag, size_t count, uint32_t code, pushgate_str detail) {
  pushgate_outcome *outcomes = calloc(count, sizeof *outcomes);
  size_t i;
  if (outcomes == NULL) return; /* the gateway answers at the deadline */
  for (i = 0; i < count; i++) {
    outcomes[i].struct_size = sizeof *outcomes;
    outcomes[i].code = code;
    outcomes[i].detail = detail;
  }
  host->complete(host, tag, outcomes, count);
  free(outcomes);
}

/* The end of the value that begins at `at` with a brace; NULL where there is none. */
static const char *object_end(const char *at, const char *end) {
  size_t len;
  for (len = 1; at + len <= end; len++)
    if (at[len - 1] == '}' && json_document(at, len).ptr != NULL) return at + len;
  return NULL;
}

/* Reads one outcome for each result. Returns how many there were, or one more than `count` for too many. */
static size_t decode(json_str results, pushgate_outcome *outcomes, size_t count) {
  const char *at = results.ptr, *end = results.ptr + results.len;
  size_t seen = 0;
  while (at != NULL && at < end) {
    const char *close;
    json_str result, id;
    if (*at != '{') {
      at++;
      continue;
    }
    if (seen == count) return count + 1;
    close = object_end(at, end);
    if (close == NULL) return 0;
    result = json_document(at, (size_t)(close - at));
    id = json_at(result, "id");
    outcomes[seen].struct_size = sizeof *outcomes;
    if (id.ptr != NULL) {
      outcomes[seen].code = PUSHGATE_ACCEPTED;
      outcomes[seen].vendor_id.ptr = id.ptr;
      outcomes[seen].vendor_id.len = id.len;
    } else if (json_is(json_at(result, "error"), "gone")) {
      outcomes[seen].code = PUSHGATE_TOKEN_GONE;
    } else {
      outcomes[seen].code = PUSHGATE_BAD_MESSAGE;
    }
    seen++;
    at = close;
  }
  return seen;
}

static void answered(void *user, const pushgate_http_response *response) {
  batch *asked = user;
  pushgate_outcome *outcomes = calloc(asked->count, sizeof *outcomes);
  json_str results = json_at(json_document(response->body.ptr, response->body.len), "results");
  if (response->error != PUSHGATE_HTTP_OK) {
    complete_all(asked->tag, asked->count, pushgate_code_of_http_error(response->error), response->detail);
  } else if (response->status == 429) {
    complete_all(asked->tag, asked->count, PUSHGATE_THROTTLED, text("the service is too busy"));
  } else if (response->status == 400) {
    complete_all(asked->tag, asked->count, PUSHGATE_BAD_MESSAGE, text("the service refused the request"));
  } else if (outcomes == NULL || response->status != 200 || decode(results, outcomes, asked->count) != asked->count) {
    /* Nobody can say whose the results are. */
    complete_all(asked->tag, asked->count, PUSHGATE_VENDOR_DOWN, text("no result for each token"));
  } else {
    host->complete(host, asked->tag, outcomes, asked->count);
  }
  free(outcomes);
  free(asked);
}

static void batch_send(pushgate_instance *self, const pushgate_delivery *delivery, pushgate_tag tag) {
  json_out body = JSON_OUT;
  pushgate_http_request request;
  batch *asked = calloc(1, sizeof *asked);
  size_t i;
  if (asked == NULL) return;
  asked->tag = tag;
  asked->count = delivery->target_count;
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
  if (body.failed || host->http_request(host, self->channel, &request, answered, asked) != PUSHGATE_OK) {
    complete_all(tag, asked->count, PUSHGATE_UNREACHABLE, text("the gateway does not take requests at present"));
    free(asked);
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

/* Without a schema of its configuration, which is optional. */
static const pushgate_plugin table = {
    PUSHGATE_ABI_MAJOR, PUSHGATE_ABI_MINOR, sizeof(pushgate_plugin),
    PUSHGATE_TEXT("batch"), PUSHGATE_TEXT("0.1.0"), PUSHGATE_TEXT("Sends to many tokens in one request."), {NULL, 0},
    &capability, batch_open, batch_close, batch_render, batch_probe, batch_send};

PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *gateway, pushgate_plugin *plugin) {
  host = gateway;
  return pushgate_fill(plugin, &table);
}
