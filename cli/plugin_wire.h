/*
 * Plugin wire
 *
 * The text that an age client and a plugin say to each other (C2SP age-plugin.md): stanzas as in an age header, on two pipes. Here is how one is
 * read and written, and a conversation: a command out, one reply in. What the commands mean is in plugin_protocol.h. It does no I/O of its own:
 * bytes come and go through two functions, so that tests and the fuzzer can be the other end. File keys and PINs pass through: all buffers are
 * locked and wipe themselves.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "formats/age_header.h"

#define PLUGIN_STANZA_MAX AGE_HEADER_MAX /* one stanza as text; no stanza of a file that we read is longer */
#define PLUGIN_ARGUMENTS_MAX \
	(AGE_ARGUMENTS_MAX + 2U) /* those of a file's stanza, after the command and the file's index */

struct plugin_stanza {
	size_t argument_count; /* at least 1: the command */
	struct bytes arguments[PLUGIN_ARGUMENTS_MAX]; /* borrowed from the text */
	struct bytes body; /* decoded; borrowed */
};

/* Reads the stanza at the start of text; its body is decoded into body, which is cleared first. ret_len: its length in text. ERR_AGAIN when text
 * ends before the stanza does, ERR_BAD_MESSAGE when it breaks the grammar or a limit. */
MUST_CHECK enum err plugin_stanza_parse(struct bytes text, struct buf *body, struct plugin_stanza *ret_stanza,
                                        size_t *ret_len);

bool plugin_stanza_is(const struct plugin_stanza *stanza, const char *command);

/* A decimal number of at most nine digits, without leading zeros. ERR_BAD_MESSAGE. */
MUST_CHECK enum err plugin_index_parse(struct bytes text, size_t *ret_index);

/* The other end. receive appends what has come (ERR_TRUNCATED when nothing will come any more), send takes all of output. */
struct plugin_pipe {
	enum err (*receive)(void *context, struct buf *input);
	enum err (*send)(void *context, struct buf *output);
	void *context; /* borrowed */
	bool hides_messages; /* the client shows nobody what a "msg" says */
};

struct plugin_wire;

MUST_CHECK enum err plugin_wire_new(const struct plugin_pipe *pipe, struct plugin_wire **ret_wire);
struct plugin_wire *plugin_wire_free(struct plugin_wire *wire);
DEFINE_CLEANUP(struct plugin_wire *, plugin_wire_free);

bool plugin_wire_hides_messages(const struct plugin_wire *wire);

/* The next stanza; borrowed until the next call. Errors of receive; ERR_BAD_MESSAGE. */
MUST_CHECK enum err plugin_wire_next(struct plugin_wire *wire, const struct plugin_stanza **ret_stanza);

/* Sends one command without waiting for anything: only "done" has no reply. */
MUST_CHECK enum err plugin_wire_done(struct plugin_wire *wire);

/* Sends the command (words ends with NULL) and hands out its one reply ("ok", "fail" or "unsupported"; anything else is ERR_BAD_MESSAGE), borrowed
 * until the next call. */
MUST_CHECK enum err plugin_wire_ask(struct plugin_wire *wire, const char *const *words, struct bytes body,
                                    const struct plugin_stanza **ret_reply);

/* The same for a stanza of a file, given as text: it goes out behind the words. */
MUST_CHECK enum err plugin_wire_ask_stanza(struct plugin_wire *wire, const char *words, struct bytes text,
                                           const struct plugin_stanza **ret_reply);
