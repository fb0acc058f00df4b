/* pushgate_plugin.h - the contract between the push gateway and a channel plugin. Version 1.0 of the binary interface.
 *
 * A plugin is a shared library that brings one kind of channel: one way to hand notifications to a push service. It needs
 * this header and nothing else: no TLS, no event loop, no allocator of ours. C99 or C++, or any language that can export a
 * C function.
 *
 * How it goes, from beginning to end:
 *
 *   1. The gateway loads the library and calls its one exported function, `pushgate_plugin_v1`, once. The plugin fills in
 *      its table: what it is, what it can do, and five functions.
 *   2. For each channel of that kind in the configuration the gateway calls `open` with the channel's configuration.
 *   3. It calls `render` while it plans, `send` for each delivery, `probe` when an operator asks whether the credentials
 *      are good.
 *   4. `send` returns at once. The plugin asks the gateway for HTTP requests and timers; their answers come later, as calls
 *      of functions the plugin named. When it knows what became of the delivery it calls `complete`, once.
 *   5. When the channel is replaced or the gateway stops, it calls `close`.
 *
 * The rules, all of them:
 *
 *   Threads     Every function of either table may be called from any thread, and several at the same time. A plugin guards
 *               its own state. What is promised: `open` returns before anything else is called on its instance; `close` is
 *               called last, once, when no other call on the instance is running.
 *   Time        No function of the plugin waits: no sleep, no socket, no lock that is held for long. It runs on threads
 *               that serve everybody. Waiting is what `http_request` and `timer` are for.
 *   Memory      Each side frees what it allocated. What is passed to a function is borrowed until it returns: copy what is
 *               needed longer. What the plugin hands over in its table must live as long as the process.
 *   Text        Pointer and length, UTF-8, no terminating zero. A pointer of NULL means that there is none.
 *   Growth      Structs only grow at their end. Each begins with (or has after its version) `struct_size`, the size its
 *               maker knew. Before reading a field that is younger than 1.0, ask `PUSHGATE_HAS`. A plugin built for 1.0
 *               runs on every gateway of 1.n and the other way round. Another major version is another symbol.
 *   Exceptions  None leaves a function of the plugin, no panic and no longjmp either. Under C++17 and later the types below
 *               say `noexcept`, so that the compiler checks it.
 *   Secrets     Tokens, titles, contents, payloads and credentials never go into `log`, `detail` or names of metrics.
 *   Forking     A plugin does not fork, does not change signal handlers, working directory, locale or environment.
 *
 * License: Apache-2.0 OR MIT. A plugin that includes this header may carry any license.
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

/* Put before the definition of `pushgate_plugin_v1`. Build with -fvisibility=hidden, so that nothing else is exported. */
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

/* Whether the struct behind `pointer` is new enough to have `field`: PUSHGATE_HAS(host, pushgate_host, now_ms) */
#define PUSHGATE_HAS(pointer, type, field) \
  ((pointer)->struct_size >= offsetof(type, field) + sizeof(((type *)0)->field))

/* -- Words ----------------------------------------------------------------------------------------------------------- */

/* A text. Never NULL-terminated. `ptr` is NULL when there is none; an empty text has a pointer and the length 0. */
typedef struct pushgate_str {
  const char *ptr;
  size_t len;
} pushgate_str;

/* A text of the program: PUSHGATE_TEXT("telegram") */
#define PUSHGATE_TEXT(literal) {(literal), sizeof(literal) - 1}

/* Names one opened channel towards the gateway. The plugin gets it in `open` and hands it back with each call. */
typedef uint64_t pushgate_channel;

/* Names one question that is owed an answer by `complete`. Good once. */
typedef uint64_t pushgate_tag;

/* The plugin's own object behind one opened channel; the gateway never looks inside. */
typedef struct pushgate_instance pushgate_instance;

/* Where a plugin writes a text whose length only it knows. Write in pieces, as often as needed, during the call the sink
 * was passed to; never after it. What goes beyond 1 MiB is dropped. */
typedef struct pushgate_sink {
  void *state;
  void (*write)(void *state, pushgate_str piece) PUSHGATE_NOEXCEPT;
} pushgate_sink;

/* What functions return that can refuse. */
enum {
  PUSHGATE_OK = 0,
  PUSHGATE_REFUSED = 1,   /* the arguments are not right: a missing pointer, no URL, an unknown channel */
  PUSHGATE_BUSY = 2,      /* too much is under way for this channel: 131,072 requests and timers */
  PUSHGATE_CLOSED = 3     /* the channel is being closed */
};

