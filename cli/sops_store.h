/*
 * SOPS store
 *
 * A SOPS file that is opened, changed and written back: what set, unset, edit, rotate and updatekeys have in common. It is decrypted as a whole, its MAC verified, before anything is changed. What is written was
 * decrypted once more from what will stand in the file and compared with what was meant; it takes the old file's place at once, or not at all, and not when somebody else changed that meanwhile.
 */
#pragma once

#include <jansson.h>

#include "cli/file_opener.h"
#include "cli/tree.h"
#include "common/buf.h"
#include "formats/sops_document.h"
#include "formats/sops_expand.h"
#include "formats/sops_memory.h"
#include "formats/sops_metadata.h"
#include "formats/sops_path.h"

/* Of a verb that opens one and has no others. */
extern const struct option_row sops_store_options[];

struct sops_store {
	struct file_opener opener;
	const char *path; /* borrowed */
	const struct tree_place *
	        place; /* where it is, when path is only its name for people; borrowed. NULL: path leads to it */
	struct buf *text; /* the file */
	struct buf *written; /* the text with its aliases written out; NULL: there are none */
	struct sops_document document; /* of the one or of the other */
	struct sops_metadata *metadata;
	struct secret *data_key;
	struct sops_memory *memory;
	struct buf *plain; /* decrypted; of a binary file its bytes */
	bool locked;
	int lock; /* when it is locked */
};

/* Reads and decrypts the file. The invocation's options may have input-type and identity. To be done with in any case; the invocation's problem has the sentence. */
MUST_CHECK enum err sops_store_open(struct sops_store *store, struct invocation *invocation,
                                    const char *path);
/* Reads the file and nothing that takes its key: text and document are there, and the rest is not. */
MUST_CHECK enum err sops_store_look(struct sops_store *store, struct invocation *invocation,
                                    const char *path);
/* As sops_store_open, after waiting for others that do the same to the file (file_lock.h), who then wait until this is done. ERR_TIMEOUT. */
MUST_CHECK enum err sops_store_open_to_change(struct sops_store *store, struct invocation *invocation,
                                              const char *path);
/* The same of a file of a tree, which is at place; path: for messages. Neither is followed nor written to what has taken its place meanwhile and is a link or anything else. */
MUST_CHECK enum err sops_store_look_at(struct sops_store *store, struct invocation *invocation,
                                       const char *path, const struct tree_place *place);
MUST_CHECK enum err sops_store_open_to_change_at(struct sops_store *store, struct invocation *invocation,
                                                 const char *path, const struct tree_place *place);
void sops_store_done(struct sops_store *store);

/* Can it be written? So that nobody is told only after all was done. With a sentence. */
MUST_CHECK enum err sops_store_check_writable(struct sops_store *store);

/* Is this still in the file? ret_same is false when somebody else has written it, or something else, since it was read. */
MUST_CHECK enum err sops_store_is_current(struct sops_store *store, bool *ret_same);

/* What a document is read for: the plain text of a file of this format. To be done with in any case. Its reason, after an error, is a sentence of the problem. */
MUST_CHECK enum err sops_store_read(struct sops_store *store, struct bytes plain,
                                    struct sops_document *ret_document);

/* The plain text after an edit of it (sops_edit.h), which appends it to out. To be freed by the caller. */
typedef enum err (*sops_text_edit)(void *context, struct sops_document *document, struct buf *out);
MUST_CHECK enum err sops_store_edit(struct sops_store *store, sops_text_edit edit, void *context,
                                    struct buf **ret_plain);

/* What set and unset cannot do is done by hand: the hint that says how. more: behind the command, "" for nothing. */
void sops_store_hint_edit(struct sops_store *store, const char *more);

/* What an edit made would say something else than was meant: the way the text is written around path is not known to it. ERR_UNSUPPORTED with a sentence. */
enum err sops_store_refuse_place(struct sops_store *store, const char *path);

/* The sentence for an error with a document's reason. Returns err. */
enum err sops_store_explain(struct sops_store *store, const struct sops_document *document, enum err err);

struct sops_change {
	struct bytes plain; /* the new plain text */
	const struct secret *data_key; /* NULL: as it was, and what did not change keeps its ciphertext */
	json_t *metadata; /* NULL: as it stands in the file; borrowed */
};

/* Seals, verifies and writes. Where nothing changed, the file is left alone and *ret_changed is false. */
MUST_CHECK enum err sops_store_save(struct sops_store *store, const struct sops_change *change,
                                    bool *ret_changed);

/* What takes a path: the path that a word of the command line is, borrowed from it (ERR_USAGE with a sentence); and only a file that has paths (ERR_UNSUPPORTED for a binary one). */
MUST_CHECK enum err sops_path_argument(struct invocation *invocation, const char *word,
                                       struct sops_path *ret_path);
MUST_CHECK enum err sops_store_has_paths(struct sops_store *store);

/* Parts of it, for what makes such files. A whole file (NULL: standard input), at most SOPS_FILE_MAX; owned by the caller. */
MUST_CHECK enum err sops_text_read(const char *path, struct problem *problem, struct buf **ret_text);
/* The same of what is open. */
MUST_CHECK enum err sops_text_read_opened(int input, const char *path, struct problem *problem,
                                          struct buf **ret_text);
/* The same of a file that is to be changed, and has to be one: of a tree (NULL: path leads to it). */
MUST_CHECK enum err sops_text_read_at(const struct tree_place *place, const char *path,
                                      struct problem *problem, struct buf **ret_text);

/* Says, once, that aliases were written out; under a rule about comments they are refused (ERR_UNSUPPORTED with a sentence), for a copy has none. */
MUST_CHECK enum err sops_plain_tell(size_t aliases, enum sops_rule rule, const char *name,
                                    struct problem *problem);

/* Opens what was sealed as if it came from the disk, and compares. ERR_UNSUPPORTED with a sentence when it says something else than was meant. */
MUST_CHECK enum err sops_verify(struct bytes sealed, const struct secret *data_key,
                                const struct sops_document *meant, const char *name, struct problem *problem);
