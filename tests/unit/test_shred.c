/* Shredding: the file that was looked at loses its name, and no other, whatever takes its directory's place meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/shred.h"

static char directory[64];
static bool exchange; /* the link to the directory, as soon as the name was looked at */

int __real_fstatat(int place, const char *name, struct stat *status, int flags);
int __wrap_fstatat(int place, const char *name, struct stat *status, int flags);
int __real_lstat(const char *path, struct stat *status);
int __wrap_lstat(const char *path, struct stat *status);

static int exchanged(int result)
{
	if (exchange)
		assert_int_equal(rename("other", "way"), 0);
	exchange = false;
	return result;
}

int __wrap_fstatat(int place, const char *name, struct stat *status, int flags)
{
	return exchanged(__real_fstatat(place, name, status, flags));
}

int __wrap_lstat(const char *path, struct stat *status)
{
	return exchanged(__real_lstat(path, status));
}

static int enter_directory(void **state)
{
	(void)state;
	(void)snprintf(directory, sizeof(directory), "/tmp/test_shred.XXXXXX");
	return mkdtemp(directory) && chdir(directory) == 0 && mkdir("given", 0700) == 0 &&
	                       mkdir("precious", 0700) == 0 && symlink("given", "way") == 0 &&
	                       symlink("precious", "other") == 0
	               ? 0
	               : -1;
}

static int leave_directory(void **state)
{
	(void)state;
	(void)unlink("given/key");
	(void)unlink("precious/key");
	(void)unlink("way");
	(void)unlink("other");
	return rmdir("given") == 0 && rmdir("precious") == 0 && rmdir(directory) == 0 ? 0 : -1;
}

static void put_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "a key", 5), 5);
	assert_int_equal(close(fd), 0);
}

static void test_directory_exchanged(void **state)
{
	struct problem problem = { 0 };
	struct stat read;

	(void)state;
	put_file("given/key");
	put_file("precious/key");
	assert_int_equal(stat("way/key", &read), 0);
	exchange = true;
	assert_int_equal(shred_file("way/key", &read, &problem), OK);
	assert_false(exchange);
	assert_int_equal(access("given/key", F_OK), -1);
	assert_int_equal(access("precious/key", F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_directory_exchanged, enter_directory, leave_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
