#include "cli/guard_rules.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/path.h"
#include "tokend/text.h"

#define TREE_MAX 128U
#define LINKS_MAX 8U /* that are followed */
#define PLACE_MAX (PATH_MAX - TREE_MAX) /* so that git's answer, which names both, is a line that is read */

/* The rules of one directory, or that there are none. */
struct cached {
	struct cached *next;
	char *path; /* owned: of the .sops.yaml; from the top, or absolute on the disk */
	struct buf *text; /* owned; NULL: there are none */
	struct sops_rules rules;
	struct sops_config *config; /* owned: from the disk, instead of the two */
};

struct guard_rules {
	struct git_objects *objects; /* borrowed */
	const char *top; /* borrowed; NULL: there is no disk */
	char tree[TREE_MAX];
	struct cached *cached; /* owned */
	struct sops_creation_rule rule; /* what was found last */
	struct buf *staged; /* owned: which rules the index has; NULL: nobody has asked yet */
	bool warned; /* of a setting that is none */
};

enum err guard_rules_new(struct git_objects *objects, const char *top, struct guard_rules **ret_rules)
{
	struct guard_rules *rules = calloc(1, sizeof(*rules));

	if (!rules)
		return ERR_NOMEM;
	rules->objects = objects;
	rules->top = top;
	*ret_rules = rules;
	return OK;
}

static void drop_all(struct guard_rules *rules)
{
	while (rules->cached) {
		struct cached *cached = rules->cached;

		rules->cached = cached->next;
		sops_rules_done(&cached->rules);
		(void)buf_free(cached->text);
		(void)sops_config_free(cached->config);
		free(cached->path);
		free(cached);
	}
	rules->staged = buf_free(rules->staged);
}

struct guard_rules *guard_rules_free(struct guard_rules *rules)
{
	if (!rules)
		return NULL;
	drop_all(rules);
	free(rules);
	return NULL;
}

enum err guard_rules_in(struct guard_rules *rules, const char *tree)
{
	drop_all(rules);
	if ((size_t)snprintf(rules->tree, sizeof(rules->tree), "%s", tree) >= sizeof(rules->tree))
		return ERR_USAGE;
	return OK;
}

static struct cached *find_cached(struct guard_rules *rules, const char *path)
{
	struct cached *cached = rules->cached;

	while (cached && strcmp(cached->path, path) != 0)
		cached = cached->next;
	return cached;
}

static enum err add_cached(struct guard_rules *rules, const char *path, struct cached **ret_cached)
{
	struct cached *cached = calloc(1, sizeof(*cached));

	if (cached)
		cached->path = strdup(path);
	if (!cached || !cached->path) {
		free(cached);
		return ERR_NOMEM;
	}
	cached->next = rules->cached;
	rules->cached = cached;
	*ret_cached = cached;
	return OK;
}

static enum err complain(const struct cached *cached, enum err err, struct problem *problem)
{
	const char *reason = cached->rules.document.reason;
	bool read = *reason != '\0', large = err == ERR_BUSY && !read;

	if (err == ERR_NOMEM)
		return err;
	if (err == ERR_UNSUPPORTED && !read)
		return problem_set(problem, err, "%s needs libfyaml and libpcre2 to be read", cached->path);
	if (!read && !large)
		return git_lacks(cached->path, problem);
	if (err == ERR_BUSY)
		err = ERR_BAD_FILE;
	if (large)
		(void)problem_set(problem, err, "%s%s is too large for creation rules", cached->path,
		                  cached->text ? " leads to what" : "");
	else if (err == ERR_BAD_FILE && !memchr(buf_bytes(cached->text).data, '\n', buf_len(cached->text)))
		(void)problem_set(problem, err, "%s: %s; if it is a link, git has nothing where it leads",
		                  cached->path, reason);
	else
		(void)problem_set(problem, err, "%s: %s", cached->path, reason);
	if (err == ERR_BAD_FILE)
		problem_hint(problem, "mend %s, then git add it", cached->path);
	return err;
}

/* Where a link at path leads, if that is in the tree. */
static bool follow(const char *path, struct bytes target, char out[static PATH_MAX])
{
	size_t len = (size_t)(path_name(path) - path);

	if (target.len == 0 || target.data[0] == '/' || memchr(target.data, '\n', target.len) ||
	    memchr(target.data, '\0', target.len) || len + target.len >= PATH_MAX)
		return false;
	memcpy(out, path, len);
	while (target.len) {
		const uint8_t *slash = memchr(target.data, '/', target.len);
		size_t part = slash ? (size_t)(slash - target.data) : target.len;
		bool up = part == 2 && memcmp(target.data, "..", 2) == 0;

		if (up && len == 0)
			return false;
		if (up) {
			for (len--; len > 0 && out[len - 1] != '/';)
				len--;
		} else if (part && !(part == 1 && *target.data == '.')) {
			memcpy(out + len, target.data, part);
			len += part;
			out[len++] = '/';
		}
		target = bytes_of(target.data + part + (slash != NULL), target.len - part - (slash != NULL));
	}
	out[len > 0 ? len - 1 : 0] = '\0';
	return len > 0;
}

