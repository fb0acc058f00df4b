/* pushgate_plugin.h - contract between the push gateway and a channel plugin. Version 1.0 of the binary interface.
 *
 * A plugin is a shared library that adds one kind of channel: one way to send notifications to a push service. It needs
 * only this header, and no TLS library, event loop or special allocator. Write it in C99, in C++, or in any language that
 * can export a C function.
 *
 * Life of a plugin:
 *
 *   1. The gateway loads the library and calls its only exported function, `pushgate_plugin_v1`, once. The plugin fills in
 *      its table: its description, its capability and five functions.
 *   2. The gateway calls `open` for each configured channel of the plugin's kind.
 *   3. The gateway calls `render` while it plans, `send` for each delivery, and `probe` to check the credentials.
 *   4. `send` returns at once. The plugin starts HTTP requests and timers of the gateway, which later call functions of the
 *      plugin. When the plugin knows all outcomes of the delivery, it calls `complete` once.
 *   5. The gateway calls `close` when the channel is replaced or the gateway stops.
 *
 * Rules:
 *
 *   Threads     Every function of both tables may be called from any thread, and concurrently. A plugin synchronizes its own
 *               state. The gateway guarantees: `open` returns before any other call on its instance. `close` is the last
 *               call, happens once, and only when no other call on the instance is running.
 *   Blocking    No function of the plugin blocks: no sleep, no socket, no lock that is held for long. The gateway's threads
 *               run it, and other channels need them. Use `http_request` and `timer` to wait.
 *   Memory      Each side frees what it has allocated. Arguments are borrowed until the function returns, so copy what you
 *               need longer. Everything in the plugin's table must live as long as the process.
 *   Text        Pointer and length, UTF-8, without a terminating zero. A NULL pointer means that there is no text.
 *   Growth      New fields are only appended to structs. Each struct contains `struct_size`, the size that its creator
 *               knew. Check `PUSHGATE_HAS` before you read a field that is younger than 1.0. A plugin for 1.0 runs on every
 *               gateway of version 1.n, and a plugin for 1.n on a gateway of version 1.0. A new major version has another
 *               symbol.
 *   Exceptions  No exception, panic or longjmp may leave a function of the plugin. Since C++17 the types below include
 *               `noexcept`, so the compiler checks it.
 *   Secrets     Never put tokens, titles, contents, payloads or credentials into `log`, `detail` or names of metrics.
 *   Process     Do not fork. Do not change signal handlers, the working directory, the locale or the environment.
 *
 * License: Apache-2.0 OR MIT. A plugin that includes this header may have any license.
 */
#ifndef PUSHGATE_PLUGIN_H
#define PUSHGATE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PUSHGATE_ABI_MAJOR 1u
#define PUSHGATE_ABI_MINOR 0u

/* Declares the export of `pushgate_plugin_v1`. Compile with -fvisibility=hidden to export nothing else. */
#if defined(_WIN32)
#define PUSHGATE_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define PUSHGATE_EXPORT __attribute__((visibility("default")))
#else
#define PUSHGATE_EXPORT
#endif

#if defined(__cplusplus) && __cplusplus >= 201703L
#define PUSHGATE_NOEXCEPT noexcept
#else
#define PUSHGATE_NOEXCEPT
#endif

/* True if the struct at `pointer` has the field `field`. Example: PUSHGATE_HAS(host, pushgate_host, now_ms) */
#define PUSHGATE_HAS(pointer, type, field) \
  ((pointer)->struct_size >= offsetof(type, field) + sizeof(((type *)0)->field))

/* -- Basic types ----------------------------------------------------------------------------------------------------- */

/* Text without a terminating zero. `ptr` is NULL if there is no text. An empty text has a pointer and the length 0. */
typedef struct pushgate_str {
  const char *ptr;
  size_t len;
} pushgate_str;

/* Initializer of a pushgate_str from a string literal. Example: PUSHGATE_TEXT("telegram") */
#define PUSHGATE_TEXT(literal) {(literal), sizeof(literal) - 1}

