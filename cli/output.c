#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cli/shown.h"
#include "cli/way.h"
#include "common/file.h"
#include "common/path.h"

#define TEMPORARY_NAME_MAX (NAME_MAX + 1)
#define LINKS_MAX 40U /* as the kernel */

/* UTF-8, in which a character may begin in one chunk and end in the next. */
struct reading {
	uint32_t character;
	uint32_t least; /* what takes as many bytes; less is no UTF-8, but another spelling of it */
	unsigned left; /* bytes */
	bool after_return; /* '\r', which only '\n' may follow */
};

struct output {
	struct problem *problem; /* borrowed; for what goes wrong later */
	int fd;
	int directory; /* -1: bytes go straight out */
	char *path; /* as given, for messages; NULL: standard output */
	char name[TEMPORARY_NAME_MAX]; /* of the file inside directory */
	char temporary[TEMPORARY_NAME_MAX]; /* "": the file has no name yet */
	bool replaces; /* a file of that name is there */
	mode_t strangers; /* whose writing into a directory makes it one where strangers lie in wait */
	bool among_strangers; /* the directory that was named is such a one, as /tmp is */
	bool takes_over; /* that file is somebody else's, who gets nothing of this one */
	bool others_rename; /* in the directory that was named others can give a file of ours another name */
	mode_t mode_taken; /* of that file, when this one is not to have it; 0: it has it */
	bool careful; /* a terminal: text only */
	struct reading text; /* how far into a character the last chunk went; when careful */
};

/* The temporary name on file systems without O_TMPFILE, to be removed when a signal ends us. Global because a handler has no argument. */
static char interrupted_path[PATH_MAX + TEMPORARY_NAME_MAX];

static void remove_and_end(int number)
{
	(void)unlink(interrupted_path);
	(void)raise(number); /* SA_RESETHAND: ends us */
}

/* Who has a handler of its own is not ended by the signal, and removes the file itself. */
static void remove_when_interrupted(const char *path)
{
	static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	struct sigaction action = { .sa_handler = remove_and_end,
		                    .sa_flags = (int)SA_RESETHAND | SA_NODEFER };
	struct sigaction before;

	(void)snprintf(interrupted_path, sizeof(interrupted_path), "%s", path);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
			(void)sigaction(ending[i], &action, NULL);
}

static bool same_file(int fd, const struct stat *other)
{
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
	       status.st_dev == other->st_dev && status.st_ino == other->st_ino;
}

static enum err make_temporary_name(struct output *output)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return ERR_SYSTEM;
	(void)snprintf(output->temporary, sizeof(output->temporary), ".tokenctl-%016llx",
	               (unsigned long long)number);
	return OK;
}

/* shown: the directory's name for people. */
static enum err open_named_temporary(struct output *output, const char *directory_path, const char *shown,
                                     mode_t mode)
{
	char path[PATH_MAX + TEMPORARY_NAME_MAX];
	enum err err = make_temporary_name(output);

	if (err)
		return err;
	(void)snprintf(path, sizeof(path), "%s/%s", directory_path, output->temporary);
	remove_when_interrupted(path);
	output->fd = openat(output->directory, output->temporary,
	                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (output->fd >= 0)
		return OK;
	output->temporary[0] = '\0';
	return problem_errno(output->problem, errno, "cannot write to the directory", shown);
}

static enum err open_nameless(struct output *output, const char *directory_path, const char *shown,
                              mode_t mode)
{
	output->fd = openat(output->directory, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
	if (output->fd >= 0)
		return OK;
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)
		return open_named_temporary(output, directory_path, shown, mode);
	return problem_errno(output->problem, errno, "cannot write to the directory", shown);
}

/*
 * Whose it is may do so with every file in it, and so may everybody who may write it. That it is sticky does not help: what is there already is kept from others then, but into it anybody brings a file
 * of ours from where it is not sticky.
 */
static bool others_rename_in(const struct output *output, const struct stat *directory)
{
	return !file_is_ours(directory, 0) || (directory->st_mode & output->strangers);
}

/* The directory of path as it was named, whatever is a link there. */
static bool look_at_directory_of(const char *path, struct stat *ret_status)
{
	char directory[PATH_MAX];

	return path_directory(path, directory, sizeof(directory)) && stat(directory, ret_status) == 0;
}

static void look_at_directory(struct output *output)
{
	struct stat status;
	bool found = look_at_directory_of(output->path, &status);

	output->among_strangers = !found || (status.st_mode & output->strangers);
	output->others_rename = !found || others_rename_in(output, &status);
}

static enum err refuse_trap(struct output *output, const char *path)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(output->problem, ERR_FILE_ACCESS,
	                  "%s is somebody else's link or pipe, in a directory where others can put one, so "
	                  "nothing is written to it",
	                  path);
	shown_quote(path, quoted);
	problem_hint(output->problem, "ls -l %s", quoted);
	return ERR_FILE_ACCESS;
}