/* -- What the plugin says about itself ------------------------------------------------------------------------------- */

/* Which tokens the channel understands: bits of `pushgate_capability.tokens`. */
enum {
  PUSHGATE_TOKEN = 1,         /* a device or registration token, opaque to the gateway */
  PUSHGATE_FID = 2,           /* an installation id */
  PUSHGATE_SUBSCRIPTION = 4   /* a Web Push subscription, as JSON */
};

/* What the channel can do: bits of `pushgate_capability.features`. Declare what is true. */
enum {
  PUSHGATE_COLLAPSE = 1,   /* a later message with the same collapse key replaces an earlier one */
  PUSHGATE_PRIORITY = 2,   /* it tells priorities apart */
  PUSHGATE_BADGE = 4,      /* it can set the number on the icon */
  PUSHGATE_SILENT = 8,     /* it can send data without showing anything; without it silent messages are not handed over */
  PUSHGATE_IMAGE = 16,     /* it can show a picture */
  PUSHGATE_RECEIPTS = 32   /* the vendor reports arrival by itself */
};

typedef struct pushgate_capability {
  size_t struct_size;          /* sizeof(pushgate_capability) */
  uint64_t max_bytes;          /* the most `render` may count; longer contents and titles are cut by the gateway. >= 1 */
  uint64_t max_ttl_s;          /* the longest time to live the vendor honours, in seconds. 0: 28 days */
  uint64_t timeout_ms;         /* how long one `send` may take before the gateway answers for it. 0: 10 s. At most 10 min */
  uint64_t retry_floor_ms;     /* the shortest wait before any retry. 0: 500 ms. At most 24 hours */
  uint64_t throttle_pause_ms;  /* the pause when the vendor throttles without saying how long. 0: 60 s. At most 24 hours */
  uint32_t max_batch;          /* the most addresses in one delivery. 1 to 10,000 */
  uint32_t tokens;             /* bits: PUSHGATE_TOKEN ... At least one */
  uint32_t features;           /* bits: PUSHGATE_COLLAPSE ... */
  uint32_t reserved;           /* 0 */
} pushgate_capability;

/* -- What is sent ---------------------------------------------------------------------------------------------------- */

enum { PUSHGATE_PRIORITY_HIGH = 0, PUSHGATE_PRIORITY_NORMAL = 1, PUSHGATE_PRIORITY_LOW = 2 };

/* What the device is to do: `pushgate_message.act`. */
enum {
  PUSHGATE_ACT_SHOW = 0,    /* show it, unless it is silent */
  PUSHGATE_ACT_RING = 1,    /* ring: it is a call */
  PUSHGATE_ACT_REMOVE = 2   /* take off the screen what is shown under `tag`; such a message is silent */
};

/* One notification, rendered for one language and cut to what the channel can carry. */
typedef struct pushgate_message {
  size_t struct_size;
  pushgate_str id;            /* the same for every attempt and every address; hand it to the vendor where there is a field */
  pushgate_str app;           /* which app of the gateway it belongs to */
  pushgate_str title;         /* shown first; may be empty */
  pushgate_str content;       /* shown below; may be empty */
  pushgate_str payload;       /* handed to the app as it is, never cut; or none */
  pushgate_str image;         /* HTTPS address of a picture; or none */
  pushgate_str link;          /* where a click leads; or none */
  pushgate_str collapse_key;  /* a later message with the same key replaces this one; or none */
  pushgate_str thread;        /* groups messages of one conversation; or none */
  pushgate_str category;      /* what kind of notification it is, for the device's settings; or none */
  pushgate_str overrides;     /* native options for this channel as a JSON value, merged last; or none. At most 100 levels deep */
  int64_t created_at_ms;      /* when the caller asked, milliseconds since 1970 */
  int64_t expires_at_ms;      /* from when on it must not be sent any more */
  uint64_t ttl_s;             /* the time to live as it was asked for, in seconds; 0: now or never */
  int64_t badge;              /* the number on the icon; -1: leave it */
  uint32_t priority;          /* PUSHGATE_PRIORITY_HIGH ... */
  uint32_t silent;            /* 1: show nothing, it is data for the app */
  pushgate_str tag;           /* under which name the device shows it: showing the same name again replaces */
  pushgate_str call;          /* PUSHGATE_ACT_RING: the call's id, as server and app know it; or none */
  uint32_t act;               /* PUSHGATE_ACT_SHOW ... */
  uint32_t voip;              /* PUSHGATE_ACT_RING: 1: by the platform's own call screen, where that can be */
} pushgate_message;

