/*
 * SOPS document
 *
 * What a reader makes of a YAML, JSON, dotenv or INI file: a flat array of nodes in the order of the file, each with its place in the text. A file is decrypted by
 * replacing the places of its values and cutting its metadata out; everything else stays as it was written. Nodes know their container by index, so that a path costs
 * no memory. Readers know their format's syntax and which type sops sees in a scalar; they know nothing of encryption.
 */
#pragma once

#include <stdio.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"

#define SOPS_FILE_MAX (64U << 20) /* bytes of a file */
#define SOPS_NODES_MAX (4U << 20)
#define SOPS_DEPTH_MAX 64U
#define SOPS_NONE UINT32_MAX

enum sops_format {
	SOPS_YAML,
	SOPS_JSON,
	SOPS_DOTENV,
	SOPS_INI,
	SOPS_BINARY,
};

enum sops_kind {
	SOPS_MAP,
	SOPS_LIST,
	SOPS_STRING,
	SOPS_INTEGER, /* text: decimal */
	SOPS_FLOAT, /* text: shortest decimal without an exponent */
	SOPS_BOOLEAN, /* text: True or False */
	SOPS_TIME, /* text: RFC 3339 */
	SOPS_NULL,
	SOPS_COMMENT,
	SOPS_ALIAS, /* only where the reader was told to keep them; target: what it stands for */
};

struct sops_node {
	enum sops_kind kind;
	uint32_t
	        parent; /* index of its map or list; SOPS_NONE: the map of a document, or a comment before it */
	uint32_t position; /* among the elements of a list that are no comments */
	uint32_t column; /* YAML: where a block that is its value is indented to */
	struct bytes key; /* in a map; borrowed from the text or the document */
	struct bytes text; /* its value, as sops hashes it; borrowed as key */
	size_t begin; /* where its entry begins: at its key, or at the element of a list */
	size_t start,
	        end; /* what is replaced when it is decrypted, quotes included; of a container (YAML, JSON): from its first bracket or entry to behind its last */
	bool quoted;
	bool in_flow; /* YAML: between brackets */
	bool metadata; /* in the part that sops added */
	uint32_t target; /* of an alias; it stands before it */
};

struct sops_span {
	size_t start, end;
	bool leaves_nothing; /* of a map that is written as a block */
};

struct sops_space; /* memory of decoded texts */

struct sops_document {
	enum sops_format format;
	struct bytes text; /* borrowed */
	struct sops_node *nodes; /* owned */
	size_t count, capacity;
	struct sops_span *cuts; /* owned: where the metadata stands, in order */
	size_t cut_count, cut_capacity;
	struct sops_space *spaces; /* owned, wiped when freed */
	bool keeps_aliases; /* YAML: they become nodes; else they are refused */
	bool met_alias; /* YAML: there is one, kept or refused */
	bool begins_empty; /* YAML: with a document of nothing */
	size_t aliases; /* that were written out before it was read (sops_expand.h): its lines are not those of the file */
	char reason[256]; /* after an error: what is wrong and where, without values; "": nothing to add */
};

/* Reads text, which is borrowed for the document's lifetime. ERR_BAD_FILE with a reason, ERR_UNSUPPORTED (the same; or a library is missing), ERR_BUSY (a limit), ERR_NOMEM. */
MUST_CHECK enum err sops_document_read(struct sops_document *document, enum sops_format format,
                                       struct bytes text);

/* The same for YAML with its aliases: nodes of their own, or, where one stands for a key, the string or the key that it is. In the text such a piece begins with '*', as nothing else does. */
MUST_CHECK enum err sops_document_read_aliases(struct sops_document *document, struct bytes text);
void sops_document_done(struct sops_document *document);

/* Which format a file has: by its name (NULL: none), else by what is in it. */
enum sops_format sops_format_guess(const char *name, struct bytes text);

/* One line for each value, and nothing below it: dotenv and INI. */
bool sops_format_is_flat(enum sops_format format);

/* yaml, json, dotenv, ini, binary. ERR_USAGE. */
MUST_CHECK enum err sops_format_parse(const char *word, enum sops_format *ret_format);

/* The readers, each for one syntax. */
MUST_CHECK enum err sops_json_read(struct sops_document *document);
MUST_CHECK enum err sops_yaml_read(struct sops_document *document);
MUST_CHECK enum err sops_dotenv_read(struct sops_document *document);
MUST_CHECK enum err sops_ini_read(struct sops_document *document);

/* INI: does anything follow in the line of this value or section? To every reader that is a comment, also where somebody meant a part of the value; it is no node. */
bool sops_ini_has_tail(const struct sops_document *document, uint32_t index);

/* INI: a value that begins and ends with the same quotes, which are no part of it; with more of them within they are. */
bool sops_ini_is_in_quotes(struct bytes text);

/* What readers build with. A node's metadata flag is set from its container and key. ERR_BUSY, ERR_NOMEM. */
MUST_CHECK enum err sops_document_add(struct sops_document *document, const struct sops_node *node,
                                      uint32_t *ret_index);
MUST_CHECK enum err sops_document_cut(struct sops_document *document, size_t start, size_t end);

/* len bytes that live as long as the document; NULL: no memory. */
uint8_t *sops_document_space(struct sops_document *document, size_t len);

/* Is it a comment? Also one that sops has encrypted in a list, where it stands as an element. */
bool sops_node_is_comment(const struct sops_node *node);

/* Sets the reason, with the line of position, and returns ERR_BAD_FILE. */
enum err sops_document_refuse(struct sops_document *document, size_t position, const char *what);

/* Refuses a map in which a key stands twice. */
MUST_CHECK enum err sops_document_check_keys(struct sops_document *document);

/* Appends the path of a node as sops authenticates it: the keys, each followed by ':'; list positions are no part of it. */
MUST_CHECK enum err sops_path_put(struct buf *buf, const struct sops_document *document, uint32_t index);