/* Is the file one that waits for what is written to it? Also when it has become a link meanwhile. */
static bool lies_in_wait(const struct output *output, const struct stat *file)
{
	struct stat directory;

	return file->st_uid != geteuid() &&
	       (output->among_strangers || fstat(output->directory, &directory) < 0 ||
	        (directory.st_mode & output->strangers));
}

static bool is_plain(const struct output *output)
{
	return output->strangers & S_IWGRP;
}

/* A file of ours that others may read can have been given the name of one that they may not, by those who wait for the plain text. */
static bool may_be_renamed(const struct output *output, const struct stat *file)
{
	struct stat directory;

	return is_plain(output) && file->st_uid == geteuid() &&
	       (output->others_rename || fstat(output->directory, &directory) < 0 ||
	        others_rename_in(output, &directory));
}

/* The file that is replaced gives the new one its mode and, where we may, its owner. What we may not give away is ours then, as after cp. */
static enum err keep_mode(struct output *output, const struct stat *old)
{
	bool kept;

	output->takes_over = lies_in_wait(output, old);
	if ((old->st_mode & 0077U) && may_be_renamed(output, old))
		output->mode_taken = old->st_mode & 0777U;
	if (output->takes_over || output->mode_taken)
		return OK;
	kept = fchown(output->fd, old->st_uid, old->st_gid) == 0 ||
	       fchown(output->fd, (uid_t)-1, old->st_gid) == 0;
	if (fchmod(output->fd, old->st_mode & (kept ? 0777U : 0707U)) < 0)
		return problem_errno(output->problem, errno, "cannot set the mode of", output->path);
	return OK;
}

static void hint_directory(struct output *output, const char *path)
{
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(path, quoted);
	problem_hint(output->problem, "mkdir -p %s   makes it", quoted);
}

static enum err refuse_way(const char *path, const char *directory, struct problem *problem)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_FILE_ACCESS,
	                  "%s is behind somebody else's link to a directory, which is not his, so nothing is "
	                  "written there",
	                  path);
	shown_quote(directory, quoted);
	problem_hint(problem, "namei -l %s", quoted);
	return ERR_FILE_ACCESS;
}

/* Where the way leads, step by step. path: of the file, for messages. */
static enum err open_way(const char *path, const char *directory, mode_t strangers, struct problem *problem,
                         int *ret_directory)
{
	struct way way;
	enum err err = OK;

	if (!way_go(directory, strangers, &way))
		return problem_errno(problem, errno, "cannot open the directory", directory);
	if (way_leads_astray(&way))
		err = refuse_way(path, directory, problem);
	else
		*ret_directory = openat(way.directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!err && *ret_directory < 0)
		err = problem_errno(problem, errno, "cannot open the directory", directory);
	close_fdp(&way.directory);
	return err;
}

/* place: its directory, when that is open already and was looked at; or -1. */
static enum err open_beside(struct output *output, int place, const char *path, mode_t mode)
{
	const char *name = path_name(path);
	char directory_path[PATH_MAX];
	enum err err = OK;

	if (!*name || strlen(name) >= sizeof(output->name) ||
	    !path_directory(path, directory_path, sizeof(directory_path)))
		return problem_set(output->problem, ERR_USAGE, "%s is not the name of a file", output->path);
	(void)snprintf(output->name, sizeof(output->name), "%s", name);
	if (place < 0)
		err = open_way(output->path, directory_path, output->strangers, output->problem,
		               &output->directory);
	else
		output->directory = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!err && output->directory < 0)
		err = problem_errno(output->problem, errno, "cannot open the directory", directory_path);
	if (err == ERR_NO_FILE)
		hint_directory(output, directory_path);
	return err ? err : open_nameless(output, directory_path, directory_path, mode);
}

/* ---- where a name leads ---- */

