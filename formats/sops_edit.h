/*
 * SOPS edit
 *
 * One value of a plain document set, or one entry taken out, as an edit of its text: readers say where each value and entry begins and ends, that piece is replaced, and everything else, comments and
 * white space included, stays. What is new is indented and quoted as what stands beside it. It knows nothing of encryption; what it gives is read and sealed again (sops_seal.h).
 *
 * In a few places (a key of a YAML map behind a "?", a comment before a closing bracket) what comes out may be no document, or not the one meant: whoever calls reads it again and compares.
 */
#pragma once

#include <jansson.h>

#include "formats/sops_document.h"
#include "formats/sops_path.h"

/* In the reason of sops_edit_put where null is written as a key alone ({a, b: 1}, or ? a), so that there is no place for a value. */
#define SOPS_EDIT_NO_COLON "this key has no colon, which means null; write it as KEY: null"

/* Appends the text of document with value at path; maps on the way to it are made, and a list grows by one when its length is the last step. document's reason says what is wrong. ERR_NO_MATCH: the path
 * leads through what is neither map nor list, or beside a list; ERR_UNSUPPORTED: the format cannot hold such a value there; ERR_BUSY, ERR_NOMEM. */
MUST_CHECK enum err sops_edit_put(struct sops_document *document, const struct sops_path *path, json_t *value,
                                  struct buf *out);

/* The reason of sops_edit_remove where nothing would be left. */
#define SOPS_EDIT_LAST "it is the last value of the file"

/* The same without the entry at path. ERR_NO_MATCH: there is none; ERR_UNSUPPORTED: it is the last one of the file. */
MUST_CHECK enum err sops_edit_remove(struct sops_document *document, const struct sops_path *path,
                                     struct buf *out);
