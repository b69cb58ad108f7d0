/* The output of encrypt and decrypt: a file that appears whole or not at all, and nothing left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"

#define STRANGER 65534

static char directory[64];

static int enter_directory(void **state)
{
	(void)state;
	(void)snprintf(directory, sizeof(directory), "/tmp/test_output.XXXXXX");
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static size_t count_files(void)
{
	DIR *stream = opendir(".");
	size_t count = 0;

	assert_non_null(stream);
	for (const struct dirent *entry; (entry = readdir(stream));)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	(void)closedir(stream);
	return count;
}

static int leave_directory(void **state)
{
	(void)state;
	(void)unlink("file");
	(void)unlink("link");
	return count_files() == 0 && rmdir(directory) == 0 ? 0 : -1;
}

static void put_file(const char *text, mode_t mode)
{
	int fd = open("file", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

static void assert_file(const char *text, mode_t mode)
{
	CLEANUP(close_fdp) int fd = open("file", O_RDONLY | O_CLOEXEC);
	char content[64] = "";
	struct stat status;

	assert_true(fd >= 0);
	assert_true(read(fd, content, sizeof(content) - 1) >= 0);
	assert_string_equal(content, text);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_mode & 07777, mode);
}

static struct output *open_file(const char *path)
{
	struct problem problem = { 0 };
	struct output *output = NULL;

	assert_int_equal(output_open(path, 0600, -1, &problem, &output), OK);
	return output;
}

static void write_new(struct output *output)
{
	assert_int_equal(output_write(output, bytes_of_string("new ")), OK);
	assert_int_equal(output_write(output, bytes_of_string("text")), OK);
}

static void test_new_file(void **state)
{
	struct output *output = open_file("file");

	(void)state;
	write_new(output);
	assert_int_equal(count_files(), 0);
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
	assert_file("new text", 0600);
}

static void test_dropped(void **state)
{
	struct output *output = open_file("file");

	(void)state;
	write_new(output);
	(void)output_free(output);
	assert_int_equal(count_files(), 0);
}

static void test_replaced(void **state)
{
	struct output *output;

	(void)state;
	put_file("old", 0640);
	output = open_file("file");
	write_new(output);
	assert_file("old", 0640);
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
	assert_file("new text", 0640);
	assert_int_equal(count_files(), 1);
}

static void test_old_file_kept(void **state)
{
	struct output *output;

	(void)state;
	put_file("old", 0644);
	output = open_file("file");
	write_new(output);
	(void)output_free(output);
	assert_file("old", 0644);
	assert_int_equal(count_files(), 1);
}

static void test_symbolic_link_stays(void **state)
{
	struct output *output;
	struct stat status;

	(void)state;
	put_file("old", 0600);
	assert_int_equal(symlink("file", "link"), 0);
	output = open_file("link");
	write_new(output);
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
	assert_file("new text", 0600);
	assert_int_equal(lstat("link", &status), 0);
	assert_true(S_ISLNK(status.st_mode));
}

/* access() comes after the name was looked at, and before anything is opened under it. */
static const char *put_meanwhile; /* what gets the name that is asked for then */

static const char *instead; /* of the name: the link to its directory, which gets it */

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);

int __wrap_access(const char *path, int mode)
{
	int result = __real_access(path, mode);

	if (put_meanwhile)
		assert_int_equal(rename(put_meanwhile, instead ? instead : path), 0);
	put_meanwhile = instead = NULL;
	return result;
}

/* Whoever may put a link there puts it in the moment in which it was just seen that there is none. */
static void test_link_put_meanwhile(void **state)
{
	struct output *output;
	struct stat status;

	(void)state;
	put_file("precious", 0600);
	assert_int_equal(symlink("file", "other"), 0);
	assert_int_equal(close(open("link", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)), 0);
	put_meanwhile = "other";
	output = open_file("link");
	assert_null(put_meanwhile);
	write_new(output);
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
	assert_file("precious", 0600);
	assert_int_equal(lstat("link", &status), 0);
	assert_true(S_ISREG(status.st_mode));
}

