/*
 * Audit ahead
 *
 * What makes a record durable in one cheap write. Growing a file costs the file system a commit of its journal with every sync, and with it whatever else the machine has to write; writing over
 * bytes that are there already costs the write alone. So a group of lines is appended to the log without a sync, and written once more into a second file of fixed size whose bytes were all
 * written when it was made: that one is synced. When it is full the log itself is synced once, with the group that found no room, and the second file begins anew.
 *
 *	audit.log      [ durable by itself        | as the page cache has it ...  ]
 *	               0                          anchor
 *	audit.ahead    "tokend ahead 1 ANCHOR\n"  [ the same lines, durable here  ] what was here before
 *
 * After the power failed, the log may lack any part of what follows the anchor; audit_ahead_restore puts it back. The lines prove themselves: each has to follow from the one before, the first
 * from the last line before the anchor. What does not follow is from an earlier round and is left alone. Where the log itself goes on with another line that follows, the log is right, and what
 * stands here was foreseen and did not come; so that this is true, who cut lines off the log again has it synced before any line rests on this file alone.
 *
 * Where the file system allows it, it is written past the page cache (O_DIRECT), in whole blocks: that takes two thirds of the time and a fifth less of the processor, and does not wait behind
 * pages that others wrote. A block that is not full is written again with the next group, the same in front; blocks holds it.
 *
 * It knows lines and files, nothing of threads or of who waits. Without a second file (no room for it when it was to be made) every group is synced in the log itself, which is only slower.
 */
#pragma once

#include <sys/types.h>

#include "common/bytes.h"
#include "common/err.h"

struct audit_chain;
struct audit_disk;

#define AUDIT_AHEAD_NAME "audit.ahead"
#define AUDIT_AHEAD_NEWER_NAME AUDIT_AHEAD_NAME ".newer"
#define AUDIT_AHEAD_LEN (1U << 20)

struct audit_ahead {
	const struct audit_disk *disk; /* borrowed */
	int fd; /* -1: there is none */
	int direct; /* the same file, past the page cache; -1: not on this file system */
	uint8_t *
	        blocks; /* owned; what was last written there, from the block on that the next line begins in; as long as the file */
	size_t used; /* bytes in use, the header's among them; 0: the next group begins it anew */
	off_t anchor; /* as the header says it, while used is not 0 */
};

/* Opens the file in directory, or makes it, mode 0640. Having no room for it is no error. ERR_STATE_DIR when something else stands in its place or others may write to it. */
MUST_CHECK enum err audit_ahead_open(struct audit_ahead *ahead, int directory, const struct audit_disk *disk);

struct audit_restored {
	size_t bytes; /* that were missing from the log, or other than they should be; 0 nearly always */
	off_t end; /* of the lines in the log that follow, one after the other, from what was durable; below 0: not known. What is behind was never acknowledged. */
};

/* After a start: brings the log (opened with O_APPEND) to what it was known to be. ERR_NOMEM, ERR_SYSTEM or what the disk says; the log then holds no less than before. */
MUST_CHECK enum err audit_ahead_restore(const struct audit_ahead *ahead, int log,
                                        struct audit_restored *ret_restored);

/* Makes lines durable that stand in the log at offset, or are going to. False: no room, or the disk did not do it; then the log has to be synced, and audit_ahead_begin_anew told when it was.
 * Until audit_ahead_keep is called with their length, the next lines are written over these. */
bool audit_ahead_try(struct audit_ahead *ahead, off_t offset, struct bytes lines);
void audit_ahead_keep(struct audit_ahead *ahead, size_t len);

/* What was tried last is not wanted: after a power failure it would be taken for what was kept. As good as the system's next write of it. */
void audit_ahead_scrub(const struct audit_ahead *ahead);

/* The log is durable: nothing that is here is needed any more. */
void audit_ahead_begin_anew(struct audit_ahead *ahead);

/* The log is durable and ends with end, and another one goes on from there: nothing that is here belongs to that one. False when the disk does not do it; nothing that is here is needed in either case. */
bool audit_ahead_leave(struct audit_ahead *ahead, const struct audit_chain *end);

/* A sync of the log failed, after which the system may have dropped any of what was to be synced: appends it again, from the anchor on. False when the disk does not do that either; to be tried
 * again before anything else is appended. */
bool audit_ahead_rewrite(const struct audit_ahead *ahead, int log);

/* The end. end: the log was synced, a log that is put in its place meanwhile is not to get lines from here, and its last record is remembered; NULL: leaves the file as it is. */
void audit_ahead_close(struct audit_ahead *ahead, const struct audit_chain *end);

/* After audit_ahead_restore, of a log that ends at log_end with chain, or is gone on from there in another: the number of the record that is known to have been in it and is not, or has something behind it that we did not write; 0: none.
 * After a clean end every other log is noticed, after another one those that are too short. Against accidents, not against whoever can write this file as well. */
unsigned long long audit_ahead_missing(const struct audit_ahead *ahead, off_t log_end,
                                       const struct audit_chain *chain);
