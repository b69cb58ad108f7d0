/*
 * Helper device
 *
 * The one device of a helper: opened when it is first needed, opened again when it was lost, and watched for resets. An action on the device is
 * a function, because it may have to be done a second time from its beginning: after the device forgot what we had on it, nothing that the
 * action found before is true any more.
 */
#pragma once

#include "common/helper.h"
#include "common/helper_answers.h"
#include "common/helper_keys.h"

#define HELPER_RESET_CHECK_SECONDS 10

struct helper {
	const struct token_ops *ops;
	const char *uri;
	int socket;
	struct token_notes *notes; /* shared with the next process; NULL: there are none */
	struct token *token; /* NULL: not open */
	struct helper_keys *keys;
	uint32_t reset_count; /* when it was last read */
	bool reset_count_known;
	bool reset_checked; /* since the device was (re)opened */
	bool reset_doubted; /* the device was lost, or is being asked: until it answers nothing is taken for open */
	int64_t reset_check_time; /* seconds, monotonic */
	struct secret *box_secret;
	uint8_t box_public[TOKEN_BOX_KEY_LEN];
	struct helper_answers answers;
	unsigned waits; /* for a question, since the device was opened */
	struct token_meanwhile
	        meanwhile; /* what is done while the device is at work: see helper_questions.h */
	struct helper_questions *questions; /* owned */
	struct helper_second *second; /* owned; NULL: not started, */
	bool second_tried; /* and why */
	bool alone; /* the second thread sleeps, and there was no other question when this one was begun */
};

typedef enum err (*helper_action)(struct helper *helper, void *context);

/* Opens the device if need be and does action; when the device was lost, opens it again and does action once more. */
MUST_CHECK enum err helper_device_do(struct helper *helper, helper_action action, void *context);

/* Takes the key off the device. */
void helper_device_unload(struct helper *helper, struct helper_key *key);

/* The device may have been reset while answers came from memory: asks it, and wipes what is held open if so. Called when an answer has been sent, so that
 * no answer waits for it, and when it is due: it was not asked for some time, and something is open. */
void helper_device_watch(struct helper *helper);
bool helper_device_watch_due(const struct helper *helper);

void helper_device_close(struct helper *helper);
