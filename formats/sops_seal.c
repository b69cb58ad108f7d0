#include "formats/sops_seal.h"

#include <sodium.h>
#include <stdlib.h>
#include <time.h>

#include "formats/regex_library.h"
#include "formats/sops_comment.h"
#include "formats/sops_selection.h"
#include "formats/sops_value.h"
#include "formats/text.h"

#define PATH_LIMIT (1U << 20)

/* Of a document. */
struct ending {
	size_t at; /* where in body its metadata goes */
	bool hollow; /* its map is {}, which the metadata takes the place of */
};

struct sealing {
	const struct sops_seal *seal; /* borrowed, as all of these */
	struct gcm *cipher; /* with the data key */
	struct sops_document *plain;
	struct buf *out;
	struct buf *path; /* scratch */
	struct buf *block; /* the metadata, ready */
	struct buf *body; /* the document with its values encrypted, before the metadata is put in */
	struct sops_selection *selection;
	struct regex *comments; /* a rule about comments; NULL: another */
	struct sops_comments places; /* where each comment belongs */
	uint32_t listed; /* an empty list before whose brackets comments stand as elements; SOPS_NONE: none */
	bool *marked; /* by node: such a rule's comment stands before it, or before what it is in */
	bool *pending; /* by container: such a comment stands before what comes next in it */
	crypto_hash_sha512_state mac;
	size_t cursor; /* how much of the text is done */
	uint32_t root; /* the map of the document that is being sealed; SOPS_NONE: it is over */
	size_t root_end; /* where it stops */
	struct ending *ends; /* by document of the file */
	size_t end_count;
};

static enum err complain(struct sealing *sealing, const struct sops_node *node, const char *what)
{
	return sops_document_refuse(sealing->plain, node->start, what);
}

static enum err copy_to(struct sealing *sealing, size_t end)
{
	size_t start = sealing->cursor;

	if (end <= start)
		return OK;
	sealing->cursor = end;
	return buf_put(sealing->body, bytes_of(sealing->plain->text.data + start, end - start));
}

static enum err set_path(struct sealing *sealing, uint32_t index)
{
	buf_clear(sealing->path);
	return sops_path_put(sealing->path, sealing->plain, index);
}

/* In YAML an encrypted value needs quotes between brackets only. */
static bool needs_quotes(const struct sealing *sealing, const struct sops_node *node)
{
	enum sops_format format = sealing->plain->format;

	return format == SOPS_JSON || format == SOPS_BINARY || (format == SOPS_YAML && node->in_flow);
}

static enum err put_new(struct sealing *sealing, const struct sops_node *node, enum sops_type type,
                        struct bytes text)
{
	bool quotes = type != SOPS_TYPE_COMMENT && needs_quotes(sealing, node);
	enum err err = quotes ? buf_put_u8(sealing->body, '"') : OK;

	if (!err)
		err = sops_value_seal(type, text, sealing->cipher, buf_bytes(sealing->path), sealing->body);
	return !err && quotes ? buf_put_u8(sealing->body, '"') : err;
}

static enum sops_type type_of(enum sops_kind kind)
{
	switch (kind) {
	case SOPS_INTEGER:
		return SOPS_TYPE_INTEGER;
	case SOPS_FLOAT:
		return SOPS_TYPE_FLOAT;
	case SOPS_BOOLEAN:
		return SOPS_TYPE_BOOLEAN;
	case SOPS_TIME:
		return SOPS_TYPE_TIME;
	case SOPS_COMMENT:
		return SOPS_TYPE_COMMENT;
	case SOPS_MAP:
	case SOPS_LIST:
	case SOPS_STRING:
	case SOPS_NULL:
	case SOPS_ALIAS: /* only in files of rules */
		break;
	}
	return SOPS_TYPE_STRING;
}

/* A piece that was written between quotes may come back where none are wanted, and the other way round. */
static bool fits(const struct sealing *sealing, const struct sops_node *node, struct bytes token)
{
	return token.len && (!needs_quotes(sealing, node) || token.data[0] == '"' || token.data[0] == '\'');
}

/* Decrypted, a float without a fraction looks like an integer, and bytes like a text: the piece says which it was. */
static struct bytes take_any(struct sops_memory *memory, struct bytes path, enum sops_type type,
                             struct bytes text)
{
	struct bytes token = sops_memory_take(memory, path, type, text);

