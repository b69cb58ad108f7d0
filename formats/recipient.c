#include "formats/recipient.h"

#include <sodium.h>

#include "common/encoding.h"
#include "formats/bech32.h"
#include "formats/crypto_library.h"
#include "formats/text.h"

#define X25519_PREFIX "age"
#define P256TAG_PREFIX "age1tag"
#define PLUGIN_PREFIX "age1"
#define SECRET_KEY_PREFIX "AGE-SECRET-KEY-"
#define IDENTITY_PREFIX "AGE-PLUGIN-"
#define TOKEND_PREFIX "AGE-PLUGIN-TOKEND-"
#define PAYLOAD_VERSION 1U
#define PAYLOAD_MAX (1U + KEY_ID_LEN + 1U + P256_COMPRESSED_LEN)
#define DECODED_MAX (BECH32_TEXT_MAX * 5U / 8U)
#define WORK_FACTOR_DEFAULT 18U

static bool is_string(struct bytes bytes, const char *string)
{
	return bytes_equal(bytes, bytes_of_string(string));
}

/* age takes a plugin's name into a path; nothing that could leave it is a name here, whoever asks. */
static bool plugin_name_valid(struct bytes name)
{
	if (name.len == 0 || name.data[0] == '.' || name.data[0] == '-')
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];
		bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		            c == '+' || c == '.' || c == '_' || c == '-';

		if (!good)
			return false;
	}
	return true;
}

static enum err unsupported(struct bytes what, struct bytes *ret_what)
{
	*ret_what = what;
	return ERR_UNSUPPORTED;
}

static struct bytes first_word(struct bytes line)
{
	const uint8_t *end = memchr(line.data, ' ', line.len);

	return end ? bytes_of(line.data, (size_t)(end - line.data)) : line;
}

/* Every plugin's recipient, and those of age that are not done here yet. */
static enum err recipient_other(struct bytes prefix, struct bytes *ret_what)
{
	size_t skipped = strlen(PLUGIN_PREFIX);

	if (!bytes_begin_with(prefix, PLUGIN_PREFIX) ||
	    !plugin_name_valid(bytes_of(prefix.data + skipped, prefix.len - skipped)))
		return ERR_USAGE;
	return unsupported(prefix, ret_what);
}

enum err recipient_parse(struct bytes line, struct recipient *ret_recipient, struct bytes *ret_what)
{
	CLEANUP(buf_freep) struct buf *data = NULL;
	struct recipient recipient = { .work_factor = 0 };
	struct bytes prefix, key;
	enum err err;

	if (bytes_begin_with(line, "ssh-") || bytes_begin_with(line, "ecdsa-sha2-"))
		return unsupported(first_word(line), ret_what);
	err = buf_new(DECODED_MAX, &data);
	if (!err)
		err = bech32_decode(line, &prefix, data);
	if (err)
		return err;
	key = buf_bytes(data);
	if (is_string(prefix, X25519_PREFIX))
		recipient.kind = RECIPIENT_X25519;
	else if (is_string(prefix, P256TAG_PREFIX))
		recipient.kind = RECIPIENT_P256TAG;
	else
		return recipient_other(prefix, ret_what);
	if (key.len != (recipient.kind == RECIPIENT_X25519 ? X25519_LEN : P256_COMPRESSED_LEN))
		return ERR_USAGE;
	if (recipient.kind == RECIPIENT_P256TAG && key.data[0] != 0x02 && key.data[0] != 0x03)
		return ERR_USAGE;
	memcpy(recipient.public_key, key.data, key.len);
	*ret_recipient = recipient;
	return OK;
}

void recipient_done(struct recipient *recipient)
{
	recipient->passphrase = secret_free(recipient->passphrase);
}

enum err recipient_put_x25519(struct buf *buf, const uint8_t public_key[static X25519_LEN])
{
	return bech32_put(buf, X25519_PREFIX, bytes_of(public_key, X25519_LEN), false);
}

enum err recipient_put_p256(struct buf *buf, const uint8_t compressed[static P256_COMPRESSED_LEN])
{
	return bech32_put(buf, P256TAG_PREFIX, bytes_of(compressed, P256_COMPRESSED_LEN), false);
}

