/*
 * SOPS files that are made and changed: what was decrypted and sealed again is the file it was, values set and taken out as text, whose a comment is, shares of a key, and what a file remembers. The files
 * of tests/data/sops are those of test_sops.c; their data key is 00 01 02 ... 1f.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "formats/sops_block.h"
#include "formats/sops_comment.h"
#include "formats/sops_compare.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_edit.h"
#include "formats/sops_seal.h"
#include "formats/sops_shamir.h"
#include "tests/fake/sops_data.h"

#define LIMIT 200000U

static struct secret *key;

static struct buf *new_buf(void)
{
	struct buf *buf = NULL;

	assert_int_equal(buf_new(LIMIT, &buf), OK);
	return buf;
}

static struct bytes next_line(struct bytes *rest)
{
	const uint8_t *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
	size_t len = end ? (size_t)(end - rest->data) : rest->len;
	struct bytes line = bytes_of(rest->data, len);

	*rest = bytes_of(rest->data + len + (end != NULL), rest->len - len - (end != NULL));
	return line;
}

/* How many lines differ; -1: there are not as many. */
static int differences(struct bytes a, struct bytes b)
{
	int count = 0;

	while (a.len && b.len)
		count += !bytes_equal(next_line(&a), next_line(&b));
	return a.len || b.len ? -1 : count;
}

struct opened {
	struct buf *text, *plain;
	struct sops_document document;
	struct sops_metadata *metadata;
	struct sops_memory *memory;
};

static void opened_done(struct opened *opened)
{
	sops_document_done(&opened->document);
	(void)sops_memory_free(opened->memory);
	(void)buf_free(opened->text);
	(void)buf_free(opened->plain);
	free(opened->metadata);
}

static void open_file(const char *name, struct buf *text, struct opened *opened)
{
	*opened = (struct opened){ .text = text, .plain = new_buf() };
	opened->metadata = calloc(1, sizeof(*opened->metadata));
	assert_non_null(opened->metadata);
	assert_int_equal(sops_memory_new(&opened->memory), OK);
	assert_int_equal(sops_document_read(&opened->document, sops_format_guess(name, buf_bytes(text)),
	                                    buf_bytes(text)),
	                 OK);
	assert_int_equal(sops_metadata_read(&opened->document, opened->metadata), OK);
	if (sops_decrypt_remember(&opened->document, opened->metadata, key, opened->memory, opened->plain))
		fail_msg("%s: %s", name, opened->document.reason);
}

static void read_plain(struct opened *opened, struct bytes plain, struct sops_document *document)
{
	enum err err = opened->document.format == SOPS_BINARY
	                       ? sops_seal_read_binary(document, plain)
	                       : sops_document_read(document, opened->document.format, plain);

	if (err)
		fail_msg("what was decrypted does not read: %s", document->reason);
}

/* tree NULL: the metadata as it stood. */
static struct buf *seal(struct opened *opened, struct bytes plain, json_t *tree, bool remember)
{
	struct buf *out = new_buf();
	struct sops_document document;
	struct sops_block block = { opened->document.format, sops_block_is_flow(&opened->document), tree,
		                    &opened->document, opened->metadata };
	struct sops_seal sealing = { &document,
		                     opened->metadata,
		                     key,
		                     remember ? opened->memory : NULL,
		                     "2026-01-02T03:04:05Z",
		                     opened->memory };

	read_plain(opened, plain, &document);
	if (sops_seal(&sealing, sops_block_put, &block, out))
		fail_msg("not sealed: %s", document.reason);
	sops_document_done(&document);
	return out;
}

/* What is sealed opens, and says what it was made of. */
static void check_sealed(const char *name, struct buf *sealed, struct bytes meant)
{
	struct opened again;
	struct sops_document a, b;

	open_file(name, sealed, &again);
	read_plain(&again, buf_bytes(again.plain), &a);
	read_plain(&again, meant, &b);
	if (!sops_documents_are_same(&a, &b))
		fail_msg("%s became\n%s", name, buf_string(again.plain));
	sops_document_done(&a);
	sops_document_done(&b);
	opened_done(&again);
}

static const struct {
	const char *name;
	int lines; /* that change when nothing does: the time and the MAC of each document; and of INI one that
	            * is a boolean, which sops makes none of; -1: a binary file is laid out as sops does */
} files[] = {
	{ "all.yaml", 2 },    { "two.yaml", 4 }, { "only.yaml", 2 }, { "comment_rule.yaml", 2 },
	{ "suffix.yaml", 2 }, { "all.json", 2 }, { "old.json", 1 },  { "raw.bin", -1 },
	{ "all.env", 2 },     { "all.ini", 3 },
};

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct opened opened;
		struct buf *sealed;
		int changed;

		open_file(files[i].name, sops_data_read(files[i].name, LIMIT), &opened);
		sealed = seal(&opened, buf_bytes(opened.plain), NULL, true);
		changed = differences(buf_bytes(opened.text), buf_bytes(sealed));
		if (changed != files[i].lines)
			fail_msg("%s: %d lines differ\n%s", files[i].name, changed, buf_string(sealed));
		check_sealed(files[i].name, sealed, buf_bytes(opened.plain));
		opened_done(&opened);
	}
}

