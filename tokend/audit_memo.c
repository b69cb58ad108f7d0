#include "tokend/audit_memo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tokend/audit_rotation.h"

#define WINDOW_LEN (2U * AUDIT_LINE_MAX) /* the rest of a line, and one that is whole */

void audit_memo_write(const struct audit_memo *memo, const struct audit_chain *head)
{
	char text[AUDIT_MEMO_LEN + 1];

	if (memo->fd < 0)
		return;
	audit_memo_print(head, memo->directory, text);
	/* In one call, and within one page: nobody is killed in the middle of it. */
	(void)!pwrite(memo->fd, text, AUDIT_MEMO_LEN, 0);
}

static bool read_memo(const struct audit_memo *memo, struct audit_chain *ret_head)
{
	uint8_t text[AUDIT_MEMO_LEN + 1];
	ssize_t len = memo->fd < 0 ? -1 : pread(memo->fd, text, sizeof(text), 0);

	return len > 0 && audit_memo_parse(bytes_of(text, (size_t)len), memo->directory, ret_head);
}

/* ---- one record of a long log ---- */

struct place {
	off_t start, end; /* of a line, with its newline */
	struct audit_chain chain; /* what it is in the log's chain */
};

/* The first record that begins at from or behind it, and before limit; false when there is none near. */
static bool record_in(struct bytes window, off_t from, off_t limit, struct place *ret_place)
{
	const uint8_t *start = window.data, *newline;

	while ((newline = memchr(start, '\n', window.len - (size_t)(start - window.data)))) {
		struct audit_chain chain = { 0 };
		off_t at = from + (start - window.data);

		if (at >= limit)
			return false;
		if (audit_chain_next(&chain, bytes_of(start, (size_t)(newline - start))) !=
		    AUDIT_FAULT_SYNTAX) {
			*ret_place = (struct place){ at, at + (newline - start) + 1, chain };
			return true;
		}
		start = newline + 1;
	}
	return false;
}

/* The same of the log. What stands before the first newline is the end of a line that began before from, and is no record. */
static enum err record_from(int log, off_t from, off_t limit, uint8_t window[static WINDOW_LEN],
                            struct place *ret_place, bool *ret_any)
{
	ssize_t len = pread(log, window, WINDOW_LEN, from);

	if (len < 0)
		return err_from_errno(errno);
	*ret_any = record_in(bytes_of(window, (size_t)len), from, limit, ret_place);
	return OK;
}

/* By halves, since the numbers grow from line to line. In a damaged log it may not be found though it is there: that is another log than it was, too. */
static enum err find_record(int log, off_t end, unsigned long long sequence, struct audit_chain *ret_chain)
{
	CLEANUP(freep) uint8_t *window = malloc(WINDOW_LEN);
	struct place place = { 0 };
	off_t low = 0, high = end;
	enum err err = window ? OK : ERR_NOMEM;

	*ret_chain = (struct audit_chain){ 0 };
	while (!err && low < high) {
		off_t middle = low + (high - low) / 2;
		bool any = false;

		err = record_from(log, middle, high, window, &place, &any);
		if (err || !any || place.chain.sequence > sequence) {
			high = middle;
		} else if (place.chain.sequence < sequence) {
			low = place.end;
		} else {
			*ret_chain = place.chain;
			return OK;
		}
	}
	return err;
}

/* Of what a log goes on from, only the end is known. */
static enum err find_earlier(int log, off_t end, const struct audit_chain *head,
                             struct audit_chain *ret_found)
{
	struct audit_chain before;

	audit_rotation_before(log, &before);
	if (head->sequence > before.sequence)
		return find_record(log, end, head->sequence, ret_found);
	*ret_found = head->sequence == before.sequence ? before : *head;
	return OK;
}

enum err audit_memo_missing(const struct audit_memo *memo, int log, off_t end,
                            const struct audit_chain *chain, struct audit_chain *ret_missing)
{
	struct audit_chain head, found = *chain;
	enum err err = OK;

	*ret_missing = (struct audit_chain){ 0 };
	if (!read_memo(memo, &head))
		return OK;
	if (head.sequence < chain->sequence)
		err = find_earlier(log, end, &head, &found);
	if (!err &&
	    (found.sequence != head.sequence || memcmp(found.last_hash, head.last_hash, AUDIT_HASH_LEN) != 0))
		*ret_missing = head;
	return err;
}
