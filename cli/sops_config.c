#include "cli/sops_config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/shown.h"
#include "common/file.h"
#include "common/path.h"

#define LEVELS_MAX 100U /* as sops */

static void drop_last(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = '\0';
}

/* Takes the parts of path after len bytes of out, which is absolute and has no slash at its end (nothing is the root). out has room for all. */
static size_t append(char *out, size_t len, const char *path)
{
	while (*path) {
		size_t part = strcspn(path, "/");
		bool up = part == 2 && strncmp(path, "..", 2) == 0;

		while (up && len && out[--len] != '/')
			;
		if (part && !up && !(part == 1 && *path == '.')) {
			out[len++] = '/';
			memcpy(out + len, path, part);
			len += part;
		}
		path += part + (path[part] == '/');
	}
	return len;
}

enum err sops_config_absolute(const char *path, char **ret_path)
{
	CLEANUP(freep) char *here = *path == '/' ? strdup("/") : getcwd(NULL, 0);
	size_t len;
	char *whole;

	if (!here)
		return err_from_errno(errno);
	whole = calloc(1, strlen(here) + strlen(path) + 3);
	if (!whole)
		return ERR_NOMEM;
	len = append(whole, append(whole, 0, here), path);
	whole[len ? len : 1] = '\0';
	whole[0] = '/';
	*ret_path = whole;
	return OK;
}

const char *sops_config_relative(const char *config_path, const char *path)
{
	const char *slash = strrchr(config_path, '/');
	size_t len = slash ? (size_t)(slash - config_path) + 1 : 0;

	return strncmp(config_path, path, len) == 0 ? path + len : path;
}

static enum err explain(struct sops_config *config, enum err err, struct problem *problem)
{
	const char *reason = config->rules.document.reason;

	if (!err || err == ERR_NOMEM)
		return err;
	if (err == ERR_UNSUPPORTED && !reason[0])
		return problem_set(problem, err, "%s needs libfyaml and libpcre2 to be read", config->path);
	(void)problem_set(problem, err == ERR_BUSY ? ERR_BAD_FILE : err, "%s: %s", config->path, reason);
	if (err == ERR_BAD_FILE && strncmp(reason, "line ", 5) == 0)
		problem_hint(problem, "mend that line of %s, then the same command", config->path);
	else if (err == ERR_BAD_FILE)
		problem_hint(problem, "mend %s, then the same command", config->path);
	return err == ERR_BUSY ? ERR_BAD_FILE : err;
}

/*
 * Whoever writes the rules decides to whom a file is encrypted. So those that were found, and not named, must be ours, root's, or those of whoever has the directory of the file, and not for all to
 * write. The same holds for a link to them, for whoever has the link chooses among all rules that there are.
 */
static bool is_trusted(const struct stat *status, uid_t owner)
{
	return (file_is_ours(status, 0) || status->st_uid == owner) &&
	       (S_ISLNK(status->st_mode) || !(status->st_mode & S_IWOTH));
}

static enum err refuse_strangers(const char *path, struct problem *problem)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_BAD_CONFIG,
	                  "%s is somebody else's, or can be written by all, so it is not used", path);
	shown_quote(path, quoted);
	problem_hint(problem, "SOPS_CONFIG=%s   when it is meant all the same", quoted);
	return ERR_BAD_CONFIG;
}

/* Rules that were found and not named. */
struct found {
	int directory; /* AT_FDCWD: name is a path */
	char name[PATH_MAX];
	uid_t owner; /* of the directory of the file that they were looked for */
};

/* Before it is opened. path: for people. */
static enum err check_found(const struct found *found, const char *path, struct problem *problem)
{
	struct stat rules, named;

