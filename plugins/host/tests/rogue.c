/* Plugin that violates the contract. `"mode"` in its configuration selects the violation. The tests compile it. */
#include "pushgate_plugin.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef KIND
#define KIND "rogue"
#endif
#ifndef MAJOR
#define MAJOR PUSHGATE_ABI_MAJOR
#endif

#ifndef TIMEOUT_MS
#define TIMEOUT_MS 200
#endif

static const pushgate_host *host;

struct pushgate_instance {
  pushgate_channel channel;
  char mode[32];
  pushgate_tag last; /* last tag, for late and repeated completions */
};

static int has_mode(const pushgate_instance *self, const char *mode) { return strcmp(self->mode, mode) == 0; }

static pushgate_str text(const char *literal) {
  pushgate_str str;
  str.ptr = literal;
  str.len = strlen(literal);
  return str;
}

/* Accepts `count` addresses. The vendor's id is the token, so that tests can check the order. */
static void accept(pushgate_tag tag, const pushgate_delivery *delivery, size_t count) {
  pushgate_outcome *outcomes = calloc(count + 1, sizeof *outcomes);
  size_t i;
  for (i = 0; i < count; i++) {
    outcomes[i].struct_size = sizeof *outcomes;
    outcomes[i].code = PUSHGATE_ACCEPTED;
    if (delivery != NULL) outcomes[i].vendor_id = delivery->targets[i % delivery->target_count]->token;
  }
  outcomes[0].struct_size = sizeof *outcomes;
  host->complete(host, tag, outcomes, count);
  free(outcomes);
}

static void *accept_in_thread(void *tag) {
  accept((pushgate_tag)(uintptr_t)tag, NULL, 1);
  return NULL;
}

static void accept_in_ten_threads(pushgate_tag tag) {
  pthread_t threads[10];
  int i;
  for (i = 0; i < 10; i++) pthread_create(&threads[i], NULL, accept_in_thread, (void *)(uintptr_t)tag);
  for (i = 0; i < 10; i++) pthread_join(threads[i], NULL);
}

static void http_done(void *user, const pushgate_http_response *response) {
  pushgate_outcome outcome;
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  outcome.code = response->error == PUSHGATE_HTTP_OK ? (uint32_t)PUSHGATE_ACCEPTED
                                                     : pushgate_code_of_http_error(response->error);
  outcome.vendor_id = response->body;
  outcome.detail = response->detail;
  host->complete(host, (pushgate_tag)(uintptr_t)user, &outcome, 1);
}

static void fetch(pushgate_instance *self, pushgate_tag tag) {
  pushgate_http_request request;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.url = text("https://vendor.example/send");
  if (host->http_request(host, self->channel, &request, http_done, (void *)(uintptr_t)tag) != PUSHGATE_OK)
    accept(tag, NULL, 0);
}

static void timer_done(void *user, uint32_t cancelled) {
  if (!cancelled) accept((pushgate_tag)(uintptr_t)user, NULL, 1);
}

static void send_bad_arguments(pushgate_instance *self) {
  pushgate_http_request request;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  host->complete(NULL, 1, NULL, 1);
  host->complete(host, 0, NULL, 0);
  host->complete(host, UINT64_MAX, NULL, 7);
  host->log(host, 99999, PUSHGATE_LOG_ERROR, text("unknown channel"));
  host->log(host, self->channel, 77, text("two\nlines"));
  host->counter(host, self->channel, text("Not A Name"), 1);
  host->http_request(host, self->channel, NULL, http_done, NULL);
  host->http_request(host, self->channel, &request, http_done, NULL);
  request.url = text("file:///etc/passwd");
  host->http_request(host, self->channel, &request, http_done, NULL);
  host->http_request(host, self->channel, &request, NULL, NULL);
  host->timer(host, self->channel, UINT64_MAX, timer_done, NULL);
  host->timer(host, self->channel, 0, NULL, NULL);
}

