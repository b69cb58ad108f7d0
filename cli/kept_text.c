#include "cli/kept_text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/input.h"
#include "cli/shown.h"
#include "common/cleanup.h"
#include "common/path.h"

DEFINE_CLEANUP(DIR *, closedir);

#define OWN MEMORY_DIRECTORY_OWN
#define BASE OWN "base"
#define RECORD OWN "kept" /* the file that it is for and the text's name, each with a NUL behind it */
#define RECORD_MAX (PATH_MAX + NAME_MAX + 2U)

/* The directory that a file stands in, in out; false when it has none. */
static bool directory_of(const char *file, char out[static MEMORY_DIRECTORY_MAX])
{
	const char *slash = strrchr(file, '/');

	return slash && (size_t)snprintf(out, MEMORY_DIRECTORY_MAX, "%.*s", (int)(slash - file), file) <
	                        MEMORY_DIRECTORY_MAX;
}

enum err kept_text_put_base(const char *directory, struct bytes base, struct problem *problem)
{
	return memory_directory_rewrite(directory, BASE, base, problem);
}

/* What was sealed or forgotten, or was there before the machine started anew. */
static enum err refuse_nothing(const char *file, const char *path, struct problem *problem)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_USAGE, "%s is no file, so no text is kept in it", file);
	shown_quote(path, quoted);
	problem_hint(problem, "tokenctl edit %s   opens the file, or says which text is kept for it", quoted);
	return ERR_USAGE;
}

static enum err refuse_stranger(const char *file, const char *path, struct problem *problem)
{
	char quoted_file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];
	struct stat status;

	if (stat(file, &status) < 0 || !S_ISREG(status.st_mode))
		return refuse_nothing(file, path, problem);
	(void)problem_set(problem, ERR_USAGE,
	                  "%s is no text that an edit has kept, so nothing tells what others have changed in "
	                  "%s since it began",
	                  file, path);
	shown_quote(file, quoted_file);
	shown_quote(path, quoted);
	problem_hint(problem, "EDITOR='cp %s' tokenctl edit %s   seals it as it is", quoted_file, quoted);
	return ERR_USAGE;
}

enum err kept_text_base(const char *file, const char *path, size_t limit, struct problem *problem,
                        struct buf **ret_base)
{
	char directory[MEMORY_DIRECTORY_MAX], base[MEMORY_DIRECTORY_FILE_MAX];
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(input_closep) int input = -1;
	enum err err;

	if (!directory_of(file, directory) || !memory_directory_is_one(directory))
		return refuse_stranger(file, path, problem);
	(void)snprintf(base, sizeof(base), "%s/" BASE, directory);
	err = input_open(base, problem, &input);
	if (err == ERR_NO_FILE)
		return refuse_stranger(file, path, problem);
	if (!err)
		err = buf_new(limit, &text);
	if (!err)
		err = input_read(input, base, text, problem);
	if (!err)
		*ret_base = TAKE(text);
	return err;
}

/* By whatever name it is called, and also when it is not there yet: its path from the root. */
static bool real_path(const char *path, char out[static PATH_MAX])
{
	char directory[PATH_MAX], real[PATH_MAX];

	if (realpath(path, out))
		return true;
	if (!path_directory(path, directory, sizeof(directory)) || !realpath(directory, real))
		return false;
	return (size_t)snprintf(out, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, path_name(path)) <
	       PATH_MAX;
}

enum err kept_text_keep(const char *file, const char *path, struct problem *problem)
{
	CLEANUP(buf_freep) struct buf *record = NULL;
	char directory[MEMORY_DIRECTORY_MAX], real[PATH_MAX];
	enum err err = buf_new(RECORD_MAX, &record);

	if (err || !directory_of(file, directory) || !real_path(path, real))
		return err ? err : problem_errno(problem, errno, "cannot find", path);
	err = buf_put(record, bytes_of(real, strlen(real) + 1));
	file = path_name(file);
	if (!err)
		err = buf_put(record, bytes_of(file, strlen(file) + 1));
	return err ? err : memory_directory_rewrite(directory, RECORD, buf_bytes(record), problem);
}

void kept_text_remove(const char *file)
{
	char directory[MEMORY_DIRECTORY_MAX];

	if (directory_of(file, directory) && memory_directory_is_one(directory))
		memory_directory_remove(directory);
}

/* ---- what an editor has moved away ---- */

/* An editor's file for its own use (.NAME.swp) is no text. */
static bool may_be_text(const char *name)
{
	size_t len = strlen(name);

	return strncmp(name, OWN, strlen(OWN)) != 0 && (len < 4 || strncmp(name + len - 4, ".sw", 3) != 0);
}

