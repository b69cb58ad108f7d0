#include "formats/age_header.h"

#include <sodium.h>
#include <stdlib.h>

#include "common/declassify.h"
#include "common/encoding.h"
#include "formats/text.h"
#include "formats/filekey.h"
#include "formats/sha256.h"

#define COLUMNS 64U
#define BYTES_PER_LINE 48U
#define MAC_MARK "---"
#define STANZA_MARK "->"

struct age_header {
	uint8_t *text; /* owned; everything below borrows from it or from bodies */
	size_t mac_covers; /* how much of text: up to and including "---" */
	uint8_t mac[AGE_MAC_LEN];
	uint8_t *bodies; /* owned; decoded, one after the other */
	size_t bodies_len;
	struct bytes *arguments; /* owned; of all stanzas */
	size_t argument_count;
	struct age_stanza *stanzas; /* owned */
	size_t stanza_count;
};

/* A line without its LF; more is false when no LF follows. Cuts it off text. */
static bool line_take(struct bytes *text, struct bytes *ret_line)
{
	const uint8_t *end = text->len ? memchr(text->data, '\n', text->len) : NULL;

	if (!end)
		return false;
	*ret_line = bytes_of(text->data, (size_t)(end - text->data));
	*text = bytes_of(end + 1, text->len - ret_line->len - 1);
	return true;
}

/* Is it the beginning of the intro line, or does it begin with it? A file of another kind is told at its first byte. */
static bool intro_possible(struct bytes text)
{
	size_t len = text.len < strlen(AGE_INTRO) ? text.len : strlen(AGE_INTRO);

	return len == 0 || memcmp(text.data, AGE_INTRO, len) == 0;
}

/* Where the header ends is plain before anything in it is understood: at the first line that begins with "---", for no other line can. */
static enum err header_find_end(struct bytes text, size_t *ret_len)
{
	struct bytes rest, line;

	if (!intro_possible(text))
		return ERR_BAD_FILE;
	rest = text.len > AGE_HEADER_MAX ? bytes_of(text.data, AGE_HEADER_MAX) : text;
	while (line_take(&rest, &line)) {
		if (!bytes_begin_with(line, MAC_MARK))
			continue;
		*ret_len = (size_t)(rest.data - text.data);
		return OK;
	}
	return text.len >= AGE_HEADER_MAX ? ERR_BAD_FILE : ERR_AGAIN;
}

static enum err argument_check(struct bytes argument)
{
	if (argument.len == 0)
		return ERR_BAD_FILE;
	for (size_t i = 0; i < argument.len; i++)
		if (argument.data[i] < 0x21 || argument.data[i] > 0x7e)
			return ERR_BAD_FILE;
	return OK;
}

/* "-> a b c": one space before each argument and none elsewhere. */
static enum err arguments_parse(struct age_header *header, struct bytes line, struct age_stanza *stanza)
{
	struct bytes rest = bytes_of(line.data + strlen(STANZA_MARK), line.len - strlen(STANZA_MARK));

	stanza->arguments = header->arguments + header->argument_count;
	while (rest.len > 0) {
		const uint8_t *end;
		struct bytes argument;
		enum err err;

		if (rest.data[0] != ' ' || stanza->argument_count == AGE_ARGUMENTS_MAX)
			return ERR_BAD_FILE;
		end = memchr(rest.data + 1, ' ', rest.len - 1);
		argument = bytes_of(rest.data + 1, end ? (size_t)(end - rest.data) - 1 : rest.len - 1);
		err = argument_check(argument);
		if (err)
			return err;
		header->arguments[header->argument_count++] = argument;
		stanza->argument_count++;
		rest = bytes_of(rest.data + 1 + argument.len, rest.len - 1 - argument.len);
	}
	return stanza->argument_count ? OK : ERR_BAD_FILE;
}

/* Lines of exactly 64 columns, and then a shorter one, which may be empty but not missing. */
static enum err body_parse(struct age_header *header, struct bytes *text, struct age_stanza *stanza)
{
	uint8_t *body = header->bodies + header->bodies_len;
	struct bytes line;

