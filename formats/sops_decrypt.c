#include "formats/sops_decrypt.h"

#include <sodium.h>
#include <stdlib.h>

#include "formats/sops_number.h"
#include "formats/sops_selection.h"
#include "formats/sops_value.h"
#include "formats/sops_write.h"

#define PATH_LIMIT (1U << 20)
#define MAC_TEXT_LEN (2U * crypto_hash_sha512_BYTES)

/* sops before 3.13.2 took every number of a JSON file for a double, newer ones keep integers: a file's MAC may be over either. */
enum { MAC_NEW, MAC_OLD, MAC_KINDS };

struct decryption {
	struct sops_document *document; /* borrowed, as all of these */
	const struct sops_metadata *metadata;
	const struct secret *data_key;
	struct buf *out;
	struct buf *path; /* scratch */
	struct buf *plain; /* scratch */
	struct sops_selection *selection;
	crypto_hash_sha512_state mac[MAC_KINDS];
	size_t cursor; /* how much of the text is done */
	size_t cut; /* the next one */
};

static void mac_begin(struct decryption *decryption)
{
	static const char name[] = "sops";
	uint8_t start[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(start, (const uint8_t *)name, strlen(name));
	for (size_t i = 0; i < MAC_KINDS; i++) {
		(void)crypto_hash_sha512_init(&decryption->mac[i]);
		if (decryption->metadata->mac_only_encrypted)
			(void)crypto_hash_sha512_update(&decryption->mac[i], start, sizeof(start));
	}
}

static void mac_add(struct decryption *decryption, bool number, struct bytes text)
{
	char old[SOPS_NUMBER_MAX];
	double value;

	(void)crypto_hash_sha512_update(&decryption->mac[MAC_NEW], text.data, text.len);
	if (number && sops_number_read(text, &value) == OK)
		text = bytes_of(old, sops_number_write(value, SOPS_NUMBER_PLAIN, old));
	(void)crypto_hash_sha512_update(&decryption->mac[MAC_OLD], text.data, text.len);
}

/* Names where it is; the line is that of the value. */
static enum err complain(struct decryption *decryption, const struct sops_node *node, enum err err,
                         const char *what)
{
	(void)sops_document_refuse(decryption->document, node->start, what);
	return err;
}

static enum err copy_to(struct decryption *decryption, size_t end)
{
	struct bytes text = decryption->document->text;
	size_t start = decryption->cursor;

	decryption->cursor = end;
	return end > start ? buf_put(decryption->out, bytes_of(text.data + start, end - start)) : OK;
}

/* Copies up to position, without what is cut on the way. */
static enum err advance(struct decryption *decryption, size_t position)
{
	struct sops_document *document = decryption->document;
	enum err err = OK;

	while (!err && decryption->cut < document->cut_count &&
	       document->cuts[decryption->cut].start <= position) {
		const struct sops_span *cut = &document->cuts[decryption->cut++];

		err = copy_to(decryption, cut->start);
		if (cut->end > decryption->cursor)
			decryption->cursor = cut->end;
	}
	if (!err && position > decryption->cursor)
		err = copy_to(decryption, position);
	return err;
}

static enum err open_value(struct decryption *decryption, const struct sops_value *value, uint32_t path_of)
{
	enum err err;

	buf_clear(decryption->path);
	buf_clear(decryption->plain);
	err = sops_path_put(decryption->path, decryption->document, path_of);
	return err ? err
	           : sops_value_open(value, decryption->data_key, buf_bytes(decryption->path),
	                             decryption->plain);
}

static enum err replace(struct decryption *decryption, const struct sops_node *node, enum sops_type type)
{
	enum err err;

	if (decryption->document->format == SOPS_BINARY)
		return buf_put(decryption->out, buf_bytes(decryption->plain));
	err = advance(decryption, node->start);
	if (!err)
		err = sops_value_write(decryption->document, node, type, buf_bytes(decryption->plain),
		                       decryption->out);
	decryption->cursor = node->end;
	return err == ERR_UNSUPPORTED ? complain(decryption, node, err, "this format has no such number")
	                              : err;
}

/* Which map a comment belongs to is for sops a matter of indentation and empty lines; the ciphertext knows it. */
static enum err open_comment(struct decryption *decryption, uint32_t index)
{
	const struct sops_document *document = decryption->document;
	const uint32_t starts[] = { document->nodes[index].parent, index > 0 ? index - 1 : SOPS_NONE,
		                    index + 1 < document->count ? index + 1 : SOPS_NONE };
	struct sops_value value;
	enum err err;

	if (sops_value_parse(document->nodes[index].text, &value) || value.type != SOPS_TYPE_COMMENT)
		return OK;
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		uint32_t path_of = starts[i];

		do {
			err = open_value(decryption, &value, path_of);
			if (!err)
				return replace(decryption, &document->nodes[index], value.type);
			if (err != ERR_BAD_CIPHERTEXT && err != ERR_BAD_FILE)
				return err;
			path_of = path_of == SOPS_NONE ? SOPS_NONE : document->nodes[path_of].parent;
		} while (path_of != SOPS_NONE);
	}
	return OK; /* as sops: it was never encrypted */
}