/* Number of an open channel. The plugin receives it in `open` and passes it to the functions of the gateway. */
typedef uint64_t pushgate_channel;

/* Number of a call that the plugin must complete with `complete`. Valid once. */
typedef uint64_t pushgate_tag;

/* The plugin's own object for one open channel, opaque to the gateway. */
typedef struct pushgate_instance pushgate_instance;

/* Destination of a text whose length only the plugin knows. Write it in any number of pieces, but only during the call that
 * received the sink. Bytes beyond 1 MiB are dropped. */
typedef struct pushgate_sink {
  void *state;
  void (*write)(void *state, pushgate_str piece) PUSHGATE_NOEXCEPT;
} pushgate_sink;

/* Result of a function that can refuse. */
enum {
  PUSHGATE_OK = 0,
  PUSHGATE_REFUSED = 1,   /* invalid arguments: a NULL pointer, no URL, an unknown channel */
  PUSHGATE_BUSY = 2,      /* this channel has 131,072 running requests and timers */
  PUSHGATE_CLOSED = 3     /* the channel is closing */
};

/* -- Capability ------------------------------------------------------------------------------------------------------ */

/* Kinds of tokens that the channel accepts: bits of `pushgate_capability.tokens`. */
enum {
  PUSHGATE_TOKEN = 1,         /* device or registration token, opaque to the gateway */
  PUSHGATE_FID = 2,           /* installation id */
  PUSHGATE_SUBSCRIPTION = 4   /* Web Push subscription, as JSON */
};

/* Features of the channel: bits of `pushgate_capability.features`. The gateway relies on them. */
enum {
  PUSHGATE_COLLAPSE = 1,   /* a message replaces an earlier one with the same collapse key */
  PUSHGATE_PRIORITY = 2,   /* distinguishes priorities */
  PUSHGATE_BADGE = 4,      /* sets the number on the icon */
  PUSHGATE_SILENT = 8,     /* sends data that is not shown. Without it the channel gets no silent messages */
  PUSHGATE_IMAGE = 16,     /* shows an image */
  PUSHGATE_RECEIPTS = 32   /* the push service reports arrivals */
};

typedef struct pushgate_capability {
  size_t struct_size;          /* sizeof(pushgate_capability) */
  uint64_t max_bytes;          /* maximum size that `render` may return; the gateway cuts contents and titles to it. >= 1 */
  uint64_t max_ttl_s;          /* maximum time to live of the push service, in seconds. 0: 28 days */
  uint64_t timeout_ms;         /* maximum duration of one `send`. 0: 10 s. At most 10 min */
  uint64_t retry_floor_ms;     /* minimum delay of a retry. 0: 500 ms. At most 24 hours */
  uint64_t throttle_pause_ms;  /* pause after a throttle without a delay. 0: 60 s. At most 24 hours */
  uint32_t max_batch;          /* maximum number of addresses in one delivery. 1 to 10,000 */
  uint32_t tokens;             /* bits PUSHGATE_TOKEN ... At least one */
  uint32_t features;           /* bits PUSHGATE_COLLAPSE ... */
  uint32_t reserved;           /* 0 */
} pushgate_capability;

/* -- Deliveries ------------------------------------------------------------------------------------------------------ */

enum { PUSHGATE_PRIORITY_HIGH = 0, PUSHGATE_PRIORITY_NORMAL = 1, PUSHGATE_PRIORITY_LOW = 2 };

/* Action of the device: `pushgate_message.act`. */
enum {
  PUSHGATE_ACT_SHOW = 0,    /* show the message, unless it is silent */
  PUSHGATE_ACT_RING = 1,    /* ring for a call */
  PUSHGATE_ACT_REMOVE = 2   /* remove the message that is shown under `tag`; always silent */
};

