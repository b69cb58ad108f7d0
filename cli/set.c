/*
 * tokenctl set
 *
 * One value of a SOPS file. It is read from standard input or a file, for what stands in an argument can be seen by every process of the machine and stays in the shell's history.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/shown.h"
#include "cli/sops_file.h"
#include "cli/sops_recipients.h"
#include "cli/sops_names.h"
#include "cli/sops_store.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "formats/sops_edit.h"
#include "formats/sops_expand.h"
#include "formats/text.h"

#define VALUE_MAX (1U << 20)

static enum err bad_json(struct problem *problem)
{
	(void)problem_set(problem, ERR_USAGE, "the value is no JSON");
	problem_hint(problem, "a text as JSON has quotes of its own: '\"text\"'");
	return ERR_USAGE;
}

/* Text is a string, without the line end that echo and editors put. */
static enum err value_of(struct bytes text, bool as_json, struct problem *problem, json_t **ret_value)
{
	if (as_json) {
		*ret_value =
		        json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		return *ret_value ? OK : bad_json(problem);
	}
	if (text.len && text.data[text.len - 1] == '\n')
		text.len -= text.len > 1 && text.data[text.len - 2] == '\r' ? 2 : 1;
	*ret_value = json_stringn(text.data ? (const char *)text.data : "", text.len);
	if (*ret_value)
		return OK;
	(void)problem_set(problem, ERR_USAGE, "the value is not UTF-8, and these files hold text");
	problem_hint(problem, "base64 -w0 FILE | tokenctl set ...   stores it as text");
	return ERR_USAGE;
}

/* A program before the pipe has failed, or nobody typed anything; an empty value in the place of a good one would be noticed too late. */
static enum err refuse_nothing(struct invocation *invocation, const char *what)
{
	char file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];

	shown_quote(invocation->options.arguments[0], file);
	shown_quote(invocation->options.arguments[1], quoted);
	(void)problem_set(&invocation->problem, ERR_USAGE, "%s", what);
	problem_hint(&invocation->problem, "echo | tokenctl set %s %s   sets an empty text", file, quoted);
	return ERR_USAGE;
}

static enum err ask_value(struct invocation *invocation, json_t **ret_value)
{
	bool as_json = options_given(&invocation->options, "json");
	struct problem *problem = &invocation->problem;
	CLEANUP(secret_freep) struct secret *typed = NULL;
	enum err err = terminal_read_secret(as_json ? "New value, as JSON: " : "New value: ", &typed);

	if (err == ERR_USAGE) {
		(void)problem_set(problem, err, "the line has more than %u bytes", TERMINAL_SECRET_MAX);
		problem_hint(problem, "--value-file FILE   reads a longer value");
		return err;
	}
	if (err == ERR_PIN_NEEDED && terminal_available())
		return refuse_nothing(invocation, "nothing was typed, and no value was changed");
	if (err)
		return problem_set(problem, err, "no value was given");
	return value_of(secret_reveal(typed), as_json, problem, ret_value);
}

static enum err read_value(struct invocation *invocation, json_t **ret_value)
{
	const char *path = options_value(&invocation->options, "value-file");
	struct problem *problem = &invocation->problem;
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(input_closep) int input = -1;
	enum err err = buf_new(VALUE_MAX, &text);

	if (!err)
		err = input_open(path, problem, &input);
	if (!err)
		err = input_read(input, path, text, problem);
	if (err == ERR_BUSY) {
		(void)problem_set(problem, ERR_USAGE, "the value has more than %u bytes", VALUE_MAX);
		problem_hint(problem,
		             "tokenctl encrypt --key NAME -o FILE.age FILE   makes a file of its own of it");
		return ERR_USAGE;
	}
	if (!err && buf_len(text) == 0)
		return refuse_nothing(invocation,
		                      input_name(path) == path
		                              ? "the file is empty, and no value was changed"
		                              : "nothing came on standard input, and no value was changed");
	return err ? err
	           : value_of(buf_bytes(text), options_given(&invocation->options, "json"), problem,
	                      ret_value);
}

static enum err find_value(struct invocation *invocation, json_t **ret_value)
{
	const struct options *options = &invocation->options;
	struct problem *problem = &invocation->problem;

