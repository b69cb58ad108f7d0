#include "tokend/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/clock.h"
#include "common/encoding.h"
#include "common/file.h"
#include "common/log.h"
#include "common/quote.h"
#include "common/token.h"
#include "formats/audit_head.h"
#include "tokend/audit.h"

#define LOCK_NAME "lock"
#define LOCK_WAIT_MS 5000 /* more than a broker takes for what is on its way */
#define LOCK_STEP_MS 20
#define WHERE_NAME "where"
#define NOTES_NAME_MAX 64

enum err startup_failed(enum err err, const char *hint, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)fputs("tokend: ", stderr);
	(void)vfprintf(stderr, format, arguments);
	(void)fputc('\n', stderr);
	va_end(arguments);
	if (hint)
		(void)fprintf(stderr, "tokend: next: %s\n", hint);
	return err;
}

/* mkdir -p, the last part with mode; the parents as anybody would make them. */
static enum err make_directory(const char *path, mode_t mode)
{
	char partial[OPTIONS_PATH_MAX];
	size_t len = strlen(path);

	memcpy(partial, path, len + 1);
	for (size_t i = 1; i < len; i++) {
		if (partial[i] != '/')
			continue;
		partial[i] = '\0';
		(void)mkdir(partial, 0755);
		partial[i] = '/';
	}
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_from_errno(errno);
	return OK;
}

/* Owners and modes of a restore are wrong in all files alike, so one command mends them all. */
void startup_hint_owner(const char *path, uid_t owner, gid_t group, char ret_hint[static STARTUP_HINT_MAX])
{
	char quoted[STARTUP_QUOTED_MAX];

	quote_word(path, quoted, sizeof(quoted));
	(void)snprintf(ret_hint, STARTUP_HINT_MAX, "sudo chown -R %lu:%lu %s && sudo chmod -R go= %s",
	               (unsigned long)owner, (unsigned long)group, quoted, quoted);
}

void startup_hint_look(const char *path, char ret_hint[static STARTUP_HINT_MAX])
{
	char quoted[STARTUP_QUOTED_MAX];

	quote_word(path, quoted, sizeof(quoted));
	(void)snprintf(ret_hint, STARTUP_HINT_MAX, "df -h; ls -la %s", quoted);
}

static enum err check_private(const char *path, const struct stat *st, uid_t owner, gid_t group,
                              mode_t forbidden_mode)
{
	char hint[STARTUP_HINT_MAX], quoted[STARTUP_QUOTED_MAX];

	quote_word(path, quoted, sizeof(quoted));
	if (st->st_uid != owner && st->st_uid != 0) {
		startup_hint_owner(path, owner, group, hint);
		return startup_failed(ERR_STATE_DIR, hint, "%s belongs to uid %lu, not to tokend", path,
		                      (unsigned long)st->st_uid);
	}
	if (st->st_mode & forbidden_mode) {
		/* What is another user's and open came from elsewhere, with what is in it. */
		if (owner == geteuid() || !(forbidden_mode & 0055))
			(void)snprintf(hint, sizeof(hint), "chmod %s %s",
			               forbidden_mode & 0055 ? "700" : "755", quoted);
		else
			startup_hint_owner(path, owner, group, hint);
		return startup_failed(ERR_STATE_DIR, hint, "%s is %s others (mode %03o)", path,
		                      forbidden_mode & 0055 ? "open to" : "writable by",
		                      (unsigned)st->st_mode & 07777U);
	}
	return OK;
}

static enum err open_directory(const char *path, mode_t mode, uid_t owner, gid_t group, int *ret_fd)
{
	CLEANUP(close_fdp) int fd = -1;
	char hint[STARTUP_HINT_MAX], quoted[STARTUP_QUOTED_MAX];
	struct stat st;
	enum err err = make_directory(path, mode);

