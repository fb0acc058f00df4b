/* Minimal JSON for a plugin: writes strings with their escapes, and finds a value by its path in untrusted text. */
#ifndef TELEGRAM_JSON_H
#define TELEGRAM_JSON_H

#include <stddef.h>
#include <stdint.h>

/* Growing output buffer. The caller frees `ptr`. */
typedef struct json_out {
  char *ptr;
  size_t len, capacity;
  size_t unescaped; /* number of bytes passed to json_chars and json_string, before escaping */
  int failed;       /* 1 if memory ran out; the output is then incomplete */
} json_out;

#define JSON_OUT {NULL, 0, 0, 0, 0}

/* Appends text unchanged. */
void json_raw(json_out *out, const char *text);
void json_bytes(json_out *out, const char *text, size_t len);
/* Appends characters of a string with escapes, without quotes. */
void json_chars(json_out *out, const char *text, size_t len);
/* Appends a string with escapes and quotes. */
void json_string(json_out *out, const char *text, size_t len);

/* Borrowed piece of text. `ptr` is NULL if there is none. */
typedef struct json_str {
  const char *ptr;
  size_t len;
} json_str;

/* Returns the text as a document, or none if it is not exactly one value. */
json_str json_document(const char *text, size_t len);

/* Returns the value at a path of keys that are joined by dots. A string has no quotes, and its escapes remain. */
json_str json_at(json_str document, const char *path);
/* Returns 1 if the value is this text. */
int json_is(json_str value, const char *text);
/* Returns the value as an integer, or `fallback` if it is not an integer of at most 18 characters. */
int64_t json_int(json_str value, int64_t fallback);

/* Returns the first key of the object that is not in `known`, a list separated by spaces. Returns NULL if there is none. */
const char *json_other_key(json_str document, const char *known);

#endif
