/*
 * tokenctl updatekeys
 *
 * Makes the recipients of a SOPS file those that .sops.yaml names for it. The data key and so the values stay; entries that are there and still wanted stay, also those of kinds that tokend has no keys of.
 * Who would come and go is found without any key, first; only a file that has to be changed is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/facts.h"
#include "cli/identity_file.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/sops_config.h"
#include "cli/sops_examine.h"
#include "cli/sops_file.h"
#include "cli/sops_recipients.h"
#include "cli/sops_store.h"
#include "cli/tree.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "common/file.h"
#include "common/path.h"
#include "formats/sops_block.h"

struct update {
	struct invocation *invocation; /* borrowed */
	bool walks, looks, rotates; /* -r, --dry-run, --rotate */
	size_t found; /* SOPS files, with -r */
	size_t files; /* that there is a rule for, and nothing failed */
	size_t stale; /* of them, that have other recipients; changed, unless it only looks */
	size_t ruleless, failed;
	enum err first; /* of those that failed */
	struct problem told; /* the last one */
	const struct tree_place *place; /* of the file that is looked at; NULL: standard input */
	int opened; /* the same, open; -1 */
	char warned[PATH_MAX]; /* the .sops.yaml whose settings were warned of last */
};

/* ---- who comes and goes ---- */

struct difference {
	const char *path, *mark; /* borrowed, as the tree */
	json_t *other;
	bool groups; /* there are some, before or now */
	size_t gone; /* of those that are said, who is in no group of the other tree */
};

static void print_recipient(void *context, const struct sops_tree_recipient *recipient)
{
	struct difference *difference = context;
	bool age = strcmp(recipient->kind, "age") == 0;
	char group[32] = "";

	if (sops_recipients_has(difference->other, recipient, false))
		return;
	if (difference->groups)
		(void)snprintf(group, sizeof(group), " (group %zu)", recipient->group + 1);
	shown_line(stdout, "%s: %s %s%s%s%s", difference->path, difference->mark, age ? "" : recipient->kind,
	           age ? "" : " ", recipient->name, group);
	difference->gone += !sops_recipients_has(difference->other, recipient, true);
}

/* Who goes and who comes. Returns how many have gone for good. */
static size_t print_difference(const char *path, json_t *before, json_t *now)
{
	size_t old_threshold, threshold;
	size_t old_count = sops_recipients_groups(before, &old_threshold);
	size_t count = sops_recipients_groups(now, &threshold);
	bool groups = old_count > 1 || count > 1;
	struct difference gone = { .path = path, .mark = "-", .other = now, .groups = groups };
	struct difference come = { .path = path, .mark = "+", .other = before, .groups = groups };

	sops_recipients_each(before, print_recipient, &gone);
	sops_recipients_each(now, print_recipient, &come);
	if (groups && (old_count != count || old_threshold != threshold))
		shown_line(stdout, "%s: it takes %zu of %zu groups now, %zu of %zu before", path, threshold,
		           count, old_threshold, old_count);
	return gone.gone;
}

static void note_gone(void *context, const struct sops_tree_recipient *recipient)
{
	struct difference *difference = context;

	difference->gone += !sops_recipients_has(difference->other, recipient, true);
}

static bool has_gone(json_t *before, json_t *now)
{
	struct difference gone = { .other = now };

	sops_recipients_each(before, note_gone, &gone);
	return gone.gone > 0;
}

/* The recipients that the invocation's identities, or else the keys that one may see, are known by. */
static enum err find_own(struct invocation *invocation, struct recipients *own)
{
	struct identities identities = { .leave_plugins = true };
	struct problem unsaid = { 0 };
	CLEANUP(json_decrefp) json_t *keys = NULL;
	size_t cursor = 0, i;
	const char *path;
	json_t *key;
	enum err err = OK;

	while (!err && (path = options_next(&invocation->options, "identity", &cursor)))
		err = identities_read(path, &unsaid, &identities);
	for (i = 0; !err && i < identities.count; i++)
		err = recipients_add_identity(&identities.items[i], &unsaid, own);
	if (identities.plugins_left)
		err = ERR_UNSUPPORTED;
	identities_done(&identities);
	if (err || options_given(&invocation->options, "identity"))
		return err;
	err = keys_get(&invocation->daemon, NULL, &unsaid, &keys);
	json_array_foreach(keys, i, key)
	{
		const char *recipient = json_string_member(key, "recipient");

		if (!err && recipient)
			err = recipients_add(recipient, &unsaid, own);
	}
	return err;
}