	if (options->argument_count > 2 && options_given(options, "value-file"))
		return problem_set(problem, ERR_USAGE,
		                   "a value as an argument and --value-file exclude each other");
	if (options->argument_count > 2) {
		(void)fputs("tokenctl: a value in an argument can be seen by other processes and stays in "
		            "the shell's "
		            "history; standard input or --value-file does not show it\n",
		            stderr);
		return value_of(bytes_of_string(options->arguments[2]), true, problem, ret_value);
	}
	if (!options_given(options, "value-file") && isatty(STDIN_FILENO))
		return ask_value(invocation, ret_value);
	return read_value(invocation, ret_value);
}

/* The metadata is no value; the flat formats have it in names of their own. */
static bool is_metadata(const struct sops_store *store, const struct sops_path *path)
{
	struct bytes key = path->steps[0].key;

	if (bytes_equal(key, bytes_of_string("sops")))
		return true;
	return sops_format_is_flat(store->document.format) && bytes_begin_with(key, "sops_");
}

static enum err refuse_metadata(struct sops_store *store)
{
	struct invocation *invocation = store->opener.invocation;
	const char *const *words = invocation->options.arguments;
	char file[SHOWN_QUOTED_MAX];

	(void)problem_set(&invocation->problem, ERR_UNSUPPORTED,
	                  "%s was left as it is: %s stands where SOPS keeps its metadata", store->path,
	                  words[1]);
	shown_quote(words[0], file);
	problem_hint(&invocation->problem,
	             "tokenctl updatekeys %s   changes who may read it, tokenctl rotate --data-key %s   its "
	             "data key",
	             file, file);
	return ERR_UNSUPPORTED;
}

/* The flat formats have no way to write some characters: a line end in a key, the two characters \n in a value. */
static enum err refuse_value(struct sops_store *store)
{
	struct invocation *invocation = store->opener.invocation;
	const char *const *words = invocation->options.arguments;
	char file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];

	if (!sops_format_is_flat(store->document.format))
		return sops_store_refuse_place(store, words[1]);
	(void)problem_set(&invocation->problem, ERR_UNSUPPORTED,
	                  "%s was left as it is: its format, of one line for each value, cannot hold this "
	                  "value, or a key like %s",
	                  store->path, words[1]);
	shown_quote(words[0], file);
	shown_quote(words[1], quoted);
	problem_hint(&invocation->problem,
	             "base64 -w0 FILE | tokenctl set %s %s   stores any value as one line of text", file,
	             quoted);
	return ERR_UNSUPPORTED;
}

/* Without quotes it stands for what it names, and sops would not read the file any more. */
static enum err refuse_merge(struct sops_store *store)
{
	struct invocation *invocation = store->opener.invocation;
	const char *const *words = invocation->options.arguments;

	(void)problem_set(&invocation->problem, ERR_USAGE,
	                  "%s was left as it is: %s would leave a key << with another value, and << takes a "
	                  "map or a list of maps",
	                  store->path, words[1]);
	sops_store_hint_edit(store, "   and write the key as \"<<\" if it is no merge");
	return ERR_USAGE;
}

/* A text that is not there as it was given would be there as another. */
static enum err check(struct sops_store *store, struct bytes plain, const struct sops_path *path,
                      const json_t *value)
{
	struct sops_document document = { .count = 0 };
	uint32_t index = 0;
	enum err err = sops_store_read(store, plain, &document), merges_err;

	if (!err)
		err = sops_path_find(&document, path, path->count, &index);
	if (!err && json_is_string(value) &&
	    !bytes_equal(document.nodes[index].text,
	                 bytes_of(json_string_value(value), json_string_length(value))))
		err = ERR_NO_MATCH;
	merges_err = err ? OK : sops_plain_check_merges(&document);
	sops_document_done(&document);
	if (!err)
		return merges_err ? refuse_merge(store) : OK;
	return is_metadata(store, path) ? refuse_metadata(store) : refuse_value(store);
}

struct setting {
	struct invocation *invocation;
	const struct sops_path *path;
	json_t *value;
	const char *stood; /* of what type the old value is, in words; NULL: nothing to be said of */
};

static bool is_json(const struct invocation *invocation)
{
	return options_given(&invocation->options, "json") || invocation->options.argument_count > 2;
}

/* ---- the type ---- */

/* NULL: of none that somebody would miss. */
static const char *type_of_node(const struct sops_node *node)
{
	switch (node->kind) {
	case SOPS_STRING:
		return "a text";
	case SOPS_INTEGER:
	case SOPS_FLOAT:
		return "a number";
	case SOPS_BOOLEAN:
		return "true or false";
	case SOPS_TIME:
		return "a time";
	case SOPS_MAP:
	case SOPS_LIST:
	case SOPS_NULL:
	case SOPS_COMMENT:
	case SOPS_ALIAS:
	default:
		return NULL;
	}
}

