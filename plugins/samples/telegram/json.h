/* As much JSON as a plugin needs: writes texts with their escapes, finds a value by its path in a text nobody vouches for. */
#ifndef TELEGRAM_JSON_H
#define TELEGRAM_JSON_H

#include <stddef.h>
#include <stdint.h>

/* Grows as it is written; `ptr` is the caller's to free. */
typedef struct json_out {
  char *ptr;
  size_t len, room;
  size_t unescaped; /* how many bytes went in by json_chars and json_string, before they were escaped */
  int failed;       /* no memory: what is in it is not whole */
} json_out;

#define JSON_OUT {NULL, 0, 0, 0, 0}

void json_raw(json_out *out, const char *text);
void json_bytes(json_out *out, const char *text, size_t len);
void json_chars(json_out *out, const char *text, size_t len);
void json_string(json_out *out, const char *text, size_t len);

/* A piece of somebody else's text. `ptr` is NULL when there is none. */
typedef struct json_str {
  const char *ptr;
  size_t len;
} json_str;

/* The text as a document; none when it is not one whole value and nothing else. */
json_str json_document(const char *text, size_t len);

/* The value at a path of keys with dots between; a string without its quotes, its escapes as they stand. */
json_str json_at(json_str document, const char *path);
int json_is(json_str value, const char *word);
int64_t json_int(json_str value, int64_t otherwise);

/* A key of the outermost object that is not among `known`, which has spaces between; NULL when there is none. */
const char *json_other_key(json_str document, const char *known);

#endif