	do {
		size_t len;

		if (!line_take(text, &line) || line.len > COLUMNS)
			return ERR_BAD_FILE;
		if (base64_decode_public(line, BASE64_UNPADDED, header->bodies + header->bodies_len,
		                         BYTES_PER_LINE, &len))
			return ERR_BAD_FILE;
		header->bodies_len += len;
	} while (line.len == COLUMNS);
	stanza->body = bytes_of(body, (size_t)(header->bodies + header->bodies_len - body));
	return OK;
}

static enum err stanza_parse(struct age_header *header, struct bytes line, struct bytes *text)
{
	struct age_stanza *stanza;
	enum err err;

	if (header->stanza_count == AGE_STANZAS_MAX || !bytes_begin_with(line, STANZA_MARK))
		return ERR_BAD_FILE;
	stanza = &header->stanzas[header->stanza_count];
	err = arguments_parse(header, line, stanza);
	if (err)
		return err;
	err = body_parse(header, text, stanza);
	if (err)
		return err;
	header->stanza_count++;
	return OK;
}

/* "--- " and 43 characters. */
static enum err mac_parse(struct age_header *header, struct bytes line)
{
	struct bytes mac;
	size_t len;

	if (!bytes_begin_with(line, MAC_MARK " "))
		return ERR_BAD_FILE;
	header->mac_covers = (size_t)(line.data - header->text) + strlen(MAC_MARK);
	mac = bytes_of(line.data + strlen(MAC_MARK) + 1, line.len - strlen(MAC_MARK) - 1);
	if (base64_decode_public(mac, BASE64_UNPADDED, header->mac, sizeof(header->mac), &len) ||
	    len != sizeof(header->mac))
		return ERR_BAD_FILE;
	return OK;
}

/* text is the header exactly; its MAC line was found before, so the loop ends there. */
static enum err header_parse(struct age_header *header, struct bytes text)
{
	struct bytes line;

	if (!bytes_are_ascii(text) || !line_take(&text, &line))
		return ERR_BAD_FILE;
	while (line_take(&text, &line)) {
		enum err err;

		if (bytes_begin_with(line, MAC_MARK))
			return header->stanza_count ? mac_parse(header, line) : ERR_BAD_FILE;
		err = stanza_parse(header, line, &text);
		if (err)
			return err;
	}
	return ERR_BAD_FILE;
}

static void count_places(struct bytes text, size_t *ret_stanzas, size_t *ret_arguments)
{
	struct bytes line;

	*ret_stanzas = *ret_arguments = 0;
	while (line_take(&text, &line)) {
		if (!bytes_begin_with(line, STANZA_MARK))
			continue;
		++*ret_stanzas;
		for (size_t i = 0; i < line.len; i++)
			*ret_arguments += line.data[i] == ' ';
	}
}

/* Room for all that len bytes of text can hold, so that parsing allocates nothing. */
static enum err header_new(struct bytes text, struct age_header **ret_header)
{
	CLEANUP(age_header_freep) struct age_header *header = calloc(1, sizeof(*header));
	size_t stanzas, arguments;

	if (!header)
		return ERR_NOMEM;
	count_places(text, &stanzas, &arguments);
	if (stanzas > AGE_STANZAS_MAX || arguments > AGE_STANZAS_MAX * AGE_ARGUMENTS_MAX)
		return ERR_BAD_FILE;
	header->text = malloc(text.len);
	/* A last line of base64 may be decoded into up to BYTES_PER_LINE bytes, wherever it begins. */
	header->bodies = malloc(text.len + BYTES_PER_LINE);
	header->stanzas = calloc(stanzas + 1, sizeof(*header->stanzas));
	header->arguments = calloc(arguments + 1, sizeof(*header->arguments));
	if (!header->text || !header->bodies || !header->stanzas || !header->arguments)
		return ERR_NOMEM;
	memcpy(header->text, text.data, text.len);
	*ret_header = TAKE(header);
	return OK;
}

enum err age_header_parse(struct bytes text, struct age_header **ret_header, size_t *ret_len)
{
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	size_t len;
	enum err err = header_find_end(text, &len);