static bool is_list_comment(const struct sops_node *node)
{
	struct sops_value value;

	return node->kind == SOPS_COMMENT ||
	       (node->kind == SOPS_STRING && sops_value_parse(node->text, &value) == OK &&
	        value.type == SOPS_TYPE_COMMENT);
}

/* The last element of a list that holds nothing else than comments: without them it would be null. */
static bool leaves_nothing(const struct sops_document *document, uint32_t index)
{
	uint32_t list = document->nodes[index].parent;
	uint32_t next = index + 1;

	while (next < document->count && document->nodes[next].kind == SOPS_COMMENT)
		next++;
	if (next < document->count && document->nodes[next].parent == list)
		return false;
	while (index > list && is_list_comment(&document->nodes[index]))
		index--;
	return index == list;
}

/* Where the dash before an element of a YAML list stands; no other place than one behind a dash holds a comment. */
static bool find_dash(const struct sops_document *document, const struct sops_node *node, size_t *ret_dash)
{
	const uint8_t *text = document->text.data;
	size_t at = node->start;

	while (at > 0 && (text[at - 1] == ' ' || text[at - 1] == '\t'))
		at--;
	if (document->format != SOPS_YAML || node->key.data || node->in_flow || at == 0 ||
	    text[at - 1] != '-')
		return false;
	*ret_dash = at - 1;
	return true;
}

static enum err replace_with_comment(struct decryption *decryption, const struct sops_node *node)
{
	const struct sops_document *document = decryption->document;
	size_t dash;
	enum err err;

	if (!find_dash(document, node, &dash))
		return complain(decryption, node, ERR_BAD_FILE, "a comment stands in the place of a value");
	err = advance(decryption, dash);
	if (!err)
		err = buf_put_u8(decryption->out, '#');
	if (!err)
		err = buf_put(decryption->out, buf_bytes(decryption->plain));
	if (!err && leaves_nothing(document, (uint32_t)(node - document->nodes)))
		err = buf_printf(decryption->out, "\n%*s[]", (int)node->column, "");
	decryption->cursor = node->end;
	return err;
}

static enum err open_leaf(struct decryption *decryption, uint32_t index)
{
	const struct sops_node *node = &decryption->document->nodes[index];
	struct sops_value value;
	enum err err;

	if (node->kind != SOPS_STRING)
		return complain(decryption, node, ERR_BAD_FILE,
		                "this value ought to be encrypted and is not");
	if (node->text.len == 0)
		return OK; /* sops leaves the empty string alone */
	if (sops_value_parse(node->text, &value))
		return complain(decryption, node, ERR_BAD_FILE,
		                "this value ought to be encrypted and is not");
	err = open_value(decryption, &value, index);
	if (err == ERR_BAD_CIPHERTEXT || err == ERR_BAD_FILE)
		return complain(decryption, node, err,
		                "this value was changed, or is of another file or place");
	if (err)
		return err;
	if (value.type == SOPS_TYPE_COMMENT) /* sops writes a comment in a list as an element */
		return replace_with_comment(decryption, node);
	mac_add(decryption, value.type == SOPS_TYPE_INTEGER && decryption->document->format == SOPS_JSON,
	        buf_bytes(decryption->plain));
	return replace(decryption, node, value.type);
}