	if (!token.len && type == SOPS_TYPE_INTEGER)
		token = sops_memory_take(memory, path, SOPS_TYPE_FLOAT, text);
	if (!token.len && type == SOPS_TYPE_STRING)
		token = sops_memory_take(memory, path, SOPS_TYPE_BYTES, text);
	return token;
}

static struct bytes recall(struct sealing *sealing, enum sops_type type, struct bytes text)
{
	struct bytes token = take_any(sealing->seal->memory, buf_bytes(sealing->path), type, text);

	if (!token.len)
		sops_memory_pass(sealing->seal->memory);
	return token;
}

static enum err seal_leaf(struct sealing *sealing, uint32_t index)
{
	const struct sops_node *node = &sealing->plain->nodes[index];
	enum sops_type type = type_of(node->kind);
	struct bytes token;
	enum err err;

	if (node->text.len == 0)
		return OK; /* sops leaves the empty string alone */
	if (node->start < sealing->cursor)
		return complain(sealing, node, "what stands here cannot be told apart from a comment");
	err = set_path(sealing, index);
	if (!err)
		err = copy_to(sealing, node->start);
	if (err)
		return err;
	token = recall(sealing, type, node->text);
	err = fits(sealing, node, token) ? buf_put(sealing->body, token)
	                                 : put_new(sealing, node, type, node->text);
	sealing->cursor = node->end;
	return err;
}

/* Where sops saw a comment may be another place than where we see it: all that decrypting tries, each with all that it is in. SOPS_NONE is the file itself. */
struct places {
	uint32_t starts[SOPS_COMMENT_PLACES];
	size_t count; /* of starts that were begun */
	uint32_t at;
};

static void places_begin(struct sealing *sealing, uint32_t index, struct places *places)
{
	sops_comment_places(&sealing->places, index, places->starts);
	places->count = 0;
	places->at = SOPS_NONE;
}

static bool places_next(const struct sealing *sealing, struct places *places)
{
	bool more = places->at != SOPS_NONE || places->count < SOPS_COMMENT_PLACES;

	if (places->at != SOPS_NONE)
		places->at = sealing->plain->nodes[places->at].parent;
	else if (more)
		places->at = places->starts[places->count++];
	return more;
}

/* The old one that may have stood here and is the next in the file: another place may have an equal one, and more than one place be possible. Each is given once. */
static enum err take_nearest(struct sealing *sealing, uint32_t index, struct bytes text,
                             struct bytes *ret_token)
{
	size_t nearest = SOPS_MEMORY_NONE;
	uint32_t where = SOPS_NONE;
	struct places places;
	enum err err = OK;

	places_begin(sealing, index, &places);
	while (!err && places_next(sealing, &places)) {
		size_t distance;

		err = set_path(sealing, places.at);
		distance = sops_memory_distance(sealing->seal->memory, buf_bytes(sealing->path),
		                                SOPS_TYPE_COMMENT, text);
		where = distance < nearest ? places.at : where;
		nearest = distance < nearest ? distance : nearest;
	}
	if (!err)
		err = set_path(sealing, where);
	if (!err && nearest != SOPS_MEMORY_NONE)
		*ret_token = sops_memory_take(sealing->seal->memory, buf_bytes(sealing->path),
		                              SOPS_TYPE_COMMENT, text);
	return err;
}

/* One that was given already, when there is no other. */
static enum err take_any_comment(struct sealing *sealing, uint32_t index, struct bytes text,
                                 struct bytes *ret_token)
{
	struct places places;
	enum err err = OK;

	places_begin(sealing, index, &places);
	while (!err && !ret_token->len && places_next(sealing, &places)) {
		err = set_path(sealing, places.at);
		if (!err)
			*ret_token = sops_memory_take(sealing->seal->memory, buf_bytes(sealing->path),
			                              SOPS_TYPE_COMMENT, text);
	}
	return err;
}

static enum err find_comment(struct sealing *sealing, uint32_t index, struct bytes text,
                             struct bytes *ret_token)
{
	enum err err = OK;

	*ret_token = bytes_of(NULL, 0);
	if (sealing->seal->memory)
		err = take_nearest(sealing, index, text, ret_token);
	if (sealing->seal->memory && !err && !ret_token->len)
		err = take_any_comment(sealing, index, text, ret_token);
	return err;
}

static bool stays_clear(struct sealing *sealing, struct bytes text)
{
	return sops_memory_take(sealing->seal->memory, bytes_of(NULL, 0), SOPS_TYPE_COMMENT, text).len > 0;
}

