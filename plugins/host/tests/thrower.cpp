// A plugin in C++ whose `send` throws. Built by the tests, as C++14: later standards would not let it into the table.
#include "pushgate_plugin.h"

#include <stdexcept>

static pushgate_instance *const nobody = reinterpret_cast<pushgate_instance *>(&pushgate_plugin_v1);

static int32_t open_it(const pushgate_host *, const pushgate_open *, pushgate_instance **instance, const pushgate_sink *) {
  *instance = nobody;
  return PUSHGATE_OK;
}
static void close_it(pushgate_instance *) {}
static void render_it(pushgate_instance *, const pushgate_message *, uint64_t *counted, const pushgate_sink *body) {
  const pushgate_str none = PUSHGATE_TEXT("null");
  *counted = 1;
  body->write(body->state, none);
}
static void probe_it(pushgate_instance *, pushgate_tag) {}
static void send_it(pushgate_instance *, const pushgate_delivery *, pushgate_tag) { throw std::runtime_error("on purpose"); }

extern "C" PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *, pushgate_plugin *plugin) {
  static const pushgate_capability capability = {sizeof(pushgate_capability), 4096, 0, 0, 0, 0, 1, PUSHGATE_TOKEN, 0, 0};
  static const pushgate_plugin table = {
      PUSHGATE_ABI_MAJOR, PUSHGATE_ABI_MINOR, sizeof(pushgate_plugin), PUSHGATE_TEXT("thrower"), PUSHGATE_TEXT("1"),
      PUSHGATE_TEXT(""), {NULL, 0}, &capability, open_it, close_it, render_it, probe_it, send_it};
  return pushgate_fill(plugin, &table);
}