/*
 * What is at path, or where the link leads that is there, as sops takes it. Git does not say which is a link, but rules are never the name of a file alone: whatever would be that is followed, so that
 * rules are found, and the worst is that they are refused.
 */
static enum err read_rules(const struct guard_rules *rules, const char *path, struct buf **ret_text)
{
	char name[PATH_MAX + TREE_MAX], at[PATH_MAX], next[PATH_MAX];
	enum err err;

	(void)snprintf(at, sizeof(at), "%s", path);
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		CLEANUP(buf_freep) struct buf *text = NULL;

		(void)snprintf(name, sizeof(name), "%s%s", rules->tree, at);
		err = git_objects_get(rules->objects, name, SOPS_RULES_FILE_MAX, &text);
		if (err == ERR_NO_FILE && i > 0)
			return OK; /* it leads nowhere: its own text, which is no rules, is complained of */
		if (err)
			return err;
		(void)buf_free(*ret_text);
		*ret_text = TAKE(text);
		if (!follow(at, buf_bytes(*ret_text), next))
			return OK;
		memcpy(at, next, sizeof(at));
	}
	return OK;
}

/* All that there are at once: a git for each directory would take longer. */
static enum err is_staged(struct guard_rules *rules, const char *path, struct problem *problem,
                          bool *ret_there)
{
	static const char *const arguments[] = { "ls-files",    "--stage", "-z",
		                                 "--full-name", "--",      ":(top,glob)**/" SOPS_RULES_NAME,
		                                 NULL };
	struct bytes rest = { NULL, 0 };
	const char *entry;
	enum err err = rules->staged ? OK : git_run(arguments, false, problem, &rules->staged);

	if (!err)
		rest = buf_bytes(rules->staged);
	*ret_there = false;
	while ((entry = text_next_string(&rest))) {
		const char *tab = strchr(entry, '\t'); /* "MODE OBJECT STAGE", which is 0 but in a conflict */

		*ret_there |= tab && tab > entry && tab[-1] == '0' && strcmp(tab + 1, path) == 0;
	}
	return err;
}

/* By the tree of its directory, which is there: what is looked at is in it. */
static enum err is_in_tree(const struct guard_rules *rules, const char *path, bool *ret_there)
{
	CLEANUP(buf_freep) struct buf *tree = NULL;
	size_t object_len = strcspn(rules->tree, ":") / 2;
	char name[PATH_MAX + TREE_MAX];
	enum err err;

	(void)snprintf(name, sizeof(name), "%s%.*s", rules->tree, (int)(path_name(path) - path), path);
	err = git_objects_get(rules->objects, name, GIT_LIST_MAX, &tree);
	return err ? err : git_tree_find(buf_bytes(tree), object_len, path_name(path), ret_there);
}

/* git says the same of what is not there and of what it has not got, as in a partial clone; but rules that nobody can read are not none. */
static enum err check_absent(struct guard_rules *rules, const char *path, struct problem *problem)
{
	bool staged = *rules->tree == ':', there = false;
	enum err err = staged ? is_staged(rules, path, problem, &there) : is_in_tree(rules, path, &there);

	if (err && (staged || err == ERR_NOMEM))
		return err;
	return err || there ? git_lacks(path, problem) : OK;
}

/* What the tree has at path; no text when it has nothing. */
static enum err look_up(struct guard_rules *rules, const char *path, struct problem *problem,
                        struct cached **ret_cached)
{
	struct cached *cached = find_cached(rules, path);
	enum err err;

	*ret_cached = cached;
	if (cached)
		return OK;
	err = add_cached(rules, path, ret_cached);
	if (err)
		return err;
	cached = *ret_cached;
	err = read_rules(rules, path, &cached->text);
	if (err == ERR_NO_FILE)
		return check_absent(rules, path, problem);
	if (err == ERR_USAGE) {
		(void)problem_set(problem, err, "%s: a line end in a name, so git cannot be asked for it",
		                  path);
		problem_hint(problem, "git mv   gives the directory another name");
		return err;
	}
	if (!err)
		err = sops_rules_read(&cached->rules, buf_bytes(cached->text));
	return err ? complain(cached, err, problem) : OK;
}

static enum err choose(struct guard_rules *rules, struct sops_rules *from, const char *path)
{
	enum err err = sops_rules_choose(from, bytes_of_string(path), &rules->rule);

	return !err && rules->rule.path_regex.len == 0 ? ERR_NO_MATCH : err;
}