/* The value that stands behind comments which stand behind its key; SOPS_NONE: something else does. */
static uint32_t value_behind(struct sealing *sealing, uint32_t comment)
{
	const struct sops_document *plain = sealing->plain;
	uint32_t next = sops_comment_behind(&sealing->places, comment);

	if (next >= plain->count || plain->nodes[next].begin > plain->nodes[comment].start)
		return SOPS_NONE;
	return next;
}

static bool has_elements(const struct sops_document *document, uint32_t list)
{
	return list + 1 < document->count && document->nodes[list + 1].parent == list;
}

/* An element that sops has made of a comment can stand before other elements only. Empty brackets were put there when the file was decrypted, where the list has nothing but comments, and go again. */
static struct bytes take_element(struct sealing *sealing, uint32_t index, struct bytes token)
{
	const struct sops_document *plain = sealing->plain;
	bool element = token.len && token.data[0] == '-';
	uint32_t value = element ? value_behind(sealing, index) : SOPS_NONE;
	bool list = value != SOPS_NONE && plain->nodes[value].kind == SOPS_LIST;

	if (value == SOPS_NONE || (list && plain->text.data[plain->nodes[value].start] == '-'))
		return token;
	if (!list || has_elements(plain, value))
		return bytes_of(NULL, 0);
	sealing->listed = value;
	return token;
}

static enum err leave_brackets_out(struct sealing *sealing, const struct sops_node *list)
{
	const uint8_t *text = sealing->plain->text.data;
	size_t at = list->start;
	enum err err;

	while (at > sealing->cursor && is_white_space(text[at - 1]))
		at--;
	err = copy_to(sealing, at);
	sealing->cursor = list->end;
	return err;
}

/* sops writes a comment in a list as an element: then that takes the place of the mark, too. */
static enum err put_old_comment(struct sealing *sealing, const struct sops_node *node, struct bytes token)
{
	bool element = token.data[0] == '-';
	enum err err = copy_to(sealing, node->start - element);

	if (!err && element)
		sealing->cursor = node->start;
	return err ? err : buf_put(sealing->body, token);
}

/* text: of the whole comment, which ends at end. */
static enum err seal_comment(struct sealing *sealing, uint32_t index, struct bytes text, size_t end)
{
	const struct sops_node *node = &sealing->plain->nodes[index];
	struct bytes token;
	enum err err = find_comment(sealing, index, text, &token);

	if (!err)
		token = take_element(sealing, index, token);
	if (!err && !token.len && stays_clear(sealing, text))
		return OK;
	if (!err && token.len) {
		err = put_old_comment(sealing, node, token);
	} else if (!err) {
		err = set_path(sealing, sops_comment_owner(&sealing->places, index));
		if (!err)
			err = copy_to(sealing, node->start);
		if (!err)
			err = put_new(sealing, node, SOPS_TYPE_COMMENT, text);
	}
	sealing->cursor = end;
	return err;
}

/* A comment is covered as what it is in. */
static enum err ask_owner(struct sealing *sealing, uint32_t index, bool *ret_encrypted)
{
	uint32_t owner = sops_comment_owner(&sealing->places, index);
	enum sops_rule rule = sealing->seal->metadata->rule;

	if (owner != SOPS_NONE)
		return sops_selection_ask(sealing->selection, owner, ret_encrypted);
	*ret_encrypted = rule == SOPS_UNENCRYPTED_SUFFIX || rule == SOPS_UNENCRYPTED_REGEX;
	return OK;
}

/* Does the rule cover it? A rule about comments is asked of what mark_all found. */
static enum err ask(struct sealing *sealing, uint32_t index, bool *ret_encrypted)
{
	enum sops_rule rule = sealing->seal->metadata->rule;

	if (!sealing->comments && sealing->plain->nodes[index].kind == SOPS_COMMENT)
		return ask_owner(sealing, index, ret_encrypted);
	if (!sealing->comments)
		return sops_selection_ask(sealing->selection, index, ret_encrypted);
	*ret_encrypted = sealing->marked[index] == (rule == SOPS_ENCRYPTED_COMMENT_REGEX);
	return OK;
}

/* Of a comment that stands before all else in it. */
static uint32_t root_of(struct sealing *sealing, uint32_t comment)
{
	const struct sops_document *plain = sealing->plain;

	for (uint32_t i = sops_comment_behind(&sealing->places, comment); i < plain->count; i++)
		if (plain->nodes[i].parent == SOPS_NONE && plain->nodes[i].kind == SOPS_MAP)
			return i;
	return 0;
}

