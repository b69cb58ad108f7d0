/*
 * Plugin protocol
 *
 * The two conversations of an age plugin (C2SP age-plugin.md), from the plugin's side: recipient-v1 wraps file keys, identity-v1 opens them. Each is
 * two phases: the client says what it wants, then the plugin leads and the client answers. Here is what is said and when; what opens a key is
 * behind struct plugin_ops, and the pipes are behind plugin_wire.h.
 *
 * What stock clients make of it decides much here. age stops at the first "error" and tries no further identity, so an error is only sent for what
 * is malformed; a key that is not here, not permitted, locked or on a token that is not there is no error but a file that is not opened, and a "msg"
 * says why. age starts one process for each identity, rage one for all of them; both send one file, but nothing here relies on that.
 */
#pragma once

#include "cli/plugin_wire.h"
#include "cli/problem.h"
#include "formats/recipient.h"

#define PLUGIN_IDENTITIES_MAX 1024U
#define PLUGIN_FILES_MAX 256U
#define PLUGIN_FILE_STANZAS_MAX 4096U /* of our types, in all files together */
#define PLUGIN_CALL_STANZAS_MAX AGE_STANZAS_MAX /* of one file, in one call of unwrap */
#define PLUGIN_PROMPTS_MAX 16U /* for PINs, in one process: nobody is asked without end */
#define PLUGIN_BOX_KEY_MAX 64U

/* A key that wants its PIN, and what to seal the PIN to. */
struct plugin_lock {
	char key[2 * KEY_ID_LEN + 1]; /* its id, hexadecimal */
	char name[KEY_NAME_MAX + 1];
	char token[256]; /* its URI; empty when not known */
	char box_key[PLUGIN_BOX_KEY_MAX]; /* base64; empty when not known, and then the PIN cannot be given */
};

/* Why something was not done: for people, and for the next step. */
struct plugin_problem {
	struct problem text;
	struct plugin_lock lock; /* of ERR_PIN_NEEDED */
	int tries_left; /* of ERR_PIN_WRONG; -1: not known */
};

/* Who opens keys: the daemon, or a fake. Those with a ret_problem fill it when they fail. */
struct plugin_ops {
	/* Opens a file key with one key, or with any (NULL). */
	enum err (*unwrap)(void *context, const struct key_id *key, const struct token_stanza *stanzas,
	                   size_t stanza_count, struct secret **ret_file_key,
	                   struct plugin_problem *ret_problem);

	/* Gives a key its PIN. ERR_PIN_WRONG, ERR_PIN_LOCKED, ... */
	enum err (*unlock)(void *context, const struct plugin_lock *lock, const struct secret *pin,
	                   struct plugin_problem *ret_problem);

	/* Keys that the caller may use and that want a PIN now. */
	enum err (*locked_keys)(void *context, struct key_id *keys, size_t keys_max, size_t *ret_count);

	/* The recipient of the only key there is. ERR_NO_KEY when there is none, ERR_USAGE when there are several. */
	enum err (*only_recipient)(void *context, struct recipient *ret_recipient,
	                           struct plugin_problem *ret_problem);
};

/* The sentence, and what to do next: on one line, as clients print it behind the plugin's name. */
#define PLUGIN_SENTENCE_MAX (2U * PROBLEM_TEXT_MAX)
void plugin_sentence(const struct problem *problem, enum err err,
                     char ret_sentence[static PLUGIN_SENTENCE_MAX]);

/* Says why something was not done, at most once for each error in a conversation. It is a message, not an error; only that there is no daemon is an error
 * to a client that hides messages (sops does, and without it would name a wrong identity as the cause). */
struct plugin_told {
	bool told[ERR_COUNT];
};
MUST_CHECK enum err plugin_explain(struct plugin_wire *wire, struct plugin_told *told, enum err err,
                                   const struct problem *problem);

/* Phase 1, what the client sends before the plugin speaks: hands every command up to "done" to take, which ignores those it does not know: age sends some that mean nothing, so that nobody
 * relies on there being none. Errors of the wire and of take. */
typedef enum err (*plugin_take)(void *context, const struct plugin_stanza *stanza);
MUST_CHECK enum err plugin_read_phase(struct plugin_wire *wire, plugin_take take, void *context);

/* Sends "error ..." with a sentence. */
MUST_CHECK enum err plugin_error(struct plugin_wire *wire, const char *const *words, const char *sentence);

/* Each holds its conversation up to, but without, the final "done": whoever calls it cleans up first, because the client ends the plugin as soon as it
 * has read that. Errors are those after which no conversation is possible: ERR_BAD_MESSAGE, ERR_TRUNCATED (the client is gone), ERR_NOMEM,
 * ERR_MEMORY_LOCKED, ERR_SYSTEM. */
MUST_CHECK enum err plugin_identity_v1(struct plugin_wire *wire, const struct plugin_ops *ops, void *context);
MUST_CHECK enum err plugin_recipient_v1(struct plugin_wire *wire, const struct plugin_ops *ops,
                                        void *context);