/* One address. */
typedef struct pushgate_target {
  size_t struct_size;
  pushgate_str token;         /* a secret: never log it */
  pushgate_str device;        /* the gateway's name for the device; or none */
  pushgate_str user;          /* the user; or none */
  uint32_t kind;              /* PUSHGATE_TOKEN, PUSHGATE_FID or PUSHGATE_SUBSCRIPTION */
  uint32_t index;             /* its number within the notification, the same at every attempt */
} pushgate_target;

/* One notification on its way to a batch of addresses. */
typedef struct pushgate_delivery {
  size_t struct_size;
  pushgate_str id;                          /* names this attempt of this batch */
  const pushgate_message *message;
  const pushgate_target *const *targets;    /* `target_count` pointers: delivery->targets[i]->token */
  size_t target_count;                      /* 1 to max_batch */
  int64_t deadline_ms;                      /* by when to answer, milliseconds since 1970; half a second later the gateway does */
  uint32_t attempt;                         /* which try this is, from 1 */
  uint32_t reserved;
} pushgate_delivery;

/* -- What became of it ----------------------------------------------------------------------------------------------- */

/* `pushgate_outcome.code`. The fault kinds say whose fault it is, and so what the gateway does next. */
enum {
  PUSHGATE_OUTCOME_UNSET = 0,  /* a forgotten outcome; counts as PUSHGATE_BUG */
  PUSHGATE_ACCEPTED = 1,       /* the vendor took it */
  PUSHGATE_REPLACED = 2,       /* the vendor took it, and the device has a new token, in `token` */

  PUSHGATE_BAD_MESSAGE = 16,   /* the vendor will never take this content. Given up */
  PUSHGATE_TOO_LARGE = 17,     /* larger than the channel can carry. Given up */
  PUSHGATE_TOKEN_GONE = 18,    /* the vendor proves the token dead. Given up, and the address is forgotten: be sure */
  PUSHGATE_TOKEN_MUTED = 19,   /* the token lives, but the device shows nothing. Given up, the address is kept */
  PUSHGATE_WRONG_APP = 20,     /* the token belongs to another app or sender. Given up, the address is kept */
  PUSHGATE_AUTH_EXPIRED = 21,  /* a bearer aged: get a new one before the next attempt. Tried again at once, once */
  PUSHGATE_CREDENTIALS = 22,   /* the vendor refuses the credentials; a human must act. Tried again slowly */
  PUSHGATE_THROTTLED = 23,     /* too fast. Tried again after `retry_after_ms`, or the channel's pause */
  PUSHGATE_QUOTA = 24,         /* the day's quota is used up. Given up */
  PUSHGATE_VENDOR_DOWN = 25,   /* the vendor says that it is in trouble. Tried again with growing pauses */
  PUSHGATE_TIMEOUT = 26,       /* no answer in time; it may have been taken. Tried again under the same id */
  PUSHGATE_UNREACHABLE = 27,   /* no connection could be had. Tried again */
  PUSHGATE_EXPIRED = 28,       /* its time to live ran out. Given up */
  PUSHGATE_UNSUPPORTED = 29,   /* the channel cannot do what is asked. Given up */
  PUSHGATE_BUG = 30            /* the plugin found itself in a state that should not be. Tried again, and alarmed */
};

/* How far a fault reaches. */
enum {
  PUSHGATE_SCOPE_ADDRESS = 0,  /* this address only */
  PUSHGATE_SCOPE_LANE = 1      /* everything that goes through this channel: credentials, a throttle of the whole account */
};

/* What became of one address, or of a probe. Set all of it to zero first, then what is known. */
typedef struct pushgate_outcome {
  size_t struct_size;          /* sizeof(pushgate_outcome): also the distance from one to the next in an array */
  pushgate_str vendor_id;      /* accepted: the vendor's name for the message, or none. Probe: whom the vendor takes us for */
  pushgate_str token;          /* replaced: the token to use from now on */
  pushgate_str vendor_code;    /* fault: the vendor's own code as its documentation writes it, or none */
  pushgate_str detail;         /* fault: what was being done and what was said, safe to log; cut after 500 bytes */
  uint64_t retry_after_ms;     /* fault: how long the vendor asked us to wait; 0: it did not say. Cut to 24 hours */
  int64_t since_ms;            /* token gone: since when the vendor knows it, milliseconds since 1970; 0: unknown */
  int64_t expires_at_ms;       /* probe: when the credentials end; 0: unknown */
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
  pushgate_str method;             /* "POST"; none: POST */
  pushgate_str url;                /* absolute, http or https; goes out byte for byte. At most 8 KiB */
  const pushgate_header *headers;  /* at most 100 */
  size_t header_count;
  pushgate_str body;               /* any bytes, at most 4 MiB */
  uint64_t timeout_ms;             /* from now to the last byte of the answer. 0: the channel's timeout */
  uint64_t max_answer;             /* the longest answer taken, in bytes. 0: 64 KiB. At most 4 MiB */
} pushgate_http_request;

