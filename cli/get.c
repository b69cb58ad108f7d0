/*
 * tokenctl get
 *
 * One value of a SOPS file. Only it is decrypted, so the MAC over all of them is not looked at, which is said; --verify decrypts all.
 */
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/shown.h"
#include "cli/sops_names.h"
#include "cli/sops_source.h"
#include "cli/verbs.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_path.h"
#include "formats/sops_write.h"

struct wanted {
	uint32_t index;
	enum sops_type type;
	struct buf *plain; /* borrowed */
};

static enum err keep(void *context, uint32_t index, enum sops_type type, struct bytes text)
{
	struct wanted *wanted = context;

	if (index != wanted->index)
		return OK;
	wanted->type = type;
	return buf_put(wanted->plain, text);
}

/* Names what is in it, for whoever has to go on typing. */
static enum err explain_container(struct sops_source *source, const char *path, uint32_t index)
{
	struct problem *problem = source->request.problem;
	bool is_list = source->document.nodes[index].kind == SOPS_LIST;
	char names[512];

	(void)problem_set(problem, ERR_USAGE, "%s is no single value in %s, but a %s", path,
	                  source->request.name, is_list ? "list" : "map");
	sops_names_list(&source->document, index, names, sizeof(names));
	problem_hint(problem, "in it %s: %s", is_list ? "stand" : "are", names[0] ? names : "no values");
	return ERR_USAGE;
}

static enum err find(struct sops_source *source, const char *path, uint32_t *ret_index)
{
	struct problem *problem = source->request.problem;
	struct sops_path parsed;

	if (sops_path_parse(bytes_of_string(path), &parsed)) {
		(void)problem_set(problem, ERR_USAGE, "\"%s\" is no path to a value", path);
		problem_hint(problem, "a path is db.pass, or as sops has it [\"db\"][\"pass\"][0]");
		return ERR_USAGE;
	}
	if (sops_path_find(&source->document, &parsed, parsed.count, ret_index) == OK)
		return OK;
	(void)problem_set(problem, ERR_USAGE, "there is no %s in %s", path, source->request.name);
	sops_names_hint(&source->document, &parsed, source->request.path ? source->request.path : "FILE",
	                problem);
	return ERR_USAGE;
}

static enum err decrypt(struct sops_source *source, bool verify, struct wanted *wanted)
{
	enum err err;

	if (verify)
		err = sops_decrypt_values(&source->document, source->metadata, source->data_key, keep,
		                          wanted);
	else
		err = sops_decrypt_value(&source->document, source->metadata, source->data_key, wanted->index,
		                         &wanted->type, wanted->plain);
	return sops_source_explain(source, err);
}

/* As sops --extract: text as it is, numbers and booleans as the format writes them. A terminal gets a line end. */
static enum err print(const struct sops_source *source, const struct wanted *wanted, struct output *output)
{
	const struct sops_document *document = &source->document;
	bool typed = wanted->type == SOPS_TYPE_FLOAT || wanted->type == SOPS_TYPE_BOOLEAN;
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = buf_new(SOPS_FILE_MAX, &text);

	if (!err && typed)
		err = sops_value_write(document, &document->nodes[wanted->index], wanted->type,
		                       buf_bytes(wanted->plain), text);
	if (!err)
		err = output_write(output, buf_bytes(typed ? text : wanted->plain));
	if (!err && isatty(STDOUT_FILENO))
		err = output_write(output, bytes_of_string("\n"));
	return err ? err : output_commit(output);
}

/* Binary data is none for a terminal, and there is no -o here. */
static void hint_file(const struct sops_source *source, const char *path)
{
	char file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];

	shown_quote(source->request.path ? source->request.path : "-", file);
	shown_quote(path, quoted);
	problem_hint(source->request.problem, "tokenctl get %s %s > FILE   writes it to a file", file,
	             quoted);
}

static enum err get(struct sops_source *source, const char *path, bool verify)
{
	CLEANUP(buf_freep) struct buf *plain = NULL;
	CLEANUP(output_freep) struct output *output = NULL;
	struct wanted wanted = { .type = SOPS_TYPE_STRING };
	enum sops_kind kind;
	enum err err = find(source, path, &wanted.index);

	if (err)
		return err;
	kind = source->document.nodes[wanted.index].kind;
	if (kind == SOPS_MAP || kind == SOPS_LIST)
		return explain_container(source, path, wanted.index);
	err = buf_new(SOPS_FILE_MAX, &plain);
	wanted.plain = plain;
	if (!err && (kind != SOPS_NULL || verify))
		err = decrypt(source, verify, &wanted);
	if (!err && kind == SOPS_NULL)
		err = buf_put_string(plain, "null");
	if (!err)
		err = output_open(NULL, 0600, -1, source->request.problem, &output);
	if (!err && !verify)
		(void)fputs("tokenctl: only this value was decrypted, the MAC of the file was not checked "
		            "(--verify does)\n",
		            stderr);
	if (!err)
		err = print(source, &wanted, output);
	if (err == ERR_USAGE && isatty(STDOUT_FILENO))
		hint_file(source, path);
	return err;
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct file_opener opener;
	struct sops_source source = { .text = NULL };
	enum err err = file_opener_init(&opener, invocation);

	if (!err)
		err = sops_source_open(&opener, options->arguments[0], options_value(options, "input-type"),
		                       &source);
	if (!err)
		err = get(&source, options->arguments[1], options_given(options, "verify"));
	sops_source_close(&source);
	file_opener_done(&opener);
	return err;
}

static const struct option_row rows[] = {
	FILE_OPENER_IDENTITY,
	{ 0, "verify", NULL, "decrypts the whole file and checks its MAC first", false },
	SOPS_INPUT_TYPE,
	OPTIONS_END,
};

const struct verb get_verb = {
	.name = "get",
	.arguments = "FILE PATH",
	.arguments_min = 2,
	.arguments_max = 2,
	.summary = "Prints one value of a SOPS file",
	.details = "Only that value is decrypted; that it belongs to its place is checked, the MAC over the "
	           "whole "
	           "file\n"
	           "is not, unless --verify is given. PATH is db.pass, or as sops has it "
	           "'[\"db\"][\"pass\"]'; a "
	           "number is\n"
	           "a place in a list. Text is printed as it is, without a line end unless it is for a "
	           "terminal.",
	.example = "  tokenctl get secrets.enc.yaml db.pass\n"
	           "  tokenctl get --verify secrets.enc.yaml '[\"db\"][\"hosts\"][0]'",
	.options = rows,
	.run = run,
};
