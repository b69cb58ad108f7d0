/*
 * Helper answers
 *
 * Answers on their way to the broker. Those that cost no device time are kept back for a moment and leave a few at a time, because waking the broker for each costs more than making one. None
 * waits for the device: whoever is about to ask it sends first what is ready.
 */
#pragma once

#include "common/helper_device.h"

/* The answer to question, complete, into helper->answer: a refusal is one too. ERR_NOMEM when there is none. */
MUST_CHECK enum err helper_answers_make(struct helper *helper, const struct token_message *question);

/* Takes the answer out of helper->answer. Sends it, and all that are ready, when enough are. */
MUST_CHECK enum err helper_answers_add(struct helper *helper);

/* Sends what is ready, if anything is. The error of an earlier call that could not return it comes out here. */
MUST_CHECK enum err helper_answers_send(struct helper *helper);
