/*
 * Helper answers
 *
 * Answers on their way to the broker. Those that cost no device time are kept back for a moment and leave a few at a time, because waking the broker for each costs more than making one. None
 * waits for the device: whoever is about to ask it sends first what is ready. Each thread has its own; the socket keeps packets of several whole.
 */
#pragma once

#include "common/buf.h"

struct helper;
struct token_message;

#define HELPER_READY_MAX 4U /* answers that leave together */
#define HELPER_READY_LEN 256U /* a longer one leaves alone */

struct helper_answers {
	int socket;
	struct buf *answer; /* locked memory: the one that is being made */
	struct buf *ready; /* locked memory: those that have not left yet, one behind the other */
	size_t ready_len[HELPER_READY_MAX];
	size_t ready_count;
	enum err failed; /* sticks */
};

/* For answers of at most answer_max bytes. ERR_NOMEM, ERR_MEMORY_LOCKED. */
MUST_CHECK enum err helper_answers_init(struct helper_answers *answers, int socket, size_t answer_max);
void helper_answers_done(struct helper_answers *answers);

/* Answers question, which changes of helper what it changes. The answer leaves with those that are ready when enough are, else stays until then. ERR_NOMEM when there is none; ERR_SYSTEM, or
 * ERR_TRUNCATED at the end of the conversation, when it did not leave. */
MUST_CHECK enum err helper_answers_make(struct helper_answers *answers, struct helper *helper,
                                        const struct token_message *question);

/* Sends what is ready, if anything is. The error of an earlier call that could not return it comes out here. */
MUST_CHECK enum err helper_answers_send(struct helper_answers *answers);
