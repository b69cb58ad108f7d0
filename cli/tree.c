#include "cli/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

DEFINE_CLEANUP(DIR *, closedir);

struct walk {
	struct tree *tree;
	const struct stat *skip;
	struct problem *problem;
	char path[PATH_MAX]; /* relative, of where the walk is */
};

static enum err keep(struct walk *walk)
{
	struct tree *tree = walk->tree;

	if (tree->count == TREE_FILES_MAX)
		return problem_set(walk->problem, ERR_BUSY, "%s has more than %u files", tree->path,
		                   TREE_FILES_MAX);
	if (tree->count == tree->capacity) {
		size_t capacity = tree->capacity ? 2 * tree->capacity : 256;
		char **files = reallocarray(tree->files, capacity, sizeof(*files));

		if (!files)
			return ERR_NOMEM;
		tree->files = files;
		tree->capacity = capacity;
	}
	tree->files[tree->count] = strdup(walk->path);
	return tree->files[tree->count++] ? OK : ERR_NOMEM;
}

static enum err complain(struct walk *walk, const char *what)
{
	char shown[2 * PATH_MAX];

	(void)snprintf(shown, sizeof(shown), "%s/%s", walk->tree->path, walk->path);
	return problem_errno(walk->problem, errno, what, shown);
}

static enum err walk_directory(struct walk *walk, int fd, unsigned depth);

static enum err enter(struct walk *walk, int parent, const char *name, unsigned depth)
{
	int fd;

	if (strcmp(name, ".git") == 0)
		return OK;
	if (depth == TREE_DEPTH_MAX)
		return problem_set(walk->problem, ERR_BUSY, "%s is nested more than %u directories deep",
		                   walk->tree->path, TREE_DEPTH_MAX);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? complain(walk, "cannot open") : walk_directory(walk, fd, depth + 1);
}

static enum err take_entry(struct walk *walk, int parent, const char *name, unsigned depth)
{
	struct stat status;

	if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? OK : complain(walk, "cannot look at");
	if (S_ISLNK(status.st_mode))
		walk->tree->links++;
	if (S_ISREG(status.st_mode))
		return keep(walk);
	if (!S_ISDIR(status.st_mode) ||
	    (walk->skip && status.st_dev == walk->skip->st_dev && status.st_ino == walk->skip->st_ino))
		return OK;
	return enter(walk, parent, name, depth);
}

/* Takes fd. */
static enum err walk_directory(struct walk *walk, int fd, unsigned depth)
{
	CLEANUP(closedirp) DIR *directory = fdopendir(fd);
	size_t len = strlen(walk->path);
	const struct dirent *entry;
	enum err err = OK;

	if (!directory) {
		(void)close(fd);
		return ERR_NOMEM;
	}
	while (!err && (errno = 0, entry = readdir(directory))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if ((size_t)snprintf(walk->path + len, sizeof(walk->path) - len, "%s%s", len ? "/" : "",
		                     entry->d_name) >= sizeof(walk->path) - len)
			return problem_set(walk->problem, ERR_BUSY, "%s has too long a path in it",
			                   walk->tree->path);
		err = take_entry(walk, fd, entry->d_name, depth);
		walk->path[len] = '\0';
	}
	/* A directory that cannot be read to its end looks like one that ends there. */
	return err || errno == 0 ? err : complain(walk, "cannot read");
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

enum err tree_list(const char *path, const struct stat *skip, struct problem *problem, struct tree *ret_tree)
{
	struct tree tree = { .root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .path = path };
	struct walk walk = { .tree = &tree, .skip = skip, .problem = problem };
	int again;
	enum err err;

	if (tree.root < 0)
		return problem_errno(problem, errno, "cannot open the directory", path);
	again = openat(tree.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = again < 0 ? ERR_SYSTEM : walk_directory(&walk, again, 0);
	if (err) {
		tree_done(&tree);
		return err;
	}
	if (tree.count)
		qsort(tree.files, tree.count, sizeof(*tree.files), compare);
	*ret_tree = tree;
	return OK;
}

void tree_done(struct tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		free(tree->files[i]);
	free(tree->files);
	tree->files = NULL;
	tree->count = 0;
	close_fdp(&tree->root);
}

bool tree_has(const struct tree *tree, const char *relative)
{
	return tree->count &&
	       bsearch(&relative, tree->files, tree->count, sizeof(*tree->files), compare) != NULL;
}

static bool take_name(const char *relative, const char *end, char name[static NAME_MAX + 1])
{
	const size_t len = (size_t)(end - relative);

	if (len > NAME_MAX) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(name, relative, len);
	name[len] = '\0';
	return true;
}

static int open_step(int parent, const char *name, bool create)
{
	if (create && mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return -1;
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

enum err tree_open_parent(int root, const char *relative, bool create, int *ret_directory,
                          const char **ret_name)
{
	CLEANUP(close_fdp) int fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
	const char *slash;
	char name[NAME_MAX + 1];

	while (fd >= 0 && (slash = strchr(relative, '/'))) {
		int parent = fd;

		fd = take_name(relative, slash, name) ? open_step(parent, name, create) : -1;
		(void)close(parent);
		relative = slash + 1;
	}
	if (fd < 0)
		return ERR_SYSTEM;
	*ret_directory = fd;
	fd = -1;
	*ret_name = relative;
	return OK;
}

enum err tree_open_file(int root, const char *relative, int *ret_fd)
{
	struct tree_place place;
	enum err err = tree_place_open(root, relative, &place);

	if (err)
		return err;
	err = tree_place_read(&place, ret_fd);
	close_fdp(&place.directory);
	return err;
}

enum err tree_place_open(int root, const char *relative, struct tree_place *ret_place)
{
	struct tree_place place = { .directory = -1 };
	enum err err = tree_open_parent(root, relative, false, &place.directory, &place.name);

	for (const char *at = relative; !err && (at = strchr(at, '/')); at++)
		place.depth++;
	if (!err)
		*ret_place = place;
	return err;
}

enum err tree_place_read(const struct tree_place *place, int *ret_fd)
{
	/* A pipe that took the place of the file must not hold us up. */
	*ret_fd = openat(place->directory, place->name,
	                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return *ret_fd < 0 ? ERR_SYSTEM : OK;
}
