/* What a helper does for each message but HELLO; the table of them is at the end of helper_operations.c. */
#pragma once

#include "common/helper_device.h"

/* Appends the answer's fields to helper->answer, which begins with its header; on an error what was appended is still sent (which key it was). */
MUST_CHECK enum err helper_operate(struct helper *helper, const struct token_message *question);

/* Can it be answered without the device, and without changing a key that is there? Then it may be, while the device is at work on another one. */
bool helper_needs_no_device(const struct helper *helper, const struct token_message *question);
