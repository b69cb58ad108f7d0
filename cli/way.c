#include "cli/way.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/file.h"

#define LINKS_MAX 40U /* as the kernel */

struct walk {
	struct way *way;
	mode_t strangers;
	unsigned links;
	char rest[PATH_MAX]; /* that is still to go */
};

/* The next step of the rest, as long as it is: the kernel says when that is too long. False: it has none. */
static bool take_step(char rest[static PATH_MAX], char step[static PATH_MAX])
{
	size_t before = strspn(rest, "/");
	size_t len = strcspn(rest + before, "/");

	memcpy(step, rest + before, len);
	step[len] = '\0';
	memmove(rest, rest + before + len, strlen(rest + before + len) + 1);
	return len > 0;
}

static bool move_to(struct way *way, int directory)
{
	if (directory < 0)
		return false;
	close_fdp(&way->directory);
	way->directory = directory;
	return true;
}

static bool begin(struct walk *walk, const char *path)
{
	if (strlen(path) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return false;
	}
	memmove(walk->rest, path, strlen(path) + 1);
	if (*path != '/' && walk->way->directory >= 0)
		return true;
	return move_to(walk->way, open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

bool way_is_strangers(const struct stat *link, const struct stat *directory, mode_t strangers)
{
	return !file_is_ours(link, 0) && !file_is_ours(directory, strangers);
}

static bool note_leader(struct walk *walk, const struct stat *link)
{
	struct way *way = walk->way;
	struct stat directory;

	if (fstat(way->directory, &directory) < 0)
		return false;
	if (!way_is_strangers(link, &directory, walk->strangers))
		return true;
	way->led_by_several |= way->led && way->leader != link->st_uid;
	if (!way->led)
		way->leader = link->st_uid;
	way->led = true;
	return true;
}

/* In /proc a link is a descriptor, and what it says need not be a path. */
static bool is_descriptor(int link)
{
	struct statfs status;

	return fstatfs(link, &status) == 0 && status.f_type == PROC_SUPER_MAGIC;
}

/* What it says comes before what is still to go. */
static bool follow(struct walk *walk, int link, const char *step)
{
	char said[2 * PATH_MAX];
	ssize_t len;

	if (is_descriptor(link))
		return move_to(walk->way,
		               openat(walk->way->directory, step, O_PATH | O_DIRECTORY | O_CLOEXEC));
	len = readlinkat(link, "", said, PATH_MAX);
	if (len < 0)
		return false;
	if (len == 0 || len == PATH_MAX || ++walk->links > LINKS_MAX) {
		errno = ELOOP;
		return false;
	}
	(void)snprintf(said + len, sizeof(said) - (size_t)len, "/%s", walk->rest);
	return begin(walk, said);
}

static bool go_step(struct walk *walk, const char *step)
{
	int at = walk->way->directory;
	CLEANUP(close_fdp) int link = -1;
	struct stat status;

	if (move_to(walk->way, openat(at, step, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
		return true;
	if (errno != ENOTDIR && errno != ELOOP)
		return false;
	link = openat(at, step, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (link < 0 || fstat(link, &status) < 0)
		return false;
	if (!S_ISLNK(status.st_mode)) {
		errno = ENOTDIR;
		return false;
	}
	return note_leader(walk, &status) && follow(walk, link, step);
}

bool way_go(const char *path, mode_t strangers, struct way *ret_way)
{
	struct way way = { .directory = -1 };
	struct walk walk = { .way = &way, .strangers = strangers };
	char step[PATH_MAX];
	bool going = begin(&walk, path);

	while (going && take_step(walk.rest, step))
		going = go_step(&walk, step);
	if (!going) {
		close_fdp(&way.directory);
		way.directory = -1;
	}
	*ret_way = way;
	return going;
}

bool way_leads_astray(const struct way *way)
{
	struct stat status;

	return way->led &&
	       (way->led_by_several || fstat(way->directory, &status) < 0 || status.st_uid != way->leader);
}