/* Where anything is not certain, yes. */
static bool is_for_any_of(json_t *tree, const struct recipients *own)
{
	size_t i;
	json_t *entry;

	if (json_object_get(tree, "key_groups"))
		return true;
	json_array_foreach(json_object_get(tree, "age"), i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "recipient"));
		struct recipient recipient = { .passphrase = NULL };
		struct bytes ignored;

		if (!name || recipient_parse(bytes_of_string(name), &recipient, &ignored))
			continue;
		for (size_t k = 0; k < own->count; k++)
			if (own->items[k].kind == recipient.kind &&
			    memcmp(own->items[k].public_key, recipient.public_key,
			           sizeof(recipient.public_key)) == 0)
				return true;
	}
	return false;
}

/* Who was taken out knows the data key still; and it may be whoever did it. */
static void tell_removed(const struct update *update, json_t *tree, const char *path)
{
	struct recipients own = { .count = 0 };
	char quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];

	shown_quote(path, quoted);
	shown_quote_pathspec(path, pathspec);
	if (update->rotates)
		shown_line(stderr,
		           "%s: its data key is a new one, for who was taken out may have kept the old",
		           path);
	else
		shown_line(
		        stderr,
		        "who was taken out may have kept the data key; type: tokenctl rotate --data-key %s",
		        quoted);
	if (find_own(update->invocation, &own) == OK && own.count && !is_for_any_of(tree, &own))
		shown_line(stderr,
		           "warning: %s is for none of your keys any more; to take that back type: git "
		           "checkout HEAD -- %s",
		           path, pathspec);
	recipients_done(&own);
}

/* ---- one file ---- */

/* Any key will do where nothing is written: who would come and go is not secret, and nobody has to be asked for one. */
static enum err compare(const struct update *update, struct sops_store *store,
                        const struct sops_creation_rule *rule, bool *ret_changed)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(json_decrefp) json_t *tree = NULL;
	CLEANUP(json_decrefp) json_t *before = NULL;
	enum err err = sops_block_read(&store->document, &tree);

	before = err ? NULL : json_deep_copy(tree);
	if (!err)
		err = sops_data_key_new(&key);
	if (err)
		return err;
	err = sops_recipients_follow(tree, rule, key, store->path, &update->invocation->problem, ret_changed);
	if (!err && *ret_changed && update->looks)
		(void)print_difference(store->path, before, tree);
	return err;
}

/* Looks before it opens anything: a file whose recipients stay takes no key, no PIN and no record of the audit log. */
static enum err is_stale(const struct update *update, const char *path, const struct sops_creation_rule *rule,
                         bool *ret_stale)
{
	struct sops_store store;
	enum err err = sops_store_look_at(&store, update->invocation, path, update->place);

	if (!err)
		err = compare(update, &store, rule, ret_stale);
	sops_store_done(&store);
	return err;
}

/* Each entry is made for the new key, also of who stays. */
static enum err renew(struct sops_store *store, json_t *tree, const struct sops_creation_rule *rule,
                      struct sops_change *change, struct secret **ret_key)
{
	enum err err = sops_data_key_new(ret_key);

	if (err)
		return err;
	change->data_key = *ret_key;
	return sops_recipients_renew(tree, rule->threshold, *ret_key, store->path,
	                             &store->opener.invocation->problem);
}

static enum err follow(const struct update *update, struct sops_store *store,
                       const struct sops_creation_rule *rule)
{
	struct problem *problem = &update->invocation->problem;
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(json_decrefp) json_t *tree = NULL;
	CLEANUP(json_decrefp) json_t *before = NULL;
	struct sops_change change = { .plain = buf_bytes(store->plain) };
	bool changed = false, saved;
	enum err err = sops_block_read(&store->document, &tree);

	before = err ? NULL : json_deep_copy(tree);
	if (!err)
		err = sops_recipients_follow(tree, rule, store->data_key, store->path, problem, &changed);
	if (!err && update->rotates && has_gone(before, tree))
		err = renew(store, tree, rule, &change, &key);
	if (err || !changed)
		return err;
	change.metadata = tree;
	err = sops_store_save(store, &change, &saved);
	if (!err && print_difference(store->path, before, tree))
		tell_removed(update, tree, store->path);
	return err;
}