/* Without a memory every value is new; metadata written anew says the same as before. */
static void test_anew(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct opened opened;
		CLEANUP(json_decrefp) json_t *tree = NULL;
		struct buf *sealed;

		open_file(files[i].name, sops_data_read(files[i].name, LIMIT), &opened);
		assert_int_equal(sops_block_read(&opened.document, &tree), OK);
		sealed = seal(&opened, buf_bytes(opened.plain), tree, false);
		assert_false(bytes_equal(buf_bytes(opened.text), buf_bytes(sealed)));
		check_sealed(files[i].name, sealed, buf_bytes(opened.plain));
		opened_done(&opened);
	}
}

static void test_refusals(void **state)
{
	static const struct {
		enum sops_format format;
		const char *text;
		const char *reason;
	} rows[] = {
		{ SOPS_YAML, "a: 1\nsops:\n  x: 1\n", "metadata" },
		{ SOPS_JSON, "{\"sops\": 1}", "metadata" },
		{ SOPS_DOTENV, "sops_mac=x\n", "metadata" },
		{ SOPS_YAML, "# nothing\n", "no value" },
		{ SOPS_YAML, "---\n# c\n---\na: 1\n", "first document is empty" },
		{ SOPS_YAML, "~\n---\na: 1\n", "first document is empty" },
	};
	struct sops_metadata *metadata = calloc(1, sizeof(*metadata));

	(void)state;
	assert_non_null(metadata);
	metadata->pattern = bytes_of_string("_unencrypted");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_freep) struct buf *out = new_buf();
		struct sops_document document;
		struct sops_block block = { .format = rows[i].format };
		struct sops_seal sealing = { &document, metadata, key, NULL, "2026-01-02T03:04:05Z", NULL };

		assert_int_equal(sops_document_read(&document, rows[i].format, bytes_of_string(rows[i].text)),
		                 OK);
		assert_int_equal(sops_seal(&sealing, sops_block_put, &block, out), ERR_BAD_FILE);
		if (!strstr(document.reason, rows[i].reason))
			fail_msg("%s: %s", rows[i].text, document.reason);
		sops_document_done(&document);
	}
	free(metadata);
}

#define YAML_TEXT       \
	"# head\n"      \
	"a: 1 # one\n"  \
	"b:\n"          \
	"  c: \"x\"\n"  \
	"  # about d\n" \
	"  d:\n"        \
	"    - p\n"     \
	"    - q: 1\n"  \
	"      r: 2\n"  \
	"e: {f: 1, g: [2, 3]}\n"