/* An argument of a stanza that is being written: base64, in memory of its own. */
struct argument {
	char text[96]; /* the longest is a point: 87 characters */
	size_t len;
};

static enum err argument_make(struct bytes bytes, struct argument *ret_argument)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = buf_new(sizeof(ret_argument->text), &text);

	if (!err)
		err = base64_put(text, bytes, BASE64_UNPADDED);
	if (err)
		return err;
	memcpy(ret_argument->text, buf_bytes(text).data, buf_len(text));
	ret_argument->len = buf_len(text);
	return OK;
}

static struct bytes argument_bytes(const struct argument *argument)
{
	return bytes_of(argument->text, argument->len);
}

static enum err wrap_x25519(const struct recipient *recipient, const struct secret *file_key,
                            struct buf *header)
{
	uint8_t share[X25519_LEN], body[WRAPPED_LEN];
	struct argument argument;
	enum err err = x25519_wrap(recipient->public_key, file_key, share, body);

	if (err)
		return err == ERR_BAD_FILE ? ERR_USAGE : err;
	err = argument_make(bytes_of(share, sizeof(share)), &argument);
	if (err)
		return err;
	return age_stanza_put(header,
	                      (struct bytes[]){ bytes_of_string("X25519"), argument_bytes(&argument) }, 2,
	                      bytes_of(body, sizeof(body)));
}

static enum err wrap_p256tag(const struct recipient *recipient, const struct secret *file_key,
                             struct buf *header)
{
	CLEANUP(secret_freep) struct secret *x = NULL;
	uint8_t point[P256_POINT_LEN], enc[P256_POINT_LEN], hash[TAG_LEN], tag[TAG_LEN], body[WRAPPED_LEN];
	struct argument tag_argument, enc_argument;
	enum err err = p256_decompress(recipient->public_key, point);

	if (!err)
		err = p256_encapsulate(point, enc, &x);
	if (!err)
		err = p256tag_wrap(x, enc, point, file_key, body);
	if (err)
		return err;
	p256tag_recipient_hash(recipient->public_key, hash);
	p256tag_tag(enc, hash, tag);
	err = argument_make(bytes_of(tag, sizeof(tag)), &tag_argument);
	if (!err)
		err = argument_make(bytes_of(enc, sizeof(enc)), &enc_argument);
	if (err)
		return err;
	return age_stanza_put(header,
	                      (struct bytes[]){ bytes_of_string("p256tag"), argument_bytes(&tag_argument),
	                                        argument_bytes(&enc_argument) },
	                      3, bytes_of(body, sizeof(body)));
}

static enum err wrap_passphrase(const struct recipient *recipient, const struct secret *file_key,
                                struct buf *header)
{
	unsigned work_factor = recipient->work_factor ? recipient->work_factor : WORK_FACTOR_DEFAULT;
	uint8_t salt[SCRYPT_SALT_LEN], body[WRAPPED_LEN];
	struct argument argument;
	char number[16];
	enum err err = scrypt_wrap(recipient->passphrase, work_factor, file_key, salt, body);

	if (!err)
		err = argument_make(bytes_of(salt, sizeof(salt)), &argument);
	if (err)
		return err;
	(void)snprintf(number, sizeof(number), "%u", work_factor);
	return age_stanza_put(header,
	                      (struct bytes[]){ bytes_of_string("scrypt"), argument_bytes(&argument),
	                                        bytes_of_string(number) },
	                      3, bytes_of(body, sizeof(body)));
}

enum err recipient_wrap(const struct recipient *recipient, const struct secret *file_key, struct buf *header)
{
	switch (recipient->kind) {
	case RECIPIENT_X25519:
		return wrap_x25519(recipient, file_key, header);
	case RECIPIENT_P256TAG:
		return wrap_p256tag(recipient, file_key, header);
	case RECIPIENT_PASSPHRASE:
		return wrap_passphrase(recipient, file_key, header);
	}
	return ERR_BUG;
}

