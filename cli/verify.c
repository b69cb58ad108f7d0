/* tokenctl verify */
#include <stdlib.h>
#include <string.h>

#include "cli/file_decrypt.h"
#include "cli/findings.h"
#include "cli/guard_look.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/sops_file.h"
#include "cli/sops_store.h"
#include "cli/sops_examine.h"
#include "cli/verbs.h"

struct verifying {
	struct invocation *invocation; /* borrowed, as what follows */
	const char *name;
	struct findings findings;
	size_t failed; /* files */
	size_t foreign; /* those of them that are no SOPS files at all, and can become some */
	size_t empty, keys; /* those that are nothing, and those that are keys */
	size_t conflicts; /* those of them that have git's marks */
	struct file_opener *opener; /* borrowed; NULL: without keys */
};

/* Stable words for --json. */
static const char *kind_of(enum sops_finding finding)
{
	static const char *const kinds[] = {
		[SOPS_FOUND_CLEAR] = "clear-value",         [SOPS_FOUND_ENCRYPTED] = "encrypted-value",
		[SOPS_FOUND_MALFORMED] = "malformed-value", [SOPS_FOUND_COMMENT] = "clear-comment",
		[SOPS_FOUND_METADATA] = "metadata",
	};

	return kinds[finding];
}

static enum err keep(void *context, enum sops_finding finding, size_t line, const char *what)
{
	struct verifying *verifying = context;

	return findings_add(&verifying->findings, verifying->name, line, kind_of(finding),
	                    finding == SOPS_FOUND_COMMENT, what, "");
}

/* With git's marks in it the line that was not understood says little. */
static enum err keep_broken(struct verifying *verifying, const char *path, struct bytes text,
                            const char *reason)
{
	struct problem marks = { 0 };
	struct sops_request request = { .name = verifying->name,
		                        .path = input_name(path) == path ? path : NULL,
		                        .problem = &marks };
	enum err err = sops_file_explain_marks(&request, text, ERR_BAD_FILE);

	if (err != ERR_BAD_FILE || !marks.message[0])
		return findings_add(&verifying->findings, verifying->name, 0, "broken", false, reason, "");
	verifying->conflicts++;
	return findings_add(&verifying->findings, verifying->name, 0, "conflict", false,
	                    marks.message + strlen(verifying->name) + strlen(": "), marks.hint);
}

/* No SOPS file. What cannot become one, or is lost when it does, is no advice to make one of. */
static enum err keep_foreign(struct verifying *verifying, struct bytes text)
{
	const char *what = "this is no SOPS file";

	if (text.len == 0) {
		what = "this file is empty";
		verifying->empty++;
	} else if (guard_is_identity_file(text)) {
		what = "this is a file of age keys, and no SOPS file";
		verifying->keys++;
	} else {
		verifying->foreign++;
	}
	return findings_add(&verifying->findings, verifying->name, 0, "not-sops", false, what, "");
}

static enum err verify_text(struct verifying *verifying, const char *path, const enum sops_format *format,
                            struct bytes text)
{
	struct sops_examination examination;
	size_t before = verifying->findings.refused;
	enum err err = sops_examine(input_name(path) == path ? path : NULL, format, text, keep, verifying,
	                            &examination);

	if (err == ERR_UNSUPPORTED)
		return problem_set(&verifying->invocation->problem, err,
		                   "%s: YAML needs libfyaml, and patterns need libpcre2", verifying->name);
	if (!err && examination.verdict == SOPS_IS_NONE && sops_file_has_value(text)) {
		verifying->failed++;
		return findings_add(&verifying->findings, verifying->name, 0, "broken", false,
		                    "it holds values that SOPS encrypted, and no sops metadata, without "
		                    "which they cannot be opened",
		                    "");
	}
	if (!err && examination.verdict == SOPS_IS_NONE)
		err = keep_foreign(verifying, text);
	if (!err && examination.verdict == SOPS_IS_BROKEN)
		err = keep_broken(verifying, path, text, examination.reason);
	verifying->failed += !err && verifying->findings.refused > before;
	return err;
}

/* What was to be said of the file becomes a finding, and the work goes on. */
static enum err find_problem(struct verifying *verifying, const char *kind)
{
	struct problem *problem = &verifying->invocation->problem;
	const char *what = problem->message;
	enum err err;

	verifying->failed++;
	/* The sentence begins with the name, which is printed before it anyhow. */
	if (strncmp(what, verifying->name, strlen(verifying->name)) == 0)
		what += strlen(verifying->name);
	what += strspn(what, ": ");
	err = findings_add(&verifying->findings, verifying->name, 0, kind, false, what, "");
	*problem = (struct problem){ 0 };
	return err;
}

/* What the key tells: a file that was changed is a finding; that no key opens it says nothing of it, and ends the work. */
static enum err open_file(struct verifying *verifying, const char *path)
{
	struct file_decryption decryption = {
		.opener = verifying->opener,
		.path = input_name(path) == path ? path : NULL,
		.input_type = options_value(&verifying->invocation->options, "input-type"),
		.sink = output_discard,
	};
	CLEANUP(input_closep) int fd = -1;
	enum err err = input_open(path, &verifying->invocation->problem, &fd);

	verifying->opener->name = verifying->name;
	if (!err)
		err = file_decrypt(&decryption, fd);
	if (err != ERR_BAD_CIPHERTEXT && err != ERR_BAD_FILE && err != ERR_TRUNCATED)
		return err;
	return find_problem(verifying, "changed");
}