struct target {
	char path[PATH_MAX];
	struct way way; /* to the directory in which it is; this and the next are for looking at them only */
	int fd;
	struct stat status;
	struct stat directory; /* the status of that one */
	bool led; /* by somebody else's link */
	uid_t leader; /* whose it is */
};

/* The link that was looked at, and not what has its name by now. */
static bool read_link(struct target *target)
{
	char said[PATH_MAX], directory[PATH_MAX];
	ssize_t len = readlinkat(target->fd, "", said, sizeof(said) - 1);

	if (len <= 0 || !path_directory(target->path, directory, sizeof(directory)))
		return false;
	said[len] = '\0';
	return (size_t)snprintf(target->path, PATH_MAX, "%s%s%s", said[0] == '/' ? "" : directory,
	                        said[0] == '/' ? "" : "/", said) < PATH_MAX;
}

/* In /proc a link is a descriptor of ours, and what it says need not be a path. */
static bool is_descriptor(const struct target *target)
{
	struct statfs status;

	return fstatfs(target->fd, &status) == 0 && status.f_type == PROC_SUPER_MAGIC;
}

/* To where it is, or would be. The directory stays the one in which it was seen, whatever gets that one's name. */
static bool go_to(const struct output *output, struct target *target)
{
	char directory[PATH_MAX];

	close_fdp(&target->way.directory);
	target->way.directory = -1;
	if (!path_directory(target->path, directory, sizeof(directory))) {
		errno = ENAMETOOLONG;
		return false;
	}
	return way_go(directory, output->strangers, &target->way) &&
	       fstat(target->way.directory, &target->directory) == 0;
}

static bool look(const struct output *output, struct target *target, int flags)
{
	const char *name = path_name(target->path);

	close_fdp(&target->fd);
	target->fd = -1;
	if (!go_to(output, target))
		return false;
	target->fd = openat(target->way.directory, *name ? name : ".", O_PATH | O_CLOEXEC | flags);
	return target->fd >= 0 && fstat(target->fd, &target->status) == 0;
}

/* A pipe, a socket or a link of somebody else's, where strangers can put one, waits for what is written to it. */
static bool is_trap(const struct output *output, const struct target *target)
{
	return !S_ISREG(target->status.st_mode) && !file_is_ours(&target->status, 0) &&
	       (target->directory.st_mode & output->strangers);
}

static bool look_at_descriptor(const struct output *output, struct target *target)
{
	char real[PATH_MAX];

	if (!look(output, target, 0))
		return false;
	if (!S_ISREG(target->status.st_mode) || !realpath(target->path, real))
		return true;
	(void)snprintf(target->path, PATH_MAX, "%s", real);
	return look(output, target, O_NOFOLLOW);
}

static void note_leader(struct target *target)
{
	if (target->led || !way_is_strangers(&target->status, &target->directory, 0))
		return;
	target->led = true;
	target->leader = target->status.st_uid;
}

/* In a directory of his own anybody may put a link for whoever writes there, root above all; but to what is his. */
static bool leads_astray(const struct target *target)
{
	return target->led && target->status.st_uid != target->leader;
}

static enum err refuse_astray(struct output *output, const char *path)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(output->problem, ERR_FILE_ACCESS,
	                  "%s is somebody else's link, and leads to %s, which is not his, so nothing is "
	                  "written to it",
	                  output->path, path);
	shown_quote(output->path, quoted);
	problem_hint(output->problem, "ls -l %s", quoted);
	return ERR_FILE_ACCESS;
}

/*
 * Link by link, each looked at before it is followed. Asked for the whole way at once, the kernel would follow a link that somebody has put there since we looked, to any file of ours that he likes to
 * have written over.
 */
static enum err find_target(struct output *output, struct target *target)
{
	(void)snprintf(target->path, PATH_MAX, "%s", output->path);
	for (unsigned links = 0; links <= LINKS_MAX; links++) {
		if (!look(output, target, O_NOFOLLOW))
			return problem_errno(output->problem, errno, "cannot open", output->path);
		if (is_trap(output, target))
			return refuse_trap(output, target->path);
		if (S_ISLNK(target->status.st_mode) && is_descriptor(target) &&
		    !look_at_descriptor(output, target))
			return problem_errno(output->problem, errno, "cannot open", output->path);
		if (way_leads_astray(&target->way))
			return refuse_way(output->path, target->path, output->problem);
		if (leads_astray(target))
			return refuse_astray(output, target->path);
		if (!S_ISLNK(target->status.st_mode))
			return OK;
		note_leader(target);
		if (!read_link(target))
			break;
	}
	return problem_errno(output->problem, ELOOP, "cannot find", output->path);
}