/* The key goes from the text into locked memory and nowhere else. */
static enum err identity_parse_x25519(struct bytes line, struct identity *ret_identity)
{
	CLEANUP(buf_freep) struct buf *data = NULL;
	struct identity identity = { .kind = IDENTITY_X25519 };
	struct bytes prefix;
	enum err err = buf_new_locked(X25519_LEN, &data);

	if (err)
		return err;
	err = bech32_decode(line, &prefix, data);
	if (err)
		return err == ERR_BUSY ? ERR_USAGE : err;
	if (!is_string(prefix, SECRET_KEY_PREFIX) || buf_len(data) != X25519_LEN)
		return ERR_USAGE;
	err = secret_new_from(buf_bytes(data), &identity.private_key);
	if (err)
		return err;
	x25519_public(identity.private_key, identity.public_key);
	*ret_identity = identity;
	return OK;
}

static size_t identity_public_len(enum key_kind kind)
{
	switch (kind) {
	case KEY_KIND_P256:
		return P256_COMPRESSED_LEN;
	case KEY_KIND_X25519:
		return X25519_LEN;
	case KEY_KIND_SYMMETRIC:
		break;
	}
	return 0;
}

static enum err identity_parse_payload(struct bytes payload, struct identity *ret_identity)
{
	struct identity identity = { .kind = IDENTITY_TOKEND, .any_key = payload.len == 0 };
	struct reader reader = reader_of(payload);

	if (identity.any_key) {
		*ret_identity = identity;
		return OK;
	}
	if (reader_u8(&reader) != PAYLOAD_VERSION)
		return ERR_UNSUPPORTED;
	reader_copy(&reader, identity.key_id.bytes, KEY_ID_LEN);
	identity.key_kind = reader_u8(&reader);
	reader_copy(&reader, identity.public_key, identity_public_len(identity.key_kind));
	if (!reader_done(&reader) || identity_public_len(identity.key_kind) == 0)
		return ERR_USAGE;
	if (identity.key_kind == KEY_KIND_P256 && identity.public_key[0] != 0x02 &&
	    identity.public_key[0] != 0x03)
		return ERR_USAGE;
	*ret_identity = identity;
	return OK;
}

/* "AGE-PLUGIN-NAME-": the name may itself have a '-' in it. */
static bool identity_plugin_valid(struct bytes prefix)
{
	size_t skipped = strlen(IDENTITY_PREFIX);

	if (prefix.len <= skipped || !bytes_begin_with(prefix, IDENTITY_PREFIX) ||
	    prefix.data[prefix.len - 1] != '-')
		return false;
	return plugin_name_valid(bytes_of(prefix.data + skipped, prefix.len - skipped - 1));
}

static enum err identity_parse_plugin(struct bytes line, struct identity *ret_identity,
                                      struct bytes *ret_what)
{
	CLEANUP(buf_freep) struct buf *data = NULL;
	struct bytes prefix;
	enum err err = buf_new(DECODED_MAX, &data);

	if (!err)
		err = bech32_decode(line, &prefix, data);
	if (err)
		return err;
	if (is_string(prefix, TOKEND_PREFIX))
		err = identity_parse_payload(buf_bytes(data), ret_identity);
	else
		err = identity_plugin_valid(prefix) || is_string(prefix, SECRET_KEY_PREFIX "PQ-")
		              ? ERR_UNSUPPORTED
		              : ERR_USAGE;
	return err == ERR_UNSUPPORTED ? unsupported(prefix, ret_what) : err;
}

enum err identity_parse(struct bytes line, struct identity *ret_identity, struct bytes *ret_what)
{
	if (bytes_begin_with(line, SECRET_KEY_PREFIX "1"))
		return identity_parse_x25519(line, ret_identity);
	if (bytes_begin_with(line, "-----BEGIN ") && line.len > 12 && line.data[line.len - 1] == '-')
		return unsupported(bytes_of_string("ssh private key"), ret_what);
	return identity_parse_plugin(line, ret_identity, ret_what);
}

void identity_done(struct identity *identity)
{
	identity->private_key = secret_free(identity->private_key);
}