/* A comment under a rule about comments: one that decides stays legible. */
static enum err mark_comment(struct sealing *sealing, uint32_t index)
{
	const struct sops_node *node = &sealing->plain->nodes[index];
	bool only_before = sealing->seal->metadata->rule == SOPS_ENCRYPTED_COMMENT_REGEX;
	uint32_t owner = sops_comment_owner(&sealing->places, index), value;
	bool match, before;
	enum err err = regex_match(sealing->comments, node->text, &match);

	owner = owner == SOPS_NONE ? root_of(sealing, index) : owner;
	before = sealing->marked[owner] || sealing->pending[owner];
	if (match && sops_comment_is_inline(&sealing->places, index, &value))
		sealing->marked[value] = true;
	else if (match)
		sealing->pending[owner] = true;
	sealing->marked[index] = only_before ? before && !match : before || match;
	return err;
}

static enum err mark_all(struct sealing *sealing)
{
	enum err err = OK;

	for (uint32_t i = 0; !err && i < sealing->plain->count; i++) {
		const struct sops_node *node = &sealing->plain->nodes[i];
		uint32_t parent = node->parent;

		if (node->kind == SOPS_COMMENT) {
			err = mark_comment(sealing, i);
			continue;
		}
		if (parent == SOPS_NONE)
			continue;
		sealing->marked[i] |= sealing->marked[parent] || sealing->pending[parent];
		sealing->pending[parent] = false;
	}
	return err;
}

/* What sops hashes, whether it is encrypted or not. */
static void mac_add(struct sealing *sealing, const struct sops_node *node, bool encrypted)
{
	if (encrypted || !sealing->seal->metadata->mac_only_encrypted)
		(void)crypto_hash_sha512_update(&sealing->mac, node->text.data, node->text.len);
}

/* What follows the mark of a comment's line. */
static size_t after_mark(const struct sops_document *plain, const struct sops_node *node)
{
	size_t start = node->start;

	while (start < node->end && is_white_space(plain->text.data[start]))
		start++;
	return start;
}

/* The beginning of a comment's line, its mark included. */
static size_t before_mark(const struct sops_document *plain, const struct sops_node *node)
{
	size_t start = node->start;

	while (start > 0 && plain->text.data[start - 1] != '\n')
		start--;
	while (start < node->end && is_white_space(plain->text.data[start]))
		start++;
	return start;
}

/* The texts of the comments from first to last as one; marks: each but the first with its own. */
static enum err join_comments(const struct sops_document *plain, uint32_t first, uint32_t last, bool marks,
                              struct buf *text)
{
	enum err err = buf_put(text, plain->nodes[first].text);

	for (uint32_t i = first + 1; !err && i <= last; i++) {
		const struct sops_node *node = &plain->nodes[i];
		size_t start = marks ? before_mark(plain, node) : after_mark(plain, node);

		err = buf_put_u8(text, '\n');
		if (!err)
			err = buf_put(text, bytes_of(plain->text.data + start, node->end - start));
	}
	return err;
}

/* The library behind sops makes one comment of all that follow each other in an INI file: the first is sealed with the text of all. Another implementation may have left out the marks. */
static enum err take_ini_comment(struct sealing *sealing, uint32_t *index)
{
	const struct sops_document *plain = sealing->plain;
	uint32_t first = *index, last = *index;
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct bytes token;
	enum err err = buf_new(SOPS_FILE_MAX, &text);

	while (last + 1 < plain->count && plain->nodes[last + 1].kind == SOPS_COMMENT)
		last++;
	*index = last;
	if (!err)
		err = join_comments(plain, first, last, false, text);
	if (!err)
		err = find_comment(sealing, first, buf_bytes(text), &token);
	if (!err && token.len) {
		err = put_old_comment(sealing, &plain->nodes[first], token);
		sealing->cursor = plain->nodes[last].end;
		return err;
	}
	buf_clear(text);
	if (!err)
		err = join_comments(plain, first, last, true, text);
	return err || buf_len(text) == 0
	               ? err
	               : seal_comment(sealing, first, buf_bytes(text), plain->nodes[last].end);
}

static enum err take_comment(struct sealing *sealing, uint32_t *index)
{
	const struct sops_node *node = &sealing->plain->nodes[*index];