/* Notification, rendered for one language and cut to the limits of the channel. */
typedef struct pushgate_message {
  size_t struct_size;
  pushgate_str id;            /* the same for all attempts and addresses; send it if the push service has a field for it */
  pushgate_str app;           /* app of the gateway */
  pushgate_str title;         /* may be empty */
  pushgate_str content;       /* text below the title; may be empty */
  pushgate_str payload;       /* data for the app, unchanged and never cut; or none */
  pushgate_str image;         /* HTTPS URL of an image; or none */
  pushgate_str link;          /* URL that a click opens; or none */
  pushgate_str collapse_key;  /* a later message with the same key replaces this one; or none */
  pushgate_str thread;        /* group of messages, such as a conversation; or none */
  pushgate_str category;      /* category of the notification in the device's settings; or none */
  pushgate_str overrides;     /* native options of this channel as JSON, merged last; or none. At most 100 levels */
  int64_t created_at_ms;      /* time of the request, milliseconds since 1970 */
  int64_t expires_at_ms;      /* time after which it must not be sent, milliseconds since 1970 */
  uint64_t ttl_s;             /* requested time to live, in seconds; 0: deliver now or not at all */
  int64_t badge;              /* number on the icon; -1: unchanged */
  uint32_t priority;          /* PUSHGATE_PRIORITY_HIGH ... */
  uint32_t silent;            /* 1: data for the app, not shown */
  pushgate_str tag;           /* name of the shown notification; a new one with the same name replaces it */
  pushgate_str call;          /* PUSHGATE_ACT_RING: id of the call for server and app; or none */
  uint32_t act;               /* PUSHGATE_ACT_SHOW ... */
  uint32_t voip;              /* PUSHGATE_ACT_RING: 1: use the platform's call screen if possible */
} pushgate_message;

/* Recipient: one device and its address. */
typedef struct pushgate_target {
  size_t struct_size;
  pushgate_str token;         /* secret: never log it */
  pushgate_str device;        /* id of the device; or none */
  pushgate_str user;          /* id of the user; or none */
  uint32_t kind;              /* PUSHGATE_TOKEN, PUSHGATE_FID or PUSHGATE_SUBSCRIPTION */
  uint32_t index;             /* index within the notification, the same for all attempts */
} pushgate_target;

/* Notification and a batch of its recipients. */
typedef struct pushgate_delivery {
  size_t struct_size;
  pushgate_str id;                          /* id of the delivery */
  const pushgate_message *message;
  const pushgate_target *const *targets;    /* `target_count` pointers: delivery->targets[i]->token */
  size_t target_count;                      /* 1 to max_batch */
  int64_t deadline_ms;                      /* milliseconds since 1970; the call times out half a second later */
  uint32_t attempt;                         /* number of the attempt, from 1 */
  uint32_t reserved;
} pushgate_delivery;

/* -- Outcomes -------------------------------------------------------------------------------------------------------- */

/* `pushgate_outcome.code`. The kind of a fault decides what the gateway does next. */
enum {
  PUSHGATE_OUTCOME_UNSET = 0,  /* outcome that was not set; treated as PUSHGATE_BUG */
  PUSHGATE_ACCEPTED = 1,       /* the push service accepted the message */
  PUSHGATE_REPLACED = 2,       /* accepted, and the device has a new token, in `token` */

  PUSHGATE_BAD_MESSAGE = 16,   /* the push service never accepts this content. Not retried */
  PUSHGATE_TOO_LARGE = 17,     /* larger than the channel allows. Not retried */
  PUSHGATE_TOKEN_GONE = 18,    /* the token is certainly dead. Not retried, and the address is removed */
  PUSHGATE_TOKEN_MUTED = 19,   /* the token is valid, but the device shows nothing. Not retried; the address is kept */
  PUSHGATE_WRONG_APP = 20,     /* the token belongs to another app or sender. Not retried; the address is kept */
  PUSHGATE_AUTH_EXPIRED = 21,  /* an access token has expired: get a new one. Retried once, at once */
  PUSHGATE_CREDENTIALS = 22,   /* the push service refuses the credentials; the operator must act. Retried slowly */
  PUSHGATE_THROTTLED = 23,     /* too many requests. Retried after `retry_after_ms` or the channel's pause */
  PUSHGATE_QUOTA = 24,         /* the daily quota is used up. Not retried */
  PUSHGATE_VENDOR_DOWN = 25,   /* the push service reports an error of its own. Retried with growing pauses */
  PUSHGATE_TIMEOUT = 26,       /* no response in time; the message may be accepted. Retried under the same id */
  PUSHGATE_UNREACHABLE = 27,   /* no connection. Retried */
  PUSHGATE_EXPIRED = 28,       /* the time to live has ended. Not retried */
  PUSHGATE_UNSUPPORTED = 29,   /* the channel lacks a required feature. Not retried */
  PUSHGATE_BUG = 30            /* internal error of the plugin. Retried, and the operator is alerted */
};