static enum err change_file(const struct update *update, const char *path,
                            const struct sops_creation_rule *rule)
{
	struct sops_store store = { .path = NULL };
	enum err err = sops_store_open_to_change_at(&store, update->invocation, path, update->place);

	if (!err)
		err = follow(update, &store, rule);
	sops_store_done(&store);
	return err;
}

/* A file that is not there is that, and nothing of its rules. */
static enum err refuse_without_rules(const char *path, struct problem *problem)
{
	CLEANUP(input_closep) int file = -1;
	enum err err = input_open_found(path, problem, &file);

	if (err)
		return err;
	(void)problem_set(problem, ERR_NO_FILE, "there is no .sops.yaml for %s", path);
	problem_hint(problem, "echo \"creation_rules: [{age: '$(tokenctl recipient --comma)'}]\" > "
	                      ".sops.yaml   names your keys");
	return ERR_NO_FILE;
}

/* Once for each .sops.yaml, and not for each file below it. */
static void warn_once(struct update *update, const struct sops_config *config,
                      const struct sops_creation_rule *rule)
{
	if (strcmp(update->warned, config->path) == 0)
		return;
	(void)snprintf(update->warned, sizeof(update->warned), "%s", config->path);
	sops_config_warn(config->path, rule);
}

/* With a rule, whichever it is: changes the file, or looks at it. */
static enum err update_ruled(struct update *update, const char *path, const struct sops_creation_rule *rule)
{
	bool stale = false;
	enum err err = is_stale(update, path, rule, &stale);

	if (!err && !stale && !update->walks)
		shown_line(stdout, "%s has these recipients already", path);
	if (!err && stale && !update->looks)
		err = change_file(update, path, rule);
	update->stale += !err && stale;
	update->files += !err;
	return err;
}

/* ret_ruled: is there a rule for it? */
static enum err update_file(struct update *update, const char *path, bool *ret_ruled)
{
	struct problem *problem = &update->invocation->problem;
	CLEANUP(sops_config_freep) struct sops_config *config = NULL;
	struct sops_creation_rule rule;
	enum err err = sops_config_find_at(update->place, path, problem, &config);

	*ret_ruled = err || config;
	if (!err && !config)
		return refuse_without_rules(path, problem);
	if (!err)
		err = sops_config_choose_opened(config, path, update->opened, problem, &rule);
	*ret_ruled = *ret_ruled && err != ERR_NO_MATCH;
	if (err)
		return err;
	warn_once(update, config, &rule);
	return update_ruled(update, path, &rule);
}

/* ---- a tree ---- */

static enum err pass_over(void *context, enum sops_finding finding, size_t line, const char *what)
{
	(void)context;
	(void)finding;
	(void)line;
	(void)what;
	return OK;
}

/* Asked of every file, so the quick answer first. What is too large for one is none. */
static enum err is_sops_file(const struct update *update, const char *path, bool *ret_is)
{
	struct problem *problem = &update->invocation->problem;
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct sops_examination examination;
	enum err err = sops_text_read_at(update->place, path, problem, &text);

	*ret_is = false;
	if (err == ERR_BAD_FILE)
		return OK;
	if (err || !sops_file_is_likely(buf_bytes(text)))
		return err;
	err = sops_examine(path, NULL, buf_bytes(text), pass_over, NULL, &examination);
	if (err == ERR_UNSUPPORTED)
		return problem_set(problem, err, "%s: YAML needs libfyaml, and patterns need libpcre2", path);
	*ret_is = !err && examination.verdict != SOPS_IS_NONE;
	return err;
}

/* The reason that is the same for all, as a daemon that is not there, is said once. */
static void tell_failure(struct update *update, const char *path, enum err err)
{
	struct problem *problem = &update->invocation->problem;
	struct problem named = *problem;

	if (!strstr(problem->message, path))
		(void)problem_set(&named, err, "%s: %.512s", path, problem_text(problem, err));
	problem_hint(&named, "%s", problem->hint);
	if (strcmp(update->told.message, problem->message) == 0 && problem->message[0])
		shown_line(stderr, "tokenctl: %s: the same", path);
	else
		problem_print(&named, err, "tokenctl");
	update->told = *problem;
	update->first = update->failed++ ? update->first : err;
}

