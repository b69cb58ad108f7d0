#include "cli/memory_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/path.h"

#define SHARED "/dev/shm"
#define NAME "tokenctl-"
#define REWRITTEN MEMORY_DIRECTORY_OWN "new" /* until it has its name */
#define PASSES_MAX 4096U /* levels of directories in it; no path is deeper */
#define NAMES_TRIED 64U /* for one that is moved */
#define VAIN_PASSES_MAX 2000U /* one after the other, while somebody still writes there */
#define VAIN_PASS_MS 1

DEFINE_CLEANUP(DIR *, closedir);

static bool is_memory(const char *path)
{
	struct statfs status;

	return statfs(path, &status) == 0 && (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

/* Who may rename what is in a directory could put another in the place of ours: its owner, and whoever may write there unless it is sticky. */
static bool is_safe(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && file_is_ours(&status, 0) &&
	       (!(status.st_mode & (S_IWGRP | S_IWOTH)) || (status.st_mode & S_ISVTX));
}

enum err memory_directory_make(struct problem *problem, char path[static MEMORY_DIRECTORY_MAX])
{
	const char *const places[] = { getenv("XDG_RUNTIME_DIR"), SHARED };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (!places[i] || !is_memory(places[i]) || !is_safe(places[i]) ||
		    strlen(places[i]) > MEMORY_DIRECTORY_MAX - 32)
			continue;
		(void)snprintf(path, MEMORY_DIRECTORY_MAX, "%s/" NAME "XXXXXX", places[i]);
		if (mkdtemp(path))
			return OK;
	}
	path[0] = '\0';
	(void)problem_set(problem, ERR_FILE_ACCESS,
	                  "there is no file system in memory where the plain text could be written");
	problem_hint(problem, "set XDG_RUNTIME_DIR to a directory of yours on a tmpfs");
	return ERR_FILE_ACCESS;
}

bool memory_directory_is_one(const char *path)
{
	static const char name[] = "/" NAME;
	const char *const places[] = { getenv("XDG_RUNTIME_DIR"), SHARED };
	struct stat status;

	if (lstat(path, &status) < 0 || !S_ISDIR(status.st_mode) || status.st_uid != geteuid() ||
	    (status.st_mode & 077) || !is_memory(path))
		return false;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		size_t len = places[i] ? strlen(places[i]) : 0;

		if (len && strncmp(path, places[i], len) == 0 &&
		    strncmp(path + len, name, strlen(name)) == 0 && !strchr(path + len + 1, '/'))
			return true;
	}
	return false;
}

static enum err write_file(const char *directory, const char *name, struct bytes text,
                           struct problem *problem, char ret_file[static MEMORY_DIRECTORY_FILE_MAX])
{
	int fd;
	enum err err;

	(void)snprintf(ret_file, MEMORY_DIRECTORY_FILE_MAX, "%s/%.200s", directory, path_name(name));
	fd = open(ret_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return problem_errno(problem, errno, "cannot write", ret_file);
	err = file_write_all(fd, text);
	(void)close(fd);
	return err;
}

/* Whoever names files in a repository must not have us write over a text, or take it for something else. */
enum err memory_directory_write(const char *directory, const char *name, struct bytes text,
                                struct problem *problem, char ret_file[static MEMORY_DIRECTORY_FILE_MAX])
{
	name = path_name(name);
	name += strncmp(name, MEMORY_DIRECTORY_OWN, strlen(MEMORY_DIRECTORY_OWN)) == 0;
	return write_file(directory, name, text, problem, ret_file);
}

enum err memory_directory_rewrite(const char *directory, const char *name, struct bytes text,
                                  struct problem *problem)
{
	char written[MEMORY_DIRECTORY_FILE_MAX], file[MEMORY_DIRECTORY_FILE_MAX];
	enum err err = write_file(directory, REWRITTEN, text, problem, written);

	(void)snprintf(file, sizeof(file), "%s/%.200s", directory, path_name(name));
	if (!err && rename(written, file) < 0)
		err = problem_errno(problem, errno, "cannot write", file);
	if (err)
		(void)unlink(written);
	return err;
}

static void each_in(const char *place, memory_directory_taken take, void *context)
{
	CLEANUP(closedirp) DIR *directory = place && is_memory(place) ? opendir(place) : NULL;
	const struct dirent *entry;
	char path[MEMORY_DIRECTORY_MAX];

	while (directory && (entry = readdir(directory)))
		if (strncmp(entry->d_name, NAME, strlen(NAME)) == 0 &&
		    (size_t)snprintf(path, sizeof(path), "%s/%s", place, entry->d_name) < sizeof(path) &&
		    memory_directory_is_one(path))
			take(context, path);
}

void memory_directory_each(memory_directory_taken take, void *context)
{
	const char *own = getenv("XDG_RUNTIME_DIR");

	each_in(own, take, context);
	if (!own || strcmp(own, SHARED) != 0)
		each_in(SHARED, take, context);
}

/* ---- removing it ---- */

struct removal {
	int root; /* the private directory */
	unsigned moved; /* makes names */
	bool progress; /* in this pass */
};

static DIR *open_inside(int parent, const char *name)
{
	/* One that an editor shut is ours all the same. */
	bool shut = faccessat(parent, name, R_OK | W_OK | X_OK, AT_SYMLINK_NOFOLLOW) < 0;
	int fd = shut && fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) < 0
	                 ? -1
	                 : openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !directory)
		(void)close(fd);
	return directory;
}