static void test_edits(void **state)
{
	static const struct {
		enum sops_format format;
		const char *text, *path, *value; /* value NULL: taken out */
		enum err err;
		const char *from, *to; /* the piece that changes; from NULL: to is the whole */
	} rows[] = {
		{ SOPS_YAML, YAML_TEXT, "a", "2", OK, "a: 1 #", "a: 2 #" },
		{ SOPS_YAML, YAML_TEXT, "b.c", "\"y z\"", OK, "\"x\"", "\"y z\"" },
		{ SOPS_YAML, YAML_TEXT, "b.d.0", "\"yes\"", OK, "- p", "- \"yes\"" },
		{ SOPS_YAML, YAML_TEXT, "b.d.2", "true", OK, "r: 2\n", "r: 2\n    - true\n" },
		{ SOPS_YAML, YAML_TEXT, "b.d.1.r", "null", OK, "r: 2", "r: null" },
		{ SOPS_YAML, YAML_TEXT, "b.d.3", "1", ERR_NO_MATCH, "", "" },
		{ SOPS_YAML, YAML_TEXT, "a.x", "1", ERR_NO_MATCH, "", "" },
		{ SOPS_YAML, YAML_TEXT, "b[0]", "1", ERR_NO_MATCH, "", "" },
		{ SOPS_YAML, YAML_TEXT, "b.k.m", "\"v\"", OK, "r: 2\n", "r: 2\n  k:\n      m: v\n" },
		{ SOPS_YAML, YAML_TEXT, "e.g.2", "4", OK, "[2, 3]", "[2, 3, 4]" },
		{ SOPS_YAML, YAML_TEXT, "e.h.i", "\"j\"", OK, "3]}", "3], \"h\": {\"i\": \"j\"}}" },
		{ SOPS_YAML, YAML_TEXT, "b.l", "\"1\\n2\\n\"", OK, "r: 2\n",
		  "r: 2\n  l: |\n      1\n      2\n" },
		{ SOPS_YAML, YAML_TEXT, "b", "7", OK,
		  "b:\n  c: \"x\"\n  # about d\n  d:\n    - p\n    - q: 1\n      r: 2\n", "b: 7\n" },
		{ SOPS_YAML, YAML_TEXT, "a", NULL, OK, "a: 1 # one\n", "" },
		{ SOPS_YAML, YAML_TEXT, "b.d.1.q", NULL, OK, "q: 1\n      r", "r" },
		{ SOPS_YAML, YAML_TEXT, "b.d.0", NULL, OK, "    - p\n", "" },
		{ SOPS_YAML, YAML_TEXT, "e.f", NULL, OK, "f: 1, ", "" },
		{ SOPS_YAML, YAML_TEXT, "e.g.1", NULL, OK, "2, 3", "2" },
		{ SOPS_YAML, YAML_TEXT, "zz", NULL, ERR_NO_MATCH, "", "" },
		{ SOPS_YAML, "a:\n  b: 1\nc: 2\n", "a.b", NULL, OK, "\n  b: 1", " {}" },
		/* What was said in a map or a list goes with it, and with all that was in it. */
		{ SOPS_YAML, "# x\na:\n  # y\n  - 1\n\n  # z\n# u\nc: 2\n", "a", NULL, OK,
		  "a:\n  # y\n  - 1\n\n  # z\n", "" },
		{ SOPS_YAML, "a:\n  b:\n    - 1 # x\n    # y\n  # z\n  d: 1\n", "a.b", NULL, OK,
		  "  b:\n    - 1 # x\n    # y\n", "" },
		{ SOPS_YAML, "a:\n  b:\n    c: 1\n    # y\n  # z\nd: 1\n", "a", NULL, OK,
		  "a:\n  b:\n    c: 1\n    # y\n  # z\n", "" },
		{ SOPS_YAML, "a:\n  # x\n\n  # y\n  b: 1 # z\n  # u\n# v\nc: 2\n", "a.b", NULL, OK,
		  "\n  # x\n\n  # y\n  b: 1 # z\n  # u", " {}" },
		{ SOPS_YAML, "a: # x\n  # y\n  - 1\nc: 2\n", "a.0", NULL, OK, "# y\n  - 1", "[]" },
		{ SOPS_YAML, "a:\n  - b: 1 # x\n    # y\n  - 2\n", "a.0.b", NULL, OK, "b: 1 # x\n    # y",
		  "{}" },
		{ SOPS_YAML, "a:\n  - b: 1 # x\n    # y\n  - 2\n", "a.0", NULL, OK, "  - b: 1 # x\n    # y\n",
		  "" },
		/* What was said of a neighbour stays with it. */
		{ SOPS_YAML, "a:\n  # x\n  b: 1\n  # y\n  c: 2\n", "a.b", NULL, OK, "  b: 1\n", "" },
		{ SOPS_YAML, "a:\n  - b: 1 # x\n    # y\n\n    # z\n    c: 2\n", "a.0.b", NULL, OK,
		  "  - b: 1 # x\n    # y\n\n    # z\n    c", "  # y\n\n  # z\n  - c" },
		{ SOPS_YAML, "a: [1]\nb: 1\n", "a.0", NULL, OK, "[1]", "[]" },
		{ SOPS_YAML, "a: 1\n", "a", NULL, ERR_UNSUPPORTED, "", "" },
		{ SOPS_YAML, "a: |\n  x\n  y\nb: 1\n", "a", "\"z\"", OK, "|\n  x\n  y", "z" },
		{ SOPS_YAML, "a: 1", "b", "2", OK, NULL, "a: 1\nb: 2" },
		{ SOPS_YAML, "a:\n  - 1\n  # x\n", "b", "2", OK, "# x\n", "# x\nb: 2\n" },
		{ SOPS_YAML, "a:\n  - 1\n\n  # x\n  # y\n\n# z\n", "b", "2", OK, "# y\n", "# y\nb: 2\n" },
		{ SOPS_YAML, "a:\n  - 1\n  # x", "b", "2", OK, "# x", "# x\nb: 2" },
		{ SOPS_YAML, "a:\n  - 1\n  # x\n", "a.1", "2", OK, "1\n", "1\n  - 2\n" },
		{ SOPS_YAML, "a: 1\n# x\n", "b", "2", OK, "1\n", "1\nb: 2\n" },
		{ SOPS_YAML, "a:\n  b:\n    - 1\n    # x\n  # y\nc: 1\n", "a.d", "2", OK, "# x\n",
		  "# x\n  d: 2\n" },
		{ SOPS_YAML, "a: |\n  # x\n\n\nc: |\n  # y\n", "b", "2", OK, "# y\n", "# y\nb: 2\n" },
		{ SOPS_JSON, "{\"a\": 1,\n\t\"b\": {}}", "b.c", "\"x\"", OK, "{}", "{\"c\": \"x\"}" },
		{ SOPS_JSON, "{\"a\": 1,\n\t\"b\": 2}", "c", "[]", OK, "2}", "2,\n\t\"c\": []}" },
		{ SOPS_JSON, "{\"a\": 1,\n\t\"b\": 2}", "a", NULL, OK, "\"a\": 1,\n\t", "" },
		{ SOPS_JSON, "{\"a\": 1,\n\t\"b\": 2}", "b", NULL, OK, ",\n\t\"b\": 2", "" },
		{ SOPS_JSON, "{\"a\": 1}", "a", "\"\\u0001\"", OK, "1", "\"\\u0001\"" },
		{ SOPS_DOTENV, "A=1\n#c\nB=2", "A", "\"x\\ny\"", OK, "1", "x\\ny" },
		{ SOPS_DOTENV, "A=1\n#c\nB=2", "C", "\"3\"", OK, "B=2", "B=2\nC=3\n" },
		{ SOPS_DOTENV, "A=1\n#c\nB=2", "A", NULL, OK, "A=1\n", "" },
		{ SOPS_DOTENV, "A=1\nB=2\nA=3\n", "A", "\"x\"", ERR_UNSUPPORTED, "", "" },
		{ SOPS_DOTENV, "A=1\nB=2\nA=3\n", "A", NULL, ERR_UNSUPPORTED, "", "" },
		{ SOPS_DOTENV, "A=1\nB=2\nA=3\n", "B", NULL, OK, "B=2\n", "" },
		{ SOPS_DOTENV, "A=1\n", "A.b", "\"x\"", ERR_NO_MATCH, "", "" },
		/* Nothing at all, as somebody leaves it who has no value yet. */
		{ SOPS_YAML, "a:\nb: 1\n", "a", "\"x\"", OK, "a:", "a: x" },
		{ SOPS_YAML, "c:\n  a:   # c\n  b: 1\n", "c.a", "\"x\"", OK, "a:", "a: x" },
		{ SOPS_YAML, "b: 1\na:", "a", "2", OK, "a:", "a: 2" },
		{ SOPS_YAML, "l:\n  - 1\n  # c - d\n  -\n", "l[1]", "\"x\"", OK, "  -\n", "  - x\n" },
		{ SOPS_YAML, "a: {b: , c: 1}\n", "a.b", "2", OK, "b:", "b: 2" },
		{ SOPS_DOTENV, "A=1\n", "A", "[]", ERR_UNSUPPORTED, "", "" },
		{ SOPS_INI, "[s]\na = 1\n\n[t]\nb=2\n", "s.a", "\"x;y\"", OK, "1", "`x;y`" },
		{ SOPS_INI, "[s]\na = 1\n\n[t]\nb=2\n", "s.c", "\"3\"", OK, "a = 1\n", "a = 1\nc = 3\n" },
		{ SOPS_INI, "[s]\na = 1\n\n[t]\nb=2\n", "u.c", "\"3\"", OK, "b=2\n", "b=2\n\n[u]\nc = 3\n" },
		{ SOPS_INI, "[s]\na = 1\n\n[t]\nb=2\n", "s", NULL, OK, "[s]\na = 1\n", "" },
		/* Quotes around what has more of them are a part of it. */
		{ SOPS_INI, "[s]\na = 1\n", "s.a", "\" x\\\"y\"", OK, "1", "` x\"y`" },
		{ SOPS_INI, "[s]\na = 1\n", "s.a", "\"\\\"x\\\"\"", OK, "1", "`\"x\"`" },
		{ SOPS_INI, "[s]\na = 1\n", "s.a", "\"\\\"x\\\"y\\\"\"", OK, "1", "\"x\"y\"" },
		/* A mark of byte order is no part of a key. */
		{ SOPS_INI,
		  "\xef\xbb\xbf"
		  "a = 1\n",
		  "DEFAULT.a", "2", OK, "1", "2" },
		{ SOPS_INI, "\xef\xbb\xbf[s]\na = 1\n", "s.a", "2", OK, "1", "2" },
		/* A comment names no section. */
		{ SOPS_INI, "y = 1\n; [DEFAULT]\n[a]\nx = 1\n", "DEFAULT.y", "2", OK, "1", "2" },
		{ SOPS_INI, "; c\n[DEFAULT]\ny = 1\n", "DEFAULT.y", "2", OK, "1", "2" },
		/* All that Go takes for white space is taken away at the ends of what has no quotes. */
		{ SOPS_INI, "[s]\na = 1\n", "s.a", "\"\\u00a0x\"", OK, "1", "\"\u00a0x\"" },
		{ SOPS_INI, "[s]\na = 1\n", "s.a", "\"x\\u3000\"", OK, "1", "\"x\u3000\"" },
		{ SOPS_INI, "[s]\n\u2003a\u00a0=\u00a0x\xc2\x85\n", "s.a", "1", OK, "x", "1" },
		{ SOPS_INI, "[s]\na = 1\n", "s", "\"x\"", ERR_UNSUPPORTED, "", "" },
		/* Null as a key alone has no place for another value. */
		{ SOPS_YAML, "a: {c, d: 1}\n", "a.c", "\"x\"", ERR_UNSUPPORTED, "", "" },
		{ SOPS_YAML, "a: {? c, d: 1}\n", "a.c", "\"x\"", ERR_UNSUPPORTED, "", "" },
		{ SOPS_YAML, "? a\nb: 1\n", "a", "1", ERR_UNSUPPORTED, "", "" },
		{ SOPS_YAML, "a: {c: , d: 1}\n", "a.c", "2", OK, "c:", "c: 2" },
		{ SOPS_YAML, "? a\n:\nb: 1\n", "a", "2", OK, ":", ": 2" },
		{ SOPS_INI, "[s]\na = 1\n", "s[0]", "\"x\"", ERR_NO_MATCH, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_freep) struct buf *out = new_buf();
		CLEANUP(buf_freep) struct buf *expected = new_buf();
		CLEANUP(json_decrefp)
		json_t *value = rows[i].value ? json_loads(rows[i].value, JSON_DECODE_ANY, NULL) : NULL;
		const char *piece = rows[i].from ? strstr(rows[i].text, rows[i].from) : rows[i].text;
		size_t len = rows[i].from ? strlen(rows[i].from) : strlen(rows[i].text);
		struct sops_document document;
		struct sops_path path;
		enum err err;

		assert_int_equal(sops_document_read(&document, rows[i].format, bytes_of_string(rows[i].text)),
		                 OK);
		assert_int_equal(sops_path_parse(bytes_of_string(rows[i].path), &path), OK);
		err = value ? sops_edit_put(&document, &path, value, out)
		            : sops_edit_remove(&document, &path, out);
		if (err != rows[i].err)
			fail_msg("row %zu: %d %s", i, err, document.reason);
		assert_non_null(piece);
		assert_int_equal(buf_printf(expected, "%.*s%s%s", (int)(piece - rows[i].text), rows[i].text,
		                            rows[i].to, piece + len),
		                 OK);
		if (!err && !bytes_equal(buf_bytes(out), buf_bytes(expected)))
			fail_msg("row %zu, %s %s gave\n%s", i, rows[i].path, rows[i].value, buf_string(out));
		sops_document_done(&document);
	}
}