enum err identity_put_tokend(struct buf *buf, const struct key_id *key_id, enum key_kind kind,
                             const uint8_t *public_key)
{
	CLEANUP(buf_freep) struct buf *payload = NULL;
	enum err err = buf_new(PAYLOAD_MAX, &payload);

	if (!err && key_id) {
		if (identity_public_len(kind) == 0)
			return ERR_USAGE;
		err = buf_put_u8(payload, PAYLOAD_VERSION);
		if (!err)
			err = buf_put(payload, bytes_of(key_id->bytes, KEY_ID_LEN));
		if (!err)
			err = buf_put_u8(payload, (uint8_t)kind);
		if (!err)
			err = buf_put(payload, bytes_of(public_key, identity_public_len(kind)));
	}
	return err ? err : bech32_put(buf, TOKEND_PREFIX, buf_bytes(payload), true);
}

enum err identity_put_x25519(struct buf *buf, const struct secret *private_key)
{
	return bech32_put(buf, SECRET_KEY_PREFIX, secret_reveal(private_key), true);
}

enum err identity_new_x25519(struct identity *ret_identity)
{
	struct identity identity = { .kind = IDENTITY_X25519 };
	enum err err = secret_new(X25519_LEN, &identity.private_key);

	if (err)
		return err;
	randombytes_buf(secret_fill(identity.private_key), X25519_LEN);
	x25519_public(identity.private_key, identity.public_key);
	*ret_identity = identity;
	return OK;
}

/* An argument that is base64 of exactly len bytes. */
static enum err argument_read(struct bytes argument, uint8_t *out, size_t len)
{
	size_t decoded;

	return base64_decode_public(argument, BASE64_UNPADDED, out, len, &decoded) || decoded != len
	               ? ERR_BAD_FILE
	               : OK;
}

/* The body's length is checked before anything is decrypted: a longer one could be made to open with several keys. */
static enum err body_read(const struct age_stanza *stanza, uint8_t out[static WRAPPED_LEN])
{
	if (stanza->body.len != WRAPPED_LEN)
		return ERR_BAD_FILE;
	memcpy(out, stanza->body.data, WRAPPED_LEN);
	return OK;
}

static enum err stanza_read_x25519(const struct age_stanza *stanza, struct token_stanza *ret_stanza)
{
	enum err err = stanza->argument_count == 2 ? OK : ERR_BAD_FILE;

	ret_stanza->kind = KEY_KIND_X25519;
	if (!err)
		err = argument_read(stanza->arguments[1], ret_stanza->share, X25519_LEN);
	return err ? err : body_read(stanza, ret_stanza->body);
}

static enum err stanza_read_p256tag(const struct age_stanza *stanza, struct token_stanza *ret_stanza)
{
	enum err err = stanza->argument_count == 3 ? OK : ERR_BAD_FILE;

	ret_stanza->kind = KEY_KIND_P256;
	if (!err)
		err = argument_read(stanza->arguments[1], ret_stanza->tag, TAG_LEN);
	if (!err)
		err = argument_read(stanza->arguments[2], ret_stanza->share, P256_POINT_LEN);
	if (!err && ret_stanza->share[0] != 0x04)
		err = ERR_BAD_FILE;
	return err ? err : body_read(stanza, ret_stanza->body);
}

enum err token_stanza_read(const struct age_stanza *stanza, struct token_stanza *ret_stanza)
{
	struct token_stanza read = { .kind = KEY_KIND_X25519 };
	enum err err = ERR_NO_MATCH;

	if (age_stanza_is(stanza, "X25519"))
		err = stanza_read_x25519(stanza, &read);
	else if (age_stanza_is(stanza, "p256tag"))
		err = stanza_read_p256tag(stanza, &read);
	if (!err)
		*ret_stanza = read;
	return err;
}

enum err stanzas_check(const struct age_header *header)
{
	if (age_header_stanza_count(header) == 1)
		return OK;
	for (size_t i = 0; i < age_header_stanza_count(header); i++)
		if (age_stanza_is(age_header_stanza(header, i), "scrypt"))
			return ERR_BAD_FILE;
	return OK;
}