/* Why there is no answer: `pushgate_http_response.error`. */
enum {
  PUSHGATE_HTTP_OK = 0,           /* there is one */
  PUSHGATE_HTTP_UNREACHABLE = 1,  /* no connection could be had; the peer has seen nothing */
  PUSHGATE_HTTP_REFUSED = 2,      /* the gateway does not connect to that address; the peer has seen nothing */
  PUSHGATE_HTTP_TIMEOUT = 3,      /* the deadline came first; the peer may have acted */
  PUSHGATE_HTTP_BROKEN = 4,       /* the connection broke after the request was sent; the peer may have acted */
  PUSHGATE_HTTP_TOO_LONG = 5,     /* the answer was longer than `max_answer`; the peer has acted */
  PUSHGATE_HTTP_CANCELLED = 6,    /* the channel is being closed; the peer may have acted */
  PUSHGATE_HTTP_GONE_AWAY = 7     /* the peer closed the connection without looking at the request; it has not acted */
};

typedef struct pushgate_http_response {
  size_t struct_size;
  uint32_t error;                  /* PUSHGATE_HTTP_OK ...; the rest but `detail` is only there when it is 0 */
  uint32_t status;                 /* 200, 404 ... Redirects are not followed */
  const pushgate_header *headers;  /* names in lower case */
  size_t header_count;
  pushgate_str body;               /* any bytes */
  pushgate_str detail;             /* why there is no answer, safe to log */
} pushgate_http_response;

/* Called once for each request that `http_request` took, never before it has returned. */
typedef void (*pushgate_http_done)(void *user, const pushgate_http_response *response) PUSHGATE_NOEXCEPT;

/* Called once for each timer that `timer` took, never before it has returned. `cancelled` is 1 when the channel is being
 * closed and the time has not come. */
typedef void (*pushgate_timer_done)(void *user, uint32_t cancelled) PUSHGATE_NOEXCEPT;

/* -- What the gateway offers ----------------------------------------------------------------------------------------- */

enum {
  PUSHGATE_LOG_ERROR = 1,
  PUSHGATE_LOG_WARN = 2,
  PUSHGATE_LOG_INFO = 3,
  PUSHGATE_LOG_DEBUG = 4
};

typedef struct pushgate_host pushgate_host;

/* The gateway's table. It lives as long as the process. Every function takes the table itself first, and may be called from
 * any thread at any time, after `close` too. */
struct pushgate_host {
  uint32_t abi_major;
  uint32_t abi_minor;
  size_t struct_size;

  /* Answers a `send` with one outcome for each address, in their order, or a `probe` with one outcome. Exactly once for
   * each tag. What is late, doubled, of the wrong number, NULL or for a tag nobody knows does no harm: it is counted, logged
   * with the plugin's name, and where a delivery waits for it, it becomes a fault of kind PUSHGATE_BUG. */
  void (*complete)(const pushgate_host *host, pushgate_tag tag, const pushgate_outcome *outcomes,
                   size_t outcome_count) PUSHGATE_NOEXCEPT;

  /* A line for the operator, with the plugin's and the channel's name beside it. At most 1,000 bytes are kept. */
  void (*log)(const pushgate_host *host, pushgate_channel channel, uint32_t level, pushgate_str text) PUSHGATE_NOEXCEPT;

  /* Adds to a counter. `name`: 1 to 64 of a-z 0-9 _. At most 64 names a channel; further ones are dropped.
   * Appears as pushgate_plugin_counter_total{plugin, channel, name}. */
  void (*counter)(const pushgate_host *host, pushgate_channel channel, pushgate_str name, uint64_t by) PUSHGATE_NOEXCEPT;

  /* Records a value. Names as for `counter`. Appears as pushgate_plugin_histogram{plugin, channel, name}. */
  void (*histogram)(const pushgate_host *host, pushgate_channel channel, pushgate_str name,
                    double value) PUSHGATE_NOEXCEPT;

  /* Sends one HTTP request through the gateway's own client: pooled, HTTP/2 where the peer has it, TLS with the roots and
   * the proxy of the channel's configuration, and with the gateway's rules on which addresses may be dialled.
   * PUSHGATE_OK: `done` is called exactly once, later. Anything else: it is not called. */
  int32_t (*http_request)(const pushgate_host *host, pushgate_channel channel, const pushgate_http_request *request,
                          pushgate_http_done done, void *user) PUSHGATE_NOEXCEPT;

