#include "formats/sops_decrypt.h"

#include <sodium.h>
#include <stdlib.h>

#include "formats/sops_comment.h"
#include "formats/sops_number.h"
#include "formats/sops_selection.h"
#include "formats/sops_value.h"
#include "formats/sops_write.h"
#include "formats/yaml_library.h"

#define PATH_LIMIT (1U << 20)

/* sops before 3.13.2 took every number of a JSON file for a double, newer ones keep integers: a file's MAC may be over either. */
enum { MAC_NEW, MAC_OLD };

struct decryption {
	struct sops_document *document; /* borrowed, as all of these */
	const struct sops_metadata *metadata;
	const struct secret *data_key;
	struct gcm *cipher; /* with it */
	struct sops_memory *memory; /* NULL: nobody wants to know */
	struct buf *out; /* NULL: values are visited */
	sops_visit visit;
	void *visit_context;
	struct buf *path; /* scratch */
	struct buf *plain; /* scratch */
	struct sops_selection *selection;
	struct sops_comments comments; /* where each belongs */
	crypto_hash_sha512_state mac[2];
	size_t mac_kinds; /* of any other file they are one */
	size_t cursor; /* how much of the text is done */
	size_t cut; /* the next one */
};

static void mac_begin(struct decryption *decryption)
{
	static const char name[] = "sops";
	uint8_t start[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(start, (const uint8_t *)name, strlen(name));
	decryption->mac_kinds = decryption->document->format == SOPS_JSON ? 2 : 1;
	for (size_t i = 0; i < decryption->mac_kinds; i++) {
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
	if (decryption->mac_kinds == 1)
		return;
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
		if (!err && cut->leaves_nothing) /* as sops writes an empty map */
			err = buf_put(decryption->out, bytes_of_string("{}\n"));
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
	           : sops_value_open(value, decryption->cipher, buf_bytes(decryption->path),
	                             decryption->plain);
}

/* start: where what stood for the value that was just opened begins. */
static enum err remember(struct decryption *decryption, enum sops_type type, size_t start, size_t end)
{
	if (!decryption->memory)
		return OK;
	return sops_memory_add(decryption->memory, buf_bytes(decryption->path), type,
	                       buf_bytes(decryption->plain),
	                       bytes_of(decryption->document->text.data + start, end - start));
}

/* Does it become an integer when it is read as it was written? JSON's floats do not tell (older versions of sops made floats of all numbers), but for a zero with a sign. */
static bool looks_like_integer(enum sops_format format, struct bytes number)
{
	if (format == SOPS_JSON)
		return bytes_equal(number, bytes_of_string("-0"));
	for (size_t i = 0; i < number.len; i++)
		if (memchr(".en", number.data[i], 3))
			return false;
	return format == SOPS_YAML;
}

/* What is changed and sealed again must not become an integer on the way. */
static enum err mark_float(struct decryption *decryption, enum sops_type type, size_t written)
{
	struct bytes out = buf_bytes(decryption->out);
	struct bytes number = bytes_of(out.data + out.len - written, written);

	if (!decryption->memory || type != SOPS_TYPE_FLOAT ||
	    !looks_like_integer(decryption->document->format, number))
		return OK;
	return buf_put_string(decryption->out, ".0");
}

/* A comment within what was cut: the library behind sops puts one that was behind an alias on the line of "sops:". It gets a line of its own. */
static enum err put_beside_cut(struct decryption *decryption)
{
	const struct bytes out = buf_bytes(decryption->out);
	enum err err = buf_put_string(decryption->out, out.len && out.data[out.len - 1] != '\n' ? " #" : "#");

	if (!err)
		err = buf_put(decryption->out, buf_bytes(decryption->plain));
	return err ? err : buf_put_u8(decryption->out, '\n');
}

static enum err replace(struct decryption *decryption, const struct sops_node *node, enum sops_type type)
{
	enum err err = remember(decryption, type, node->start, node->end);
	size_t before;

	if (err)
		return err;
	if (!decryption->out)
		return decryption->visit(decryption->visit_context,
		                         (uint32_t)(node - decryption->document->nodes), type,
		                         buf_bytes(decryption->plain));
	if (decryption->document->format == SOPS_BINARY)
		return buf_put(decryption->out, buf_bytes(decryption->plain));
	err = advance(decryption, node->start);
	if (!err && decryption->cursor > node->start)
		return put_beside_cut(decryption);
	before = buf_len(decryption->out);
	if (!err)
		err = sops_value_write(decryption->document, node, type, buf_bytes(decryption->plain),
		                       decryption->out);
	if (!err)
		err = mark_float(decryption, type, buf_len(decryption->out) - before);
	decryption->cursor = node->end;
	return err == ERR_UNSUPPORTED ? complain(decryption, node, err, "this format has no such number")
	                              : err;
}

/* A comment that was never encrypted is remembered without a path, so that it stays as it is. */
static enum err remember_clear(struct decryption *decryption, const struct sops_node *node)
{
	if (!decryption->memory)
		return OK;
	return sops_memory_add(decryption->memory, bytes_of(NULL, 0), SOPS_TYPE_COMMENT, node->text,
	                       node->text);
}

/* Which map a comment belongs to is for sops a matter of indentation and empty lines; the ciphertext knows it. */
static enum err open_comment(struct decryption *decryption, uint32_t index)
{
	const struct sops_document *document = decryption->document;
	uint32_t starts[SOPS_COMMENT_PLACES];
	struct sops_value value;
	enum err err;

	if (sops_value_parse(document->nodes[index].text, &value) || value.type != SOPS_TYPE_COMMENT)
		return remember_clear(decryption, &document->nodes[index]);
	sops_comment_places(&decryption->comments, index, starts);
	for (size_t i = 0; i < SOPS_COMMENT_PLACES; i++) {
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
	err = remember(decryption, SOPS_TYPE_COMMENT, dash, node->end);
	if (!err)
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
	if (node->text.len && node->text.data[node->text.len - 1] == '\r')
		return complain(decryption, node, ERR_BAD_FILE,
		                "this line ends in CR LF, and the CR would be a part of the value");
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
		return decryption->out ? replace_with_comment(decryption, node) : OK;
	mac_add(decryption, value.type == SOPS_TYPE_INTEGER && decryption->document->format == SOPS_JSON,
	        buf_bytes(decryption->plain));
	return replace(decryption, node, value.type);
}

static enum sops_type type_of(enum sops_kind kind)
{
	static const enum sops_type types[] = {
		[SOPS_INTEGER] = SOPS_TYPE_INTEGER, [SOPS_FLOAT] = SOPS_TYPE_FLOAT,
		[SOPS_BOOLEAN] = SOPS_TYPE_BOOLEAN, [SOPS_TIME] = SOPS_TYPE_TIME,
		[SOPS_COMMENT] = SOPS_TYPE_COMMENT,
	};

	return kind < sizeof(types) / sizeof(types[0]) ? types[kind] : SOPS_TYPE_STRING;
}

/* Under a rule about comments the value itself says it. */
static bool is_ciphertext(const struct decryption *decryption, const struct sops_node *node, bool encrypted)
{
	if (!sops_selection_is_open(decryption->selection))
		return encrypted;
	return node->kind == SOPS_STRING && sops_value_looks_like(node->text);
}

static enum err visit_clear(struct decryption *decryption, uint32_t index)
{
	const struct sops_node *node = &decryption->document->nodes[index];

	return decryption->out
	               ? OK
	               : decryption->visit(decryption->visit_context, index, type_of(node->kind), node->text);
}

static enum err take_leaf(struct decryption *decryption, uint32_t index, bool encrypted)
{
	const struct sops_node *node = &decryption->document->nodes[index];
	bool json = decryption->document->format == SOPS_JSON;

	if (node->kind == SOPS_NULL)
		return OK;
	if (is_ciphertext(decryption, node, encrypted))
		/* sops leaves the empty string alone. */
		return node->text.len || node->kind != SOPS_STRING ? open_leaf(decryption, index)
		                                                   : visit_clear(decryption, index);
	if (!decryption->metadata->mac_only_encrypted)
		mac_add(decryption, json && node->kind == SOPS_INTEGER, node->text);
	return visit_clear(decryption, index);
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
	if (node->kind == SOPS_COMMENT)
		return decryption->out ? open_comment(decryption, index) : OK;
	return take_leaf(decryption, index, encrypted);
}

static bool mac_is(crypto_hash_sha512_state *state, struct bytes expected)
{
	char text[SOPS_MAC_LEN + 1];
	bool same;

	sops_mac_end(state, text);
	same = expected.len == SOPS_MAC_LEN && sodium_memcmp(expected.data, text, SOPS_MAC_LEN) == 0;
	secret_wipe(text, sizeof(text));
	return same;
}

static bool mac_is_right(struct decryption *decryption, struct bytes expected)
{
	for (size_t i = 0; i < decryption->mac_kinds; i++)
		if (mac_is(&decryption->mac[i], expected))
			return true;
	return false;
}

static enum err check_mac(struct decryption *decryption)
{
	struct sops_document *document = decryption->document;
	struct sops_value value;
	enum err err = sops_value_parse(decryption->metadata->mac, &value);

	buf_clear(decryption->plain);
	if (!err)
		err = sops_value_open(&value, decryption->cipher, decryption->metadata->last_modified,
		                      decryption->plain);
	if (!err && !mac_is_right(decryption, buf_bytes(decryption->plain)))
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
	if (!err && decryption->out && document->format != SOPS_BINARY)
		err = advance(decryption, document->text.len);
	return err;
}

static enum err run(struct decryption *decryption, enum err (*act)(struct decryption *decryption))
{
	struct sops_document *document = decryption->document;
	CLEANUP(buf_freep) struct buf *path = NULL;
	CLEANUP(buf_freep) struct buf *plain = NULL;
	CLEANUP(sops_selection_freep) struct sops_selection *selection = NULL;
	CLEANUP(gcm_freep) struct gcm *cipher = NULL;
	enum err err = buf_new(PATH_LIMIT, &path);

	if (!err)
		err = buf_new(SOPS_FILE_MAX, &plain);
	if (!err)
		err = sops_selection_new(document, decryption->metadata, &selection);
	if (err == ERR_BAD_FILE)
		(void)snprintf(document->reason, sizeof(document->reason),
		               "its rule is no pattern that sops would take");
	if (!err)
		err = gcm_new(decryption->data_key, &cipher);
	if (err)
		return err;
	sops_comments_init(&decryption->comments, document);
	decryption->cipher = cipher;
	decryption->path = path;
	decryption->plain = plain;
	decryption->selection = selection;
	err = act(decryption);
	secret_wipe(decryption->mac, sizeof(decryption->mac));
	return err;
}

enum err sops_decrypt(struct sops_document *document, const struct sops_metadata *metadata,
                      const struct secret *data_key, struct buf *out)
{
	return sops_decrypt_remember(document, metadata, data_key, NULL, out);
}

enum err sops_decrypt_remember(struct sops_document *document, const struct sops_metadata *metadata,
                               const struct secret *data_key, struct sops_memory *memory, struct buf *out)
{
	struct decryption decryption = {
		.document = document, .metadata = metadata, .data_key = data_key, .memory = memory, .out = out
	};

	return run(&decryption, decrypt_all);
}

enum err sops_decrypt_values(struct sops_document *document, const struct sops_metadata *metadata,
                             const struct secret *data_key, sops_visit visit, void *context)
{
	struct decryption decryption = { .document = document,
		                         .metadata = metadata,
		                         .data_key = data_key,
		                         .visit = visit,
		                         .visit_context = context };

	return run(&decryption, decrypt_all);
}

struct one_value {
	uint32_t index;
	enum sops_type *ret_type;
	struct buf *out; /* borrowed */
};

static enum err keep_value(void *context, uint32_t index, enum sops_type type, struct bytes text)
{
	struct one_value *value = context;

	if (index != value->index)
		return OK;
	*value->ret_type = type;
	return buf_put(value->out, text);
}

/* A rule holds for what is below, so those above are asked first. */
static enum err decrypt_one(struct decryption *decryption)
{
	const struct sops_document *document = decryption->document;
	uint32_t chain[SOPS_DEPTH_MAX + 2];
	const struct one_value *value = decryption->visit_context;
	size_t depth = 0;
	enum err err = OK;

	mac_begin(decryption);
	for (uint32_t at = value->index; at != SOPS_NONE && depth < SOPS_DEPTH_MAX + 2;
	     at = document->nodes[at].parent)
		chain[depth++] = at;
	while (!err && depth-- > 0)
		err = take_node(decryption, chain[depth]);
	return err;
}

enum err sops_decrypt_value(struct sops_document *document, const struct sops_metadata *metadata,
                            const struct secret *data_key, uint32_t index, enum sops_type *ret_type,
                            struct buf *out)
{
	struct one_value value = { index, ret_type, out };
	struct decryption decryption = { .document = document,
		                         .metadata = metadata,
		                         .data_key = data_key,
		                         .visit = keep_value,
		                         .visit_context = &value };
	const struct sops_node *node = &document->nodes[index];

	if (node->metadata || node->kind == SOPS_NULL || node->kind == SOPS_MAP || node->kind == SOPS_LIST ||
	    node->kind == SOPS_COMMENT)
		return ERR_NO_MATCH;
	return run(&decryption, decrypt_one);
}

void sops_decrypt_prepare(void)
{
	const struct yaml_library *ignored;

	if (yaml_library_load(&ignored) || gcm_prepare())
		return;
}