static enum err unwrap_x25519(const struct identity *identity, const struct age_stanza *stanza,
                              struct secret **ret_file_key)
{
	struct token_stanza read;
	enum err err;

	if (!age_stanza_is(stanza, "X25519"))
		return ERR_NO_MATCH;
	err = token_stanza_read(stanza, &read);
	return err ? err
	           : x25519_unwrap(identity->private_key, identity->public_key, read.share, read.body,
	                           ret_file_key);
}

/* A number without sign or leading zero. What is beyond max is not work that anybody asked us to do. */
static enum err work_factor_read(struct bytes text, unsigned max, unsigned *ret_work_factor)
{
	unsigned work_factor = 0;

	if (text.len == 0 || text.data[0] == '0')
		return ERR_BAD_FILE;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return ERR_BAD_FILE;
		if (work_factor <= max)
			work_factor = work_factor * 10 + (unsigned)(text.data[i] - '0');
	}
	if (work_factor > max)
		return ERR_UNSUPPORTED;
	*ret_work_factor = work_factor;
	return OK;
}

static enum err unwrap_passphrase(const struct identity *identity, const struct age_stanza *stanza,
                                  unsigned max_work_factor, struct secret **ret_file_key)
{
	uint8_t salt[SCRYPT_SALT_LEN], body[WRAPPED_LEN];
	unsigned work_factor,
	        max = max_work_factor < SCRYPT_WORK_FACTOR_MAX ? max_work_factor : SCRYPT_WORK_FACTOR_MAX;
	enum err err;

	if (!age_stanza_is(stanza, "scrypt"))
		return ERR_NO_MATCH;
	if (stanza->argument_count != 3)
		return ERR_BAD_FILE;
	err = argument_read(stanza->arguments[1], salt, sizeof(salt));
	if (!err)
		err = body_read(stanza, body);
	if (!err)
		err = work_factor_read(stanza->arguments[2], max, &work_factor);
	return err ? err : scrypt_unwrap(identity->private_key, work_factor, salt, body, ret_file_key);
}

static enum err stanza_unwrap(const struct identity *identity, const struct age_stanza *stanza,
                              unsigned max_work_factor, struct secret **ret_file_key)
{
	switch (identity->kind) {
	case IDENTITY_X25519:
		return unwrap_x25519(identity, stanza, ret_file_key);
	case IDENTITY_PASSPHRASE:
		return unwrap_passphrase(identity, stanza, max_work_factor, ret_file_key);
	case IDENTITY_TOKEND:
		return ERR_NO_MATCH;
	}
	return ERR_BUG;
}

enum err identity_unwrap(const struct identity *identity, const struct age_header *header,
                         unsigned max_work_factor, struct secret **ret_file_key)
{
	enum err err = stanzas_check(header);

	if (err)
		return err;
	err = ERR_NO_MATCH;
	for (size_t i = 0; err == ERR_NO_MATCH && i < age_header_stanza_count(header); i++)
		err = stanza_unwrap(identity, age_header_stanza(header, i), max_work_factor, ret_file_key);
	return err;
}

const char *stanza_type_text(const struct age_stanza *stanza)
{
	static const struct {
		const char *type;
		const char *text;
	} types[] = {
		{ "X25519", NULL },
		{ "p256tag", NULL },
		{ "scrypt", "a passphrase" },
		{ "ssh-rsa", "an ssh key" },
		{ "ssh-ed25519", "an ssh key" },
		{ "mlkem768x25519", "a post-quantum key" },
		{ "mlkem768p256tag", "a post-quantum hardware key" },
		{ "piv-p256", "a YubiKey of age-plugin-yubikey" },
		{ "tpm-ecc", "a TPM key of age-plugin-tpm" },
	};
	static const char grease[] = "-grease";
	struct bytes type = stanza->arguments[0];

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (is_string(type, types[i].type))
			return types[i].text;
	if (type.len >= strlen(grease) &&
	    is_string(bytes_of(type.data + type.len - strlen(grease), strlen(grease)), grease))
		return NULL;
	return "a key of a kind that tokend does not know";
}
