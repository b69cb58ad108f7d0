/* What a helper does for each message; the list of them is at the end of helper_operations.c. */
#pragma once

#include "common/helper_device.h"

/* The answer to question, complete, behind what answer holds: a refusal is one too, and says what was found before it (which key it is about). Errors: only that there is no answer (ERR_NOMEM, ERR_BUSY). */
MUST_CHECK enum err helper_operate(struct helper *helper, const struct token_message *question,
                                   struct buf *answer);

/* Can it be answered without the device, and without changing a key that is there? Then it may be, while the device is at work on another one. */
bool helper_needs_no_device(const struct helper *helper, const struct token_message *question);

/* Does answering it change nothing at all of the helper? Then two threads may answer two such questions at once. */
bool helper_only_reads(const struct helper *helper, const struct token_message *question);