/* From the directory of path up to the top. ERR_NO_FILE: no directory has rules. */
static enum err find_in_tree(struct guard_rules *rules, const char *path, struct problem *problem,
                             const char **ret_place)
{
	char place[PLACE_MAX];
	size_t len = strlen(path);

	memcpy(place, path, len + 1);
	do {
		struct cached *cached;
		enum err err;

		while (len > 0 && place[len - 1] != '/')
			len--;
		memcpy(place + len, SOPS_RULES_NAME, sizeof(SOPS_RULES_NAME));
		err = look_up(rules, place, problem, &cached);
		if (err)
			return err;
		if (cached->text) {
			*ret_place = cached->path;
			err = choose(rules, &cached->rules, path + len);
			return err && err != ERR_NO_MATCH ? complain(cached, err, problem) : err;
		}
	} while (len-- > 0);
	return ERR_NO_FILE;
}

/* One .sops.yaml holds for all files of a directory, so it is kept by that. */
static enum err config_of(struct guard_rules *rules, const char *path, struct problem *problem,
                          struct sops_config **ret_config)
{
	CLEANUP(freep) char *directory = strdup(path);
	char *slash = directory ? strrchr(directory, '/') : NULL;
	struct cached *cached;
	enum err err = directory ? OK : ERR_NOMEM;

	if (slash)
		slash[1] = '\0';
	cached = err ? NULL : find_cached(rules, directory);
	if (!err && !cached) {
		err = add_cached(rules, directory, &cached);
		if (!err)
			err = sops_config_find(path, problem, &cached->config);
	}
	if (!err)
		*ret_config = cached->config;
	return err;
}

static enum err find_on_disk(struct guard_rules *rules, const char *path, struct problem *problem,
                             const char **ret_place)
{
	CLEANUP(freep) char *absolute = NULL;
	char joined[2 * PATH_MAX];
	struct sops_config *config;
	enum err err;

	(void)snprintf(joined, sizeof(joined), "%s%s%s", rules->objects ? rules->top : "",
	               rules->objects ? "/" : "", path);
	err = sops_config_absolute(joined, &absolute);
	if (!err)
		err = config_of(rules, absolute, problem, &config);
	if (err || !config)
		return err ? err : ERR_NO_MATCH;
	*ret_place = config->path;
	err = choose(rules, &config->rules, sops_config_relative(config->path, absolute));
	if (err && err != ERR_NO_MATCH)
		return problem_set(problem, err == ERR_BUSY ? ERR_BAD_FILE : err, "%s: %s", config->path,
		                   config->rules.document.reason);
	return err;
}

static bool is_rules_file(const char *path)
{
	return strcmp(path_name(path), SOPS_RULES_NAME) == 0;
}

/* An object that was pushed by itself is in no tree. */
static bool has_tree(const struct guard_rules *rules)
{
	return rules->objects && *rules->tree;
}

static enum err check_length(const char *path, struct problem *problem)
{
	size_t len = strlen(path);

	if (len + sizeof(SOPS_RULES_NAME) < PLACE_MAX)
		return OK;
	(void)problem_set(problem, ERR_USAGE,
	                  "%.64s...: a path of %zu bytes is too long for rules to be found", path, len);
	problem_hint(problem, "git mv   gives it a shorter one");
	return ERR_USAGE;
}

/* Nothing covers it; but when it cannot be read, nobody gets any further with a file below it. */
static enum err check_rules_file(struct guard_rules *rules, const char *path, struct problem *problem)
{
	struct cached *cached = NULL;
	enum err err;

	if (!has_tree(rules))
		return OK;
	err = look_up(rules, path, problem, &cached);
	if (err || !cached->text)
		return err;
	err = choose(rules, &cached->rules, SOPS_RULES_NAME);
	return err && err != ERR_NO_MATCH ? complain(cached, err, problem) : OK;
}

/* A rule whose path_regex is misspelt covers nothing here, and hides those behind it. */
static void warn_once(struct guard_rules *rules, const char *place)
{
	if (!rules->rule.unknown.data || rules->warned)
		return;
	rules->warned = true;
	sops_config_warn(place, &rules->rule);
}

enum err guard_rules_find(struct guard_rules *rules, const char *path, struct problem *problem,
                          const struct sops_creation_rule **ret_rule, const char **ret_place)
{
	const char *named = getenv("SOPS_CONFIG");
	enum err err = has_tree(rules) ? check_length(path, problem) : OK;

	*ret_rule = NULL;
	*ret_place = NULL;
	rules->rule = (struct sops_creation_rule){ .line = 0 };
	if (err)
		return err;
	if (is_rules_file(path))
		return check_rules_file(rules, path, problem);
	err = ERR_NO_FILE;
	if (has_tree(rules) && !(rules->top && named && *named))
		err = find_in_tree(rules, path, problem, ret_place);
	if (err == ERR_NO_FILE && !rules->top)
		return OK;
	if (err == ERR_NO_FILE)
		err = find_on_disk(rules, path, problem, ret_place);
	if (*ret_place)
		warn_once(rules, *ret_place);
	if (!err)
		*ret_rule = &rules->rule;
	return err == ERR_NO_MATCH ? OK : err;
}