static enum err verify_file(struct verifying *verifying, const char *path, const enum sops_format *format)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	size_t failed;
	enum err err;

	verifying->name = input_name(path);
	findings_begin_file(&verifying->findings);
	failed = verifying->failed;
	err = input_refuse_pipe(path, &verifying->invocation->problem);
	if (!err)
		err = sops_text_read(path, &verifying->invocation->problem, &text);
	/* Of several the others are looked at all the same. */
	if (err && err != ERR_NOMEM && verifying->invocation->options.argument_count > 1)
		return find_problem(verifying, "unread");
	if (!err)
		err = verify_text(verifying, path, format, buf_bytes(text));
	return err || !verifying->opener || verifying->failed > failed ? err : open_file(verifying, path);
}

static enum err choose_format(struct invocation *invocation, enum sops_format *format, bool *ret_given)
{
	const char *word = options_value(&invocation->options, "input-type");

	*ret_given = word != NULL;
	if (!word || sops_format_parse(word, format) == OK)
		return OK;
	(void)problem_set(&invocation->problem, ERR_USAGE, "there is no type %s", word);
	problem_hint(&invocation->problem, "the types are yaml, json, dotenv, ini and binary");
	return ERR_USAGE;
}

static enum err conclude(struct verifying *verifying)
{
	const struct options *options = &verifying->invocation->options;
	struct problem *problem = &verifying->invocation->problem;
	const char *path = options->argument_count == 1 ? options->arguments[0] : "FILE";
	char name[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];

	shown_quote(path, name);
	shown_quote_pathspec(path, pathspec);
	if (!verifying->failed)
		return OK;
	if (options->argument_count == 1)
		(void)problem_set(problem, ERR_BAD_FILE, "%s is not as its rules say", options->arguments[0]);
	else
		(void)problem_set(problem, ERR_BAD_FILE, "%zu of %zu files are not as their rules say",
		                  verifying->failed, options->argument_count);
	if (verifying->foreign == verifying->failed)
		problem_hint(problem,
		             "tokenctl encrypt --sops --key NAME --in-place %s   makes a SOPS file of it",
		             name);
	else if (verifying->keys == verifying->failed)
		problem_hint(
		        problem,
		        "tokenctl enroll --name NAME --kind x25519 --import %s   has a token keep the key",
		        name);
	else if (verifying->empty + verifying->keys == verifying->failed)
		problem_hint(problem, "tokenctl verify --help");
	else if (verifying->conflicts == verifying->failed)
		problem_hint(problem, "git checkout -m %s   makes the conflict again, as a merge of values",
		             pathspec);
	else
		problem_hint(
		        problem,
		        "git diff HEAD -- %s   shows what changed; git checkout HEAD -- %s takes it back, "
		        "and tokenctl set %s PATH puts a value in encrypted",
		        pathspec, pathspec, name);
	return ERR_BAD_FILE;
}

static enum err check_usage(const struct invocation *invocation, struct problem *problem)
{
	const struct options *options = &invocation->options;

	if (options_given(options, "identity") && !options_given(options, "decrypt"))
		return problem_set(problem, ERR_USAGE, "-i goes with --decrypt");
	for (size_t i = 0; options_given(options, "decrypt") && i < options->argument_count; i++)
		if (input_name(options->arguments[i]) != options->arguments[i])
			return problem_set(problem, ERR_USAGE,
			                   "--decrypt reads a file twice, which standard input is not");
	return OK;
}

static enum err verify_all(struct verifying *verifying)
{
	const struct options *options = &verifying->invocation->options;
	enum sops_format format = SOPS_YAML;
	bool given;
	enum err err = choose_format(verifying->invocation, &format, &given), printed;

	for (size_t i = 0; !err && i < options->argument_count; i++)
		err = verify_file(verifying, options->arguments[i], given ? &format : NULL);
	printed = findings_print(&verifying->findings, options_given(options, "json"));
	if (err)
		return err;
	return printed ? printed : conclude(verifying);
}

static enum err run(struct invocation *invocation)
{
	struct verifying verifying = { .invocation = invocation };
	struct file_opener opener;
	enum err err = check_usage(invocation, &invocation->problem);

	if (err)
		return err;
	if (options_given(&invocation->options, "decrypt")) {
		err = file_opener_init(&opener, invocation);
		verifying.opener = &opener;
	}
	if (!err)
		err = verify_all(&verifying);
	if (verifying.opener)
		file_opener_done(&opener);
	findings_done(&verifying.findings);
	return err;
}

static const struct option_row rows[] = {
	{ 0, "decrypt", NULL, "also opens every value, and checks the MAC; needs the key", false },
	{ 'i', "identity", "FILE", "with --decrypt: an identity file", true },
	{ 0, "input-type", "yaml|json|dotenv|ini|binary", "of the files, whatever their names", false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb verify_verb = {
	.name = "verify",
	.arguments = "FILE...",
	.arguments_min = 1,
	.arguments_max = SIZE_MAX,
	.summary = "Checks SOPS files without any key",
	.details = "Can the file be read, is its metadata whole, is every value encrypted that its own rule "
	           "covers,\n"
	           "and is none encrypted that the rule leaves clear? What is wrong is listed with its line. "
	           "A comment\n"
	           "in the clear is only mentioned, for sops accepts it. Whether values were changed or "
	           "moved only the\n"
	           "MAC tells, which needs the key: tokenctl decrypt FILE >/dev/null",
	.example = "  tokenctl verify secrets/*.yaml\n"
	           "  tokenctl verify --decrypt -i keys.txt .env.encrypted",
	.options = rows,
	.run = run,
};