/* The very thing that was looked at. */
static enum err open_device(struct output *output, const struct target *target)
{
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", target->fd);
	output->fd = open(self, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (output->fd < 0)
		return problem_errno(output->problem, errno, "cannot open", output->path);
	output->careful = isatty(output->fd);
	return OK;
}

static enum err open_target(struct output *output, const struct target *target, int input)
{
	enum err err;

	if (S_ISDIR(target->status.st_mode))
		return problem_set(output->problem, ERR_USAGE, "%s is a directory", output->path);
	if (!S_ISREG(target->status.st_mode))
		return open_device(output, target);
	if (same_file(input, &target->status)) {
		(void)problem_set(output->problem, ERR_USAGE, "input and output are the same file, %s",
		                  output->path);
		problem_hint(
		        output->problem,
		        "-o ANOTHER; a SOPS file stays encrypted while it is changed: tokenctl edit FILE");
		return ERR_USAGE;
	}
	if (access(target->path, W_OK) < 0)
		return problem_errno(output->problem, errno, "cannot write", output->path);
	output->replaces = true;
	err = open_beside(output, target->way.directory, target->path, 0600);
	return err ? err : keep_mode(output, &target->status);
}

/* A symbolic link stays what it is; what it points to is replaced. */
static enum err open_existing(struct output *output, int input)
{
	struct target target = { .way = { .directory = -1 }, .fd = -1 };
	enum err err;

	look_at_directory(output);
	err = find_target(output, &target);
	if (!err)
		err = open_target(output, &target, input);
	close_fdp(&target.fd);
	close_fdp(&target.way.directory);
	return err;
}

static enum err open_directory(struct output *output, int *ret_directory)
{
	struct target target = { .way = { .directory = -1 }, .fd = -1 };
	enum err err = find_target(output, &target);
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", target.fd);
	if (!err) {
		*ret_directory = open(self, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*ret_directory < 0)
			err = problem_errno(output->problem, errno, "cannot open the directory",
			                    output->path);
	}
	close_fdp(&target.fd);
	close_fdp(&target.way.directory);
	return err;
}

static enum err open_path(struct output *output, mode_t mode, int input)
{
	struct stat old;

	if (stat(output->path, &old) == 0)
		return open_existing(output, input);
	if (errno != ENOENT)
		return problem_errno(output->problem, errno, "cannot open", output->path);
	return open_beside(output, -1, output->path, mode);
}

static void use_stdout(struct output *output, bool by_name)
{
	output->fd = STDOUT_FILENO;
	output->careful = !by_name && isatty(STDOUT_FILENO);
}

static enum err open_for(mode_t strangers, const char *path, mode_t mode, int input, struct problem *problem,
                         struct output **ret_output)
{
	CLEANUP(output_freep) struct output *output = calloc(1, sizeof(*output));
	enum err err = OK;

	if (!output)
		return ERR_NOMEM;
	output->fd = -1;
	output->directory = -1;
	output->problem = problem;
	output->strangers = strangers;
	if (!path || strcmp(path, "-") == 0) {
		use_stdout(output, path != NULL);
	} else {
		output->path = strdup(path);
		err = output->path ? open_path(output, mode, input) : ERR_NOMEM;
	}
	if (!err)
		*ret_output = TAKE(output);
	return err;
}

enum err output_open(const char *path, mode_t mode, int input, struct problem *problem,
                     struct output **ret_output)
{
	return open_for(S_IWOTH, path, mode, input, problem, ret_output);
}

enum err output_open_plain(const char *path, int input, struct problem *problem, struct output **ret_output)
{
	return open_for(S_IWOTH | S_IWGRP, path, 0600, input, problem, ret_output);
}

enum err output_open_directory(const char *path, struct problem *problem, int *ret_directory)
{
	struct output output = { .problem = problem, .path = strdup(path), .strangers = S_IWOTH | S_IWGRP };
	size_t len = strlen(path);
	enum err err;