	quote_word(path, quoted, sizeof(quoted));
	if (!err) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		err = fd < 0 ? err_from_errno(errno) : OK;
	}
	(void)snprintf(hint, sizeof(hint), "ls -ld %s", quoted);
	if (err) /* read-only: the unit makes so all that was not there for it */
		return startup_failed(err, errno == EROFS ? "sudo systemd-tmpfiles --create" : hint,
		                      "%s cannot be used: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		return startup_failed(ERR_SYSTEM, NULL, "%s cannot be looked at: %s", path, strerror(errno));
	err = check_private(path, &st, owner, group, mode == 0700 ? 0077 : 0022);
	if (err)
		return err;
	/* Made by us or by systemd for us, so root's: the broker, which is not root, must be able to write in it. */
	if (geteuid() == 0 && st.st_uid != owner && fchown(fd, owner, group) < 0)
		return startup_failed(ERR_SYSTEM, NULL, "%s cannot be given to uid %lu: %s", path,
		                      (unsigned long)owner, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return OK;
}

/* Whose lock it is; 0 when it cannot be read. */
static long lock_owner(int fd)
{
	char text[32] = { 0 };

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? strtol(text, NULL, 10) : 0;
}

/* The directory may be of a user whom root must not write for: the file must be one that nobody put in the lock's place. */
static bool is_lock(int fd, uid_t owner)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	       (st.st_uid == geteuid() || st.st_uid == 0 || st.st_uid == owner);
}

static bool is_alive(long pid)
{
	return pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH;
}

/* A supervisor that was killed leaves a broker and helpers that end by themselves, a moment later. */
static bool lock_taken(int fd)
{
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += LOCK_STEP_MS) {
		if (waited >= LOCK_WAIT_MS || is_alive(lock_owner(fd)))
			return false;
		clock_pause(LOCK_STEP_MS);
	}
	return true;
}

static enum err refuse_locked(int fd, const char *path, bool is_state)
{
	long pid = lock_owner(fd);
	char hint[STARTUP_HINT_MAX], quoted[STARTUP_QUOTED_MAX];

	quote_word(path, quoted, sizeof(quoted));
	(void)snprintf(hint, sizeof(hint), "fuser -v %s/" LOCK_NAME, quoted);
	if (pid > 0 && is_alive(pid))
		(void)snprintf(hint, sizeof(hint), "kill %ld", pid);
	return startup_failed(ERR_BUSY, hint, "another tokend (pid %ld%s) is running on the %s directory %s",
	                      pid, is_alive(pid) ? "" : ", which is gone, or in another container",
	                      is_state ? "state" : "runtime", path);
}

/* The lock lives as long as this process and the broker do; it goes when the last of them ends, however it ends. */
static enum err lock_directory(int directory, const char *path, bool is_state, uid_t owner, int *ret_lock)
{
	CLEANUP(close_fdp)
	int fd = openat(directory, LOCK_NAME,
	                O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	char text[32], hint[STARTUP_HINT_MAX], quoted[STARTUP_QUOTED_MAX];

	startup_hint_look(path, hint);
	if (fd < 0)
		return startup_failed(err_from_errno(errno), hint, "%s/%s cannot be opened: %s", path,
		                      LOCK_NAME, strerror(errno));
	if (!is_lock(fd, owner)) {
		quote_word(path, quoted, sizeof(quoted));
		(void)snprintf(hint, sizeof(hint), "ls -la %s   (and remove %s)", quoted, LOCK_NAME);
		return startup_failed(ERR_STATE_DIR, hint,
		                      "%s/%s is not the lock of tokend, but a link or somebody's file", path,
		                      LOCK_NAME);
	}
	if (!lock_taken(fd))
		return refuse_locked(fd, path, is_state);
	(void)snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, strlen(text), 0) < 0)
		return startup_failed(err_from_errno(errno), hint, "%s cannot be written to: %s", path,
		                      strerror(errno));
	*ret_lock = TAKE_FD(fd);
	return OK;
}

enum err startup_directories(const struct options *options, uid_t owner, gid_t group, int *ret_state,
                             int *ret_runtime, int ret_locks[static STARTUP_LOCKS_MAX])
{
	CLEANUP(close_fdp) int state_lock = -1;
	CLEANUP(close_fdp) int runtime_lock = -1;
	CLEANUP(close_fdp) int state = -1;
	CLEANUP(close_fdp) int runtime = -1;
	enum err err = open_directory(options->state_directory, 0700, owner, group, &state);

	if (!err)
		err = lock_directory(state, options->state_directory, true, owner, &state_lock);
	if (!err)
		err = open_directory(options->runtime_directory, options->mode == MODE_SYSTEM ? 0755 : 0700,
		                     geteuid(), getegid(), &runtime);
	/* One directory for both, as in a trial, is one lock. */
	if (!err && strcmp(options->state_directory, options->runtime_directory) != 0)
		err = lock_directory(runtime, options->runtime_directory, false, owner, &runtime_lock);
	if (err)
		return err;
	*ret_state = TAKE_FD(state);
	*ret_runtime = TAKE_FD(runtime);
	ret_locks[0] = TAKE_FD(state_lock);
	ret_locks[1] = TAKE_FD(runtime_lock);
	return OK;
}

