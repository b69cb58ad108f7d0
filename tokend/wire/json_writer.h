/*
 * JSON writer
 *
 * Writes JSON text straight into a buffer: no tree, so no copy of a secret is left in one. The first error sticks and is looked at once, at the end.
 */
#pragma once

#include "common/buf.h"
#include "common/err.h"

struct json_writer {
	struct buf *buf; /* borrowed */
	enum err err; /* of the first write that failed */
	bool comma; /* one is due before the next value */
};

/* name is NULL inside an array and for the outermost value. */
void json_begin_object(struct json_writer *writer, const char *name);
void json_end_object(struct json_writer *writer);
void json_begin_array(struct json_writer *writer, const char *name);
void json_end_array(struct json_writer *writer);

/* Control characters and bytes that are not UTF-8 become \u escapes. value NULL: the member is left out. */
void json_put_string(struct json_writer *writer, const char *name, const char *value);
void json_put_integer(struct json_writer *writer, const char *name, long long value);
void json_put_boolean(struct json_writer *writer, const char *name, bool value);

/* Base64 with padding; for what may be secret as well. */
void json_put_base64(struct json_writer *writer, const char *name, struct bytes value);