	if (!output.path)
		return ERR_NOMEM;
	while (len > 1 && output.path[len - 1] == '/') /* behind which a link would not be seen */
		output.path[--len] = '\0';
	err = open_directory(&output, ret_directory);
	free(output.path);
	return err;
}

enum err output_open_directory_of(const char *path, struct problem *problem, int *ret_directory)
{
	char directory[PATH_MAX];

	if (!path_directory(path, directory, sizeof(directory)))
		return problem_errno(problem, ENAMETOOLONG, "cannot open", path);
	return open_way(path, directory, S_IWOTH, problem, ret_directory);
}

/* The directory is named for the handler of signals by its descriptor, which is open until the process ends. */
static enum err open_inside(struct output *output, int directory, const char *name)
{
	char directory_path[64], shown[PATH_MAX];
	struct stat old;

	if (strlen(name) >= sizeof(output->name))
		return problem_set(output->problem, ERR_USAGE, "%s has too long a name", output->path);
	(void)snprintf(output->name, sizeof(output->name), "%s", name);
	output->directory = fcntl(directory, F_DUPFD_CLOEXEC, 3);
	if (output->directory < 0)
		return ERR_SYSTEM;
	output->replaces = fstatat(directory, name, &old, AT_SYMLINK_NOFOLLOW) == 0;
	(void)snprintf(directory_path, sizeof(directory_path), "/proc/self/fd/%d", output->directory);
	return open_nameless(output, directory_path,
	                     path_directory(output->path, shown, sizeof(shown)) ? shown : output->path, 0600);
}

static struct output *new_inside(const char *shown, struct problem *problem)
{
	CLEANUP(output_freep) struct output *output = calloc(1, sizeof(*output));

	if (!output)
		return NULL;
	output->fd = -1;
	output->directory = -1;
	output->problem = problem;
	output->path = strdup(shown);
	return output->path ? TAKE(output) : NULL;
}

enum err output_open_at(int directory, const char *name, const char *shown, struct problem *problem,
                        struct output **ret_output)
{
	CLEANUP(output_freep) struct output *output = new_inside(shown, problem);
	enum err err = output ? open_inside(output, directory, name) : ERR_NOMEM;

	if (!err)
		*ret_output = TAKE(output);
	return err;
}

/* The mode that it is made with is nobody's; that of the old file comes when it is known whose it is. */
static enum err change_inside(struct output *output, int directory, const char *name)
{
	struct stat old, status;
	enum err err;

