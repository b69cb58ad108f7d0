/*
 * Helper questions
 *
 * Where a helper's questions come from: the socket, and before it what came while the device was at work. A device takes 1 to 500 ms for a command, and a sealed key that is open needs none of
 * it. So whoever waits for the device (a backend, by struct token_meanwhile) comes by here: a question that needs no device is answered at once, past those that do, and every other one is kept
 * for later, in the order in which it came. It is the same thread (the second one rests then, helper_second.h), and what is done meanwhile changes no key; so nothing that the interrupted operation has
 * found out is less true afterwards.
 *
 * Nothing is answered past a question that may close or replace a key. It knows no operation: helper_operations.c says which need no device.
 */
#pragma once

#include "common/helper_device.h"

#define HELPER_KEPT_MAX 16U /* the broker sends no more work at once than that */

struct helper_questions;

/* ERR_NOMEM, ERR_MEMORY_LOCKED. */
MUST_CHECK enum err helper_questions_new(int socket, struct helper_questions **ret_questions);
struct helper_questions *helper_questions_free(struct helper_questions *questions);
DEFINE_CLEANUP(struct helper_questions *, helper_questions_free);

/* The next one that is to be answered, whole, into question: of those that were kept, else from the socket. wait: until one comes, else ERR_AGAIN when there is none. ERR_TRUNCATED at the end
 * of the conversation; ERR_BAD_MESSAGE, ERR_SYSTEM, ERR_NOMEM end it as well. */
MUST_CHECK enum err helper_questions_next(const struct helper *helper, bool wait, struct buf *question);

/* Is there another one after that which is in hand? It is kept. False as well at the end of the conversation, which is told by helper_questions_next. */
bool helper_questions_ahead(struct helper *helper);

/* One that was taken and is somebody else's: it is the next one again. */
void helper_questions_put_back(struct helper *helper, const struct buf *question);

/* No more come: the first err is told when none are kept any more. */
void helper_questions_fail(struct helper *helper, enum err err);

/* A token_meanwhile's act; context is the struct helper. False when nothing more can be done before the device has answered. */
bool helper_questions_meanwhile(void *context);