/* The path that sops 3.13 authenticates each comment with; what it makes of such files was looked up with it. */
static void test_comments(void **state)
{
	static const struct {
		const char *text, *path;
	} rows[] = {
		{ "# x\na: 1\n", ":" },
		{ "a: 1 # x\n", ":" },
		{ "a: # x\n  b: 1\n", ":" },
		{ "a:\n  # x\n  b: 1\n", "a:" },
		{ "a:\n  b: 1\n  # x\n\nc: 1\n", "a:" },
		{ "a:\n  b: 1\n  # x\nc: 1\n", "a:" },
		{ "a:\n  b: 1\n# x\nc: 1\n", ":" },
		{ "a:\n  b: 1\n\n# x\n\nc: 1\n", ":" },
		{ "a:\n  # x\n  - 1\n", "a:" },
		{ "a:\n  - 1\n  # x\n", "a:" },
		{ "a:\n  - \"1\"\n  # x\n", "a:" },
		{ "a:\n  - 1 # x\n", "a:" },
		{ "a:\n  b:\n    - 1\n    # x\n  c: 1\n", "a:b:" },
		{ "a:\n  b:\n    - 1\n  # x\n  c: 1\n", "a:" },
		{ "a: [] # x\n", "a:" },
		{ "a: [1, [2]] # x\n", "a:" },
		{ "a: {b: 1} # x\n", "a:" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_freep) struct buf *path = new_buf();
		struct sops_comments comments;
		struct sops_document document;
		uint32_t index = 0;

		assert_int_equal(sops_document_read(&document, SOPS_YAML, bytes_of_string(rows[i].text)), OK);
		sops_comments_init(&comments, &document);
		while (document.nodes[index].kind != SOPS_COMMENT)
			index++;
		assert_int_equal(sops_path_put(path, &document, sops_comment_owner(&comments, index)), OK);
		if (strcmp(buf_string(path), rows[i].path) != 0)
			fail_msg("%s: %s", rows[i].text, buf_string(path));
		sops_document_done(&document);
	}
}

