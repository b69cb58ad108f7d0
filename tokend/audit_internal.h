/* What audit.c offers to its test alone: a disk that can be made to fail, fill up or hang. */
#pragma once

#include "tokend/audit.h"

struct audit_disk {
	ssize_t (*write)(int fd, const void *data, size_t len);
	int (*fdatasync)(int fd);
	int (*ftruncate)(int fd, off_t len);
};

/* audit_new over another disk; it is borrowed for as long as the thread lives. */
MUST_CHECK enum err audit_new_on(sd_event *event, int state_directory, const struct audit_disk *disk,
                                 struct audit **ret_audit);
