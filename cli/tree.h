/*
 * Tree
 *
 * The regular files below a directory, and how to open one of them again without following a symbolic link on the way: what is named by a path inside is never anything outside. It knows
 * nothing of what the files are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "cli/problem.h"
#include "common/err.h"

#define TREE_FILES_MAX 1000000U
#define TREE_DEPTH_MAX 128U

struct tree {
	int root; /* open; owned */
	const char *path; /* of the root, as given; borrowed */
	char **files; /* owned; paths relative to the root, sorted */
	size_t count, capacity;
	size_t links; /* symbolic links that were passed over */
};

/* Lists the regular files below path, but for directories called .git and for the one that skip tells (NULL: none). ERR_NO_FILE, ERR_FILE_ACCESS, ERR_BUSY (a limit), ERR_NOMEM. */
MUST_CHECK enum err tree_list(const char *path, const struct stat *skip, struct problem *problem,
                              struct tree *ret_tree);
void tree_done(struct tree *tree);

/* Is relative one of the files? */
bool tree_has(const struct tree *tree, const char *relative);

/* The directory that relative stands in, opened from root (an open directory) step by step, and its last name (borrowed from relative). create: directories that are not there are made,
 * mode 0700. ERR_SYSTEM with errno. */
MUST_CHECK enum err tree_open_parent(int root, const char *relative, bool create, int *ret_directory,
                                     const char **ret_name);

/* Opens a file for reading; ERR_SYSTEM with errno (ELOOP: it has become a link). */
MUST_CHECK enum err tree_open_file(int root, const char *relative, int *ret_fd);

/* A file of the tree by the directory that it stands in: whoever changes it asks no name on the way a second time, for by then somebody else may have put a link there. */
struct tree_place {
	int directory; /* open; owned */
	const char *name; /* in it; borrowed */
	unsigned depth; /* of the directory below the root */
};

/* ERR_SYSTEM with errno. */
MUST_CHECK enum err tree_place_open(int root, const char *relative, struct tree_place *ret_place);

/* Opens the file of a place for reading; ERR_SYSTEM with errno. */
MUST_CHECK enum err tree_place_read(const struct tree_place *place, int *ret_fd);
