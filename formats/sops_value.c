#include "formats/sops_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/encoding.h"
#include "formats/crypto_library.h"
#include "formats/sops_number.h"
#include "formats/text.h"

bool sops_value_looks_like(struct bytes text)
{
	return bytes_begin_with(text, SOPS_VALUE_BEGIN);
}

/* The text up to mark, which is passed over. */
static struct bytes take_until(struct bytes *rest, const char *mark)
{
	size_t mark_len = strlen(mark);
	const uint8_t *found = rest->len ? memmem(rest->data, rest->len, mark, mark_len) : NULL;
	struct bytes taken = { NULL, 0 };

	if (!found)
		return taken;
	taken = bytes_of(rest->data, (size_t)(found - rest->data));
	*rest = bytes_of(found + mark_len, rest->len - taken.len - mark_len);
	return taken;
}

static enum err parse_type(struct bytes word, enum sops_type *ret_type)
{
	static const char *const words[] = {
		[SOPS_TYPE_STRING] = "str",     [SOPS_TYPE_INTEGER] = "int", [SOPS_TYPE_FLOAT] = "float",
		[SOPS_TYPE_BOOLEAN] = "bool",   [SOPS_TYPE_BYTES] = "bytes", [SOPS_TYPE_TIME] = "time",
		[SOPS_TYPE_COMMENT] = "comment"
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (bytes_equal(word, bytes_of_string(words[i]))) {
			*ret_type = (enum sops_type)i;
			return OK;
		}
	}
	return ERR_BAD_FILE;
}

/* A bracket that closes later belongs to the type for sops, which then does not know it. */
static bool closes_again(struct bytes rest)
{
	const uint8_t *line = rest.len ? memchr(rest.data, '\n', rest.len) : NULL;
	size_t len = line ? (size_t)(line - rest.data) : rest.len;

	return len && memchr(rest.data, ']', len);
}

enum err sops_value_parse(struct bytes text, struct sops_value *ret_value)
{
	struct sops_value value = { .type = SOPS_TYPE_STRING };
	struct bytes rest, type;

	if (!sops_value_looks_like(text))
		return ERR_BAD_FILE;
	rest = bytes_of(text.data + strlen(SOPS_VALUE_BEGIN), text.len - strlen(SOPS_VALUE_BEGIN));
	value.data = take_until(&rest, ",iv:");
	value.iv = take_until(&rest, ",tag:");
	value.tag = take_until(&rest, ",type:");
	type = take_until(&rest, "]");
	if (!value.data.len || !value.iv.len || !value.tag.len || !type.len || closes_again(rest) ||
	    !bytes_are_ascii(bytes_of(value.data.data, (size_t)(type.data - value.data.data))))
		return ERR_BAD_FILE;
	if (parse_type(type, &value.type))
		return ERR_BAD_FILE;
	*ret_value = value;
	return OK;
}

/* What stands in out from place on is one word for one number: put it as sops does. */
static enum err check_integer(struct bytes text)
{
	char copy[32], *end;

	if (text.len == 0 || text.len >= sizeof(copy) || is_white_space(text.data[0]))
		return ERR_BAD_CIPHERTEXT;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	errno = 0;
	(void)strtoll(copy, &end, 10);
	return errno || *end ? ERR_BAD_CIPHERTEXT : OK;
}

static enum err put_float(struct bytes text, struct buf *out)
{
	char form[SOPS_NUMBER_MAX];
	double number;

	if (bytes_equal(text, bytes_of_string("+Inf")) || bytes_equal(text, bytes_of_string("-Inf")) ||
	    bytes_equal(text, bytes_of_string("NaN")))
		return buf_put(out, text);
	if (sops_number_read(text, &number))
		return ERR_BAD_CIPHERTEXT;
	return buf_put(out, bytes_of(form, sops_number_write(number, SOPS_NUMBER_PLAIN, form)));
}

/* Go's ParseBool. */
static enum err put_boolean(struct bytes text, struct buf *out)
{
	static const char *const truths[] = { "True", "true", "TRUE", "1", "t", "T" };
	static const char *const falsehoods[] = { "False", "false", "FALSE", "0", "f", "F" };

	for (size_t i = 0; i < sizeof(truths) / sizeof(truths[0]); i++) {
		if (bytes_equal(text, bytes_of_string(truths[i])))
			return buf_put_string(out, "True");
		if (bytes_equal(text, bytes_of_string(falsehoods[i])))
			return buf_put_string(out, "False");
	}
	return ERR_BAD_CIPHERTEXT;
}

static enum err put_typed(enum sops_type type, struct bytes text, struct buf *out)
{
	enum err err = OK;

	if (type == SOPS_TYPE_FLOAT)
		return put_float(text, out);
	if (type == SOPS_TYPE_BOOLEAN)
		return put_boolean(text, out);
	if (type == SOPS_TYPE_INTEGER)
		err = check_integer(text);
	return err ? err : buf_put(out, text);
}

static enum err decode_ends(const struct sops_value *value, uint8_t iv[static SOPS_IV_MAX],
                            size_t *ret_iv_len, uint8_t tag[static SOPS_TAG_LEN])
{
	size_t tag_len;

	if (base64_decode(value->iv, BASE64_PADDED, iv, SOPS_IV_MAX, ret_iv_len) || *ret_iv_len == 0 ||
	    base64_decode(value->tag, BASE64_PADDED, tag, SOPS_TAG_LEN, &tag_len) || tag_len != SOPS_TAG_LEN)
		return ERR_BAD_FILE;
	return OK;
}

enum err sops_value_open(const struct sops_value *value, const struct secret *data_key,
                         struct bytes authenticated, struct buf *out)
{
	CLEANUP(buf_freep) struct buf *plain = NULL;
	CLEANUP(freep) uint8_t *data = malloc(value->data.len);
	uint8_t iv[SOPS_IV_MAX], tag[SOPS_TAG_LEN], *space;
	size_t iv_len, len;
	enum err err;

	if (!data)
		return ERR_NOMEM;
	if (decode_ends(value, iv, &iv_len, tag) ||
	    base64_decode(value->data, BASE64_PADDED, data, value->data.len, &len))
		return ERR_BAD_FILE;
	err = buf_new(len + 1, &plain);
	if (!err)
		err = buf_reserve(plain, len + 1, &space);
	if (!err)
		err = gcm_open(data_key, bytes_of(iv, iv_len), authenticated, bytes_of(data, len), tag,
		               space);
	if (err)
		return err;
	buf_commit(plain, len);
	return put_typed(value->type, buf_bytes(plain), out);
}
