/*
 * Audit memo
 *
 * What shows that a log was put back from a copy, also with all that stands beside it: its head (formats/audit_head), written after each group into a file that the supervisor made in the runtime
 * directory. That is memory, so the memo outlives tokend and ends with the machine's run; and the broker can write it, but has no name for it.
 *
 * It is written behind the group and before the answers to it leave. So the log is never behind the memo, whatever is killed in whatever moment: what is there less was taken away. The memo may be
 * behind the log by what was written when the broker was killed. It is never synced and fails nothing: without a memo, or with one that could not be written, less is noticed.
 */
#pragma once

#include <sys/types.h>

#include "common/bytes.h"
#include "common/err.h"
#include "formats/audit_head.h"

struct audit_memo {
	int fd; /* borrowed; -1: there is none */
	struct bytes directory; /* borrowed: the path of the state directory */
};

void audit_memo_write(const struct audit_memo *memo, const struct audit_chain *head);

/* After a start: the record that the memo knows of and that is not in the log, or is another there; sequence 0: none, as of one that is older than a log which goes on from another. log ends at end with chain, and may be of any length: one that is long is not read.
 * Errors of reading, ERR_NOMEM. */
MUST_CHECK enum err audit_memo_missing(const struct audit_memo *memo, int log, off_t end,
                                       const struct audit_chain *chain, struct audit_chain *ret_missing);