/* By what the token is called, so that it does not matter where in the configuration it stands. */
static void notes_name(const char *token, char ret_name[static NOTES_NAME_MAX])
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	char hex[2 * sizeof(hash) + 1];

	(void)crypto_generichash(hash, sizeof(hash), (const unsigned char *)token, strlen(token), NULL, 0);
	hex_encode(bytes_of(hash, sizeof(hash)), hex);
	(void)snprintf(ret_name, NOTES_NAME_MAX, "notes-%s", hex);
}

/* A file that was made here for this, by owner or for him. */
static bool is_kept(int fd, uid_t owner, size_t len)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == owner &&
	       st.st_size == (off_t)len;
}

/* Of len zeros, and in the place of what is there. */
static int new_kept(int runtime, const char *name, size_t len)
{
	CLEANUP(close_fdp) int fd = -1;

	if (unlinkat(runtime, name, 0) < 0 && errno != ENOENT)
		return -1;
	fd = openat(runtime, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	errno = posix_fallocate(fd, 0, (off_t)len); /* which does not set it */
	return errno ? -1 : TAKE_FD(fd);
}

static int open_kept(int runtime, const char *name, uid_t owner, size_t len)
{
	CLEANUP(close_fdp)
	int fd = openat(runtime, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	return fd >= 0 && is_kept(fd, owner, len) ? TAKE_FD(fd) : new_kept(runtime, name, len);
}

enum err startup_notes(const struct options *options, int runtime, const char *token, int *ret_fd)
{
	char name[NOTES_NAME_MAX], hint[STARTUP_HINT_MAX];
	CLEANUP(close_fdp) int fd = -1;

	notes_name(token, name);
	fd = open_kept(runtime, name, geteuid(), sizeof(struct token_notes));
	startup_hint_look(options->runtime_directory, hint);
	if (fd < 0)
		return startup_failed(err_from_errno(errno), hint, "%s/%s cannot be made: %s",
		                      options->runtime_directory, name, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return OK;
}

static bool is_in_memory(int directory)
{
	struct statfs st;

	return fstatfs(directory, &st) == 0 && (st.f_type == TMPFS_MAGIC || st.f_type == RAMFS_MAGIC);
}

int startup_memo(const struct options *options, int runtime, uid_t owner, gid_t group)
{
	CLEANUP(close_fdp) int fd = -1;

	if (!is_in_memory(runtime))
		return -1;
	fd = open_kept(runtime, AUDIT_MEMO_NAME, owner, AUDIT_MEMO_LEN);
	if (fd < 0 || (owner != geteuid() && fchown(fd, owner, group) < 0)) {
		log_warning(
		        "%s/%s cannot be made (%s): an audit log that is put back from a copy will not be "
		        "noticed",
		        options->runtime_directory, AUDIT_MEMO_NAME, strerror(errno));
		return -1;
	}
	return TAKE_FD(fd);
}

enum err startup_where(const struct options *options, const struct config *config, int runtime)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = buf_new(8 * OPTIONS_PATH_MAX, &text);

	if (!err)
		err = buf_printf(text,
		                 "state-directory %s\nconfiguration %s\npolicy-directory %s\n"
		                 "audit-file %s/" AUDIT_FILE_NAME "\n",
		                 options->state_directory, options->configuration, config->policy_directory,
		                 options->state_directory);
	if (!err)
		err = file_write(runtime, WHERE_NAME, buf_bytes(text), 0644, false);
	if (err)
		return startup_failed(err, NULL, "%s/%s cannot be written: %s", options->runtime_directory,
		                      WHERE_NAME, err_info(err)->text);
	return OK;
}