	if (sealing->plain->format == SOPS_INI)
		return take_ini_comment(sealing, index);
	return node->text.len ? seal_comment(sealing, *index, node->text, node->end) : OK;
}

/* Comments are in no MAC: whoever can write the file can take away the one that has a value encrypted, or put one there that exempts it, without any key. */
static enum err leave_clear(struct sealing *sealing, uint32_t index)
{
	const struct sops_node *node = &sealing->plain->nodes[index];
	enum err err;

	if (!sealing->comments || !sealing->seal->sealed || node->text.len == 0)
		return OK;
	err = set_path(sealing, index);
	if (!err &&
	    take_any(sealing->seal->sealed, buf_bytes(sealing->path), type_of(node->kind), node->text).len)
		return complain(
		        sealing, node,
		        "this value is encrypted, and by the comments here it would be in the clear from "
		        "now on");
	return err;
}

/* Where sops would encrypt a comment that stands behind a value, or ask it whether to encrypt, there is nothing here that could be encrypted in its place: it would stay in the clear, and with it the end of a password with a ';' in it. */
static enum err refuse_tail(struct sealing *sealing, uint32_t index, bool encrypted)
{
	const struct sops_node *node = &sealing->plain->nodes[index];

	if ((!encrypted && !sealing->comments) || !sops_ini_has_tail(sealing->plain, index))
		return OK;
	return complain(
	        sealing, node,
	        node->kind == SOPS_MAP
	                ? "what follows the section's name is a comment and would stay in the clear: "
	                  "it belongs in a line of its own"
	                : "in INI a value ends at ; or #, and what follows it would stay in the clear: "
	                  "write ` around a value that has one, and a comment in a line of its own");
}

static enum err take_node(struct sealing *sealing, uint32_t *index)
{
	const struct sops_node *node = &sealing->plain->nodes[*index];
	bool encrypted;
	enum err err;

	if (node->metadata)
		return complain(sealing, node, "it has metadata of sops already");
	err = ask(sealing, *index, &encrypted);
	if (err == ERR_BUSY)
		return complain(sealing, node, "the rule's pattern takes too long on this key");
	if (!err)
		err = refuse_tail(sealing, *index, encrypted);
	if (!err && *index == sealing->listed)
		return leave_brackets_out(sealing, node);
	if (err || node->kind == SOPS_MAP || node->kind == SOPS_LIST || node->kind == SOPS_NULL)
		return err;
	if (node->kind == SOPS_COMMENT)
		return encrypted ? take_comment(sealing, index) : OK;
	mac_add(sealing, node, encrypted);
	return encrypted ? seal_leaf(sealing, *index) : leave_clear(sealing, *index);
}

static bool is_boundary(struct bytes line)
{
	return bytes_begin_with(line, "---") || bytes_begin_with(line, "...");
}

/* Where the document whose map ends at at stops: at a line --- or ..., or at the end. */
static size_t document_end(const struct sealing *sealing, size_t at)
{
	struct bytes text = sealing->plain->text;

	while (at < text.len) {
		const uint8_t *line = memchr(text.data + at, '\n', text.len - at);

		if (!line)
			return text.len;
		at = (size_t)(line - text.data) + 1;
		if (is_boundary(bytes_of(text.data + at, text.len - at)))
			return at;
	}
	return text.len;
}

/* Where metadata goes that stands between brackets: behind the last member. */
static size_t flow_end(const struct sealing *sealing, const struct sops_node *root)
{
	const uint8_t *text = sealing->plain->text.data;
	size_t at = root->end - 1;

	while (at > root->start + 1 && is_white_space(text[at - 1]))
		at--;
	return at;
}

static bool is_flow(const struct sealing *sealing, const struct sops_node *root)
{
	return sealing->plain->format == SOPS_JSON || sealing->plain->format == SOPS_BINARY ||
	       (sealing->plain->format == SOPS_YAML && root->start < sealing->plain->text.len &&
	        sealing->plain->text.data[root->start] == '{');
}

/* A document that has nothing but metadata is {} when it is decrypted. */
static bool is_hollow(const struct sealing *sealing, const struct sops_node *root)
{
	size_t at = root->start + 1;

	if (sealing->plain->format != SOPS_YAML || !is_flow(sealing, root) || root->end < root->start + 2)
		return false;
	while (at < root->end && is_white_space(sealing->plain->text.data[at]))
		at++;
	return at + 1 == root->end;
}