static const char *type_of_value(const json_t *value)
{
	if (json_is_string(value))
		return "a text";
	if (json_is_number(value))
		return "a number";
	return json_is_boolean(value) ? "true or false" : NULL;
}

/* A flat format holds nothing but texts. */
static void note_type(struct setting *setting, const struct sops_document *document)
{
	uint32_t index;

	setting->stood = NULL;
	if (!sops_format_is_flat(document->format) &&
	    sops_path_find(document, setting->path, setting->path->count, &index) == OK)
		setting->stood = type_of_node(&document->nodes[index]);
}

/* Who reads the file as a program does would notice it first. */
static void tell_type(const struct setting *setting)
{
	const char *const *words = setting->invocation->options.arguments;
	const char *now = type_of_value(setting->value);
	char file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];

	if (!now || !setting->stood || strcmp(now, setting->stood) == 0)
		return;
	shown_quote(words[0], file);
	shown_quote(words[1], quoted);
	if (is_json(setting->invocation))
		shown_line(stderr, "tokenctl: %s is %s now, where %s stood%s", words[1], now, setting->stood,
		           strcmp(setting->stood, "a text") == 0
		                   ? " (as JSON a text has quotes of its own: '\"text\"')"
		                   : "");
	else if (strcmp(setting->stood, "a time") == 0) /* JSON has none */
		shown_line(stderr, "tokenctl: %s is %s now, where %s stood", words[1], now, setting->stood);
	else
		shown_line(stderr,
		           "tokenctl: %s is %s now, where %s stood; tokenctl set --json %s %s   sets %s",
		           words[1], now, setting->stood, file, quoted, setting->stood);
}

/* ---- putting it there ---- */

/* All that is in a map or a list would be gone for one text; whoever means that says it in JSON. */
static enum err check_replaced(const struct setting *setting, const struct sops_document *document)
{
	struct invocation *invocation = setting->invocation;
	const char *const *words = invocation->options.arguments;
	char names[512], place[SHOWN_QUOTED_MAX], file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];
	uint32_t index;
	bool is_map;

	if (is_json(invocation) || sops_path_find(document, setting->path, setting->path->count, &index))
		return OK;
	is_map = document->nodes[index].kind == SOPS_MAP;
	if (!is_map && document->nodes[index].kind != SOPS_LIST)
		return OK;
	sops_names_list(document, index, names, sizeof(names));
	if (names[0])
		(void)problem_set(
		        &invocation->problem, ERR_USAGE,
		        "%s is a %s in %s, and a text in its place would replace all that is in it: %s",
		        words[1], is_map ? "map" : "list", words[0], names);
	else
		(void)problem_set(&invocation->problem, ERR_USAGE, "%s is an empty %s in %s, and not a text",
		                  words[1], is_map ? "map" : "list", words[0]);
	(void)snprintf(place, sizeof(place), "%.1000s%s", words[1], is_map ? ".NAME" : "[0]");
	shown_quote(words[0], file);
	shown_quote(place, quoted);
	problem_hint(&invocation->problem,
	             "tokenctl set %s %s   sets a value in it; --json takes a map, a list, or a text in "
	             "quotes in its place",
	             file, quoted);
	return ERR_USAGE;
}

/* A key with dots that is written short would stay as it is, beside a new map; with brackets it is said which of the two is meant. */
static enum err check_dotted(const struct setting *setting, const struct sops_document *document)
{
	struct problem *problem = &setting->invocation->problem;
	const char *const *words = setting->invocation->options.arguments;
	char place[512], file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];

	if (words[1][0] == '[' || !sops_names_dotted(document, setting->path, place, sizeof(place)))
		return OK;
	shown_quote(words[0], file);
	shown_quote(place, quoted);
	(void)problem_set(problem, ERR_USAGE, "there is no %s in %s, but a key with dots in its name",
	                  words[1], words[0]);
	problem_hint(
	        problem,
	        "tokenctl set %s %s   sets it; with each step in brackets, '[\"a\"][\"b\"]', a map is made",
	        file, quoted);
	return ERR_USAGE;
}

static enum err put_value(void *context, struct sops_document *document, struct buf *out)
{
	struct setting *setting = context;
	struct invocation *invocation = setting->invocation;
	const char *const *words = invocation->options.arguments;
	enum err err = check_replaced(setting, document);

