/*
 * TPMKey ::= SEQUENCE { type OBJECT IDENTIFIER, emptyAuth [0] BOOLEAN OPTIONAL, policy [1] OPTIONAL, secret [2] OPTIONAL, authPolicy [3] OPTIONAL,
 * description [4] UTF8String OPTIONAL, parent INTEGER, pubkey OCTET STRING, privkey OCTET STRING }, all tags explicit.
 *
 * Some old tools write TRUE as 1; DER says ff. Any byte but 0 is taken for true.
 */
#include "formats/tpmkey.h"

#include "common/encoding.h"
#include "formats/text.h"

#define PEM_BEGIN "-----BEGIN TSS2 PRIVATE KEY-----"
#define PEM_END "-----END TSS2 PRIVATE KEY-----"
#define PEM_COLUMNS 64U
#define DER_MAX 4096U

#define DER_BOOLEAN 0x01
#define DER_INTEGER 0x02
#define DER_OCTET_STRING 0x04
#define DER_OBJECT_IDENTIFIER 0x06
#define DER_UTF8_STRING 0x0c
#define DER_SEQUENCE 0x30
#define DER_EXPLICIT(number) (0xa0 | (number))

/* 2.23.133.10.1: the last number says which. */
static const uint8_t type_prefix[] = { 0x67, 0x81, 0x05, 0x0a, 0x01 };
#define TYPE_LOADABLE 3U
#define TYPE_IMPORTABLE 4U
#define TYPE_SEALED 5U

static enum err der_put(struct buf *buf, uint8_t tag, struct bytes content)
{
	enum err err = buf_put_u8(buf, tag);

	if (!err && content.len >= 0x100)
		err = buf_put_u8(buf, 0x82);
	else if (!err && content.len >= 0x80)
		err = buf_put_u8(buf, 0x81);
	if (!err)
		err = content.len >= 0x100 ? buf_put_u16(buf, (uint16_t)content.len)
		                           : buf_put_u8(buf, (uint8_t)content.len);
	return err ? err : buf_put(buf, content);
}

/* As few bytes as will do, and one more where the number would look negative. */
static enum err der_put_handle(struct buf *buf, uint32_t handle)
{
	const uint8_t bytes[] = { 0, (uint8_t)(handle >> 24), (uint8_t)(handle >> 16), (uint8_t)(handle >> 8),
		                  (uint8_t)handle };
	size_t skip = 0;

	while (skip < sizeof(bytes) - 1 && bytes[skip] == 0 && bytes[skip + 1] < 0x80)
		skip++;
	return der_put(buf, DER_INTEGER, bytes_of(bytes + skip, sizeof(bytes) - skip));
}

static enum err content_put(struct buf *buf, const struct token_blob *blob, enum key_kind kind,
                            bool empty_auth)
{
	static const uint8_t true_boolean[] = { DER_BOOLEAN, 1, 0xff };
	uint8_t type[sizeof(type_prefix) + 1];
	enum err err;

	memcpy(type, type_prefix, sizeof(type_prefix));
	type[sizeof(type_prefix)] = kind == KEY_KIND_P256 ? TYPE_LOADABLE : TYPE_SEALED;
	err = der_put(buf, DER_OBJECT_IDENTIFIER, bytes_of(type, sizeof(type)));
	if (!err && empty_auth)
		err = der_put(buf, DER_EXPLICIT(0), bytes_of(true_boolean, sizeof(true_boolean)));
	if (!err)
		err = der_put_handle(buf, blob->parent);
	if (!err)
		err = der_put(buf, DER_OCTET_STRING, bytes_of(blob->public_area, blob->public_area_len));
	return err ? err
	           : der_put(buf, DER_OCTET_STRING, bytes_of(blob->private_area, blob->private_area_len));
}