/* What is remembered of the comment before changes no answer: each is the one that it is without. */
static void test_comments_in_any_order(void **state)
{
	static const char text[] = "# 1\n\n# 2\na: # 3\n  # 4\n  # 5\n\n  # 6\n  b:\n    # 7\n    - c # 8\n  "
	                           "  # 9\n\n  # 10\n# 11\n# 12\nd: [1, # 13\n  # 14\n  2]\n"
	                           "# 15\n\n# 16\ne:\n  - # 17\n    # 18\n    f: 1\n# 19\n";
	struct sops_comments kept, fresh;
	struct sops_document document;
	size_t asked = 0;

	(void)state;
	assert_int_equal(sops_document_read(&document, SOPS_YAML, bytes_of_string(text)), OK);
	sops_comments_init(&kept, &document);
	for (uint32_t step = 1; step < document.count; step++) {
		for (uint32_t i = 0; i < document.count; i++) {
			uint32_t index = i * step % (uint32_t)document.count;

			if (document.nodes[index].kind != SOPS_COMMENT)
				continue;
			sops_comments_init(&fresh, &document);
			assert_int_equal(sops_comment_owner(&kept, index), sops_comment_owner(&fresh, index));
			assert_int_equal(sops_comment_behind(&kept, index),
			                 sops_comment_behind(&fresh, index));
			asked++;
		}
	}
	assert_true(asked > 100);
	sops_document_done(&document);
}

