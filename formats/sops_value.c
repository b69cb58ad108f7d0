#include "formats/sops_value.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/encoding.h"
#include "formats/sops_number.h"
#include "formats/text.h"

bool sops_value_looks_like(struct bytes text)
{
	return bytes_begin_with(text, SOPS_VALUE_BEGIN);
}

/* The text up to mark, which is passed over. Its first character stands nowhere else in what is well-formed. */
static struct bytes take_until(struct bytes *rest, const char *mark)
{
	size_t mark_len = strlen(mark);
	struct bytes tail = *rest, taken = { NULL, 0 };

	while (tail.len) {
		const uint8_t *found = memchr(tail.data, mark[0], tail.len);

		if (!found)
			break;
		tail = bytes_of(found, tail.len - (size_t)(found - tail.data));
		if (bytes_begin_with(tail, mark)) {
			taken = bytes_of(rest->data, rest->len - tail.len);
			*rest = bytes_of(tail.data + mark_len, tail.len - mark_len);
			break;
		}
		tail = bytes_of(tail.data + 1, tail.len - 1);
	}
	return taken;
}

static const char *const type_words[] = {
	[SOPS_TYPE_STRING] = "str",     [SOPS_TYPE_INTEGER] = "int", [SOPS_TYPE_FLOAT] = "float",
	[SOPS_TYPE_BOOLEAN] = "bool",   [SOPS_TYPE_BYTES] = "bytes", [SOPS_TYPE_TIME] = "time",
	[SOPS_TYPE_COMMENT] = "comment"
};

static enum err parse_type(struct bytes word, enum sops_type *ret_type)
{
	for (unsigned i = 0; i < sizeof(type_words) / sizeof(type_words[0]); i++) {
		if (bytes_equal(word, bytes_of_string(type_words[i]))) {
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

/* The plaintext stands at out's end, and is not counted yet. */
static enum err settle_float(struct bytes text, struct buf *out)
{
	char form[SOPS_NUMBER_MAX];
	double number;

	if (bytes_equal(text, bytes_of_string("+Inf")) || bytes_equal(text, bytes_of_string("-Inf")) ||
	    bytes_equal(text, bytes_of_string("NaN"))) {
		buf_commit(out, text.len);
		return OK;
	}
	if (sops_number_read(text, &number))
		return ERR_BAD_CIPHERTEXT;
	return buf_put(out, bytes_of(form, sops_number_write(number, SOPS_NUMBER_PLAIN, form)));
}

/* As settle_float; Go's ParseBool. */
static enum err settle_boolean(struct bytes text, struct buf *out)
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

static enum err settle(enum sops_type type, struct bytes text, struct buf *out)
{
	enum err err = OK;

	if (type == SOPS_TYPE_FLOAT)
		return settle_float(text, out);
	if (type == SOPS_TYPE_BOOLEAN)
		return settle_boolean(text, out);
	if (type == SOPS_TYPE_INTEGER)
		err = check_integer(text);
	if (!err)
		buf_commit(out, text.len);
	return err;
}

static enum err decode_ends(const struct sops_value *value, uint8_t iv[static SOPS_IV_MAX],
                            size_t *ret_iv_len, uint8_t tag[static SOPS_TAG_LEN])
{
	size_t tag_len;

	if (base64_decode_public(value->iv, BASE64_PADDED, iv, SOPS_IV_MAX, ret_iv_len) || *ret_iv_len == 0 ||
	    base64_decode_public(value->tag, BASE64_PADDED, tag, SOPS_TAG_LEN, &tag_len) ||
	    tag_len != SOPS_TAG_LEN)
		return ERR_BAD_FILE;
	return OK;
}

/* Everything is done where the plaintext goes; what does not verify, and what was written otherwise, is wiped with the rest of out's memory. */
enum err sops_value_open(const struct sops_value *value, struct gcm *cipher, struct bytes authenticated,
                         struct buf *out)
{
	uint8_t iv[SOPS_IV_MAX], tag[SOPS_TAG_LEN], *space;
	size_t iv_len, len, room = value->data.len / 4 * 3;
	enum err err;

	if (decode_ends(value, iv, &iv_len, tag))
		return ERR_BAD_FILE;
	err = buf_reserve(out, room + 1, &space);
	if (err)
		return err;
	if (base64_decode_public(value->data, BASE64_PADDED, space, room, &len))
		return ERR_BAD_FILE;
	err = gcm_open(cipher, bytes_of(iv, iv_len), authenticated, bytes_of(space, len), tag, space);
	return err ? err : settle(value->type, bytes_of(space, len), out);
}

enum err sops_value_seal(enum sops_type type, struct bytes text, struct gcm *cipher,
                         struct bytes authenticated, struct buf *out)
{
	CLEANUP(freep) uint8_t *data = malloc(text.len + 1);
	uint8_t iv[SOPS_IV_LEN], tag[SOPS_TAG_LEN];
	enum err err;

	if (!data)
		return ERR_NOMEM;
	randombytes_buf(iv, sizeof(iv));
	err = gcm_seal(cipher, bytes_of(iv, sizeof(iv)), authenticated, text, data, tag);
	if (!err)
		err = buf_put_string(out, SOPS_VALUE_BEGIN);
	if (!err)
		err = base64_put(out, bytes_of(data, text.len), BASE64_PADDED);
	if (!err)
		err = buf_put_string(out, ",iv:");
	if (!err)
		err = base64_put(out, bytes_of(iv, sizeof(iv)), BASE64_PADDED);
	if (!err)
		err = buf_put_string(out, ",tag:");
	if (!err)
		err = base64_put(out, bytes_of(tag, sizeof(tag)), BASE64_PADDED);
	return err ? err : buf_printf(out, ",type:%s]", type_words[type]);
}

void sops_mac_end(crypto_hash_sha512_state *state, char ret_text[static SOPS_MAC_LEN + 1])
{
	uint8_t hash[crypto_hash_sha512_BYTES];

	(void)crypto_hash_sha512_final(state, hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		(void)snprintf(ret_text + 2 * i, 3, "%02X", hash[i]);
	secret_wipe(hash, sizeof(hash));
}