  /* Calls `done` after so many milliseconds (at most 24 hours). Returns as `http_request` does. */
  int32_t (*timer)(const pushgate_host *host, pushgate_channel channel, uint64_t after_ms, pushgate_timer_done done,
                   void *user) PUSHGATE_NOEXCEPT;

  /* The wall clock, in milliseconds since 1970. */
  int64_t (*now_ms)(const pushgate_host *host) PUSHGATE_NOEXCEPT;

  /* 1.0 ends here. */
};

/* -- What the plugin offers ------------------------------------------------------------------------------------------ */

/* What `open` is given. */
typedef struct pushgate_open {
  size_t struct_size;
  pushgate_channel channel;   /* to be handed back with each call of the gateway's functions; works from now on */
  pushgate_str name;          /* the channel's name in the configuration; unique within its app */
  pushgate_str config;        /* the channel's table as a JSON object, without `kind`, `concurrency` and `transport`.
                               * References to environment and files are resolved: it holds secrets */
} pushgate_open;

/* The plugin's table. The gateway hands over zeroed memory; use `pushgate_fill`. */
typedef struct pushgate_plugin {
  uint32_t abi_major;          /* PUSHGATE_ABI_MAJOR */
  uint32_t abi_minor;          /* PUSHGATE_ABI_MINOR */
  size_t struct_size;          /* sizeof(pushgate_plugin) */

  pushgate_str kind;           /* `kind = "..."` of the channels it brings: 1 to 64 of a-z 0-9 - */
  pushgate_str version;        /* the plugin's own version */
  pushgate_str description;    /* one sentence */
  pushgate_str config_schema;  /* JSON Schema of the configuration, for `pushgate plugin inspect`; or none */
  const pushgate_capability *capability;

  /* Opens a channel. PUSHGATE_OK and `*instance` set (not to NULL), or anything else and a sentence for the operator in
   * `error`: which key is wrong, and what would be right; never a value. A key that the plugin does not know must be refused:
   * otherwise a mistyped key goes unnoticed. Opens no connection: the vendor may be away. */
  int32_t (*open)(const pushgate_host *host, const pushgate_open *args, pushgate_instance **instance,
                  const pushgate_sink *error) PUSHGATE_NOEXCEPT;

  /* Frees the instance. Called once, when no other call on it is running and every `done` of its requests and timers has
   * come (with PUSHGATE_HTTP_CANCELLED or cancelled = 1 for what was still under way). A tag that is still open may be
   * answered after this; it is too late, and does no harm. Threads of the plugin's own have ended when this returns. */
  void (*close)(pushgate_instance *instance) PUSHGATE_NOEXCEPT;

  /* What would be sent for this message, without address and credentials: the vendor's request body as JSON into `body`,
   * and into `*counted` how many bytes of it count against `max_bytes`. Pure and quick: it is called while planning,
   * several times for a message that is too large. */
  void (*render)(pushgate_instance *instance, const pushgate_message *message, uint64_t *counted,
                 const pushgate_sink *body) PUSHGATE_NOEXCEPT;

  /* Are the credentials good? Answers later by `complete` with one outcome. Reaches no user. */
  void (*probe)(pushgate_instance *instance, pushgate_tag tag) PUSHGATE_NOEXCEPT;

  /* Sends one delivery. Returns at once; answers by `complete`, with as many outcomes as there are targets, before or after
   * it returns. Never retries: the gateway does. */
  void (*send)(pushgate_instance *instance, const pushgate_delivery *delivery, pushgate_tag tag) PUSHGATE_NOEXCEPT;

  /* 1.0 ends here. */
} pushgate_plugin;

/* The one function a plugin exports, called once after loading. It keeps `host`, fills `plugin` and returns PUSHGATE_OK;
 * anything else means that it cannot work with this gateway. The major version is in its name. */
PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *host, pushgate_plugin *plugin);

/* Copies a plugin's table into what the gateway handed over, as much of it as the gateway knows.
 *   return pushgate_fill(plugin, &my_table); */
static inline int32_t pushgate_fill(pushgate_plugin *into, const pushgate_plugin *table) {
  size_t room = into->struct_size < table->struct_size ? into->struct_size : table->struct_size;
  memcpy(into, table, room);
  into->struct_size = room;
  return PUSHGATE_OK;
}

/* The outcome code for a request that got no answer. */
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
