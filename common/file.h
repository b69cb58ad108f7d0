/*
 * File
 *
 * The ways tokend touches the file system: a file that appears whole or not at all, a directory that is opened once and must belong to us,
 * a read with a ceiling. Names are relative to an open directory and never followed through symbolic links.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

/* Is it root, or the effective user? In a user namespace everybody who is not in it has one number; where the effective user has that, too, nobody but root is known. */
bool file_uid_is_ours(uid_t uid);

/* Is it the effective user's or root's, with none of the bits of forbidden_mode? */
bool file_is_ours(const struct stat *st, mode_t forbidden_mode);

/* Opens path as a directory that is ours: owned by this uid (or root), not accessible to others as forbidden_mode says (0077: nobody else at
 * all; 0022: others may read). create makes it, mode 0700, and its parents. ERR_STATE_DIR when it is readable or writable by others or not
 * ours; ERR_NO_FILE, ERR_FILE_ACCESS, ERR_SYSTEM. */
MUST_CHECK enum err file_open_directory(const char *path, bool create, mode_t forbidden_mode, int *ret_fd);

/* Reads directory/name whole into a new buffer. ERR_BUSY when it is longer than limit; ERR_NO_FILE; ERR_STATE_DIR when not a regular file, or
 * accessible as forbidden_mode says, or owned by somebody else. */
MUST_CHECK enum err file_read(int directory, const char *name, size_t limit, mode_t forbidden_mode,
                              struct buf **ret_buf);

/* Writes directory/name: a temporary file, fsync, rename, fsync of the directory. On any error the old file stands and the temporary one is
 * gone. exclusive: ERR_EXISTS when name is there already. ERR_DISK_FULL, ERR_FILE_ACCESS, ERR_SYSTEM. */
MUST_CHECK enum err file_write(int directory, const char *name, struct bytes bytes, mode_t mode,
                               bool exclusive);

/* Removes directory/name and makes that durable. ERR_NO_FILE. */
MUST_CHECK enum err file_remove(int directory, const char *name);

/* Writes all of bytes to fd, restarting after signals. ERR_DISK_FULL, ERR_SYSTEM (errno). */
MUST_CHECK enum err file_write_all(int fd, struct bytes bytes);

/* For the beginning of main: of the descriptors 0 to 2 those that the caller has closed are held open by something that can be neither read nor written. Else the next file or socket gets that number, and what is
 * printed goes into it, or is read from it. flags: O_CLOEXEC, where a program that is started is to find them as the caller left them. ERR_SYSTEM. */
MUST_CHECK enum err file_hold_standard(int flags);