static enum err take_leaf(struct decryption *decryption, uint32_t index, bool encrypted)
{
	const struct sops_node *node = &decryption->document->nodes[index];
	bool json = decryption->document->format == SOPS_JSON;

	if (node->kind == SOPS_NULL)
		return OK;
	if (sops_selection_is_open(decryption->selection))
		encrypted = node->kind == SOPS_STRING && sops_value_looks_like(node->text);
	if (encrypted)
		return open_leaf(decryption, index);
	if (!decryption->metadata->mac_only_encrypted)
		mac_add(decryption, json && node->kind == SOPS_INTEGER, node->text);
	return OK;
}

static enum err take_node(struct decryption *decryption, uint32_t index)
{
	const struct sops_node *node = &decryption->document->nodes[index];
	bool encrypted;
	enum err err;

	if (node->metadata)
		return OK;
	err = sops_selection_ask(decryption->selection, index, &encrypted);
	if (err == ERR_BUSY)
		return complain(decryption, node, ERR_BAD_FILE,
		                "the rule's pattern takes too long on this key");
	if (err || node->kind == SOPS_MAP || node->kind == SOPS_LIST)
		return err;
	return node->kind == SOPS_COMMENT ? open_comment(decryption, index)
	                                  : take_leaf(decryption, index, encrypted);
}

static bool mac_is(crypto_hash_sha512_state *state, struct bytes expected)
{
	uint8_t hash[crypto_hash_sha512_BYTES];
	char text[MAC_TEXT_LEN + 1];

	(void)crypto_hash_sha512_final(state, hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		(void)snprintf(text + 2 * i, 3, "%02X", hash[i]);
	return expected.len == MAC_TEXT_LEN && sodium_memcmp(expected.data, text, MAC_TEXT_LEN) == 0;
}

static enum err check_mac(struct decryption *decryption)
{
	struct sops_document *document = decryption->document;
	struct sops_value value;
	enum err err = sops_value_parse(decryption->metadata->mac, &value);

	buf_clear(decryption->plain);
	if (!err)
		err = sops_value_open(&value, decryption->data_key, decryption->metadata->last_modified,
		                      decryption->plain);
	if (!err && !mac_is(&decryption->mac[MAC_NEW], buf_bytes(decryption->plain)) &&
	    !mac_is(&decryption->mac[MAC_OLD], buf_bytes(decryption->plain)))
		err = ERR_BAD_CIPHERTEXT;
	if (err != ERR_BAD_CIPHERTEXT && err != ERR_BAD_FILE)
		return err;
	(void)snprintf(document->reason, sizeof(document->reason), "%s",
	               decryption->metadata->mac.len
	                       ? "its MAC is wrong: values were changed, added, removed or moved"
	                       : "it has no MAC");
	return ERR_BAD_CIPHERTEXT;
}

static enum err decrypt_all(struct decryption *decryption)
{
	struct sops_document *document = decryption->document;
	enum err err = OK;

	mac_begin(decryption);
	for (size_t i = 0; !err && i < document->count; i++)
		err = take_node(decryption, (uint32_t)i);
	if (!err)
		err = check_mac(decryption);
	if (!err && document->format != SOPS_BINARY)
		err = advance(decryption, document->text.len);
	return err;
}

enum err sops_decrypt(struct sops_document *document, const struct sops_metadata *metadata,
                      const struct secret *data_key, struct buf *out)
{
	CLEANUP(buf_freep) struct buf *path = NULL;
	CLEANUP(buf_freep) struct buf *plain = NULL;
	CLEANUP(sops_selection_freep) struct sops_selection *selection = NULL;
	struct decryption decryption = {
		.document = document, .metadata = metadata, .data_key = data_key, .out = out
	};
	enum err err = buf_new(PATH_LIMIT, &path);

	if (!err)
		err = buf_new(SOPS_FILE_MAX, &plain);
	if (!err)
		err = sops_selection_new(document, metadata, &selection);
	if (err == ERR_BAD_FILE)
		(void)snprintf(document->reason, sizeof(document->reason),
		               "its rule is no pattern that sops would take");
	if (err)
		return err;
	decryption.path = path;
	decryption.plain = plain;
	decryption.selection = selection;
	err = decrypt_all(&decryption);
	secret_wipe(decryption.mac, sizeof(decryption.mac));
	return err;
}
