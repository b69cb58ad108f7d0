/*
 * Facts
 *
 * What tokend knows of keys and tokens, fetched and put into words, for the verbs that show it or name one of them.
 */
#pragma once

#include "cli/daemon.h"
#include "cli/table.h"

/* GetKeys: an array, with exactly one element when name is given (else ERR_NO_KEY, ERR_DENIED). A new reference. */
MUST_CHECK enum err keys_get(struct daemon *daemon, const char *name, struct problem *problem,
                             json_t **ret_keys);

/* GetTokens: the whole answer, {"tokens": [...]}. A new reference. */
MUST_CHECK enum err tokens_get(struct daemon *daemon, struct problem *problem, json_t **ret_tokens);

/* GetStatus. A new reference. */
MUST_CHECK enum err status_get(struct daemon *daemon, struct problem *problem, json_t **ret_status);

/* "present", "in lockout", "absent"; with "SIMULATION" where it is one. Static. */
const char *token_state_text(const json_t *token);

/* "no PIN", "locked", "open for 12m": what a key wants. */
void key_lock_text(const json_t *key, char *text, size_t len);

/* "45s", "12m", "3h" */
void duration_text(json_int_t seconds, char *text, size_t len);

/* Fills a table with a line per key, or per token, under a heading. */
MUST_CHECK enum err keys_table(const json_t *keys, struct table **ret_table);
MUST_CHECK enum err tokens_table(const json_t *tokens, struct table **ret_table);

/* Prints what is wrong with tokens, and the next command, one line each. */
void tokens_print_problems(const json_t *tokens);

/* Prints value, indented, and drops it. */
MUST_CHECK enum err json_print(json_t *value);
