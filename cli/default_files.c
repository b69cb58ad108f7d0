#include "cli/default_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/shown.h"
#include "common/buf.h"
#include "common/file.h"
#include "formats/sops_path.h"

#define FILE_LEN_MAX (64U << 10)
#define GIT_LINE_MAX (2 * PATH_MAX)

struct search {
	struct problem *problem; /* borrowed */
	struct default_files *files; /* borrowed */
	char found[PATH_MAX]; /* the file; "": not yet */
	char base[PATH_MAX]; /* what its paths are relative to */
	char other_base[PATH_MAX]; /* and then; "": nothing */
};

static bool join(char path[static PATH_MAX], const char *directory, const char *name)
{
	return snprintf(path, PATH_MAX, "%s%s%s", directory, strcmp(directory, "/") == 0 ? "" : "/", name) <
	       PATH_MAX;
}

static bool is_only_ours(const struct stat *status)
{
	return file_is_ours(status, S_IWGRP | S_IWOTH);
}

/* May nobody else change what is there? In a directory that is sticky anybody can still put things, so that does not help. */
static bool is_trusted(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && is_only_ours(&status);
}

static bool look_in(struct search *search, const char *directory)
{
	if (!join(search->found, directory, DEFAULT_FILES_NAME) || access(search->found, F_OK) < 0)
		search->found[0] = '\0';
	(void)snprintf(search->base, sizeof(search->base), "%s", directory);
	return search->found[0];
}

/* The first line of a file of git's, without a word before it. */
static bool read_git_line(const char *path, const char *before, char line[static PATH_MAX])
{
	char text[GIT_LINE_MAX];
	struct problem unsaid = { 0 };
	CLEANUP(close_fdp) int fd = -1;
	CLEANUP(fclosep) FILE *file = NULL;
	size_t skip = strlen(before);

	if (input_open_found(path, &unsaid, &fd))
		return false;
	file = fdopen(fd, "r");
	if (file)
		fd = -1;
	if (!file || !fgets(text, sizeof(text), file) || strncmp(text, before, skip) != 0)
		return false;
	text[strcspn(text, "\r\n")] = '\0';
	return snprintf(line, PATH_MAX, "%s", text + skip) < PATH_MAX;
}

/* What a path in a file of git's means from the directory that the file speaks of. */
static bool resolve(const char *directory, const char *path, char real[static PATH_MAX])
{
	char joined[PATH_MAX];

	if (path[0] == '/' ? snprintf(joined, sizeof(joined), "%s", path) >= PATH_MAX
	                   : !join(joined, directory, path))
		return false;
	return realpath(joined, real) != NULL;
}

/* git: the entry .git of a working tree, a directory, or a file that names one. */
static bool find_common(const char *top, const char *git, char common[static PATH_MAX])
{
	char line[PATH_MAX], directory[PATH_MAX], path[PATH_MAX];
	struct stat status;

	if (stat(git, &status) < 0)
		return false;
	if (S_ISDIR(status.st_mode))
		return realpath(git, common) != NULL;
	if (!read_git_line(git, "gitdir: ", line) || !resolve(top, line, directory) ||
	    !join(path, directory, "commondir"))
		return false;
	if (!read_git_line(path, "", line)) /* a submodule has none: it is its own */
		return snprintf(common, PATH_MAX, "%s", directory) < PATH_MAX;
	return resolve(directory, line, common);
}

/* What stands in the common directory is for each working tree; paths are the working tree's own first, and else the main one's. */
static bool look_in_common(struct search *search, const char *top, const char *git)
{
	char common[PATH_MAX], main_tree[PATH_MAX];
	bool found;

	if (!find_common(top, git, common))
		return false;
	(void)snprintf(main_tree, sizeof(main_tree), "%s", common);
	if (strrchr(main_tree, '/') && strcmp(strrchr(main_tree, '/'), "/.git") == 0)
		*strrchr(main_tree, '/') = '\0';
	found = look_in(search, common) || look_in(search, main_tree);
	(void)snprintf(search->base, sizeof(search->base), "%s", top);
	(void)snprintf(search->other_base, sizeof(search->other_base), "%s", main_tree);
	return found;
}

static bool look_at(struct search *search, const char *directory)
{
	char git[PATH_MAX];

	if (look_in(search, directory))
		return true;
	/* Somebody else's .git could lead to our own file, with his directory for its paths. */
	return join(git, directory, ".git") && is_trusted(git) && is_trusted(directory) &&
	       look_in_common(search, directory, git);
}

static bool search_upwards(struct search *search)
{
	char directory[PATH_MAX];
	char *slash;

	if (!getcwd(directory, sizeof(directory)))
		return false;
	while (!look_at(search, directory)) {
		search->other_base[0] = '\0';
		if (strcmp(directory, "/") == 0)
			return false;
		slash = strrchr(directory, '/');
		slash[slash == directory] = '\0';
	}
	return true;
}

/* Names what can be written, the file or what it stands in, and how that is mended. */
static enum err refuse_writable(struct search *search, const char *what)
{
	char place[PATH_MAX], quoted[SHOWN_QUOTED_MAX];
	struct stat status = { .st_uid = (uid_t)-1 };
	char *slash;
	bool known;

