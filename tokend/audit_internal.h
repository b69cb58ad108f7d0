/* What audit.c and audit_ahead.c share, and their tests: a disk that can be made to fail, fill up or hang. */
#pragma once

#include "common/bytes.h"
#include "tokend/audit.h"

struct audit_disk {
	ssize_t (*write)(int fd, const void *data, size_t len);
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t offset);
	int (*fdatasync)(int fd);
	int (*ftruncate)(int fd, off_t len);
};

/* audit_new over another disk; it is borrowed for as long as the thread lives. */
MUST_CHECK enum err audit_new_on(sd_event *event, int state_directory, const struct audit_disk *disk,
                                 struct audit **ret_audit);

/* Writes all of bytes at the end of fd, which was opened with O_APPEND; false when the disk does not take them. */
bool audit_disk_append(const struct audit_disk *disk, int fd, struct bytes bytes);