static size_t end_of(const struct sealing *sealing, const struct sops_node *root)
{
	if (is_hollow(sealing, root))
		return root->start;
	if (is_flow(sealing, root))
		return flow_end(sealing, root);
	return sealing->plain->format == SOPS_YAML ? document_end(sealing, root->end)
	                                           : sealing->plain->text.len;
}

static void begin_document(struct sealing *sealing, uint32_t root)
{
	sealing->root = root;
	sealing->root_end = end_of(sealing, &sealing->plain->nodes[root]);
}

/* The text up to where this document's metadata goes. */
static enum err end_document(struct sealing *sealing)
{
	const struct sops_node *root;
	struct ending *end;
	enum err err;

	if (sealing->root == SOPS_NONE)
		return OK;
	root = &sealing->plain->nodes[sealing->root];
	err = copy_to(sealing, sealing->root_end);
	end = &sealing->ends[sealing->end_count++];
	*end = (struct ending){ buf_len(sealing->body), is_hollow(sealing, root) };
	if (end->hollow)
		sealing->cursor = root->end;
	sealing->root = SOPS_NONE;
	return err;
}

static enum err seal_body(struct sealing *sealing)
{
	enum err err = OK;

	sealing->root = SOPS_NONE;
	for (uint32_t i = 0; !err && i < sealing->plain->count; i++) {
		const struct sops_node *node = &sealing->plain->nodes[i];
		bool begins = node->parent == SOPS_NONE && node->kind == SOPS_MAP;

		if (begins || (node->kind == SOPS_COMMENT && node->start > sealing->root_end))
			err = end_document(sealing);
		if (begins)
			begin_document(sealing, i);
		if (!err)
			err = take_node(sealing, &i);
	}
	if (!err)
		err = end_document(sealing);
	if (!err && sealing->end_count == 0) {
		(void)snprintf(sealing->plain->reason, sizeof(sealing->plain->reason),
		               "there is no value in it");
		return ERR_BAD_FILE;
	}
	if (!err && sealing->plain->begins_empty) {
		(void)snprintf(
		        sealing->plain->reason, sizeof(sealing->plain->reason),
		        "its first document is empty, and there sops looks for what it needs to decrypt");
		return ERR_BAD_FILE;
	}
	return err ? err : copy_to(sealing, sealing->plain->text.len);
}

static enum err seal_mac(struct sealing *sealing, struct buf *out)
{
	char text[SOPS_MAC_LEN + 1];
	enum err err;

	sops_mac_end(&sealing->mac, text);
	err = sops_value_seal(SOPS_TYPE_STRING, bytes_of(text, SOPS_MAC_LEN), sealing->cipher,
	                      bytes_of_string(sealing->seal->now), out);
	secret_wipe(text, sizeof(text));
	return err;
}

/* Lines begin behind a line end; between brackets a comma stands before all but the first. */
static enum err put_block_at(struct sealing *sealing, struct bytes before)
{
	struct bytes block = buf_bytes(sealing->block);
	bool flow = block.len && block.data[0] == ',';
	uint8_t last = before.len ? before.data[before.len - 1] : '\n';
	enum err err = !flow && last != '\n' ? buf_put_u8(sealing->out, '\n') : OK;

	if (flow && last == '{')
		block = bytes_of(block.data + 1, block.len - 1);
	return err ? err : buf_put(sealing->out, block);
}

static struct bytes piece(struct bytes text, size_t start, size_t end)
{
	return end > start ? bytes_of(text.data + start, end - start) : bytes_of(NULL, 0);
}

/* With a line end where none follows; between brackets of its own without the first comma. */
static enum err put_hollow_block_at(struct sealing *sealing, struct bytes before, struct bytes behind)
{
	struct bytes block = buf_bytes(sealing->block);
	bool flow = block.len && block.data[0] == ',';
	bool begins = before.len == 0 || before.data[before.len - 1] == '\n';
	enum err err = flow ? buf_put_u8(sealing->out, '{') : begins ? OK : buf_put_u8(sealing->out, '\n');

	if (flow)
		block = bytes_of(block.data + 1, block.len - 1);
	else if (bytes_begin_with(behind, "\n") && block.len && block.data[block.len - 1] == '\n')
		block.len--;
	if (!err)
		err = buf_put(sealing->out, block);
	return !err && flow ? buf_put_u8(sealing->out, '}') : err;
}