	(void)snprintf(place, sizeof(place), "%s", what);
	known = stat(place, &status) == 0;
	slash = strrchr(place, '/');
	if (known && is_only_ours(&status) && slash) {
		slash[slash == place] = '\0';
		known = stat(place, &status) == 0;
	}
	if (known && file_is_ours(&status, 0) && !is_only_ours(&status)) {
		(void)problem_set(search->problem, ERR_BAD_CONFIG,
		                  "%s can be written by %s, so %s is not used", place,
		                  status.st_mode & S_IWOTH ? "others" : "others of its group", what);
		shown_quote(place, quoted);
		problem_hint(search->problem, "chmod go-w %s", quoted);
		return ERR_BAD_CONFIG;
	}
	(void)problem_set(search->problem, ERR_BAD_CONFIG,
	                  "%s is somebody else's and can be written by others than you, so %s is not used",
	                  place, what);
	problem_hint(search->problem, "name the files:  tokenctl run -f FILE -- COMMAND");
	return ERR_BAD_CONFIG;
}

/* Nobody typed its name: a pipe, or what is typed at the terminal, is not waited for. */
static enum err refuse_special(struct search *search, const char *path)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(search->problem, ERR_BAD_CONFIG, "%s names %s, which is no regular file",
	                  search->found, path);
	shown_quote(path, quoted);
	problem_hint(search->problem, "ls -lL %s", quoted);
	return ERR_BAD_CONFIG;
}

static enum err add(struct search *search, struct bytes name)
{
	char relative[PATH_MAX], path[PATH_MAX];
	struct stat status;
	bool there;

	if (search->files->count == DEFAULT_FILES_MAX || name.len == 0 || name.len >= sizeof(relative) ||
	    memchr(name.data, '\0', name.len))
		return problem_set(search->problem, ERR_BAD_CONFIG, "%s: a name in run.files is none",
		                   search->found);
	(void)snprintf(relative, sizeof(relative), "%.*s", (int)name.len, (const char *)name.data);
	if (relative[0] == '/')
		(void)snprintf(path, sizeof(path), "%s", relative);
	else if (!join(path, search->base, relative))
		return ERR_BAD_CONFIG;
	if (relative[0] != '/' && search->other_base[0] && access(path, F_OK) < 0 &&
	    !join(path, search->other_base, relative))
		return ERR_BAD_CONFIG;
	there = stat(path, &status) == 0;
	if (there && !is_only_ours(&status))
		return refuse_writable(search, path);
	if (there && !S_ISREG(status.st_mode))
		return refuse_special(search, path);
	search->files->paths[search->files->count] = strdup(path);
	return search->files->paths[search->files->count++] ? OK : ERR_NOMEM;
}

static enum err take_list(struct search *search, const struct sops_document *document)
{
	struct sops_path path;
	uint32_t list = 0;
	enum err err = sops_path_parse(bytes_of_string("run.files"), &path);

	if (!err)
		err = sops_path_find(document, &path, path.count, &list);
	for (uint32_t i = list + 1; !err && i < document->count; i++)
		if (document->nodes[i].parent == list && document->nodes[i].kind == SOPS_STRING)
			err = add(search, document->nodes[i].text);
	if (err == ERR_NO_MATCH || (!err && search->files->count == 0)) {
		(void)problem_set(search->problem, ERR_BAD_CONFIG, "%s names no files", search->found);
		problem_hint(search->problem, "it needs:  run: {files: [secrets.enc.yaml]}");
		return ERR_BAD_CONFIG;
	}
	return err;
}

static enum err parse(struct search *search, struct bytes text)
{
	struct sops_document document = { .count = 0 };
	enum err err = sops_document_read(&document, SOPS_YAML, text);

	if (err && document.reason[0])
		(void)problem_set(search->problem, err, "%s: %s", search->found, document.reason);
	if (!err)
		err = take_list(search, &document);
	sops_document_done(&document);
	return err;
}

/* Whoever may write it decides what CMD gets, and could make it do anything. */
static enum err check_owner(struct search *search, int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return problem_errno(search->problem, errno, "cannot look at", search->found);
	if (S_ISREG(status.st_mode) && is_only_ours(&status) && is_trusted(search->base))
		return OK;
	return refuse_writable(search, S_ISREG(status.st_mode) ? search->found : search->base);
}

static enum err read_found(struct search *search)
{
	CLEANUP(close_fdp)
	int fd = open(search->found, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err;

	if (fd < 0)
		return problem_errno(search->problem, errno, "cannot open", search->found);
	err = check_owner(search, fd);
	if (!err)
		err = buf_new(FILE_LEN_MAX, &text);
	if (!err)
		err = input_read(fd, search->found, text, search->problem);
	return err ? err : parse(search, buf_bytes(text));
}

enum err default_files_find(struct problem *problem, struct default_files *files)
{
	struct search search = { .problem = problem, .files = files };

	*files = (struct default_files){ .count = 0 };
	if (search_upwards(&search))
		return read_found(&search);
	(void)problem_set(problem, ERR_NO_FILE, "no file is named, and there is no " DEFAULT_FILES_NAME);
	problem_hint(problem, "tokenctl run -f secrets.enc.yaml -- COMMAND");
	return ERR_NO_FILE;
}

void default_files_done(struct default_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->paths[i]);
	files->count = 0;
}