	if (err)
		return err;
	err = header_new(bytes_of(text.data, len), &header);
	if (err)
		return err;
	err = header_parse(header, bytes_of(header->text, len));
	if (err)
		return err;
	*ret_header = TAKE(header);
	*ret_len = len;
	return OK;
}

struct age_header *age_header_free(struct age_header *header)
{
	if (!header)
		return NULL;
	free(header->text);
	free(header->bodies);
	free(header->stanzas);
	free(header->arguments);
	free(header);
	return NULL;
}

size_t age_header_stanza_count(const struct age_header *header)
{
	return header->stanza_count;
}

const struct age_stanza *age_header_stanza(const struct age_header *header, size_t index)
{
	return &header->stanzas[index];
}

bool age_stanza_is(const struct age_stanza *stanza, const char *type)
{
	return bytes_equal(stanza->arguments[0], bytes_of_string(type));
}

bool age_header_has_passphrase(const struct age_header *header)
{
	for (size_t i = 0; i < age_header_stanza_count(header); i++)
		if (age_stanza_is(age_header_stanza(header, i), "scrypt"))
			return true;
	return false;
}

/* HMAC-SHA-256 with a key of its own over the header up to and including "---". */
static void header_mac(const struct secret *file_key, struct bytes covered,
                       uint8_t ret_mac[static AGE_MAC_LEN])
{
	struct hmac_sha256 state;
	uint8_t key[SHA256_LEN];

	hkdf_sha256(secret_reveal(file_key), bytes_of(NULL, 0), bytes_of_string("header"), key, sizeof(key));
	hmac_sha256_begin(&state, bytes_of(key, sizeof(key)));
	hmac_sha256_add(&state, covered);
	hmac_sha256_end(&state, ret_mac);
	secret_wipe(key, sizeof(key));
}

enum err age_header_verify(const struct age_header *header, const struct secret *file_key)
{
	uint8_t mac[AGE_MAC_LEN];
	int different;

	header_mac(file_key, bytes_of(header->text, header->mac_covers), mac);
	different = sodium_memcmp(mac, header->mac, sizeof(mac));
	declassify(&different,
	           sizeof(different)); /* whether the file is whole is the answer; where it differs is not */
	return different ? ERR_BAD_CIPHERTEXT : OK;
}

static enum err body_put(struct buf *buf, struct bytes body)
{
	bool ended = false;

	/* A full line is never the last: after it comes another, if only an empty one. */
	while (!ended) {
		size_t len = body.len < BYTES_PER_LINE ? body.len : BYTES_PER_LINE;
		enum err err = base64_put(buf, bytes_of(body.data, len), BASE64_UNPADDED);

		if (!err)
			err = buf_put_u8(buf, '\n');
		if (err)
			return err;
		ended = len < BYTES_PER_LINE;
		body = bytes_of(len ? body.data + len : body.data, body.len - len);
	}
	return OK;
}

enum err age_stanza_put(struct buf *buf, const struct bytes *arguments, size_t argument_count,
                        struct bytes body)
{
	enum err err = argument_count ? buf_put_string(buf, STANZA_MARK) : ERR_BUG;

	for (size_t i = 0; !err && i < argument_count; i++) {
		if (argument_check(arguments[i]))
			return ERR_BUG;
		err = buf_put_u8(buf, ' ');
		if (!err)
			err = buf_put(buf, arguments[i]);
	}
	if (!err)
		err = buf_put_u8(buf, '\n');
	return err ? err : body_put(buf, body);
}

enum err age_header_begin(struct buf *buf)
{
	return buf_put_string(buf, AGE_INTRO);
}

enum err age_header_finish(struct buf *buf, const struct secret *file_key)
{
	uint8_t mac[AGE_MAC_LEN];
	enum err err = buf_put_string(buf, MAC_MARK);

	if (err)
		return err;
	header_mac(file_key, buf_bytes(buf), mac);
	err = buf_put_u8(buf, ' ');
	if (!err)
		err = base64_put(buf, bytes_of(mac, sizeof(mac)), BASE64_UNPADDED);
	return err ? err : buf_put_u8(buf, '\n');
}