static void test_shares(void **state)
{
	static const struct {
		size_t count, threshold;
	} rows[] = { { 2, 2 }, { 3, 2 }, { 5, 3 }, { 32, 32 } };
	struct secret *shares[32];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(secret_freep) struct secret *combined = NULL;
		CLEANUP(secret_freep) struct secret *fewer = NULL;
		size_t from = rows[i].count - rows[i].threshold;

		assert_int_equal(sops_shamir_split(key, rows[i].count, rows[i].threshold, shares), OK);
		assert_int_equal(sops_shamir_combine(shares + from, rows[i].threshold, &combined), OK);
		assert_true(secret_equal(combined, key));
		if (rows[i].threshold > 2) {
			assert_int_equal(sops_shamir_combine(shares, rows[i].threshold - 1, &fewer), OK);
			assert_false(secret_equal(fewer, key));
		}
		for (size_t k = 0; k < rows[i].count; k++)
			(void)secret_free(shares[k]);
	}
	assert_int_equal(sops_shamir_split(key, 1, 1, shares), ERR_USAGE);
	assert_int_equal(sops_shamir_split(key, 3, 4, shares), ERR_USAGE);
	assert_int_equal(sops_shamir_split(key, 256, 2, shares), ERR_USAGE);
}

static bool takes(struct sops_memory *memory, const char *path, enum sops_type type, const char *text,
                  const char *token)
{
	struct bytes taken = sops_memory_take(memory, bytes_of_string(path), type, bytes_of_string(text));

	return bytes_equal(taken, bytes_of_string(token));
}

/* Equal values of a list get their own pieces back, in their order. */
static void test_memory(void **state)
{
	struct sops_memory *memory = NULL;

	(void)state;
	assert_int_equal(sops_memory_new(&memory), OK);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(sops_memory_add(memory, bytes_of_string("other:"), SOPS_TYPE_STRING,
		                                 bytes_of(&i, sizeof(i)), bytes_of_string("no")),
		                 OK);
	assert_int_equal(sops_memory_add(memory, bytes_of_string("a:"), SOPS_TYPE_STRING,
	                                 bytes_of_string("x"), bytes_of_string("one")),
	                 OK);
	assert_int_equal(sops_memory_add(memory, bytes_of_string("a:"), SOPS_TYPE_STRING,
	                                 bytes_of_string("x"), bytes_of_string("two")),
	                 OK);
	assert_true(takes(memory, "a", SOPS_TYPE_STRING, ":x", ""));
	assert_true(takes(memory, "a:", SOPS_TYPE_INTEGER, "x", ""));
	assert_true(takes(memory, "a:", SOPS_TYPE_STRING, "x", "one"));
	assert_true(takes(memory, "a:", SOPS_TYPE_STRING, "x", "two"));
	assert_true(takes(memory, "a:", SOPS_TYPE_STRING, "x", "one"));
	assert_true(takes(NULL, "a:", SOPS_TYPE_STRING, "x", ""));
	/* Who looks in several places takes what was not given yet, and there is nothing left. */
	assert_int_equal(
	        sops_memory_distance(memory, bytes_of_string("a:"), SOPS_TYPE_STRING, bytes_of_string("x")),
	        SOPS_MEMORY_NONE);
	(void)sops_memory_free(memory);
}

/* A list before and after: a letter is a value, its piece is the letter and its number in the list before. What is new has none. */
static void check_list(const char *before, const char *after, const char *expected)
{
	char pieces[16][2], given[64] = "";
	struct sops_memory *memory = NULL;

	assert_int_equal(sops_memory_new(&memory), OK);
	for (size_t i = 0; before[i]; i++) {
		pieces[i][0] = before[i];
		pieces[i][1] = (char)('0' + i);
		assert_int_equal(sops_memory_add(memory, bytes_of_string("list:"), SOPS_TYPE_STRING,
		                                 bytes_of(&before[i], 1), bytes_of(pieces[i], 2)),
		                 OK);
	}
	for (size_t i = 0; after[i]; i++) {
		struct bytes piece = sops_memory_take(memory, bytes_of_string("list:"), SOPS_TYPE_STRING,
		                                      bytes_of(&after[i], 1));

		if (piece.len == 0)
			sops_memory_pass(memory);
		(void)snprintf(given + strlen(given), sizeof(given) - strlen(given), "%.2s ",
		               piece.len ? (const char *)piece.data : "--");
	}
	assert_string_equal(given, expected);
	(void)sops_memory_free(memory);
}