static enum err put_all(struct sealing *sealing)
{
	struct bytes body = buf_bytes(sealing->body);
	size_t at = 0;
	enum err err = OK;

	for (size_t i = 0; !err && i < sealing->end_count; i++) {
		const struct ending *end = &sealing->ends[i];
		struct bytes part = piece(body, at, end->at);

		err = buf_put(sealing->out, part);
		if (!err && end->hollow)
			err = put_hollow_block_at(sealing, part, piece(body, end->at, body.len));
		else if (!err)
			err = put_block_at(sealing, part);
		at = end->at;
	}
	return err ? err : buf_put(sealing->out, piece(body, at, body.len));
}

static void mac_begin(struct sealing *sealing)
{
	static const char name[] = "sops";
	uint8_t start[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(start, (const uint8_t *)name, strlen(name));
	(void)crypto_hash_sha512_init(&sealing->mac);
	if (sealing->seal->metadata->mac_only_encrypted)
		(void)crypto_hash_sha512_update(&sealing->mac, start, sizeof(start));
}

static enum err seal_all(struct sealing *sealing, sops_put_block put_block, void *context)
{
	CLEANUP(buf_freep) struct buf *mac = NULL;
	enum err err = sealing->comments ? mark_all(sealing) : OK;

	mac_begin(sealing);
	if (!err)
		err = seal_body(sealing);
	if (!err)
		err = buf_new(SOPS_FILE_MAX, &mac);
	if (!err)
		err = seal_mac(sealing, mac);
	if (!err)
		err = put_block(context, sealing->seal->now, buf_bytes(mac), sealing->block);
	secret_wipe(&sealing->mac, sizeof(sealing->mac));
	return err ? err : put_all(sealing);
}

static enum err choose_rule(struct sealing *sealing)
{
	const struct sops_metadata *metadata = sealing->seal->metadata;
	enum err err = sops_selection_new(sealing->plain, metadata, &sealing->selection);

	if (!err && sops_selection_is_open(sealing->selection))
		err = regex_new(metadata->pattern, &sealing->comments);
	if (err == ERR_BAD_FILE)
		(void)snprintf(sealing->plain->reason, sizeof(sealing->plain->reason),
		               "its rule is no pattern that sops would take");
	return err;
}

enum err sops_seal(const struct sops_seal *seal, sops_put_block put_block, void *context, struct buf *out)
{
	struct sealing sealing = { .seal = seal, .plain = seal->plain, .out = out, .listed = SOPS_NONE };
	size_t count = seal->plain->count + 1;
	enum err err;

	sops_comments_init(&sealing.places, seal->plain);
	sealing.marked = calloc(count, sizeof(bool));
	sealing.pending = calloc(count, sizeof(bool));
	sealing.ends = calloc(count, sizeof(*sealing.ends));
	err = sealing.marked && sealing.pending && sealing.ends ? OK : ERR_NOMEM;
	if (!err)
		err = buf_new(PATH_LIMIT, &sealing.path);
	if (!err)
		err = buf_new(SOPS_FILE_MAX, &sealing.block);
	if (!err)
		err = buf_new(2 * SOPS_FILE_MAX, &sealing.body);
	if (!err)
		err = choose_rule(&sealing);
	if (!err)
		err = gcm_new(seal->data_key, &sealing.cipher);
	if (!err)
		err = seal_all(&sealing, put_block, context);
	(void)gcm_free(sealing.cipher);
	(void)sops_selection_free(sealing.selection);
	(void)regex_free(sealing.comments);
	(void)buf_free(sealing.path);
	(void)buf_free(sealing.block);
	(void)buf_free(sealing.body);
	free(sealing.marked);
	free(sealing.pending);
	free(sealing.ends);
	return err;
}

/* Its bytes need not be text, so they never pass through JSON. */
enum err sops_seal_read_binary(struct sops_document *document, struct bytes bytes)
{
	enum err err = sops_document_read(document, SOPS_BINARY, bytes_of_string("{\n\t\"data\": \"\"\n}\n"));

	if (!err)
		document->nodes[document->count - 1].text = bytes;
	return err;
}

void sops_seal_time(char out[static SOPS_TIME_LEN + 1])
{
	time_t now = time(NULL);
	struct tm parts;

	(void)gmtime_r(&now, &parts);
	(void)strftime(out, SOPS_TIME_LEN + 1, "%Y-%m-%dT%H:%M:%SZ", &parts);
}
