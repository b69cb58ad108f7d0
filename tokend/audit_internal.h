/* What audit.c and audit_ahead.c share, and their tests: a disk that can be made to fail, fill up or hang. */
#pragma once

#include "common/bytes.h"
#include "formats/audit_record.h"
#include "tokend/audit.h"

struct audit_disk {
	ssize_t (*write)(int fd, const void *data, size_t len);
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t offset);
	int (*fdatasync)(int fd);
	int (*ftruncate)(int fd, off_t len);
	int (*open)(int directory, const char *name,
	            int flags); /* past the page cache; -1: that cannot be had */
	size_t ahead_len; /* of audit.ahead: AUDIT_AHEAD_LEN, or less, to see it full sooner */
};

#define AUDIT_GROUP_MAX 256U /* records in one write */
#define AUDIT_GROUP_BYTES_MAX \
	((size_t)(AUDIT_GROUP_MAX + 5U) * AUDIT_LINE_MAX) /* with what the log says of itself */

/* How long a record may take, in microseconds; what is left of AUDIT_DEADLINE_MS is for the answer to leave. */
#define AUDIT_WAIT_US (90ULL * 1000)

/*
 * audit_new over another disk, which is borrowed for as long as the thread lives, and with another time to wait: a test that is not about the deadline must not depend on what
 * else the machine does.
 */
MUST_CHECK enum err audit_new_on(sd_event *event, int state_directory, const struct audit_disk *disk,
                                 uint64_t wait_us, struct audit **ret_audit);

/* Writes all of bytes at the end of fd, which was opened with O_APPEND; false when the disk does not take them. */
bool audit_disk_append(const struct audit_disk *disk, int fd, struct bytes bytes);