/* The directory of many files: somebody else's link to it is not followed where he can put one, be there a slash behind it or not. */
static void test_strangers_link_to_directory(void **state)
{
	static const char *const names[] = { "link", "link/", "link//" };
	struct problem problem = { 0 };
	int fd = -1;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir("below", 0700), 0);
	assert_int_equal(symlink("below", "link"), 0);
	assert_int_equal(chmod(".", 01777), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(lchown("link", 0, (gid_t)-1), 0);
		assert_int_equal(output_open_directory(names[i], &problem, &fd), OK);
		(void)close(fd);
		assert_int_equal(lchown("link", STRANGER, (gid_t)-1), 0);
		assert_int_equal(output_open_directory(names[i], &problem, &fd), ERR_FILE_ACCESS);
	}
	assert_int_equal(chmod(".", 0755), 0);
	assert_int_equal(output_open_directory("link", &problem, &fd), OK);
	(void)close(fd);
	assert_int_equal(rmdir("below"), 0);
}

/* The directory of the name has become another one: what was seen in the first one is replaced there. */
static void test_directory_put_meanwhile(void **state)
{
	struct output *output;

	(void)state;
	put_file("precious", 0600);
	assert_int_equal(mkdir("below", 0700), 0);
	assert_int_equal(symlink("below", "link"), 0);
	assert_int_equal(symlink(".", "other"), 0);
	assert_int_equal(close(open("below/file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)), 0);
	put_meanwhile = "other";
	instead = "link";
	output = open_file("link/file");
	assert_null(put_meanwhile);
	write_new(output);
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
	assert_file("precious", 0600);
	assert_int_equal(unlink("below/file"), 0);
	assert_int_equal(rmdir("below"), 0);
}

/* Somebody else's link in a directory of his, where root for instance writes for him: to a file of his, and to no other. */
static void test_strangers_link_in_his_directory(void **state)
{
	struct problem problem = { 0 };
	struct output *output = NULL;
	struct stat status;

	(void)state;
	if (geteuid() != 0)
		skip();
	put_file("precious", 0600);
	assert_int_equal(symlink("file", "link"), 0);
	assert_int_equal(lchown("link", STRANGER, (gid_t)-1), 0);
	assert_int_equal(chown(".", STRANGER, (gid_t)-1), 0);
	assert_int_equal(output_open_plain("link", -1, &problem, &output), ERR_FILE_ACCESS);
	assert_non_null(strstr(problem.message, "which is not his"));
	assert_int_equal(output_open("link", 0600, -1, &problem, &output), ERR_FILE_ACCESS);
	assert_file("precious", 0600);
	assert_int_equal(chown("file", STRANGER, (gid_t)-1), 0);
	output = open_file("link");
	write_new(output);
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
	assert_file("new text", 0600);
	assert_int_equal(stat("link", &status), 0);
	assert_int_equal(status.st_uid, STRANGER);
	assert_int_equal(chown(".", 0, (gid_t)-1), 0);
}

/* Somebody else's link on the way, in a directory of his: to a directory of his, and to no other, be the file there or not. */
static void test_strangers_link_on_the_way(void **state)
{
	static const char *const names[] = { "his/link/file", "his/link/new", "his/link/./file",
		                             "his/link/below/../file", "his/twice/file" };
	struct problem problem = { 0 };
	struct output *output = NULL;
	int fd = -1;

	(void)state;
	if (geteuid() != 0)
		skip();
	put_file("precious", 0600);
	assert_int_equal(mkdir("his", 0755), 0);
	assert_int_equal(mkdir("below", 0755), 0);
	assert_int_equal(symlink("..", "his/link"), 0);
	assert_int_equal(symlink("link", "his/twice"), 0);
	assert_int_equal(lchown("his/link", STRANGER, (gid_t)-1), 0);
	assert_int_equal(chown("his", STRANGER, (gid_t)-1), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(output_open_plain(names[i], -1, &problem, &output), ERR_FILE_ACCESS);
		assert_non_null(strstr(problem.message, "behind somebody else's link"));
		assert_int_equal(output_open(names[i], 0600, -1, &problem, &output), ERR_FILE_ACCESS);
		assert_int_equal(output_open_directory_of(names[i], &problem, &fd), ERR_FILE_ACCESS);
	}
	assert_int_equal(output_open_directory("his/link", &problem, &fd), ERR_FILE_ACCESS);
	assert_int_equal(output_open_directory("his/link/below", &problem, &fd), ERR_FILE_ACCESS);
	assert_file("precious", 0600);
	assert_int_equal(chown(".", STRANGER, (gid_t)-1), 0);
	for (size_t i = 0; i < 2; i++) {
		output = open_file(i ? "his/link/file" : "his/link/link");
		write_new(output);
		assert_int_equal(output_commit(output), OK);
		(void)output_free(output);
	}
	assert_file("new text", 0600);
	assert_int_equal(chown(".", 0, (gid_t)-1), 0);
	assert_int_equal(unlink("his/link"), 0);
	assert_int_equal(unlink("his/twice"), 0);
	assert_int_equal(rmdir("his"), 0);
	assert_int_equal(rmdir("below"), 0);
}

/* Where everybody can put one, as in /tmp, it is no other; and one's own is followed. */
static void test_link_on_the_way_among_strangers(void **state)
{
	struct problem problem = { 0 };
	struct output *output = NULL;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir("below", 0755), 0);
	assert_int_equal(symlink("below", "link"), 0);
	assert_int_equal(chmod(".", 01777), 0);
	output = output_free(open_file("link/file"));
	assert_int_equal(lchown("link", STRANGER, (gid_t)-1), 0);
	assert_int_equal(output_open("link/file", 0600, -1, &problem, &output), ERR_FILE_ACCESS);
	assert_int_equal(chmod(".", 0775), 0);
	output = output_free(open_file("link/file"));
	assert_int_equal(output_open_plain("link/file", -1, &problem, &output), ERR_FILE_ACCESS);
	assert_int_equal(chmod(".", 0755), 0);
	assert_int_equal(output_open_plain("link/file", -1, &problem, &output), OK);
	output = output_free(output);
	assert_int_equal(rmdir("below"), 0);
}

/* A link is followed as it was when it was looked at, and each that it leads to as well. */
static void test_links_in_a_row(void **state)
{
	struct output *output = NULL;
	struct problem problem = { 0 };
	struct stat status;

	(void)state;
	put_file("old", 0600);
	assert_int_equal(mkdir("below", 0700), 0);
	assert_int_equal(symlink("../file", "below/second"), 0);
	assert_int_equal(symlink("below/second", "link"), 0);
	output = open_file("link");
	write_new(output);
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
	assert_file("new text", 0600);
	assert_int_equal(lstat("below/second", &status), 0);
	assert_true(S_ISLNK(status.st_mode));
	assert_int_equal(unlink("below/second"), 0);
	assert_int_equal(rmdir("below"), 0);
	assert_int_equal(unlink("link"), 0);
	assert_int_equal(symlink("link", "link"), 0);
	assert_int_not_equal(output_open("link", 0600, -1, &problem, &output), OK);
}

/* Somebody else makes the file while we write: it is replaced, not written into. */
static void test_made_meanwhile(void **state)
{
	struct output *output = open_file("file");

	(void)state;
	write_new(output);
	put_file("meanwhile", 0644);
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
	assert_file("new text", 0600);
	assert_int_equal(count_files(), 1);
}

/* What another user has laid out under the name, in a directory like /tmp; only root can play both. */

static void lay_out(mode_t place)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(".", place), 0);
}

