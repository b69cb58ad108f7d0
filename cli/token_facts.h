/*
 * Token facts
 *
 * What tokend says of a token (an element of GetTokens), put into words: how it is, what helps, and whether it is worth asking anybody for a PIN. It asks nobody.
 */
#pragma once

#include <jansson.h>

#include "cli/problem.h"
#include "common/control.h"

#define TOKEN_DEVICE "/dev/tpmrm0"

/* The token of that name in an answer of GetTokens, or the one with that box key; NULL: none. Borrowed. */
const json_t *token_of_uri(const json_t *tokens, const char *uri);
const json_t *token_of_box_key(const json_t *tokens, const char *box_key);

/* No PIN is tried on it any more: in lockout, or tokend keeps the last tries back. */
bool token_tries_used_up(const json_t *token);

/* What that means. */
#define TRIES_USED_UP "wrong PINs have used up its tries, so no PIN is tried; keys without one still work"

/* What helps then: how long it takes, where the device says so, and the command for this device. */
void token_tries_hint(const json_t *token, char *text, size_t len);

/* "present", "in lockout", "PIN tries used up", "absent"; with "SIMULATION" where it is one. Static. */
const char *token_state_text(const json_t *token);

/* Of a token that cannot be used: "is not there", or "cannot be used: " and why. */
void token_absence(const json_t *token, char *text, size_t len);

/* What to type about a token that is not there, or is not well; "" when nothing is to be done. */
void token_hint(const json_t *token, char *text, size_t len);

/* What to do where tokend was told of no token: it looks for the machine's TPM when it starts, and only then. Static. */
const char *token_none_hint(void);

/* Would a PIN be tried? ERR_NO_TOKEN, ERR_PIN_LOCKED, with a sentence and the next command; OK for NULL, of which nothing is known. */
MUST_CHECK enum err token_pin_check(const json_t *token, struct problem *problem);

/* "45s", "12m", "3h" */
void duration_text(json_int_t seconds, char *text, size_t len);