static void crash(const pushgate_instance *self) {
  volatile int *nowhere = NULL;
  if (has_mode(self, "segfault")) *nowhere = 1;
  if (has_mode(self, "abort")) abort();
  if (has_mode(self, "exit")) _exit(3);
  if (has_mode(self, "loop"))
    for (;;) nowhere = NULL;
  if (has_mode(self, "leak"))
    for (;;) {
      char *block = malloc(16 << 20);
      if (block == NULL) abort();
      memset(block, 1, 16 << 20);
    }
}

/* Reports inherited resources as the vendor's id: two environment variables and the number of unexpected descriptors.
 * Expected are the first three, sockets, pipes of the runtime and the library itself. */
static void inspect_process(pushgate_tag tag) {
  char text_buffer[256], path[64], target[256];
  int fd, unexpected = 0;
  const char *acme = getenv("ACME"), *home = getenv("HOME");
  pushgate_outcome outcome;
  for (fd = 3; fd < 1024; fd++) {
    ssize_t n;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof target - 1);
    if (n < 0) continue;
    target[n] = 0;
    if (strncmp(target, "socket:", 7) && strncmp(target, "anon_inode:", 11) && strncmp(target, "/memfd:", 7) &&
        strcmp(target, "/dev/null") && strncmp(target, "pipe:", 5))
      unexpected++;
  }
  snprintf(text_buffer, sizeof text_buffer, "strange=%d ACME=%s HOME=%s", unexpected, acme ? acme : "-", home ? home : "-");
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  outcome.code = PUSHGATE_ACCEPTED;
  outcome.vendor_id = text(text_buffer);
  host->complete(host, tag, &outcome, 1);
}

static void rogue_send(pushgate_instance *self, const pushgate_delivery *delivery, pushgate_tag tag) {
  size_t count = delivery->target_count;
  pushgate_outcome outcome;
  memset(&outcome, 0, sizeof outcome);
  crash(self);
  if (has_mode(self, "never")) return;
  if (has_mode(self, "late")) { self->last = tag; return; }
  if (has_mode(self, "null")) { host->complete(host, tag, NULL, count); return; }
  if (has_mode(self, "unset")) { outcome.struct_size = sizeof outcome; host->complete(host, tag, &outcome, count); return; }
  if (has_mode(self, "unsized")) { host->complete(host, tag, &outcome, count); return; }
  if (has_mode(self, "few")) { accept(tag, delivery, count - 1); return; }
  if (has_mode(self, "many")) { accept(tag, delivery, count + 1); return; }
  if (has_mode(self, "threads")) { accept_in_ten_threads(tag); return; }
  if (has_mode(self, "endless-pause")) {
    outcome.struct_size = sizeof outcome;
    outcome.code = PUSHGATE_THROTTLED;
    outcome.scope = PUSHGATE_SCOPE_LANE;
    outcome.retry_after_ms = UINT64_MAX;
    host->complete(host, tag, &outcome, 1);
    return;
  }
  if (has_mode(self, "http")) { fetch(self, tag); return; }
  if (has_mode(self, "timer")) { host->timer(host, self->channel, 5, timer_done, (void *)(uintptr_t)tag); return; }
  if (has_mode(self, "inspect-process")) { inspect_process(tag); return; }
  if (has_mode(self, "slow")) usleep(150 * 1000);
  if (has_mode(self, "bad-arguments")) send_bad_arguments(self);
  if (has_mode(self, "stdout")) { fclose(stdout); close(0); close(1); close(2); }
  if (has_mode(self, "chatter")) { puts("noise on stdout"); fflush(stdout); fputs("a line on stderr\n", stderr); }
  if (has_mode(self, "unknown-tag")) accept(tag + 1000000, delivery, count);
  accept(tag, delivery, count);
  if (has_mode(self, "twice")) accept(tag, delivery, count);
  if (has_mode(self, "metrics")) {
    host->counter(host, self->channel, text("sent"), 2);
    host->histogram(host, self->channel, text("size"), 1.5);
    host->log(host, self->channel, PUSHGATE_LOG_INFO, text("sent one"));
  }
  self->last = tag;
}