static enum err pem_put(struct buf *buf, struct bytes der)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = buf_new(TPMKEY_TEXT_MAX, &text);

	if (!err)
		err = base64_put(text, der, BASE64_PADDED);
	if (!err)
		err = buf_put_string(buf, PEM_BEGIN "\n");
	while (!err && buf_len(text) > 0) {
		size_t len = buf_len(text) < PEM_COLUMNS ? buf_len(text) : PEM_COLUMNS;

		err = buf_put(buf, bytes_of(buf_bytes(text).data, len));
		if (!err)
			err = buf_put_u8(buf, '\n');
		buf_consume(text, len);
	}
	return err ? err : buf_put_string(buf, PEM_END "\n");
}

enum err tpmkey_put(struct buf *buf, const struct token_blob *blob, enum key_kind kind, bool empty_auth)
{
	CLEANUP(buf_freep) struct buf *content = NULL;
	CLEANUP(buf_freep) struct buf *der = NULL;
	enum err err = buf_new(DER_MAX, &content);

	if (!err)
		err = buf_new(DER_MAX, &der);
	if (!err)
		err = content_put(content, blob, kind, empty_auth);
	if (!err)
		err = der_put(der, DER_SEQUENCE, buf_bytes(content));
	return err ? err : pem_put(buf, buf_bytes(der));
}

/* Is text, from *at on, string and the end of a line or of the text? Then *at goes behind it. */
static bool line_is(struct bytes text, size_t *at, const char *string)
{
	size_t len = strlen(string), end = *at + len;

	if (text.len < end || memcmp(text.data + *at, string, len) != 0)
		return false;
	if (end < text.len && text.data[end] == '\r')
		end++;
	if (end < text.len && text.data[end] != '\n')
		return false;
	*at = end < text.len ? end + 1 : end;
	return true;
}

/* The base64 between the two lines, without its line ends. */
static enum err pem_collect(struct bytes text, struct buf *base64)
{
	size_t at = 0;

	if (!line_is(text, &at, PEM_BEGIN))
		return ERR_BAD_FILE;
	while (!line_is(text, &at, PEM_END)) {
		enum err err;

		if (at == text.len)
			return ERR_BAD_FILE;
		err = text.data[at] == '\n' || text.data[at] == '\r' ? OK : buf_put_u8(base64, text.data[at]);
		if (err)
			return err;
		at++;
	}
	return at == text.len ? OK : ERR_BAD_FILE;
}

static enum err pem_decode(struct bytes text, struct buf *der)
{
	CLEANUP(buf_freep) struct buf *base64 = NULL;
	uint8_t *space;
	size_t len;
	enum err err;

	if (text.len > TPMKEY_TEXT_MAX || !bytes_are_ascii(text))
		return ERR_BAD_FILE;
	err = buf_new(TPMKEY_TEXT_MAX, &base64);
	if (!err)
		err = pem_collect(text, base64);
	if (!err)
		err = buf_reserve(der, DER_MAX, &space);
	if (err)
		return err;
	if (base64_decode_public(buf_bytes(base64), BASE64_PADDED, space, DER_MAX, &len))
		return ERR_BAD_FILE;
	buf_commit(der, len);
	return OK;
}

/* The length of an element: one byte, or as many as it needs and no more. */
static size_t der_length(struct reader *reader)
{
	uint8_t first = reader_u8(reader);
	size_t len = first;

	if (first == 0x81)
		len = reader_u8(reader);
	else if (first == 0x82)
		len = reader_u16(reader);
	else if (first >= 0x80)
		reader->failed = true;
	if ((first == 0x81 && len < 0x80) || (first == 0x82 && len < 0x100))
		reader->failed = true;
	return len;
}

/* The content of the next element, which must have this tag; fails the reader otherwise. */
static struct bytes der_take(struct reader *reader, uint8_t tag)
{
	if (reader_u8(reader) != tag)
		reader->failed = true;
	return reader_take(reader, der_length(reader));
}

static bool der_next_is(const struct reader *reader, uint8_t tag)
{
	return !reader->failed && reader->rest.len > 0 && reader->rest.data[0] == tag;
}

