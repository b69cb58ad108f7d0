/*
 * Daemon
 *
 * What the command line programs ask of tokend: a call whose errors come back as a sentence with a next command, a PIN or key sealed for a helper, an unlock, and the
 * unwrapping of a file key with the question for a PIN in between. Connects at the first call and keeps the connection; after a call that failed half-way the next
 * one connects again. How a person is asked is the caller's business.
 */
#pragma once

#include <jansson.h>

#include "cli/problem.h"
#include "common/control.h"
#include "common/err.h"
#include "common/secret.h"
#include "formats/age_header.h"

#define DAEMON_PAGES_MAX 10000U /* that a list of keys may come in */
#define DAEMON_DEADLINE_MS 10000 /* calls that the broker answers alone */
#define DAEMON_TOKEN_DEADLINE_MS 120000 /* calls that wait for a token, or for a touch */

struct daemon {
	struct control *control; /* owned; NULL until the first call */
	int patience_ms; /* how long an unwrap waits for a tokend that has answered before and is gone: 0 unless many files are still to be opened */
	bool answered;
};

void daemon_done(struct daemon *daemon);

/* Calls io.tokend.<method>; parameters is stolen (NULL: none). On an error problem has the daemon's sentence and hint, or ours when nobody answered. *ret_reply is
 * always set: the answer's parameters, those of the error, or NULL; a new reference. */
MUST_CHECK enum err daemon_call(struct daemon *daemon, const char *method, json_t *parameters,
                                int deadline_ms, struct problem *problem, json_t **ret_reply);

/* The keys that the caller may list, or the one of that name or id (NULL: all), however many answers it takes: a new array. */
MUST_CHECK enum err daemon_keys(struct daemon *daemon, const char *name, int deadline_ms,
                                struct problem *problem, json_t **ret_keys);

/* Seals secret (at most 128 bytes) to a helper's box key (base64, as in GetTokens and PinNeeded), so that the broker cannot read it: base64, to be freed by the caller. */
MUST_CHECK enum err daemon_seal(const char *box_key, const struct secret *secret, struct problem *problem,
                                char **ret_sealed);

/* The box key of the token that holds a present slot of key (an element of GetKeys), or of the token named: an answer of GetTokens is searched. Borrowed from tokens; NULL
 * when there is none. */
const char *daemon_box_key_for(const json_t *tokens, const json_t *key);

/* Unlocks a key by name or id; seconds 0: as long as the policy says. ret_reply as in daemon_call. */
MUST_CHECK enum err daemon_unlock(struct daemon *daemon, const char *key, const char *box_key,
                                  const struct secret *pin, unsigned seconds, struct problem *problem,
                                  json_t **ret_reply);

/* Would the token with that box key try a PIN? For those who are about to ask somebody for one. ERR_NO_TOKEN, ERR_PIN_LOCKED; OK when it cannot be found out. */
MUST_CHECK enum err daemon_pin_check(struct daemon *daemon, const char *box_key, struct problem *problem);

/* Asks somebody for the PIN of the key named. ERR_PIN_NEEDED when nobody can answer. */
typedef enum err (*daemon_ask_pin)(void *context, const char *key_name, struct secret **ret_pin);

struct daemon_unwrap {
	const char *key; /* name or id; NULL: any key that the caller may use */
	struct bytes recipient; /* the line of whom the stanzas are for; empty: not known */
	const struct age_stanza *stanzas; /* those of types that no token opens are not sent */
	size_t stanza_count;
	daemon_ask_pin ask; /* NULL: nobody can be asked */
	void *ask_context;
};

/* One round trip; when a locked key stood in the way and there is somebody to ask: the PIN is asked for once, the key unlocked, and the question put again.
 * ret_index: which of the stanzas. ERR_NO_MATCH without a call when none is of a type that tokens open; ERR_BAD_FILE when one of those is malformed. */
MUST_CHECK enum err daemon_unwrap(struct daemon *daemon, const struct daemon_unwrap *unwrap,
                                  struct problem *problem, size_t *ret_index, struct secret **ret_file_key);