/* Scope of a fault. */
enum {
  PUSHGATE_SCOPE_ADDRESS = 0,  /* this address */
  PUSHGATE_SCOPE_LANE = 1      /* the whole channel: credentials, a throttle of the account */
};

/* Outcome of one address or of a probe. Set the struct to zero first, then the known fields. */
typedef struct pushgate_outcome {
  size_t struct_size;          /* sizeof(pushgate_outcome), also the distance of array elements */
  pushgate_str vendor_id;      /* accepted: id of the message at the push service, or none. Probe: identity of the account */
  pushgate_str token;          /* replaced: the new token */
  pushgate_str vendor_code;    /* fault: error code as the push service's documentation writes it, or none */
  pushgate_str detail;         /* fault: what failed and why, safe to log; cut to 500 bytes */
  uint64_t retry_after_ms;     /* fault: delay that the push service requests; 0: none. Cut to 24 hours */
  int64_t since_ms;            /* token gone: time of its end, milliseconds since 1970; 0: unknown */
  int64_t expires_at_ms;       /* probe: expiry of the credentials, milliseconds since 1970; 0: unknown */
  uint32_t code;               /* PUSHGATE_ACCEPTED ... */
  uint32_t scope;              /* fault: PUSHGATE_SCOPE_ADDRESS or PUSHGATE_SCOPE_LANE */
} pushgate_outcome;

/* -- HTTP ------------------------------------------------------------------------------------------------------------ */

typedef struct pushgate_header {
  pushgate_str name;
  pushgate_str value;
} pushgate_header;

typedef struct pushgate_http_request {
  size_t struct_size;
  pushgate_str method;             /* such as "GET"; none: POST */
  pushgate_str url;                /* absolute, http or https; sent unchanged. At most 8 KiB */
  const pushgate_header *headers;  /* at most 100 */
  size_t header_count;
  pushgate_str body;               /* any bytes, at most 4 MiB */
  uint64_t timeout_ms;             /* from now to the last byte of the response. 0: the channel's timeout */
  uint64_t max_answer;             /* maximum length of the response body, in bytes. 0: 64 KiB. At most 4 MiB */
} pushgate_http_request;

/* Reason for a missing response: `pushgate_http_response.error`. */
enum {
  PUSHGATE_HTTP_OK = 0,           /* there is a response */
  PUSHGATE_HTTP_UNREACHABLE = 1,  /* no connection; the server has received nothing */
  PUSHGATE_HTTP_REFUSED = 2,      /* the gateway must not connect to this address; the server has received nothing */
  PUSHGATE_HTTP_TIMEOUT = 3,      /* no response before the timeout; the server may have processed the request */
  PUSHGATE_HTTP_BROKEN = 4,       /* the connection broke after sending; the server may have processed the request */
  PUSHGATE_HTTP_TOO_LONG = 5,     /* the response exceeds `max_answer`; the server has processed the request */
  PUSHGATE_HTTP_CANCELLED = 6,    /* the channel is closing; the server may have processed the request */
  PUSHGATE_HTTP_GONE_AWAY = 7     /* the server closed the connection without processing the request */
};

typedef struct pushgate_http_response {
  size_t struct_size;
  uint32_t error;                  /* PUSHGATE_HTTP_OK ...; if not 0, only `detail` is valid */
  uint32_t status;                 /* such as 200. Redirects are not followed */
  const pushgate_header *headers;  /* names in lower case */
  size_t header_count;
  pushgate_str body;               /* any bytes */
  pushgate_str detail;             /* reason for a missing response, safe to log */
} pushgate_http_response;