static bool is_real(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* A directory in a directory goes up to the root, to be emptied in the next pass: so depth costs neither descriptors nor stack. */
static void move_up(struct removal *removal, int parent, const char *name)
{
	char place[32];
	int moved = -1;

	for (unsigned i = 0; i < NAMES_TRIED && moved < 0; i++) {
		(void)snprintf(place, sizeof(place), ".removed-%u", removal->moved++);
		moved = renameat2(parent, name, removal->root, place, RENAME_NOREPLACE);
	}
	removal->progress = removal->progress || moved == 0;
}

static void empty(struct removal *removal, const char *name)
{
	CLEANUP(closedirp) DIR *directory = open_inside(removal->root, name);
	const struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		if (is_real(entry) && unlinkat(dirfd(directory), entry->d_name, 0) < 0)
			move_up(removal, dirfd(directory), entry->d_name);
	if (unlinkat(removal->root, name, AT_REMOVEDIR) == 0)
		removal->progress = true;
}

/* Links are removed, never followed. */
static void remove_pass(struct removal *removal)
{
	CLEANUP(closedirp) DIR *directory = open_inside(removal->root, ".");
	const struct dirent *entry;

	removal->progress = false;
	while (directory && (entry = readdir(directory)))
		if (is_real(entry) && unlinkat(removal->root, entry->d_name, 0) < 0)
			empty(removal, entry->d_name);
}

/* A program that still writes there knows it by its name. Where it is now: in out, or at path as before. */
static const char *hide(const char *path, char out[static MEMORY_DIRECTORY_MAX])
{
	if ((size_t)snprintf(out, MEMORY_DIRECTORY_MAX, "%s.removed", path) >= MEMORY_DIRECTORY_MAX ||
	    renameat2(AT_FDCWD, path, AT_FDCWD, out, RENAME_NOREPLACE) < 0)
		return path;
	return out;
}

/* What somebody puts there meanwhile is found in the next pass, until there was a moment with nothing in it. */
void memory_directory_remove(const char *path)
{
	CLEANUP(close_fdp)
	int root = path[0] ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	struct removal removal = { .root = root };
	char hidden[MEMORY_DIRECTORY_MAX];
	unsigned vain = 0;

	if (root < 0)
		return;
	path = hide(path, hidden);
	for (unsigned pass = 0; pass < PASSES_MAX && vain < VAIN_PASSES_MAX; pass++) {
		remove_pass(&removal);
		if (rmdir(path) == 0)
			return;
		vain = removal.progress ? 0 : vain + 1;
		if (vain)
			clock_pause(VAIN_PASS_MS);
	}
}

/* ---- when we are ended ---- */

/* It is not ended by what ends us, be it all of our process group, and holds nothing open that others wait for. */
static _Noreturn void become_watcher(const char *path, int lives)
{
	static const int signals[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGTSTP };
	ssize_t len;
	char word;

	(void)setsid();
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], SIG_IGN);
	if (dup2(lives, 0) == 0)
		(void)close_range(1, ~0U, 0);
	while ((len = read(0, &word, 1)) < 0 && errno == EINTR)
		;
	if (len == 0)
		memory_directory_remove(path);
	_exit(0);
}

enum err memory_directory_watch(const char *path, struct memory_watch *ret_watch)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return ERR_SYSTEM;
	pid = fork();
	if (pid == 0) {
		(void)close(ends[1]);
		become_watcher(path, ends[0]);
	}
	(void)close(ends[0]);
	if (pid < 0) {
		(void)close(ends[1]);
		return ERR_SYSTEM;
	}
	*ret_watch = (struct memory_watch){ .lives = ends[1], .pid = pid };
	return OK;
}

void memory_directory_unwatch(struct memory_watch *watch, bool keeps)
{
	if (watch->pid <= 0)
		return;
	if (keeps)
		(void)!write(watch->lives, "k", 1);
	(void)close(watch->lives);
	while (waitpid(watch->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*watch = (struct memory_watch){ .lives = -1 };
}