static uint32_t der_take_handle(struct reader *reader)
{
	struct bytes number = der_take(reader, DER_INTEGER);
	uint32_t handle = 0;

	if (number.len == 0 || number.len > 5 || (number.len == 5 && number.data[0] != 0) ||
	    number.data[0] >= 0x80) {
		reader->failed = true;
		return 0;
	}
	if (number.len > 1 && number.data[0] == 0 && number.data[1] < 0x80)
		reader->failed = true;
	for (size_t i = 0; i < number.len; i++)
		handle = handle << 8 | number.data[i];
	return handle;
}

/* A TPM2B: its own size field must say what it is. */
static size_t der_take_tpm2b(struct reader *reader, uint8_t out[static TOKEN_BLOB_PART_MAX])
{
	struct bytes part = der_take(reader, DER_OCTET_STRING);
	struct reader size = reader_of(part);

	if (part.len > TOKEN_BLOB_PART_MAX || (size_t)reader_u16(&size) + 2 != part.len) {
		reader->failed = true;
		return 0;
	}
	memcpy(out, part.data, part.len);
	return part.len;
}

static enum err type_read(struct reader *reader, bool *ret_sealed)
{
	struct bytes type = der_take(reader, DER_OBJECT_IDENTIFIER);
	uint8_t last;

	if (type.len != sizeof(type_prefix) + 1 || memcmp(type.data, type_prefix, sizeof(type_prefix)) != 0)
		return ERR_BAD_FILE;
	last = type.data[sizeof(type_prefix)];
	if (last == TYPE_IMPORTABLE)
		return ERR_UNSUPPORTED;
	*ret_sealed = last == TYPE_SEALED;
	return last == TYPE_LOADABLE || last == TYPE_SEALED ? OK : ERR_BAD_FILE;
}

static bool empty_auth_take(struct reader *reader)
{
	struct reader inner;
	struct bytes value;

	if (!der_next_is(reader, DER_EXPLICIT(0)))
		return false;
	inner = reader_of(der_take(reader, DER_EXPLICIT(0)));
	value = der_take(&inner, DER_BOOLEAN);
	if (!reader_done(&inner) || value.len != 1)
		reader->failed = true;
	return value.len == 1 && value.data[0] != 0;
}

/* A description is for people and changes nothing; whatever else may stand here does. */
static enum err options_skip(struct reader *reader)
{
	struct reader inner;

	for (uint8_t number = 1; number <= 3; number++)
		if (der_next_is(reader, DER_EXPLICIT(number)))
			return ERR_UNSUPPORTED;
	if (!der_next_is(reader, DER_EXPLICIT(4)))
		return OK;
	inner = reader_of(der_take(reader, DER_EXPLICIT(4)));
	(void)der_take(&inner, DER_UTF8_STRING);
	return reader_done(&inner) ? OK : ERR_BAD_FILE;
}

static enum err content_read(struct bytes der, struct token_blob *blob, bool *sealed, bool *empty_auth)
{
	struct reader outer = reader_of(der);
	struct reader reader = reader_of(der_take(&outer, DER_SEQUENCE));
	enum err err;

	if (!reader_done(&outer))
		return ERR_BAD_FILE;
	err = type_read(&reader, sealed);
	if (err)
		return err;
	*empty_auth = empty_auth_take(&reader);
	err = options_skip(&reader);
	if (err)
		return err;
	blob->parent = der_take_handle(&reader);
	blob->public_area_len = der_take_tpm2b(&reader, blob->public_area);
	blob->private_area_len = der_take_tpm2b(&reader, blob->private_area);
	return reader_done(&reader) ? OK : ERR_BAD_FILE;
}

enum err tpmkey_read(struct bytes text, struct token_blob *ret_blob, bool *ret_sealed, bool *ret_empty_auth)
{
	CLEANUP(buf_freep) struct buf *der = NULL;
	struct token_blob blob = { .parent = 0 };
	bool sealed, empty_auth;
	enum err err = buf_new(DER_MAX, &der);

	if (!err)
		err = pem_decode(text, der);
	if (!err)
		err = content_read(buf_bytes(der), &blob, &sealed, &empty_auth);
	if (err)
		return err;
	*ret_blob = blob;
	*ret_sealed = sealed;
	*ret_empty_auth = empty_auth;
	return OK;
}
