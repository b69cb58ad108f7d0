#include "formats/sops_environment.h"

#include <stdlib.h>
#include <string.h>

#include "formats/dotenv.h"
#include "formats/sops_number.h"

enum err sops_environment_init(struct sops_environment *environment)
{
	enum err err = buf_new(ENVIRONMENT_MAX, &environment->strings);

	return err ? err : buf_new(ENVIRONMENT_OTHERS_MAX, &environment->others);
}

void sops_environment_done(struct sops_environment *environment)
{
	environment->strings = buf_free(environment->strings);
	environment->others = buf_free(environment->others);
}

bool sops_environment_is_name(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return name.len > 0;
}

struct name {
	char text[ENVIRONMENT_NAME_MAX];
	size_t len;
};

static void name_put(struct name *name, struct bytes part)
{
	if (part.len >= sizeof(name->text) - name->len) { /* too long for a name, and seen as one */
		name->len = sizeof(name->text);
		return;
	}
	if (part.len)
		memcpy(name->text + name->len, part.data, part.len);
	name->len += part.len;
}

static void name_put_node(struct name *name, const struct sops_node *node)
{
	char number[16];

	if (name->len)
		name_put(name, bytes_of_string("_"));
	if (node->key.data)
		name_put(name, node->key);
	else
		name_put(name,
		         bytes_of(number, (size_t)snprintf(number, sizeof(number), "%u", node->position)));
}

static enum err name_make(const struct sops_document *document, uint32_t index, struct name *ret_name)
{
	uint32_t chain[SOPS_DEPTH_MAX + 2];
	size_t depth = 0;

	ret_name->len = 0;
	for (; index != SOPS_NONE && document->nodes[index].parent != SOPS_NONE && depth < SOPS_DEPTH_MAX + 2;
	     index = document->nodes[index].parent)
		chain[depth++] = index;
	while (depth-- > 0)
		name_put_node(ret_name, &document->nodes[chain[depth]]);
	return ret_name->len < sizeof(ret_name->text) ? OK : ERR_USAGE;
}

static bool is_meant(struct sops_environment *environment, const struct name *name)
{
	struct bytes bytes = bytes_of(name->text, name->len);

	for (size_t i = 0; i < environment->only_count; i++) {
		if (!bytes_equal(bytes, bytes_of_string(environment->only[i].name)))
			continue;
		environment->only[i].found = true;
		return true;
	}
	return environment->only_count == 0;
}

/* For whoever has asked for one that is not there; without memory for it, or when there are very many, it is not there to be named. */
static void note_other(struct sops_environment *environment, const struct name *name)
{
	if (buf_len(environment->others) + name->len < ENVIRONMENT_OTHERS_MAX &&
	    buf_put(environment->others, bytes_of(name->text, name->len)) == OK)
		(void)!buf_put_u8(environment->others, '\0');
}

/* A long name is cut. What a terminal could take for something else goes out when the message is printed. */
static void show(struct sops_environment *environment, const struct name *name, const char *what)
{
	size_t len = name->len < 200 ? name->len : 200;

	(void)snprintf(environment->reason, sizeof(environment->reason), "%.*s%s %s", (int)len, name->text,
	               len < name->len ? "..." : "", what);
}

static enum err put_float(struct buf *out, struct bytes text)
{
	char written[SOPS_NUMBER_MAX];
	double number;
	size_t len;

	if (sops_number_read(text, &number))
		return buf_put(out, text); /* +Inf and its like */
	len = sops_number_write(number, SOPS_NUMBER_YAML, written);
	for (size_t i = 0; i < len; i++)
		if (written[i] == 'e')
			written[i] = 'E';
	return buf_put(out, bytes_of(written, len));
}

static enum err put_value(const struct sops_environment *environment, enum sops_format format,
                          enum sops_type type, struct bytes text, struct buf *out)
{
	if (type == SOPS_TYPE_FLOAT)
		return put_float(out, text);
	if (type == SOPS_TYPE_BOOLEAN)
		return buf_put_string(out, text.len && text.data[0] == 'T' ? "true" : "false");
	if (environment->quotes && format == SOPS_DOTENV)
		return dotenv_value(text, out);
	return buf_put(out, text);
}

static enum err check_value(struct sops_environment *environment, const struct name *name,
                            struct bytes string)
{
	enum err err = OK;

	if (string.len >= ENVIRONMENT_STRING_MAX) {
		show(environment, name, "is too large for an environment");
		err = ERR_BUSY;
	} else if (memchr(string.data, '\0', string.len)) {
		show(environment, name, "has a NUL byte in it, which no environment can hold");
		err = ERR_UNSUPPORTED;
	}
	return err;
}

