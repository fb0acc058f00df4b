/* See json.h. Reading stays within the given length and within MAX_DEPTH levels. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 32 };

/* -- writing --------------------------------------------------------------------------------------------------------- */

void json_bytes(json_out *out, const char *text, size_t len) {
  if (out->failed) return;
  if (out->capacity - out->len < len) {
    size_t capacity = (out->capacity + len) * 2;
    char *ptr = realloc(out->ptr, capacity);
    if (ptr == NULL) {
      out->failed = 1;
      return;
    }
    out->ptr = ptr;
    out->capacity = capacity;
  }
  if (len > 0) memcpy(out->ptr + out->len, text, len);
  out->len += len;
}

void json_raw(json_out *out, const char *text) { json_bytes(out, text, strlen(text)); }

void json_chars(json_out *out, const char *text, size_t len) {
  static const char hex[] = "0123456789abcdef";
  size_t i;
  out->unescaped += len;
  for (i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\') {
      json_bytes(out, "\\", 1);
      json_bytes(out, text + i, 1);
    } else if (c == '\n') {
      json_bytes(out, "\\n", 2);
    } else if (c < 0x20) {
      char escaped[6] = {'\\', 'u', '0', '0', 0, 0};
      escaped[4] = hex[c >> 4];
      escaped[5] = hex[c & 15];
      json_bytes(out, escaped, 6);
    } else {
      json_bytes(out, text + i, 1);
    }
  }
}

void json_string(json_out *out, const char *text, size_t len) {
  json_bytes(out, "\"", 1);
  json_chars(out, text, len);
  json_bytes(out, "\"", 1);
}

/* -- reading --------------------------------------------------------------------------------------------------------- */

/* Returns the end of a value, or NULL if there is none. Does not validate numbers and literals: 01 and nul pass. */
static const char *skip_value(const char *at, const char *end, int depth);

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
  return at;
}

/* Returns the closing quote of a string, or NULL. `at` is the first character after the opening quote. */
static const char *string_end(const char *at, const char *end) {
  for (; at < end && *at != '"'; at++)
    if (*at == '\\' && at + 1 < end) at++;
  return at < end ? at : NULL;
}

static const char *skip_nested(const char *at, const char *end, char close, int depth) {
  for (at = skip_space(at + 1, end); at < end && *at != close; at = skip_space(at, end)) {
    if (*at == ',' || *at == ':') {
      at++;
      continue;
    }
    at = skip_value(at, end, depth + 1);
    if (at == NULL) return NULL;
  }
  return at < end ? at + 1 : NULL;
}

static const char *skip_value(const char *at, const char *end, int depth) {
  const char *start = at;
  if (at >= end || depth > MAX_DEPTH) return NULL;
  if (*at == '"') {
    at = string_end(at + 1, end);
    return at == NULL ? NULL : at + 1;
  }
  if (*at == '{') return skip_nested(at, end, '}', depth);
  if (*at == '[') return skip_nested(at, end, ']', depth);
  while (at < end && strchr(",:]} \n\r\t\"[{", *at) == NULL) at++;
  return at == start ? NULL : at;
}

/* Iterates over the members of an object. Returns the next key and sets `value`. A NULL key ends the iteration. */
static json_str next_member(const char **at, const char *end, json_str *value) {
  json_str key = {NULL, 0};
  const char *name, *close;
  *at = skip_space(*at, end);
  if (*at < end && (**at == '{' || **at == ',')) *at = skip_space(*at + 1, end);
  if (*at >= end || **at != '"') return key;
  name = *at + 1;
  close = string_end(name, end);
  if (close == NULL) return key;
  *at = skip_space(close + 1, end);
  if (*at >= end || **at != ':') return key;
  value->ptr = skip_space(*at + 1, end);
  *at = skip_value(value->ptr, end, 0);
  if (*at == NULL) return key;
  value->len = (size_t)(*at - value->ptr);
  key.ptr = name;
  key.len = (size_t)(close - name);
  return key;
}

json_str json_document(const char *text, size_t len) {
  json_str document = {NULL, 0};
  const char *end = text + len, *at;
  if (text == NULL) return document;
  text = skip_space(text, end);
  at = skip_value(text, end, 0);
  if (at == NULL || skip_space(at, end) != end) return document;
  document.ptr = text;
  document.len = (size_t)(at - text);
  return document;
}

json_str json_at(json_str document, const char *path) {
  static const json_str none = {NULL, 0};
  while (document.ptr != NULL && *path != '\0') {
    size_t key_len = strcspn(path, ".");
    const char *at = document.ptr, *end = document.ptr + document.len;
    json_str key, value = none;
    if (at >= end || *at != '{') return none;
    do key = next_member(&at, end, &value);
    while (key.ptr != NULL && (key.len != key_len || memcmp(key.ptr, path, key_len) != 0));
    if (key.ptr == NULL) return none;
    document = value;
    path += key_len;
    if (*path == '.') path++;
  }
  if (document.len >= 2 && document.ptr[0] == '"') {
    document.ptr++;
    document.len -= 2;
  }
  return document;
}

int json_is(json_str value, const char *text) {
  return value.ptr != NULL && value.len == strlen(text) && memcmp(value.ptr, text, value.len) == 0;
}

int64_t json_int(json_str value, int64_t fallback) {
  int64_t number = 0;
  size_t i = value.ptr != NULL && value.len > 0 && value.ptr[0] == '-' ? 1 : 0;
  if (value.ptr == NULL || value.len == i || value.len > 18) return fallback;
  for (; i < value.len; i++) {
    if (value.ptr[i] < '0' || value.ptr[i] > '9') return fallback;
    number = number * 10 + (value.ptr[i] - '0');
  }
  return value.ptr[0] == '-' ? -number : number;
}

const char *json_other_key(json_str document, const char *known) {
  const char *at = document.ptr, *end = document.ptr + document.len;
  json_str key, value;
  if (at == NULL || at >= end || *at != '{') return NULL;
  for (key = next_member(&at, end, &value); key.ptr != NULL; key = next_member(&at, end, &value)) {
    const char *name = known;
    int is_known = 0;
    while (*name != '\0') {
      size_t len = strcspn(name, " ");
      if (len == key.len && memcmp(name, key.ptr, len) == 0) is_known = 1;
      name += len;
      if (*name == ' ') name++;
    }
    if (!is_known) return key.ptr;
  }
  return NULL;
}