	if (!err)
		err = check_dotted(setting, document);
	note_type(setting, document);
	if (!err)
		err = sops_edit_put(document, setting->path, setting->value, out);
	if (err != ERR_NO_MATCH)
		return err;
	(void)problem_set(&invocation->problem, ERR_USAGE,
	                  "%s has no place for %s: what leads to it is a value, or a shorter list", words[0],
	                  words[1]);
	sops_names_hint(document, setting->path, words[0], &invocation->problem);
	return ERR_USAGE;
}

static enum err put(struct sops_store *store, const struct sops_path *path, json_t *value)
{
	CLEANUP(buf_freep) struct buf *plain = NULL;
	struct setting setting = { .invocation = store->opener.invocation, .path = path, .value = value };
	struct sops_change change = { .data_key = NULL };
	bool changed;
	enum err err = sops_store_edit(store, put_value, &setting, &plain);

	if (!err)
		err = check(store, buf_bytes(plain), path, value);
	if (err)
		return err;
	change.plain = buf_bytes(plain);
	err = sops_store_save(store, &change, &changed);
	if (!err && !changed)
		shown_line(stdout, "%s has that value already", store->path);
	else if (!err)
		tell_type(&setting);
	return err;
}

/* As for a shell's variable: it would become the name of a key, and names are in the clear. What stands behind the sign may be a secret, and is not repeated. */
static enum err check_assignment(struct invocation *invocation)
{
	const char *path = invocation->options.arguments[1], *sign = strchr(path, '=');
	char place[512], file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];

	if (path[0] == '[' || !sign)
		return OK;
	(void)snprintf(place, sizeof(place), "%.*s", (int)(sign - path), path);
	shown_quote(invocation->options.arguments[0], file);
	shown_quote(place, quoted);
	(void)problem_set(
	        &invocation->problem, ERR_USAGE,
	        "a value does not stand behind its path with =: it would be the name of a key, in the clear");
	problem_hint(&invocation->problem,
	             "tokenctl set %s %s   asks for the value, or takes it from a pipe; a key with = in its "
	             "name is written in brackets, '[\"a=b\"]'",
	             file, quoted);
	return ERR_USAGE;
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	CLEANUP(json_decrefp) json_t *value = NULL;
	struct sops_store store = { .path = NULL };
	struct sops_path path;
	enum err err = check_assignment(invocation);

	if (!err)
		err = sops_path_argument(invocation, options->arguments[1], &path);
	if (!err)
		err = find_value(invocation, &value);
	if (!err)
		err = sops_store_open_to_change(&store, invocation, options->arguments[0]);
	if (!err)
		err = sops_store_has_paths(&store);
	if (!err)
		err = put(&store, &path, value);
	if (!err)
		sops_recipients_warn(store.path, store.metadata);
	sops_store_done(&store);
	return err;
}

static const struct option_row rows[] = {
	{ 0, "value-file", "FILE", "read the value from this file, not from standard input", false },
	{ 0, "json", NULL, "the value is JSON: a number, true, null, a list, a map, a text in quotes",
	  false },
	FILE_OPENER_IDENTITY,
	SOPS_INPUT_TYPE,
	OPTIONS_END,
};

const struct verb set_verb = {
	.name = "set",
	.arguments = "FILE PATH [JSON]",
	.arguments_min = 2,
	.arguments_max = 3,
	.summary = "Sets one value of a SOPS file",
	.details = "PATH is written as sops does, '[\"db\"][\"hosts\"][0]', or short, db.hosts.0. What leads "
	           "to it is made\n"
	           "when it is not there; a list grows by one at its end. The value is read from standard "
	           "input, without\n"
	           "the last line end, or asked for on the terminal, and is a text unless --json says "
	           "otherwise. A\n"
	           "text does not take the place of a whole map or list: with --json it does. As a\n"
	           "third argument, as sops has it, it is JSON; other processes can then see it.\n"
	           "Order, comments and formatting stay, and so does the ciphertext of every other value. "
	           "The file is\n"
	           "replaced at once, after what will stand in it was decrypted once more and compared.",
	.example = "  pwgen 32 1 | tokenctl set secrets.yaml db.pass\n"
	           "  tokenctl set --value-file key.pem secrets.yaml '[\"tls\"][\"key\"]'\n"
	           "  echo 5432 | tokenctl set --json secrets.yaml db.port",
	.options = rows,
	.run = run,
};