static void test_equal_in_lists(void **state)
{
	(void)state;
	check_list("xyx", "xyx", "x0 y1 x2 ");
	/* changed */
	check_list("xyx", "zyx", "-- y1 x2 ");
	check_list("xyx", "xzx", "x0 -- x2 ");
	check_list("xxx", "zxx", "-- x1 x2 ");
	check_list("xxx", "xzx", "x0 -- x2 ");
	check_list("xyxy", "zzxy", "-- -- x2 y3 ");
	/* taken out, put in, put in its place */
	check_list("xyx", "yx", "y1 x2 ");
	check_list("xyx", "xx", "x0 x2 ");
	check_list("xyx", "xnyx", "x0 -- y1 x2 ");
	check_list("xyz", "zxy", "z2 x0 y1 ");
	/* more than there were: the same again */
	check_list("x", "xxx", "x0 x0 x0 ");
}

/* libfyaml 0.7.12 takes for the text of an empty block what stands behind it: such a one is refused, and others are read. */
static void test_blocks(void **state)
{
	static const struct {
		const char *text, *path, *value; /* value NULL: refused, with the line 2 */
	} rows[] = {
		{ "m:\n  a: |-\n  b: 1\n", "", NULL },
		{ "m:\n  a: >\n  b: 1\n    c\nz: 1\n", "", NULL },
		{ "m:\n  - |\n  - x\n", "", NULL },
		{ "m:\n  a: !!str |+\n\n  # c\n  b: 1\n", "", NULL },
		{ "m:\n  a: |\n", "", NULL },
		{ "m:\n  a: |2\n      \n  b: 1\n", "", NULL },
		{ "m:\r\n  a: |\r\n  b: 1\r\n", "", NULL },
		{ "a: |-\nb: 1\n", "a", "" },
		{ "m:\n  a: |-\nb: 1\n", "m.a", "" },
		{ "m:\n  a: |-\n    one\n     two\n\n  b: 1\n", "m.a", "one\n two" },
		{ "m:\n  a: &x |2\n      one\n    two\n  b: 1\n", "m.a", "  one\ntwo\n" },
		{ "m:\n  - a: >-\n      one\n      two\n    b: 1\n", "m.0.a", "one two" },
		{ "m:\n- |\n one\n- x\n", "m.0", "one\n" },
		{ "m:\n  - - |-\n      one\n    - x\n", "m.0.0", "one" },
		{ "? m\n: |-\n one\n", "m", "one" },
		{ "m: |\n one\n two", "m", "one\ntwo" },
		{ "m: |\n one\n two\n", "m", "one\ntwo\n" },
		{ "m: |\n one\n two\n ", "m", "one\ntwo\n" },
		{ "m: >\n one\n two", "m", "one two" },
		{ "m:\n  ? a\n  : |-\n   one\n", "m.a", "one" },
		{ "m:\n    a: |\n        # no comment\n\n    b: 1\n", "m.a", "# no comment\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sops_document document;
		struct sops_path path;
		uint32_t index;
		enum err err = sops_document_read(&document, SOPS_YAML, bytes_of_string(rows[i].text));

		if (err != (rows[i].value ? OK : ERR_BAD_FILE) ||
		    (err && !strstr(document.reason, "line 2: a block")))
			fail_msg("row %zu: %d %s", i, err, document.reason);
		if (rows[i].value) {
			assert_int_equal(sops_path_parse(bytes_of_string(rows[i].path), &path), OK);
			assert_int_equal(sops_path_find(&document, &path, path.count, &index), OK);
			if (!bytes_equal(document.nodes[index].text, bytes_of_string(rows[i].value)))
				fail_msg("row %zu is another", i);
		}
		sops_document_done(&document);
	}
}

/* Equal comments of maps in a list, whose paths are the same, and of a neighbour: none gets another's ciphertext. */
static void test_equal_comments(void **state)
{
	static const char plain[] =
	        "l:\n    - a:\n        # c\n        - 1\n      b:\n        # c\n        - 1\n"
	        "    - a:\n        # c\n        - 1\n    # c\nz: 1\n";
	struct opened any, opened;
	struct buf *sealed;

	(void)state;
	open_file("all.yaml", sops_data_read("all.yaml", LIMIT), &any);
	open_file("equal.yaml", seal(&any, bytes_of_string(plain), NULL, false), &opened);
	assert_true(bytes_equal(buf_bytes(opened.plain), bytes_of_string(plain)));
	sealed = seal(&opened, buf_bytes(opened.plain), NULL, true);
	if (differences(buf_bytes(opened.text), buf_bytes(sealed)) != 1)
		fail_msg("more than the MAC is another:\n%s\n%s", buf_string(opened.text),
		         buf_string(sealed));
	(void)buf_free(sealed);
	opened_done(&opened);
	opened_done(&any);
}

/* A document of nothing but metadata, as sops makes one, is {} in the plain text, and the same again in the file. */
static void test_empty_documents(void **state)
{
	static const char plain[] = "a: x\n---\n{}\n---\nb: 1\n---\n{}\n";
	struct opened any, opened;
	struct buf *sealed;

	(void)state;
	open_file("all.yaml", sops_data_read("all.yaml", LIMIT), &any);
	open_file("empty.yaml", seal(&any, bytes_of_string(plain), NULL, false), &opened);
	assert_null(strstr(buf_string(opened.text), "{}"));
	assert_true(bytes_equal(buf_bytes(opened.plain), bytes_of_string(plain)));
	sealed = seal(&opened, bytes_of_string("a: y\n---\n{}\n---\nb: 1\n---\n{}\n"), NULL, true);
	if (differences(buf_bytes(opened.text), buf_bytes(sealed)) !=
	    5) /* the value, and four times the MAC */
		fail_msg("other lines differ in\n%s", buf_string(sealed));
	check_sealed("empty.yaml", sealed, bytes_of_string("a: y\n---\n{}\n---\nb: 1\n---\n{}\n"));
	opened_done(&opened);
	opened_done(&any);
}

/* A zero with a sign is a float, and nobody changed it. */
static void test_zero_with_a_sign(void **state)
{
	struct opened any, opened;
	struct buf *sealed;

	(void)state;
	open_file("all.json", sops_data_read("all.json", LIMIT), &any);
	open_file("zero.json",
	          seal(&any, bytes_of_string("{\n\t\"k\": -0.0,\n\t\"l\": 1.0\n}\n"), NULL, false), &opened);
	sealed = seal(&opened, buf_bytes(opened.plain), NULL, true);
	assert_int_equal(differences(buf_bytes(opened.text), buf_bytes(sealed)), 1);
	(void)buf_free(sealed);
	opened_done(&opened);
	opened_done(&any);
}

/* What sops makes of a list that is empty and has a comment: an element that is the comment. */
static struct buf *list_of_a_comment(struct opened *any)
{
	CLEANUP(buf_freep)
	struct buf *sealed =
	        seal(any, bytes_of_string("a: x\nm:\n    l:\n    # c\n    - \"\"\n    b: 1\n"), NULL, false);
	struct buf *made = new_buf();
	char *comment = strstr(buf_string(sealed), "#ENC"), *element;

	assert_non_null(comment);
	element = strstr(comment, "    - \"\"\n");
	assert_non_null(element);
	assert_int_equal(buf_printf(made, "%.*s- %.*s%s", (int)(comment - buf_string(sealed)),
	                            buf_string(sealed), (int)(element - comment - 1), comment + 1,
	                            element + strlen("    - \"\"\n")),
	                 OK);
	return made;
}

/* Such a list is a list of nothing behind its comment in the plain text, and the same again in the file; where it was given a value, its comment stands before that. */
static void test_list_of_a_comment(void **state)
{
	static const struct {
		const char *plain;
		int lines; /* that change, the MAC's with them; -1: there are not as many */
	} rows[] = {
		{ "a: x\nm:\n    l:\n    # c\n      []\n    b: 1\n", 1 },
		{ "a: y\nm:\n    l:\n    # c\n      []\n    b: 1\n", 2 },
		{ "a: x\nm:\n    l:\n    # d\n    # c\n      []\n    b: 1\n", -1 },
		{ "a: x\nm:\n    l:\n    # c\n      [1]\n    b: 1\n", -1 },
		{ "a: x\nm:\n    l:\n    # c\n      y\n    b: 1\n", -1 },
		{ "a: x\nm:\n    l:\n    # c\n    - y\n    b: 1\n", -1 },
		{ "a: x\nm:\n    l: []\n    b: 1\n", -1 },
	};
	struct opened any;

	(void)state;
	open_file("all.yaml", sops_data_read("all.yaml", LIMIT), &any);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct opened opened;
		struct buf *sealed;

		open_file("list.yaml", list_of_a_comment(&any), &opened);
		assert_true(i > 0 || bytes_equal(buf_bytes(opened.plain), bytes_of_string(rows[0].plain)));
		sealed = seal(&opened, bytes_of_string(rows[i].plain), NULL, true);
		if (differences(buf_bytes(opened.text), buf_bytes(sealed)) != rows[i].lines)
			fail_msg("row %zu: other lines differ in\n%s", i, buf_string(sealed));
		check_sealed("list.yaml", sealed, bytes_of_string(rows[i].plain));
		opened_done(&opened);
	}
	opened_done(&any);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_anew),
		cmocka_unit_test(test_refusals),        cmocka_unit_test(test_edits),
		cmocka_unit_test(test_comments),        cmocka_unit_test(test_comments_in_any_order),
		cmocka_unit_test(test_shares),          cmocka_unit_test(test_memory),
		cmocka_unit_test(test_equal_in_lists),  cmocka_unit_test(test_list_of_a_comment),
		cmocka_unit_test(test_equal_comments),  cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_empty_documents), cmocka_unit_test(test_zero_with_a_sign),
	};

	key = sops_data_key();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