/* One that no rule is for stays readable by whoever was taken out of all others, so it is named. */
static void update_found(struct update *update, const char *path)
{
	struct problem *problem = &update->invocation->problem;
	bool is_sops, ruled = true;
	enum err err = is_sops_file(update, path, &is_sops);

	if (!err && !is_sops)
		return;
	update->found++;
	if (!err)
		err = update_file(update, path, &ruled);
	if (!ruled) {
		shown_line(stderr, "tokenctl: %s was passed over: no rule of a .sops.yaml is for it", path);
		update->ruleless++;
	} else if (err) {
		tell_failure(update, path, err);
	}
	*problem = (struct problem){ 0 };
}

/* What is looked at, whatever has its name later: rules are for what is open. A pipe is not waited for. */
static enum err open_place(struct update *update, const struct tree_place *place, const char *path)
{
	struct problem *problem = &update->invocation->problem;
	CLEANUP(close_fdp) int fd = -1;
	struct stat status;

	if (tree_place_read(place, &fd) || fstat(fd, &status) < 0)
		return problem_errno(problem, errno, "cannot open", path);
	if (!S_ISREG(status.st_mode))
		return input_refuse_special(path, problem);
	update->opened = TAKE_FD(fd);
	update->place = place;
	return OK;
}

static void close_place(struct update *update, struct tree_place *place)
{
	close_fdp(&update->opened);
	update->opened = -1;
	update->place = NULL;
	close_fdp(&place->directory);
}

/* From here on its directory is the one that was listed, whoever gives that name to another. */
static void update_listed(struct update *update, const struct tree *tree, const char *relative,
                          const char *path)
{
	struct problem *problem = &update->invocation->problem;
	struct tree_place place = { .directory = -1 };
	enum err err = OK;

	*problem = (struct problem){ 0 };
	if (tree_place_open(tree->root, relative, &place))
		err = problem_errno(problem, errno, "cannot open the directory of", path);
	if (!err)
		err = open_place(update, &place, path);
	if (!err) {
		update_found(update, path);
	} else {
		update->found++;
		tell_failure(update, path, err);
	}
	close_place(update, &place);
}

static enum err update_tree(struct update *update, const char *directory)
{
	struct tree tree = { .root = -1 };
	bool here = strcmp(directory, ".") == 0;
	char path[2 * PATH_MAX];
	enum err err = tree_list(directory, NULL, &update->invocation->problem, &tree);

	for (size_t i = 0; !err && i < tree.count; i++) {
		(void)snprintf(path, sizeof(path), "%s%s%s", here ? "" : directory, here ? "" : "/",
		               tree.files[i]);
		update_listed(update, &tree, tree.files[i], path);
	}
	tree_done(&tree);
	return err;
}

/* ---- the verb ---- */

static const char *typed_options(const struct update *update)
{
	return update->walks && update->rotates ? "-r --rotate "
	       : update->walks                  ? "-r "
	       : update->rotates                ? "--rotate "
	                                        : "";
}

static enum err refuse_stale(const struct update *update)
{
	const struct options *options = &update->invocation->options;
	struct problem *problem = &update->invocation->problem;
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(options->argument_count == 1 ? options->arguments[0]
	            : update->walks              ? "DIR"
	                                         : "FILE",
	            quoted);
	(void)problem_set(problem, ERR_DENIED,
	                  "%zu of %zu SOPS file%s %s other recipients than .sops.yaml names", update->stale,
	                  update->files, PLURAL(update->files), update->stale == 1 ? "has" : "have");
	problem_hint(problem, "tokenctl updatekeys %s%s   changes that", typed_options(update), quoted);
	return ERR_DENIED;
}

static enum err refuse_nothing(const struct update *update)
{
	struct problem *problem = &update->invocation->problem;
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_NO_FILE, "there is no SOPS file in %s",
	                  update->invocation->options.arguments[0]);
	shown_quote(update->invocation->options.arguments[0], quoted);
	problem_hint(problem, "ls -lR %s", quoted);
	return ERR_NO_FILE;
}

static enum err conclude(const struct update *update)
{
	struct problem *problem = &update->invocation->problem;