	if (fstatat(directory, name, &old, AT_SYMLINK_NOFOLLOW) < 0 || fstat(directory, &status) < 0)
		return problem_errno(output->problem, errno, "cannot open", output->path);
	if (!S_ISREG(old.st_mode))
		return problem_set(output->problem, ERR_FILE_ACCESS, "%s is no file any more", output->path);
	if (faccessat(directory, name, W_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return problem_errno(output->problem, errno, "cannot write", output->path);
	output->among_strangers = status.st_mode & output->strangers;
	output->others_rename = others_rename_in(output, &status);
	err = open_inside(output, directory, name);
	return err ? err : keep_mode(output, &old);
}

enum err output_open_change(int directory, const char *name, const char *shown, struct problem *problem,
                            struct output **ret_output)
{
	CLEANUP(output_freep) struct output *output = new_inside(shown, problem);
	enum err err = output ? OK : ERR_NOMEM;

	if (!err) {
		output->strangers = S_IWOTH;
		err = change_inside(output, directory, name);
	}
	if (!err)
		*ret_output = TAKE(output);
	return err;
}

static void drop_temporary(struct output *output)
{
	if (output->temporary[0])
		(void)unlinkat(output->directory, output->temporary, 0);
	output->temporary[0] = '\0';
}

struct output *output_free(struct output *output)
{
	if (!output)
		return NULL;
	drop_temporary(output);
	if (output->fd >= 0 && output->fd != STDOUT_FILENO)
		(void)close(output->fd);
	close_fdp(&output->directory);
	free(output->path);
	free(output);
	return NULL;
}

bool output_is_careful(const struct output *output)
{
	return output->careful;
}

/* The first byte of a character. */
static bool begin_character(struct reading *text, uint8_t byte)
{
	text->left = byte < 0x80 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
	text->character = text->left ? byte & (0x3fU >> text->left) : byte;
	text->least = text->left == 1 ? 0x80 : text->left == 2 ? 0x800 : text->left == 3 ? 0x10000 : 0;
	return byte < 0x80 || (byte >= 0xc2 && byte < 0xf5);
}

static bool continue_character(struct reading *text, uint8_t byte)
{
	text->left--;
	text->character = text->character << 6 | (byte & 0x3f);
	return (byte & 0xc0) == 0x80;
}

/* Controls of both sets (0x80 to 0x9f are escape sequences of one character) could rewrite what stands on the screen, and so could a return without a new line. */
static bool may_show(struct reading *text)
{
	uint32_t c = text->character;
	bool after_return = text->after_return;

	text->after_return = c == '\r';
	if (c < text->least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || (after_return && c != '\n'))
		return false;
	return c == '\n' || c == '\t' || c == '\r' || (c >= 0x20 && c < 0x7f) || c >= 0xa0;
}

/* Would a terminal show it as text? */
static bool is_text(struct reading *text, struct bytes chunk)
{
	for (size_t i = 0; i < chunk.len; i++) {
		bool good = text->left ? continue_character(text, chunk.data[i])
		                       : begin_character(text, chunk.data[i]);

		if (!good || (text->left == 0 && !may_show(text)))
			return false;
	}
	return true;
}

static enum err refuse_binary(struct output *output)
{
	(void)problem_set(output->problem, ERR_USAGE,
	                  "the output is binary and is not written to a terminal");
	problem_hint(output->problem, "-o FILE writes it to a file, -o - writes it here all the same");
	return ERR_USAGE;
}

static const char *name_of(const struct output *output)
{
	return output->path ? output->path : "to standard output";
}

enum err output_write(void *context, struct bytes chunk)
{
	struct output *output = context;
	enum err err;

	if (output->careful && !is_text(&output->text, chunk))
		return refuse_binary(output);
	err = file_write_all(output->fd, chunk);
	if (err)
		(void)problem_errno(output->problem, err == ERR_DISK_FULL ? ENOSPC : errno, "cannot write",
		                    name_of(output));
	return err;
}

static enum err link_temporary(struct output *output, const char *name)
{
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", output->fd);
	if (linkat(AT_FDCWD, self, output->directory, name, AT_SYMLINK_FOLLOW) == 0)
		return OK;
	return errno == EEXIST ? ERR_EXISTS : ERR_SYSTEM;
}

static enum err give_temporary_name(struct output *output)
{
	enum err err = make_temporary_name(output);

	if (!err)
		err = link_temporary(output, output->temporary);
	if (err)
		output->temporary[0] = '\0';
	return err;
}

/* linkat does not replace, rename does: so a file that is in the way costs a second name for a moment. */
static enum err give_name(struct output *output)
{
	enum err err;

	if (!output->temporary[0]) {
		err = output->replaces ? ERR_EXISTS : link_temporary(output, output->name);
		if (err == ERR_EXISTS)
			err = give_temporary_name(output);
		if (err || !output->temporary[0])
			return err;
	}
	if (renameat(output->directory, output->temporary, output->directory, output->name) < 0)
		return ERR_SYSTEM;
	output->temporary[0] = '\0';
	return OK;
}

enum err output_discard(void *context, struct bytes chunk)
{
	(void)context;
	(void)chunk;
	return OK;
}

/* That it is not as it was, where somebody may count on that. */
static void tell_mode(const struct output *output)
{
	char quoted[SHOWN_QUOTED_MAX];

	if (output->takes_over && is_plain(output))
		shown_line(stderr,
		           "warning: %s was somebody else's, in a directory where others can put one; it is "
		           "a new "
		           "file now that is yours alone",
		           output->path);
	if (!output->mode_taken)
		return;
	shown_quote(output->path, quoted);
	shown_line(
	        stderr,
	        "warning: others can put a file of yours in the place of %s, and could read the one that was "
	        "there; it is yours alone now (chmod %04o %s   gives it the old mode)",
	        output->path, (unsigned)output->mode_taken, quoted);
}

enum err output_commit(struct output *output)
{
	if (output->text.left || output->text.after_return)
		return refuse_binary(output);
	if (output->directory < 0)
		return OK;
	/* Only where an old file would be lost: after a power cut there must be one of the two. */
	if (output->replaces && fdatasync(output->fd) < 0)
		return problem_errno(output->problem, errno, "cannot write", name_of(output));
	if (give_name(output))
		return problem_errno(output->problem, errno, "cannot give the output its name,",
		                     name_of(output));
	tell_mode(output);
	return OK;
}
