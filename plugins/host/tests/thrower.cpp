// Plugin in C++ whose `send` throws. The tests compile it as C++14, because C++17 checks `noexcept`.
#include "pushgate_plugin.h"

#include <stdexcept>

static pushgate_instance *const dummy_instance = reinterpret_cast<pushgate_instance *>(&pushgate_plugin_v1);

static int32_t open_channel(const pushgate_host *, const pushgate_open *, pushgate_instance **instance, const pushgate_sink *) {
  *instance = dummy_instance;
  return PUSHGATE_OK;
}
static void close_channel(pushgate_instance *) {}
static void render_message(pushgate_instance *, const pushgate_message *, uint64_t *counted, const pushgate_sink *body) {
  const pushgate_str none = PUSHGATE_TEXT("null");
  *counted = 1;
  body->write(body->state, none);
}
static void probe_channel(pushgate_instance *, pushgate_tag) {}
static void send_delivery(pushgate_instance *, const pushgate_delivery *, pushgate_tag) { throw std::runtime_error("on purpose"); }

extern "C" PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *, pushgate_plugin *plugin) {
  static const pushgate_capability capability = {sizeof(pushgate_capability), 4096, 0, 0, 0, 0, 1, PUSHGATE_TOKEN, 0, 0};
  static const pushgate_plugin table = {
      PUSHGATE_ABI_MAJOR, PUSHGATE_ABI_MINOR, sizeof(pushgate_plugin), PUSHGATE_TEXT("thrower"), PUSHGATE_TEXT("1"),
      PUSHGATE_TEXT(""), {NULL, 0}, &capability, open_channel, close_channel, render_message, probe_channel, send_delivery};
  return pushgate_fill(plugin, &table);
}