/* What the loader of programs and the shell obey before a program has its first word: who may write a file of values is not to choose by it what is run. Programs have others of their own. */
static bool chooses_code(struct bytes name)
{
	static const char *const names[] = { "PATH", "BASH_ENV", "GCONV_PATH" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (bytes_equal(name, bytes_of_string(names[i])))
			return true;
	return name.len > 3 && memcmp(name.data, "LD_", 3) == 0;
}

static enum err put_named(struct sops_environment *environment, enum sops_format format,
                          const struct name *name, enum sops_type type, struct bytes text)
{
	const char *prefix = environment->prefix ? environment->prefix : "";
	CLEANUP(buf_freep) struct buf *string = NULL;
	enum err err = buf_new(ENVIRONMENT_MAX, &string);

	if (!err)
		err = buf_put_string(string, prefix);
	if (!err)
		err = buf_put(string, bytes_of(name->text, name->len));
	if (!err && *prefix && !sops_environment_is_name(bytes_of_string(prefix))) {
		(void)snprintf(
		        environment->reason, sizeof(environment->reason),
		        "behind --prefix stands what no name of an environment variable can begin with");
		return ERR_USAGE;
	}
	if (!err && !sops_environment_is_name(buf_bytes(string))) {
		show(environment, name, "is no name for an environment variable");
		return ERR_USAGE;
	}
	if (!err && !environment->only_count && chooses_code(buf_bytes(string))) {
		show(environment, name, "would choose what code is run, and has to be asked for by name");
		return ERR_USAGE;
	}
	if (!err)
		err = buf_put_u8(string, '=');
	if (!err)
		err = put_value(environment, format, type, text, string);
	if (!err)
		err = check_value(environment, name, buf_bytes(string));
	if (!err)
		err = buf_put(environment->strings, buf_bytes(string));
	if (!err)
		err = buf_put_u8(environment->strings, 0);
	environment->count += err == OK;
	if (err == ERR_BUSY && !environment->reason[0])
		show(environment, name, "is more than an environment can hold");
	return err;
}

/* "export NAME" is what a shell makes of it. */
static void drop_export(struct name *name)
{
	struct bytes rest = dotenv_name(bytes_of(name->text, name->len));

	memmove(name->text, rest.data, rest.len);
	name->len = rest.len;
}

enum err sops_environment_add(struct sops_environment *environment, const struct sops_document *document,
                              uint32_t index, enum sops_type type, struct bytes text)
{
	struct name name;
	enum err err = name_make(document, index, &name);

	if (err) {
		(void)snprintf(environment->reason, sizeof(environment->reason),
		               "the names of the keys are too long for an environment variable");
		return environment->only_count ? OK : err;
	}
	if (environment->quotes && document->format == SOPS_DOTENV)
		drop_export(&name);
	if (is_meant(environment, &name))
		return put_named(environment, document->format, &name, type, text);
	note_other(environment, &name);
	return OK;
}

static size_t name_len(const char *string)
{
	return strcspn(string, "=");
}

static int compare_names(const char *a, const char *b)
{
	size_t a_len = name_len(a), b_len = name_len(b);
	int difference = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return difference ? difference : (a_len > b_len) - (a_len < b_len);
}

static int compare(const void *a, const void *b)
{
	return compare_names(*(char *const *)a, *(char *const *)b);
}

/* The strings of environment, by name. */
static enum err sort(struct sops_environment *environment, char **list)
{
	const uint8_t *at = buf_bytes(environment->strings).data;

	for (size_t i = 0; i < environment->count; i++) {
		list[i] = (char *)(uintptr_t)at; /* execve takes no const, and changes nothing */
		at += strlen(list[i]) + 1;
	}
	if (environment->count)
		qsort(list, environment->count, sizeof(*list), compare);
	for (size_t i = 1; i < environment->count; i++) {
		struct name name = { .len = 0 };

		if (compare_names(list[i - 1], list[i]) != 0)
			continue;
		name_put(&name, bytes_of(list[i], name_len(list[i])));
		show(environment, &name, "would be the name of two values");
		return ERR_EXISTS;
	}
	return OK;
}

enum err sops_environment_list(struct sops_environment *environment, char *const *inherited, char ***ret_list)
{
	size_t count = environment->count, extra = 0;
	CLEANUP(freep) char **list = NULL;
	enum err err;

	while (inherited && inherited[extra])
		extra++;
	list = calloc(count + extra + 1, sizeof(*list));
	if (!list)
		return ERR_NOMEM;
	err = sort(environment, list);
	if (err)
		return err;
	for (size_t i = 0; i < extra; i++)
		if (!environment->count ||
		    !bsearch(&inherited[i], list, environment->count, sizeof(*list), compare))
			list[count++] = inherited[i];
	*ret_list = TAKE(list);
	return OK;
}