static enum err write_as(bool plain, const char *path)
{
	struct problem problem = { 0 };
	struct output *output = NULL;
	enum err err = plain ? output_open_plain(path, -1, &problem, &output)
	                     : output_open(path, 0600, -1, &problem, &output);

	if (!err)
		err = output_write(output, bytes_of_string("new text"));
	if (!err)
		err = output_commit(output);
	(void)output_free(output);
	return err;
}

static enum err write_to(const char *path)
{
	return write_as(false, path);
}

/* Of a group's directory a stranger is whoever is in the group; what is no plain text is shared there. */
static void test_groups_directory(void **state)
{
	struct stat status;

	(void)state;
	lay_out(0775);
	put_file("old", 0666);
	assert_int_equal(chown("file", STRANGER, STRANGER), 0);
	assert_int_equal(write_as(false, "file"), OK);
	assert_file("new text", 0666);
	assert_int_equal(stat("file", &status), 0);
	assert_int_equal(status.st_uid, STRANGER);
	assert_int_equal(write_as(true, "file"), OK);
	assert_file("new text", 0600);
	assert_int_equal(stat("file", &status), 0);
	assert_int_equal(status.st_uid, 0);
	/* Where nobody else can put one everybody's keeps its mode. */
	put_file("old", 0640);
	assert_int_equal(chown("file", STRANGER, STRANGER), 0);
	assert_int_equal(chmod(".", 0755), 0);
	assert_int_equal(write_as(true, "file"), OK);
	assert_file("new text", 0640);
}