static void rogue_probe(pushgate_instance *self, pushgate_tag tag) {
  pushgate_outcome outcome;
  memset(&outcome, 0, sizeof outcome);
  if (has_mode(self, "late")) accept(self->last, NULL, 1);
  outcome.struct_size = sizeof outcome;
  outcome.code = has_mode(self, "credentials") ? PUSHGATE_CREDENTIALS : PUSHGATE_ACCEPTED;
  outcome.vendor_id = text("the rogue");
  outcome.expires_at_ms = 1800000000000;
  outcome.detail = text("the key is not known");
  host->complete(host, tag, &outcome, 1);
}

static void rogue_render(pushgate_instance *self, const pushgate_message *message, uint64_t *counted,
                         const pushgate_sink *body) {
  if (has_mode(self, "render-loop"))
    for (;;) *counted = 1;
  *counted = message->title.len + message->content.len + message->payload.len;
  if (has_mode(self, "no-json")) { body->write(body->state, text("{\"half\":")); return; }
  body->write(body->state, text("{\"pieces\":"));
  body->write(body->state, text("2}"));
}

static int32_t rogue_open(const pushgate_host *table, const pushgate_open *args, pushgate_instance **instance,
                          const pushgate_sink *error) {
  static const char key[] = "\"mode\":\"";
  pushgate_instance *self = calloc(1, sizeof *self);
  size_t i, n = 0;
  host = table;
  self->channel = args->channel;
  for (i = 0; i + sizeof key - 1 < args->config.len; i++)
    if (memcmp(args->config.ptr + i, key, sizeof key - 1) == 0) {
      const char *value = args->config.ptr + i + sizeof key - 1;
      while (value[n] != '"' && n + 1 < sizeof self->mode) { self->mode[n] = value[n]; n++; }
    }
  if (has_mode(self, "refuse") || has_mode(self, "refuse-silently")) {
    if (has_mode(self, "refuse")) error->write(error->state, text("mode: this one is refused"));
    free(self);
    return PUSHGATE_REFUSED;
  }
  if (has_mode(self, "open-crash")) abort();
  *instance = self;
  return PUSHGATE_OK;
}

static void rogue_close(pushgate_instance *self) {
  pushgate_tag last = self->last;
  int after = has_mode(self, "after-close");
  free(self);
  if (after) accept(last, NULL, 1);
}

static const pushgate_capability capability = {sizeof(pushgate_capability), 4096, 0, TIMEOUT_MS, 0, 0, 100,
                                               PUSHGATE_TOKEN, PUSHGATE_SILENT | PUSHGATE_COLLAPSE, 0};

static const pushgate_plugin table = {
    MAJOR, PUSHGATE_ABI_MINOR, sizeof(pushgate_plugin),
    PUSHGATE_TEXT(KIND), PUSHGATE_TEXT("0.1"), PUSHGATE_TEXT("Keeps no promise."), {NULL, 0},
    &capability, rogue_open, rogue_close, rogue_render, rogue_probe, rogue_send,
#ifdef GROWN_PLUGIN
    rogue_close,
#endif
};

#ifndef ENTRY
#define ENTRY pushgate_plugin_v1
#endif

PUSHGATE_EXPORT int32_t ENTRY(const pushgate_host *gateway, pushgate_plugin *plugin);

PUSHGATE_EXPORT int32_t ENTRY(const pushgate_host *gateway, pushgate_plugin *plugin) {
  host = gateway;
#ifdef GROWN_HOST
  /* Uses the function of version 1.1 only if the host has it. */
  if (PUSHGATE_HAS(gateway, pushgate_host, later)) {
    if (gateway->later != NULL) gateway->later();
  }
#endif
#ifdef UNWILLING
  return PUSHGATE_REFUSED;
#endif
#ifdef CARELESS
  memcpy(plugin, &table, sizeof table);
  return PUSHGATE_OK;
#else
  return pushgate_fill(plugin, &table);
#endif
}
