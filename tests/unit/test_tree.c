#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/tree.h"
#include "common/cleanup.h"

static unsigned entries_left = UINT_MAX; /* before the disk fails */

struct dirent *__real_readdir(DIR *directory);
struct dirent *__wrap_readdir(DIR *directory);

struct dirent *__wrap_readdir(DIR *directory)
{
	if (entries_left-- > 0)
		return __real_readdir(directory);
	errno = EIO;
	return NULL;
}

static void make_file(const char *directory, const char *name)
{
	char path[PATH_MAX];
	CLEANUP(close_fdp) int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
}

static void remove_name(const char *directory, const char *name, int flags)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	assert_int_equal(unlinkat(AT_FDCWD, path, flags), 0);
}

/* Whatever was not seen would count as looked at. */
static void test_failing_disk(void **state)
{
	char directory[] = "/tmp/test_tree.XXXXXX";
	struct problem problem = { 0 };
	struct tree tree = { .root = -1 };

	(void)state;
	assert_non_null(mkdtemp(directory));
	make_file(directory, "a");
	make_file(directory, "b");
	assert_int_equal(tree_list(directory, NULL, &problem, &tree), OK);
	assert_int_equal(tree.count, 2);
	tree_done(&tree);
	for (unsigned entries = 0; entries < 5; entries++) {
		problem = (struct problem){ 0 };
		entries_left = entries;
		assert_int_equal(tree_list(directory, NULL, &problem, &tree), ERR_SYSTEM);
		assert_non_null(strstr(problem.message, "cannot read"));
	}
	entries_left = UINT_MAX;
	remove_name(directory, "a", 0);
	remove_name(directory, "b", 0);
	assert_int_equal(rmdir(directory), 0);
}

/* A name that is too long is none, and not the one that it begins with. */
static void test_long_name(void **state)
{
	char directory[] = "/tmp/test_tree.XXXXXX", relative[NAME_MAX + 4], path[PATH_MAX];
	CLEANUP(close_fdp) int root = -1;
	CLEANUP(close_fdp) int found = -1;
	const char *name;

	(void)state;
	assert_non_null(mkdtemp(directory));
	memset(relative, 'x', NAME_MAX);
	(void)snprintf(relative + NAME_MAX, 4, "/f");
	(void)snprintf(path, sizeof(path), "%s/%.*s", directory, NAME_MAX, relative);
	assert_int_equal(mkdir(path, 0700), 0);
	root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(tree_open_parent(root, relative, false, &found, &name), OK);
	assert_string_equal(name, "f");
	close_fdp(&found);
	found = -1;
	(void)snprintf(relative + NAME_MAX, 4, "x/f");
	assert_int_equal(tree_open_parent(root, relative, false, &found, &name), ERR_SYSTEM);
	assert_int_equal(errno, ENAMETOOLONG);
	relative[NAME_MAX] = '\0';
	remove_name(directory, relative, AT_REMOVEDIR);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failing_disk),
		cmocka_unit_test(test_long_name),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
