#include "tokend/wire/varlink.h"

#include "common/control.h"

enum err varlink_find_message(struct bytes data, size_t *ret_len)
{
	size_t search = data.len < VARLINK_MESSAGE_MAX ? data.len : VARLINK_MESSAGE_MAX;
	const uint8_t *end = search ? memchr(data.data, 0, search) : NULL;

	if (!end)
		return search == VARLINK_MESSAGE_MAX ? ERR_BAD_MESSAGE : ERR_AGAIN;
	*ret_len = (size_t)(end - data.data) + 1;
	return OK;
}

/* Before anything is allocated for it. Brackets inside strings do not count; whether they pair up is the parser's business. */
static bool depth_allowed(struct bytes text)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']') && depth > 0)
			depth--;
		if (depth > VARLINK_DEPTH_MAX)
			return false;
	}
	return true;
}

/* A member that is missing or null is false; one of another type is not a call. */
static bool read_flag(const json_t *message, const char *name, bool *ret_flag)
{
	const json_t *member = json_object_get(message, name);

	*ret_flag = json_is_true(member);
	return !member || json_is_boolean(member) || json_is_null(member);
}

static bool method_allowed(const json_t *method)
{
	const char *name = json_string_value(method);
	size_t len = json_string_length(method);

	if (!name || len == 0 || len > VARLINK_METHOD_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] <= 0x20 || name[i] >= 0x7f)
			return false;
	return true;
}

static bool read_call(struct varlink_call *call)
{
	const json_t *method = json_object_get(call->message, "method");
	const json_t *parameters = json_object_get(call->message, "parameters");

	if (!json_is_object(call->message) || !method_allowed(method))
		return false;
	if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
		return false;
	call->method = json_string_value(method);
	call->parameters = json_is_object(parameters) ? parameters : NULL;
	return read_flag(call->message, "oneway", &call->oneway) &&
	       read_flag(call->message, "more", &call->more) &&
	       read_flag(call->message, "upgrade", &call->upgrade);
}

enum err varlink_parse(struct bytes text, struct varlink_call *ret_call)
{
	struct varlink_call call = { 0 };
	enum err err = depth_allowed(text) ? json_read(text, &call.message) : ERR_BAD_MESSAGE;

	if (err)
		return err;
	if (!read_call(&call)) {
		json_decref(call.message);
		return ERR_BAD_MESSAGE;
	}
	*ret_call = call;
	return OK;
}

void varlink_call_done(struct varlink_call *call)
{
	json_decref(call->message);
	call->message = NULL;
}

void varlink_reply_begin(struct json_writer *writer, struct buf *out, const char *error)
{
	*writer = (struct json_writer){ .buf = out };
	json_begin_object(writer, NULL);
	json_put_string(writer, "error", error);
	json_begin_object(writer, "parameters");
}

enum err varlink_reply_end(struct json_writer *writer)
{
	json_end_object(writer);
	json_end_object(writer);
	if (!writer->err)
		writer->err = buf_put_u8(writer->buf, 0);
	return writer->err;
}