/* Called once for each request that `http_request` has accepted, after `http_request` has returned. */
typedef void (*pushgate_http_done)(void *user, const pushgate_http_response *response) PUSHGATE_NOEXCEPT;

/* Called once for each timer that `timer` has accepted, after `timer` has returned. `cancelled` is 1 if the channel closes
 * before the timer expires. */
typedef void (*pushgate_timer_done)(void *user, uint32_t cancelled) PUSHGATE_NOEXCEPT;

/* -- Functions of the gateway ---------------------------------------------------------------------------------------- */

enum {
  PUSHGATE_LOG_ERROR = 1,
  PUSHGATE_LOG_WARN = 2,
  PUSHGATE_LOG_INFO = 3,
  PUSHGATE_LOG_DEBUG = 4
};

typedef struct pushgate_host pushgate_host;

/* Table of the gateway. It lives as long as the process. Every function takes the table as its first argument, and may be
 * called from any thread at any time, even after `close`. */
struct pushgate_host {
  uint32_t abi_major;
  uint32_t abi_minor;
  size_t struct_size;

  /* Completes a `send` with one outcome for each address, in their order, or a `probe` with one outcome. Call it exactly
   * once for each tag. A late, repeated or invalid completion is counted and logged with the plugin's name. If a delivery
   * waits for it, the delivery gets faults of kind PUSHGATE_BUG. */
  void (*complete)(const pushgate_host *host, pushgate_tag tag, const pushgate_outcome *outcomes,
                   size_t outcome_count) PUSHGATE_NOEXCEPT;

  /* Writes a log line with the names of the plugin and the channel. It is cut to 1,000 bytes. */
  void (*log)(const pushgate_host *host, pushgate_channel channel, uint32_t level, pushgate_str text) PUSHGATE_NOEXCEPT;

  /* Adds to the counter pushgate_plugin_counter_total{plugin, channel, name}. `name` has 1 to 64 characters of a-z, 0-9
   * and _. A channel may use 64 names; further ones are dropped. */
  void (*counter)(const pushgate_host *host, pushgate_channel channel, pushgate_str name, uint64_t by) PUSHGATE_NOEXCEPT;

  /* Records a value in the histogram pushgate_plugin_histogram{plugin, channel, name}. Names as for `counter`. */
  void (*histogram)(const pushgate_host *host, pushgate_channel channel, pushgate_str name,
                    double value) PUSHGATE_NOEXCEPT;

  /* Sends an HTTP request through the gateway's client, with pooled connections and HTTP/2 if the server supports it. The
   * channel's roots, its proxy and the gateway's rules on addresses apply. After PUSHGATE_OK, `done` is called exactly once
   * later. After any other result it is not called. */
  int32_t (*http_request)(const pushgate_host *host, pushgate_channel channel, const pushgate_http_request *request,
                          pushgate_http_done done, void *user) PUSHGATE_NOEXCEPT;

  /* Calls `done` after `after_ms` milliseconds, at most 24 hours. Results as for `http_request`. */
  int32_t (*timer)(const pushgate_host *host, pushgate_channel channel, uint64_t after_ms, pushgate_timer_done done,
                   void *user) PUSHGATE_NOEXCEPT;

  /* Returns the wall clock time in milliseconds since 1970. */
  int64_t (*now_ms)(const pushgate_host *host) PUSHGATE_NOEXCEPT;

  /* 1.0 ends here. */
};

/* -- Functions of the plugin ----------------------------------------------------------------------------------------- */

/* Arguments of `open`. */
typedef struct pushgate_open {
  size_t struct_size;
  pushgate_channel channel;   /* argument of the gateway's functions, valid from now on */
  pushgate_str name;          /* name of the channel, unique within its app */
  pushgate_str config;        /* configuration of the channel as a JSON object, without `kind`, `concurrency` and
                               * `transport`. References to the environment and to files are resolved, so it contains
                               * secrets */
} pushgate_open;