	if (update->failed) {
		(void)problem_set(problem, update->first, "%zu of %zu SOPS files failed", update->failed,
		                  update->found);
		problem_hint(problem, "tokenctl updatekeys FILE   takes one of them alone");
		return update->first;
	}
	if (update->looks && update->stale)
		return refuse_stale(update);
	if (!update->walks)
		return OK;
	if (!update->found)
		return refuse_nothing(update);
	shown_line(stderr, "%zu SOPS file%s: %zu %s, %zu with these recipients already, %zu under no rule",
	           update->found, PLURAL(update->found), update->stale,
	           update->looks ? "to change" : "changed", update->files - update->stale, update->ruleless);
	return OK;
}

/* No link: the file of that name in the directory that has its name now. */
static enum err update_here(struct update *update, const char *path)
{
	struct problem *problem = &update->invocation->problem;
	struct tree_place place = { .directory = -1, .name = path_name(path) };
	bool ruled;
	enum err err = output_open_directory_of(path, problem, &place.directory);

	if (err)
		return err;
	err = open_place(update, &place, path);
	if (!err)
		err = update_file(update, path, &ruled);
	close_place(update, &place);
	return err;
}

/* The file that it leads to, under the rules of where that is. */
static enum err update_led(struct update *update, const char *path, const struct stat *link)
{
	struct problem *problem = &update->invocation->problem;
	CLEANUP(freep) char *real = realpath(path, NULL);
	char quoted[SHOWN_QUOTED_MAX];

	if (!real)
		return problem_errno(problem, errno, "cannot open", path);
	if (file_is_ours(link, 0))
		return update_here(update, real);
	(void)problem_set(problem, ERR_FILE_ACCESS,
	                  "%s is somebody else's link, so what it leads to is not changed", path);
	shown_quote(path, quoted);
	problem_hint(problem, "ls -l %s", quoted);
	return ERR_FILE_ACCESS;
}

static enum err update_named(struct update *update, const char *path)
{
	struct problem *problem = &update->invocation->problem;
	char quoted[SHOWN_QUOTED_MAX];
	struct stat status, link;
	bool ruled;

	if (strcmp(path, "-") == 0)
		return update_file(update, path, &ruled);
	if (stat(path, &status) < 0 || !S_ISDIR(status.st_mode))
		return lstat(path, &link) == 0 && S_ISLNK(link.st_mode) ? update_led(update, path, &link)
		                                                        : update_here(update, path);
	shown_quote(path, quoted);
	(void)problem_set(problem, ERR_USAGE, "%s is a directory", path);
	problem_hint(problem, "tokenctl updatekeys -r %s   takes every SOPS file below it", quoted);
	return ERR_USAGE;
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	CLEANUP(freep) struct update *update = calloc(1, sizeof(*update));
	enum err err = update ? OK : ERR_NOMEM;

	if (err)
		return err;
	update->invocation = invocation;
	update->opened = -1;
	update->walks = options_given(options, "recursive");
	update->looks = options_given(options, "dry-run");
	update->rotates = options_given(options, "rotate");
	for (size_t i = 0; !err && i < options->argument_count; i++)
		err = update->walks ? update_tree(update, options->arguments[i])
		                    : update_named(update, options->arguments[i]);
	return err ? err : conclude(update);
}

static const struct option_row rows[] = {
	{ 'r', "recursive", NULL, "every SOPS file below a directory that .sops.yaml has a rule for", false },
	{ 0, "dry-run", NULL, "only says who would come and go; needs no key", false },
	{ 0, "rotate", NULL, "also a new data key, in each file that somebody is taken out of", false },
	FILE_OPENER_IDENTITY,
	SOPS_INPUT_TYPE,
	OPTIONS_END,
};

const struct verb updatekeys_verb = {
	.name = "updatekeys",
	.arguments = "FILE...|DIR...",
	.arguments_min = 1,
	.arguments_max = 65536,
	.summary = "Makes a SOPS file's recipients those that .sops.yaml names",
	.details =
	        "Whoever comes (+) and goes (-) is said. Without --rotate the data key stays, and with it "
	        "all "
	        "values; who\n"
	        "was taken out may have kept it. Of several files the first that cannot be done ends it; "
	        "with "
	        "-r the\n"
	        "others are done all the same, and a SOPS file that no rule is for is named. With --dry-run "
	        "the exit\n"
	        "code is 3 when a file has other recipients than its rule names.\n"
	        "New recipients are age's; others stay where .sops.yaml still names them.",
	.example = "  tokenctl updatekeys secrets.yaml\n"
	           "  tokenctl updatekeys -r --dry-run .",
	.options = rows,
	.run = run,
};
