#include "cli/token_facts.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const json_t *token_of_uri(const json_t *tokens, const char *uri)
{
	const json_t *list = json_object_get(tokens, "tokens");

	for (size_t i = 0; uri && i < json_array_size(list); i++) {
		const json_t *token = json_array_get(list, i);
		const char *own = json_string_member(token, "uri");

		if (own && strcmp(own, uri) == 0)
			return token;
	}
	return NULL;
}

void duration_text(json_int_t seconds, char *text, size_t len)
{
	if (seconds < 120)
		(void)snprintf(text, len, "%llds", (long long)seconds);
	else if (seconds < 7200)
		(void)snprintf(text, len, "%lldm", (long long)seconds / 60);
	else
		(void)snprintf(text, len, "%lldh", (long long)seconds / 3600);
}

bool token_tries_used_up(const json_t *token)
{
	return json_boolean_member(token, "present") && (json_boolean_member(token, "inLockout") ||
	                                                 json_integer_member(token, "pinTriesLeft", -1) == 0);
}

const char *token_state_text(const json_t *token)
{
	bool simulation = json_boolean_member(token, "simulation");

	if (!json_boolean_member(token, "present"))
		return "absent";
	if (json_boolean_member(token, "inLockout"))
		return simulation ? "in lockout, SIMULATION" : "in lockout";
	if (token_tries_used_up(token))
		return simulation ? "PIN tries used up, SIMULATION" : "PIN tries used up";
	return simulation ? "present, SIMULATION" : "present";
}

void token_absence(const json_t *token, char *text, size_t len)
{
	const char *reason = json_string_member(token, "problem");

	if (reason && strcmp(reason, err_info(ERR_NO_TOKEN)->text) != 0)
		(void)snprintf(text, len, "cannot be used: %s", reason);
	else
		(void)snprintf(text, len, "is not there");
}

void token_hint(const json_t *token, char *text, size_t len)
{
	const char *hint = json_string_member(token, "hint");

	if (!hint && token_tries_used_up(token))
		token_tries_hint(token, text, len);
	else
		(void)snprintf(text, len, "%s", hint ? hint : "");
}

void token_tries_hint(const json_t *token, char *text, size_t len)
{
	const char *uri = json_string_member(token, "uri");
	const char *tcti = uri && strncmp(uri, "tpm:", 4) == 0 ? uri + 4 : NULL;
	json_int_t seconds = json_integer_member(token, "pinRecoverySeconds", 0);
	char recovery[64] = "after its recovery time", duration[32];

	if (seconds > 0) {
		duration_text(seconds, duration, sizeof(duration));
		(void)snprintf(recovery, sizeof(recovery), "every %s", duration);
	}
	(void)snprintf(
	        text, len,
	        "wait: it forgives one wrong PIN %s (man tokenctl, PINS); or whoever has the TPM's lockout "
	        "authorisation types tpm2_dictionarylockout%s%s --clear-lockout",
	        recovery, tcti ? " -T " : "", tcti ? tcti : "");
}

const json_t *token_of_box_key(const json_t *tokens, const char *box_key)
{
	const json_t *list = json_object_get(tokens, "tokens");

	for (size_t i = 0; box_key && i < json_array_size(list); i++) {
		const json_t *token = json_array_get(list, i);
		const char *own = json_string_member(token, "boxKey");

		if (own && strcmp(own, box_key) == 0)
			return token;
	}
	return NULL;
}

const char *token_none_hint(void)
{
	if (access(TOKEN_DEVICE, F_OK) == 0)
		return "sudo systemctl restart tokend   takes " TOKEN_DEVICE ", which is there now";
	return "there is no " TOKEN_DEVICE
	       ": switch the TPM on in this machine's firmware (TPM, PTT, fTPM), or name another token in "
	       "tokend.conf; then sudo systemctl restart tokend";
}

enum err token_pin_check(const json_t *token, struct problem *problem)
{
	const char *uri = json_string_member(token, "uri");
	char text[PROBLEM_TEXT_MAX / 2];
	enum err err = OK;

	if (!token)
		return OK;
	if (!json_boolean_member(token, "present")) {
		token_absence(token, text, sizeof(text));
		err = problem_set(problem, ERR_NO_TOKEN, "the token %s %s", uri ? uri : "", text);
	} else if (token_tries_used_up(token)) {
		err = problem_set(problem, ERR_PIN_LOCKED,
		                  "too many wrong PINs: none is tried on %s now; keys without one still work",
		                  uri ? uri : "the token");
	}
	if (!err)
		return OK;
	token_hint(token, text, sizeof(text));
	problem_hint(problem, "%s", text);
	return err;
}
