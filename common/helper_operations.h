/* What a helper does for each message but HELLO; the table of them is at the end of helper_operations.c. */
#pragma once

#include "common/helper_device.h"

/* Appends the answer's fields to helper->answer, which begins with its header; on an error what was appended is still sent (which key it was). */
MUST_CHECK enum err helper_operate(struct helper *helper, const struct token_message *question);