	if (fstatat(found->directory, found->name, &rules, 0) < 0 ||
	    fstatat(found->directory, found->name, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return problem_errno(problem, errno, "cannot look at", path);
	return is_trusted(&rules, found->owner) && is_trusted(&named, found->owner)
	               ? OK
	               : refuse_strangers(path, problem);
}

/* And what was opened, which may be another file than the one that was looked at. */
static enum err check_opened(int fd, const struct found *found, const char *path, struct problem *problem)
{
	struct stat rules;

	if (fstat(fd, &rules) < 0)
		return problem_errno(problem, errno, "cannot look at", path);
	return is_trusted(&rules, found->owner) ? OK : refuse_strangers(path, problem);
}

static enum err open_found(const struct found *found, const char *path, struct problem *problem, int *ret_fd)
{
	CLEANUP(input_closep) int fd = -1;
	enum err err = check_found(found, path, problem);

	if (!err)
		err = input_open_found_at(found->directory, found->name, path, problem, &fd);
	if (!err)
		err = check_opened(fd, found, path, problem);
	if (!err)
		*ret_fd = TAKE_FD(fd);
	return err;
}

/* found NULL: they were named. */
static enum err load(const char *path, const struct found *found, struct problem *problem,
                     struct sops_config **ret_config)
{
	CLEANUP(sops_config_freep) struct sops_config *config = calloc(1, sizeof(*config));
	CLEANUP(input_closep) int fd = -1;
	enum err err;

	if (!config || !(config->path = strdup(path)))
		return ERR_NOMEM;
	config->named = !found;
	err = found ? open_found(found, path, problem, &fd) : input_open(path, problem, &fd);
	if (!err)
		err = buf_new(SOPS_RULES_FILE_MAX + 1, &config->text);
	if (!err)
		err = input_read(fd, path, config->text, problem);
	if (err == ERR_BUSY)
		return problem_set(problem, ERR_BAD_FILE, "%s is too large for creation rules", path);
	if (err)
		return err;
	err = explain(config, sops_rules_read(&config->rules, buf_bytes(config->text)), problem);
	if (!err)
		*ret_config = TAKE(config);
	return err;
}

static enum err load_named(const char *name, struct problem *problem, struct sops_config **ret_config)
{
	CLEANUP(freep) char *path = NULL;
	enum err err = sops_config_absolute(name, &path);

	return err ? err : load(path, NULL, problem, ret_config);
}

/* Whose the directory of the file is; ours, when it is not there yet. */
static uid_t owner_of(const struct tree_place *place, const char *directory)
{
	struct stat status;
	bool known = place ? fstat(place->directory, &status) == 0 : stat(directory, &status) == 0;

	return known ? status.st_uid : geteuid();
}

/* The rules so many levels above the file; path: their name. False: there are none. */
static bool look_for(const struct tree_place *place, unsigned level, const char *path, struct found *found)
{
	size_t len = 0;

	found->directory = AT_FDCWD;
	if (!place || level > place->depth) {
		(void)snprintf(found->name, sizeof(found->name), "%s", path);
		return access(path, F_OK) == 0;
	}
	found->directory = place->directory;
	for (; level; level--)
		len += (size_t)snprintf(found->name + len, sizeof(found->name) - len, "../");
	(void)snprintf(found->name + len, sizeof(found->name) - len, SOPS_RULES_NAME);
	return faccessat(found->directory, found->name, F_OK, 0) == 0;
}

enum err sops_config_find(const char *file, struct problem *problem, struct sops_config **ret_config)
{
	return sops_config_find_at(NULL, file, problem, ret_config);
}

enum err sops_config_find_at(const struct tree_place *place, const char *file, struct problem *problem,
                             struct sops_config **ret_config)
{
	const char *named = getenv("SOPS_CONFIG");
	CLEANUP(freep) char *path = NULL;
	char candidate[PATH_MAX];
	struct found found;
	enum err err;

	*ret_config = NULL;
	if (named && *named)
		return load_named(named, problem, ret_config);
	err = sops_config_absolute(file, &path);
	for (unsigned level = 0; !err && level < LEVELS_MAX && *path; level++) {
		drop_last(path);
		if (level == 0)
			found.owner = owner_of(place, *path ? path : "/");
		if ((size_t)snprintf(candidate, sizeof(candidate), "%s/%s", path, SOPS_RULES_NAME) <
		            sizeof(candidate) &&
		    look_for(place, level, candidate, &found))
			return load(candidate, &found, problem, ret_config);
	}
	return err;
}

struct sops_config *sops_config_free(struct sops_config *config)
{
	if (!config)
		return NULL;
	sops_rules_done(&config->rules);
	(void)buf_free(config->text);
	free(config->path);
	free(config);
	return NULL;
}

void sops_config_warn(const char *place, const struct sops_creation_rule *rule)
{
	if (!rule->unknown.data)
		return;
	shown_line(stderr,
	           "warning: %s, line %zu: %.*s is no setting of a creation rule and is passed over, so the "
	           "rule is "
	           "for %s",
	           place, rule->unknown_line, (int)(rule->unknown.len < 64 ? rule->unknown.len : 64),
	           (const char *)rule->unknown.data,
	           rule->path_regex.len ? "what its path_regex says" : "every file");
}

/* Where a path leads in the end; of one that is not there yet, where its directory does. NULL: nobody knows. */
static char *real_path(const char *path)
{
	char directory[PATH_MAX];
	char *real = realpath(path, NULL);

	return real || !path_directory(path, directory, sizeof(directory)) ? real : realpath(directory, NULL);
}

/* The same of what is open; NULL for a pipe. */
static char *real_path_of(int fd)
{
	char self[64], path[PATH_MAX];
	ssize_t len;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	len = readlink(self, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	return path[0] == '/' ? strdup(path) : NULL;
}

/*
 * Whoever wrote the rules may have put a link beside them, to a file of the user's that stands elsewhere: it would be encrypted to whom the rules name, and in another repository.
 */
static enum err check_below(const struct sops_config *config, const char *real, const char *file,
                            struct problem *problem)
{
	CLEANUP(freep) char *place = strdup(config->path);
	CLEANUP(freep) char *top = NULL;
	char quoted[SHOWN_QUOTED_MAX], quoted_rules[SHOWN_QUOTED_MAX];
	size_t len;

	if (!place)
		return ERR_NOMEM;
	drop_last(place);
	top = realpath(*place ? place : "/", NULL);
	len = top ? strlen(top) : 0;
	if (config->named || !top || !real || len == 1 ||
	    (strncmp(real, top, len) == 0 && (real[len] == '/' || !real[len])))
		return OK;
	(void)problem_set(problem, ERR_BAD_CONFIG,
	                  "%s leads out of the directory of %s, whose rules are for what is below it", file,
	                  config->path);
	shown_quote(file, quoted);
	shown_quote(config->path, quoted_rules);
	problem_hint(problem, "ls -ld %s; SOPS_CONFIG=%s   when they are meant all the same", quoted,
	             quoted_rules);
	return ERR_BAD_CONFIG;
}

enum err sops_config_choose(struct sops_config *config, const char *file, struct problem *problem,
                            struct sops_creation_rule *ret_rule)
{
	return sops_config_choose_opened(config, file, -1, problem, ret_rule);
}

enum err sops_config_choose_opened(struct sops_config *config, const char *file, int fd,
                                   struct problem *problem, struct sops_creation_rule *ret_rule)
{
	CLEANUP(freep) char *path = NULL;
	CLEANUP(freep) char *real = NULL;
	enum err err = sops_config_absolute(file, &path);

	if (err)
		return err;
	real = fd < 0 ? real_path(path) : real_path_of(fd);
	err = check_below(config, real, file, problem);
	if (err)
		return err;
	err = sops_rules_choose(&config->rules, bytes_of_string(sops_config_relative(config->path, path)),
	                        ret_rule);
	if (err != ERR_NO_MATCH)
		return explain(config, err, problem);
	(void)problem_set(problem, err, "%s: %s for %s", config->path, config->rules.document.reason, file);
	problem_hint(problem, "add a rule with a path_regex for it; tokenctl recipient --comma   prints what "
	                      "its age: takes");
	return err;
}