/* Table of the plugin. The gateway passes zeroed memory; fill it in with `pushgate_fill`. */
typedef struct pushgate_plugin {
  uint32_t abi_major;          /* PUSHGATE_ABI_MAJOR */
  uint32_t abi_minor;          /* PUSHGATE_ABI_MINOR */
  size_t struct_size;          /* sizeof(pushgate_plugin) */

  pushgate_str kind;           /* `kind` in the configuration of its channels: 1 to 64 characters of a-z, 0-9 and - */
  pushgate_str version;        /* version of the plugin */
  pushgate_str description;    /* one sentence for the operator */
  pushgate_str config_schema;  /* JSON Schema of the configuration, for `pushgate plugin inspect`; or none */
  const pushgate_capability *capability;

  /* Opens a channel. Sets `*instance` to a pointer that is not NULL and returns PUSHGATE_OK. Otherwise returns another code
   * and writes a sentence for the operator into `error`: the wrong key and a valid form, but never a value. Must refuse
   * unknown keys, because a mistyped key would go unnoticed. Must not connect: the push service may be unreachable. */
  int32_t (*open)(const pushgate_host *host, const pushgate_open *args, pushgate_instance **instance,
                  const pushgate_sink *error) PUSHGATE_NOEXCEPT;

  /* Frees the instance. Called once, when no other call on it is running and all requests and timers have called `done`.
   * Those that had not finished have reported PUSHGATE_HTTP_CANCELLED or cancelled = 1. A completion after `close` is late,
   * but harmless. The plugin's own threads must have ended when `close` returns. */
  void (*close)(pushgate_instance *instance) PUSHGATE_NOEXCEPT;

  /* Renders a message without address and credentials. Writes the request body as JSON into `body`, and into `*counted` the
   * number of its bytes that count against `max_bytes`. Must be fast and free of side effects: planning calls it, several
   * times for a message that is too large. */
  void (*render)(pushgate_instance *instance, const pushgate_message *message, uint64_t *counted,
                 const pushgate_sink *body) PUSHGATE_NOEXCEPT;

  /* Checks the credentials without reaching a user. Completes later with one outcome. */
  void (*probe)(pushgate_instance *instance, pushgate_tag tag) PUSHGATE_NOEXCEPT;

  /* Sends a delivery. Returns at once, and completes before or after that with one outcome for each target. Must not retry:
   * the gateway retries. */
  void (*send)(pushgate_instance *instance, const pushgate_delivery *delivery, pushgate_tag tag) PUSHGATE_NOEXCEPT;

  /* 1.0 ends here. */
} pushgate_plugin;

/* The only exported function of a plugin, called once after loading. Stores `host`, fills in `plugin` and returns
 * PUSHGATE_OK. Another result means that the plugin refuses this gateway. The name contains the major version. */
PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *host, pushgate_plugin *plugin);

/* Copies the plugin's table into the gateway's memory, up to the size that the gateway knows.
 *   return pushgate_fill(plugin, &my_table); */
static inline int32_t pushgate_fill(pushgate_plugin *target, const pushgate_plugin *table) {
  size_t size = target->struct_size < table->struct_size ? target->struct_size : table->struct_size;
  memcpy(target, table, size);
  target->struct_size = size;
  return PUSHGATE_OK;
}

/* Returns the outcome code of a request without a response. */
static inline uint32_t pushgate_code_of_http_error(uint32_t error) {
  switch (error) {
    case PUSHGATE_HTTP_UNREACHABLE: return PUSHGATE_UNREACHABLE;
    case PUSHGATE_HTTP_REFUSED: return PUSHGATE_BAD_MESSAGE;
    case PUSHGATE_HTTP_TIMEOUT:
    case PUSHGATE_HTTP_CANCELLED: return PUSHGATE_TIMEOUT;
    default: return PUSHGATE_VENDOR_DOWN;
  }
}

#ifdef __cplusplus
}
#endif

#endif /* PUSHGATE_PLUGIN_H */