static bool is_newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

bool kept_text_says(const char *path, struct bytes text)
{
	CLEANUP(buf_freep) struct buf *found = NULL;
	CLEANUP(input_closep) int input = -1;
	struct problem unsaid = { 0 };

	return input_open(path, &unsaid, &input) == OK && buf_new(text.len + 1, &found) == OK &&
	       input_read(input, path, found, &unsaid) == OK && bytes_equal(buf_bytes(found), text);
}

bool kept_text_bring_back(const char *file, struct bytes unlike)
{
	char directory_path[MEMORY_DIRECTORY_MAX], path[MEMORY_DIRECTORY_FILE_MAX];
	char newest[MEMORY_DIRECTORY_FILE_MAX] = "";
	struct timespec time = { .tv_sec = 0 };
	const struct dirent *entry;
	struct stat status;

	if (!directory_of(file, directory_path))
		return false;
	CLEANUP(closedirp) DIR *directory = opendir(directory_path);
	while (directory && (entry = readdir(directory))) {
		if (!may_be_text(entry->d_name) ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s", directory_path, entry->d_name) >=
		            sizeof(path) ||
		    lstat(path, &status) < 0 || !S_ISREG(status.st_mode) || kept_text_says(path, unlike))
			continue;
		if (newest[0] && !is_newer(&status.st_mtim, &time))
			continue;
		time = status.st_mtim;
		memcpy(newest, path, sizeof(newest));
	}
	return newest[0] && rename(newest, file) == 0;
}

static bool take_rescued(const char *rescued, const char *file, struct bytes unlike)
{
	struct stat status;

	return lstat(rescued, &status) == 0 && S_ISREG(status.st_mode) && !kept_text_says(rescued, unlike) &&
	       rename(rescued, file) == 0;
}

/* As nano calls it, and as Emacs does. */
bool kept_text_rescue(const char *file, struct bytes unlike)
{
	char directory[MEMORY_DIRECTORY_MAX], rescued[MEMORY_DIRECTORY_FILE_MAX];

	if (!directory_of(file, directory))
		return false;
	if ((size_t)snprintf(rescued, sizeof(rescued), "%s.save", file) < sizeof(rescued) &&
	    take_rescued(rescued, file, unlike))
		return true;
	return (size_t)snprintf(rescued, sizeof(rescued), "%s/#%s#", directory, path_name(file)) <
	               sizeof(rescued) &&
	       take_rescued(rescued, file, unlike);
}

/* ---- finding them ---- */

struct search {
	char path[PATH_MAX];
	char *found; /* the newest one, of MEMORY_DIRECTORY_FILE_MAX */
	struct timespec time;
	bool forget;
	unsigned count;
};

/* The record of one directory, whose two words are returned; false when it has none. */
static bool read_record(const char *directory, char record[static RECORD_MAX], const char **ret_name,
                        struct timespec *ret_time)
{
	char path[MEMORY_DIRECTORY_FILE_MAX];
	struct stat status;
	const char *end;
	ssize_t len;

	(void)snprintf(path, sizeof(path), "%s/" RECORD, directory);
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	len = fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ? -1
	                                                                   : read(fd, record, RECORD_MAX);
	if (len < 2 || record[len - 1] != '\0')
		return false;
	end = memchr(record, '\0', (size_t)len);
	if (end == record + len - 1)
		return false;
	*ret_name = end + 1;
	*ret_time = status.st_mtim;
	return !strchr(*ret_name, '/');
}

static void look(void *context, const char *directory)
{
	struct search *search = context;
	char record[RECORD_MAX];
	struct timespec time;
	const char *name;

	if (!read_record(directory, record, &name, &time) || strcmp(record, search->path) != 0)
		return;
	if (search->forget)
		memory_directory_remove(directory);
	else if (search->count == 0 || is_newer(&time, &search->time))
		(void)snprintf(search->found, MEMORY_DIRECTORY_FILE_MAX, "%s/%.200s", directory, name);
	if (search->count == 0 || is_newer(&time, &search->time))
		search->time = time;
	search->count++;
}

unsigned kept_text_find(const char *path, char ret_file[static MEMORY_DIRECTORY_FILE_MAX])
{
	struct search search = { .found = ret_file };

	if (real_path(path, search.path))
		memory_directory_each(look, &search);
	return search.count;
}

unsigned kept_text_forget(const char *path)
{
	struct search search = { .forget = true };

	if (real_path(path, search.path))
		memory_directory_each(look, &search);
	return search.count;
}
