/*
 * Facts
 *
 * What tokend knows of keys and tokens, fetched and put into words, for the verbs that show it or name one of them.
 */
#pragma once

#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/token_facts.h"

/* GetKeys: an array, with exactly one element when name is given (else ERR_NO_KEY, ERR_DENIED). A new reference. */
MUST_CHECK enum err keys_get(struct daemon *daemon, const char *name, struct problem *problem,
                             json_t **ret_keys);

/* GetTokens: the whole answer, {"tokens": [...]}. A new reference. */
MUST_CHECK enum err tokens_get(struct daemon *daemon, struct problem *problem, json_t **ret_tokens);

/* GetStatus. A new reference. */
MUST_CHECK enum err status_get(struct daemon *daemon, struct problem *problem, json_t **ret_status);

/* ERR_USAGE, with a sentence, for what is neither a key's name nor its id. */
MUST_CHECK enum err key_argument_check(const char *name, struct problem *problem);

bool key_has_pin(const json_t *key);

/* Calls keys absent whose tokens (GetTokens) are, and foreign (a member "foreign" of their slots) what was made on another device than the one that is there: GetKeys says whether a token's helper runs,
 * which asks no device. */
void keys_mark_absent(const json_t *keys, const json_t *tokens);
bool key_is_foreign(const json_t *key);

/* "no PIN", "locked", "open for 12m", "open for one use": what a key wants. tokens (GetTokens, or NULL) tells whether its PIN would be tried at all. */
void key_lock_text(const json_t *key, const json_t *tokens, char *text, size_t len);

/* Fills a table with a line per key, or per token, under a heading. A token is shown by as much of its URI as distinguishes it where keys are listed, or when brief. tokens:
 * GetTokens, or NULL when it was not asked. */
MUST_CHECK enum err keys_table(const json_t *keys, const json_t *tokens, struct table **ret_table);
MUST_CHECK enum err tokens_table(const json_t *tokens, bool brief, struct table **ret_table);

/* Prints what is wrong with tokens, and the next command, one line each. */
void tokens_print_problems(const json_t *tokens);

/* Prints value, indented, and drops it. */
MUST_CHECK enum err json_print(json_t *value);
