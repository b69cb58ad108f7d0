/*
 * Audit rotation
 *
 * How a new log takes the old one's place, so that whatever is killed or loses power in between, one of the two is the log and nothing of either is lost:
 *
 *	audit.log.next   the new log, its first record and on the disk
 *	audit.log.N      the old log's second name, N the number of its last record; never one that is there already
 *	audit.log        the new log's, by a rename, in which the old one loses this name
 *
 * with the directory on the disk after each. Up to the rename the old log is the log, and a start takes the other two names away; from then on the new one is. It knows files and names, nothing of who writes
 * them: the old log has to be on the disk by itself, and what stands ahead of it done with (tokend/audit_ahead.h).
 *
 * The new log's first record goes on in the old one's chain (formats/audit_record.h).
 */
#pragma once

#include <sys/stat.h>

#include "common/bytes.h"
#include "common/err.h"
#include "formats/audit_record.h"

#define AUDIT_ROTATED_MAX 48U /* "audit.log.000000001234", with a NUL */

/* What the old log is called when its last record was that one. Names are in the order of the logs up to a million million records. */
void audit_rotation_name(unsigned long long last, char ret_name[static AUDIT_ROTATED_MAX]);

struct audit_new_log {
	int fd; /* locked, and at its end */
	struct stat status;
};

/* Begins the new log with the line first; the old one becomes audit_rotation_name(last). On any error the old one is the log as before, unless even that fails: then
 * none of the two is where its writer believes it to be. ERR_EXISTS when there is one of that name. */
MUST_CHECK enum err audit_rotate_files(int directory, struct bytes first, unsigned long long last,
                                       struct audit_new_log *ret_log);

/* Before a log is opened: takes away what a rotation that came to no end has left. */
MUST_CHECK enum err audit_rotation_mend(int directory);

/* The end of the log that this one goes on from; sequence 0: it is the first, or that cannot be told. */
void audit_rotation_before(int log, struct audit_chain *ret_before);