/* One of our own that others may read can have got its name from them, wherever they can give it one. */
static void test_own_file_renamed(void **state)
{
	static const struct {
		mode_t place;
		uid_t owner;
		mode_t mode; /* of what comes of a plain text in the place of one that all may read */
	} rows[] = {
		{ 0777, 0, 0600 }, { 0775, 0, 0600 }, { 01777, 0, 0600 },       { 01775, 0, 0600 },
		{ 0755, 0, 0644 }, { 0700, 0, 0644 }, { 0755, STRANGER, 0600 }, { 01777, STRANGER, 0600 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		lay_out(rows[i].place);
		assert_int_equal(chown(".", rows[i].owner, (gid_t)-1), 0);
		put_file("old", 0644);
		assert_int_equal(write_as(true, "file"), OK);
		assert_file("new text", rows[i].mode);
		/* What is no plain text may be read, and what nobody else could read has the mode that it had. */
		put_file("old", 0644);
		assert_int_equal(write_as(false, "file"), OK);
		assert_file("new text", 0644);
		put_file("old", 0700);
		assert_int_equal(write_as(true, "file"), OK);
		assert_file("new text", 0700);
	}
	assert_int_equal(chown(".", 0, (gid_t)-1), 0);
}

/* A link of our own can have got its name from them, too; it may lead where they cannot do so. */
static void test_own_link_renamed(void **state)
{
	(void)state;
	lay_out(0777);
	assert_int_equal(mkdir("inner", 0700), 0);
	put_file("old", 0644);
	assert_int_equal(rename("file", "inner/file"), 0);
	assert_int_equal(symlink("inner/file", "link"), 0);
	assert_int_equal(write_as(true, "link"), OK);
	assert_int_equal(rename("inner/file", "file"), 0);
	assert_int_equal(rmdir("inner"), 0);
	assert_file("new text", 0600);
}

static void test_groups_link(void **state)
{
	(void)state;
	lay_out(0775);
	put_file("old", 0600);
	assert_int_equal(symlink("file", "link"), 0);
	assert_int_equal(write_as(true, "link"), OK);
	assert_file("new text", 0600);
	assert_int_equal(lchown("link", STRANGER, STRANGER), 0);
	assert_int_equal(write_as(true, "link"), ERR_FILE_ACCESS);
	assert_file("new text", 0600);
}

static void test_strangers_file(void **state)
{
	struct stat status;

	(void)state;
	lay_out(01777);
	put_file("old", 0666);
	assert_int_equal(chown("file", STRANGER, STRANGER), 0);
	assert_int_equal(write_to("file"), OK);
	assert_file("new text", 0600);
	assert_int_equal(stat("file", &status), 0);
	assert_int_equal(status.st_uid, 0);
	/* Where not everybody can put one it stays who it is for. */
	assert_int_equal(chmod(".", 0755), 0);
	put_file("old", 0644);
	assert_int_equal(chown("file", STRANGER, STRANGER), 0);
	assert_int_equal(write_to("file"), OK);
	assert_file("new text", 0644);
}

/* What is written to it would be the stranger's at once. Somebody reads, so that it can be opened. */
static void test_strangers_pipe(void **state)
{
	CLEANUP(close_fdp) int reader = -1;
	char text[16];

	(void)state;
	lay_out(01777);
	assert_int_equal(mkfifo("file", 0666), 0);
	reader = open("file", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(reader >= 0);
	assert_int_equal(write_to("file"), OK);
	assert_int_equal(read(reader, text, sizeof(text)), 8);
	assert_int_equal(chown("file", STRANGER, STRANGER), 0);
	assert_int_equal(write_to("file"), ERR_FILE_ACCESS);
	assert_int_equal(read(reader, text, sizeof(text)), 0);
	assert_int_equal(chmod(".", 0755), 0);
	assert_int_equal(write_to("file"), OK);
	assert_int_equal(read(reader, text, sizeof(text)), 8);
}

static void test_strangers_link(void **state)
{
	(void)state;
	lay_out(0755);
	put_file("old", 0600);
	assert_int_equal(symlink("file", "link"), 0);
	assert_int_equal(lchown("link", STRANGER, STRANGER), 0);
	assert_int_equal(write_to("link"), OK);
	assert_file("new text", 0600);
	put_file("old", 0600);
	assert_int_equal(chmod(".", 01777), 0);
	/* By us, or by the kernel before (fs.protected_symlinks). */
	assert_int_equal(write_to("link"), ERR_FILE_ACCESS);
	assert_file("old", 0600);
}

static void test_refused(void **state)
{
	static const struct {
		const char *path;
		enum err err;
	} rows[] = {
		{ "no/such/file", ERR_NO_FILE }, { ".", ERR_USAGE }, { "/", ERR_USAGE }, { "", ERR_NO_FILE },
		{ "file/x", ERR_NO_FILE },
	};

	(void)state;
	put_file("old", 0600);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct problem problem = { 0 };
		struct output *output = NULL;
		enum err err = output_open(rows[i].path, 0600, -1, &problem, &output);

		assert_null(output);
		if (rows[i].path[0])
			assert_int_equal(err, rows[i].err);
		assert_int_not_equal(err, OK);
		assert_true(problem.message[0] != '\0');
	}
	assert_file("old", 0600);
}

static void test_same_file(void **state)
{
	struct problem problem = { 0 };
	struct output *output = NULL;
	CLEANUP(close_fdp) int input = -1;

	(void)state;
	put_file("old", 0600);
	input = open("file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(output_open("file", 0600, input, &problem, &output), ERR_USAGE);
	assert_string_equal(problem.message, "input and output are the same file, file");
	assert_file("old", 0600);
}

static void test_device(void **state)
{
	struct output *output = open_file("/dev/null");

	(void)state;
	write_new(output);
	assert_false(output_is_careful(output));
	assert_int_equal(output_commit(output), OK);
	(void)output_free(output);
}

static void test_full(void **state)
{
	struct problem problem = { 0 };
	struct output *output = NULL;

	(void)state;
	assert_int_equal(output_open("/dev/full", 0600, -1, &problem, &output), OK);
	assert_int_equal(output_write(output, bytes_of_string("x")), ERR_DISK_FULL);
	assert_string_equal(problem.message, "cannot write /dev/full: No space left on device");
	(void)output_free(output);
}

/* A terminal gets text, and neither binary data nor what would move its cursor; in one piece or byte by byte. */
static enum err show(const char *terminal, const char *text, size_t step)
{
	struct problem problem = { 0 };
	struct output *output = NULL;
	enum err err = OK;

	assert_int_equal(output_open(terminal, 0600, -1, &problem, &output), OK);
	assert_true(output_is_careful(output));
	for (size_t at = 0; !err && at < strlen(text); at += step)
		err = output_write(output, bytes_of(text + at, strnlen(text + at, step)));
	if (!err)
		err = output_commit(output);
	(void)output_free(output);
	return err;
}

static void test_terminal(void **state)
{
	static const struct {
		const char *text;
		enum err err;
	} rows[] = {
		{ "text\n", OK },
		{ "tab\tand \xc3\xa9\r\n", OK },
		{ "\033[2J", ERR_USAGE },
		{ "bell\a", ERR_USAGE },
		{ "\x7f", ERR_USAGE },
		/* C1 */
		{ "\xc2\x9b"
		  "2J",
		  ERR_USAGE },
		{ "\xc2\x80", ERR_USAGE },
		{ "\xc2\x9f", ERR_USAGE },
		{ "\xc2\xa0", OK },
		{ "\x9b"
		  "2J",
		  ERR_USAGE },
		{ "a\x80", ERR_USAGE },
		/* not UTF-8 */
		{ "caf\xe9\n", ERR_USAGE },
		{ "\xff", ERR_USAGE },
		{ "\xc3", ERR_USAGE },
		{ "\xc3\xc3", ERR_USAGE },
		{ "\xc1\x9b", ERR_USAGE },
		{ "\xe0\x82\x9b", ERR_USAGE },
		{ "\xf0\x80\x82\x9b", ERR_USAGE },
		{ "\xed\xa0\x80", ERR_USAGE },
		{ "\xf4\x90\x80\x80", ERR_USAGE },
		{ "\xe2\x82\xac \xf0\x9f\x94\x91 \xe0\xa0\x80\n", OK },
		/* a return that is not the end of a line */
		{ "good\rbad", ERR_USAGE },
		{ "good\r", ERR_USAGE },
		{ "\r\r\n", ERR_USAGE },
		{ "\r\n\r\n", OK },
	};
	CLEANUP(close_fdp) int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	(void)state;
	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t step = 1; step < 16; step += 14)
			if (show(ptsname(master), rows[i].text, step) != rows[i].err)
				fail_msg("row %zu, in steps of %zu", i, step);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, enter_directory, leave_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIRECTORY(test_new_file),
		IN_DIRECTORY(test_dropped),
		IN_DIRECTORY(test_replaced),
		IN_DIRECTORY(test_old_file_kept),
		IN_DIRECTORY(test_symbolic_link_stays),
		IN_DIRECTORY(test_made_meanwhile),
		IN_DIRECTORY(test_link_put_meanwhile),
		IN_DIRECTORY(test_links_in_a_row),
		IN_DIRECTORY(test_strangers_link_to_directory),
		IN_DIRECTORY(test_strangers_link_in_his_directory),
		IN_DIRECTORY(test_strangers_link_on_the_way),
		IN_DIRECTORY(test_link_on_the_way_among_strangers),
		IN_DIRECTORY(test_directory_put_meanwhile),
		IN_DIRECTORY(test_groups_directory),
		IN_DIRECTORY(test_groups_link),
		IN_DIRECTORY(test_own_file_renamed),
		IN_DIRECTORY(test_own_link_renamed),
		IN_DIRECTORY(test_strangers_file),
		IN_DIRECTORY(test_strangers_pipe),
		IN_DIRECTORY(test_strangers_link),
		IN_DIRECTORY(test_refused),
		IN_DIRECTORY(test_same_file),
		IN_DIRECTORY(test_device),
		IN_DIRECTORY(test_full),
		IN_DIRECTORY(test_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
