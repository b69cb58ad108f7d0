/*
 * tokenctl sample
 *
 * The names of a dotenv file without their values, for those who have to make their own. Nothing of a value may get through, so lines are understood or the file is refused: a value in quotes
 * may go on over lines, and what was commented out may be an assignment too.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/verbs.h"
#include "common/buf.h"
#include "common/secret.h"
#include "formats/dotenv.h"
#include "formats/sops_document.h"
#include "formats/sops_value.h"
#include "formats/text.h"

#define SAMPLE_ENDING ".sample"

struct sampling {
	struct bytes text; /* the file; borrowed */
	struct bytes kept; /* a sample from before, whose values stay; borrowed */
	struct buf *out; /* borrowed */
	size_t line;
	size_t names; /* found so far, those that are commented out included */
	bool endless; /* it is not certain where the value of this line ends */
};

static size_t white_space(struct bytes text, size_t at)
{
	while (at < text.len && is_white_space(text.data[at]))
		at++;
	return at;
}

/* "export NAME =": where the name stands, and where the value begins; false when it is no assignment. */
static bool parse_assignment(struct bytes line, struct bytes *ret_name, size_t *ret_value)
{
	size_t start = white_space(line, 0), end;

	if (bytes_begin_with(bytes_of(line.data + start, line.len - start), "export "))
		start = white_space(line, start + 7);
	for (end = start; end < line.len && dotenv_is_name_letter(line.data[end], end == start); end++)
		;
	*ret_name = bytes_of(line.data + start, end - start);
	end = white_space(line, end);
	if (ret_name->len == 0 || end == line.len || line.data[end] != '=')
		return false;
	*ret_value = end + 1;
	return true;
}

static uint8_t quote_of(struct bytes value)
{
	size_t at = white_space(value, 0);
	uint8_t first = at < value.len ? value.data[at] : 0;

	return first == '"' || first == '\'' || first == '`' ? first : 0;
}

/* Where the quote ends: after it in text, or NULL. Libraries differ on a backslash before any but ": false. */
static bool find_quote_end(struct bytes text, uint8_t quote, const uint8_t **ret_end)
{
	*ret_end = NULL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '\\' && quote == '"') {
			i++;
		} else if (text.data[i] == quote) {
			*ret_end = text.data + i + 1;
			return i == 0 || quote == '"' || text.data[i - 1] != '\\';
		}
	}
	return true;
}

/* What follows the first quote of a value. */
static struct bytes behind_quote(struct bytes value)
{
	size_t at = white_space(value, 0) + 1;

	return bytes_of(value.data + at, value.len - at);
}

/* Without quotes a backslash at the end makes the next line part of the value for some, and none for others. */
static enum err check_unquoted(struct bytes value, struct bytes rest)
{
	if (value.len && value.data[value.len - 1] == '\r')
		value.len--;
	return value.len && value.data[value.len - 1] == '\\' && rest.len ? ERR_BAD_FILE : OK;
}

/* A value that begins with quotes may end lines below; those are its own. ERR_BAD_FILE when it does not end. */
static enum err pass_value(struct sampling *sampling, struct bytes value, struct bytes *rest)
{
	uint8_t quote = quote_of(value);
	const uint8_t *all_end = rest->data + rest->len, *begin, *end;
	struct bytes passed;

	if (!quote)
		return check_unquoted(value, *rest);
	begin = behind_quote(value).data;
	if (!find_quote_end(bytes_of(begin, (size_t)(all_end - begin)), quote, &end) || !end)
		return ERR_BAD_FILE;
	for (const uint8_t *c = begin; c < end; c++)
		sampling->line += *c == '\n';
	if (end > rest->data) {
		*rest = bytes_of(end - 1, (size_t)(all_end - end) + 1);
		(void)bytes_next_line(rest, &passed);
	}
	return OK;
}

static bool is_comment(struct bytes line)
{
	size_t begin = white_space(line, 0);

	return begin < line.len && line.data[begin] == '#';
}

/* As pass_value, of a value that was commented out: the lines below are comments then as well. */
static enum err pass_comment(struct sampling *sampling, struct bytes value, struct bytes *rest)
{
	uint8_t quote = quote_of(value);
	struct bytes text = quote ? behind_quote(value) : value;
	const uint8_t *end;

	while (quote) {
		if (!find_quote_end(text, quote, &end))
			return ERR_BAD_FILE;
		if (end)
			break;
		if (!bytes_next_line(rest, &text) || !is_comment(text))
			return ERR_BAD_FILE;
		sampling->line++;
	}
	return OK;
}

/* The line that a sample from before has for a name. */
static bool find_kept(const struct sampling *sampling, struct bytes name, struct bytes *ret_line)
{
	struct bytes rest = sampling->kept, found;
	size_t value;

	while (bytes_next_line(&rest, ret_line))
		if (parse_assignment(*ret_line, &found, &value) && bytes_equal(found, name))
			return true;
	return false;
}

static enum err put_line(struct sampling *sampling, struct bytes line)
{
	enum err err = buf_put(sampling->out, line);

	return err ? err : buf_put_u8(sampling->out, '\n');
}

/* sops' own, of which a sample has no use. */
static bool is_metadata(struct bytes name)
{
	return bytes_begin_with(name, "sops_");
}

static enum err sample_assignment(struct sampling *sampling, struct bytes line, struct bytes name,
                                  size_t value, struct bytes *rest)
{
	struct bytes kept;
	enum err err = pass_value(sampling, bytes_of(line.data + value, line.len - value), rest);

	sampling->endless = err;
	if (err || is_metadata(name))
		return err;
	sampling->names++;
	if (find_kept(sampling, name, &kept))
		return put_line(sampling, kept);
	return put_line(sampling, bytes_of(line.data, value));
}

/* Behind "NAME =" wherever that stands in a comment ("old: NAME=VALUE"); a line that is drawn, "== so ==", is none. Its end when there is none. */
static size_t find_value(struct bytes comment)
{
	bool named = false;

	for (size_t at = 0; at < comment.len; at++) {
		size_t end = at;

		while (end < comment.len && comment.data[end] == '=')
			end++;
		if (named && end > at && end < comment.len &&
		    (end == at + 1 || !is_white_space(comment.data[end])))
			return end;
		if (end > at)
			at = end - 1;
		if (!is_white_space(comment.data[at]))
			named = dotenv_is_name_letter(comment.data[at], false);
	}
	return comment.len;
}

/* A comment stays, but for a value that was commented out and what sops encrypted. */
static enum err sample_comment(struct sampling *sampling, struct bytes line, struct bytes *rest)
{
	size_t mark = white_space(line, 0), value;
	struct bytes inner, name, behind;
	enum err err;

	while (mark < line.len && line.data[mark] == '#')
		mark++;
	inner = bytes_of(line.data + mark, line.len - mark);
	if (sops_value_looks_like(inner))
		return OK;
	if (parse_assignment(inner, &name, &value))
		sampling->names++;
	else
		value = find_value(inner);
	behind = bytes_of(inner.data + value, inner.len - value);
	err = pass_comment(sampling, behind, rest);
	sampling->endless = err;
	return err ? err : put_line(sampling, bytes_of(line.data, mark + value));
}

static enum err sample_line(struct sampling *sampling, struct bytes line, struct bytes *rest)
{
	size_t begin = white_space(line, 0), value;
	struct bytes name;

	if (begin == line.len)
		return put_line(sampling, bytes_of(NULL, 0));
	if (is_comment(line))
		return sample_comment(sampling, line, rest);
	if (!parse_assignment(line, &name, &value))
		return ERR_BAD_FILE;
	return sample_assignment(sampling, line, name, value, rest);
}

static enum err sample_all(struct sampling *sampling)
{
	struct bytes rest = sampling->text, text;
	enum err err = OK;

	while (!err && bytes_next_line(&rest, &text)) {
		size_t line = ++sampling->line;

		err = sample_line(sampling, text, &rest);
		if (err)
			sampling->line = line;
	}
	return err;
}

static enum err read_whole(int fd, const char *path, struct problem *problem, struct buf **ret_text)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = buf_new(SOPS_FILE_MAX + 1, &text);

	if (!err)
		err = input_read(fd, path, text, problem);
	if (!err)
		*ret_text = TAKE(text);
	return err == ERR_BUSY ? problem_set(problem, ERR_BAD_FILE, "%s is too large for a dotenv file",
	                                     input_name(path))
	                       : err;
}

/* The sample that the output replaces; none is fine. */
static enum err read_kept(const char *path, struct buf **ret_kept)
{
	struct problem problem = { 0 };
	CLEANUP(input_closep) int fd = -1;
	enum err err = input_open_found(path, &problem, &fd);

	return err ? OK : read_whole(fd, path, &problem, ret_kept);
}

static size_t without_ending(const char *path, size_t len, const char *ending)
{
	size_t ending_len = strlen(ending);

	return len > ending_len && memcmp(path + len - ending_len, ending, ending_len) == 0 ? len - ending_len
	                                                                                    : len;
}

/* Beside the file, unless it is said: its own name with an ending, so that no two files of one directory have one sample. An encrypted one has that of the plain one; one that is a sample already is its own, and so is refused. */
static enum err choose_output(const struct invocation *invocation, const char *path, char out[PATH_MAX])
{
	static const char *const endings[] = { ".encrypted", ".enc", SAMPLE_ENDING };
	const char *given = options_value(&invocation->options, "output");
	size_t len = strlen(path);

	if (given || input_name(path) != path)
		return snprintf(out, PATH_MAX, "%s", given ? given : "-") < PATH_MAX ? OK : ERR_USAGE;
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		len = without_ending(path, len, endings[i]);
	return len < PATH_MAX && snprintf(out, PATH_MAX, "%.*s" SAMPLE_ENDING, (int)len, path) < PATH_MAX
	               ? OK
	               : ERR_USAGE;
}

/* What the sample had and has no more, when it was somebody's own or another file's. */
static void tell_gone(const struct sampling *sampling, const char *path, const char *target)
{
	const struct sampling now = { .kept = buf_bytes(sampling->out) };
	struct bytes rest = sampling->kept, line, name, found;
	size_t value;

	while (bytes_next_line(&rest, &line))
		if (parse_assignment(line, &name, &value) && !find_kept(&now, name, &found))
			shown_line(stderr, "warning: %.*s is not in %s, and so not in %s any more",
			           (int)name.len, (const char *)name.data, input_name(path), target);
}

static enum err explain(struct invocation *invocation, const char *path, const struct sampling *sampling,
                        enum err err)
{
	if (err != ERR_BAD_FILE)
		return err;
	(void)problem_set(&invocation->problem, err, "%s, line %zu: %s", input_name(path), sampling->line,
	                  sampling->endless ? "it is not certain where this value ends"
	                                    : "this is no NAME=VALUE, so it might be part of a value");
	problem_hint(&invocation->problem,
	             "tokenctl sample .env   wants NAME=VALUE in each line, and quotes around a value of "
	             "several lines; nothing was written");
	return err;
}

/* One that is there already would lose all its names for a file that was emptied. */
static enum err check_names(struct invocation *invocation, const char *path, const struct sampling *sampling)
{
	if (sampling->names)
		return OK;
	(void)problem_set(&invocation->problem, ERR_BAD_FILE, "%s %s, and no sample was written",
	                  input_name(path), sampling->text.len ? "has no names in it" : "is empty");
	problem_hint(&invocation->problem, "tokenctl sample .env   wants NAME=VALUE in each line");
	return ERR_BAD_FILE;
}

static enum err write_sample(struct invocation *invocation, const char *target, int input,
                             struct bytes sample)
{
	CLEANUP(output_freep) struct output *output = NULL;
	enum err err = output_open(target, 0644, input, &invocation->problem, &output);

	if (!err)
		err = output_write(output, sample);
	if (!err)
		err = output_commit(output);
	if (!err && strcmp(target, "-") != 0)
		shown_line(stderr, "%s has the names, without their values", target);
	return err;
}

/* One that was chosen here and not by whoever typed the command: a link with this name, which a repository can bring, may lead to any file, and a pipe waits for whoever reads it. */
static enum err refuse_link(struct invocation *invocation, const char *target)
{
	char quoted[SHOWN_QUOTED_MAX], path[SHOWN_QUOTED_MAX];
	struct stat status;

	if (options_given(&invocation->options, "output") || lstat(target, &status) < 0 ||
	    S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
		return OK;
	shown_quote(target, quoted);
	shown_quote(invocation->options.arguments[0], path);
	(void)problem_set(&invocation->problem, ERR_FILE_ACCESS, "%s is %s, and no sample was written",
	                  target, S_ISLNK(status.st_mode) ? "a link to another file" : "no regular file");
	if (S_ISLNK(status.st_mode))
		problem_hint(&invocation->problem,
		             "tokenctl sample -o %s %s   if that file shall be replaced", quoted, path);
	else
		problem_hint(&invocation->problem, "ls -l %s", quoted);
	return ERR_FILE_ACCESS;
}

static enum err run(struct invocation *invocation)
{
	const char *path = invocation->options.arguments[0];
	CLEANUP(input_closep) int input = -1;
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *kept = NULL;
	CLEANUP(buf_freep) struct buf *out = NULL;
	struct sampling sampling = { .line = 0 };
	char target[PATH_MAX];
	enum err err = choose_output(invocation, path, target);

	if (!err)
		err = refuse_link(invocation, target);
	if (!err)
		err = input_open(path, &invocation->problem, &input);
	if (!err)
		err = read_whole(input, path, &invocation->problem, &text);
	if (!err && strcmp(target, "-") != 0)
		err = read_kept(target, &kept);
	if (!err)
		err = buf_new(2 * SOPS_FILE_MAX, &out);
	if (err)
		return err;
	sampling.text = buf_bytes(text);
	sampling.kept = kept ? buf_bytes(kept) : bytes_of(NULL, 0);
	sampling.out = out;
	err = explain(invocation, path, &sampling, sample_all(&sampling));
	if (!err)
		err = check_names(invocation, path, &sampling);
	if (!err)
		err = write_sample(invocation, target, input, buf_bytes(out));
	if (!err)
		tell_gone(&sampling, path, target);
	return err;
}

static const struct option_row rows[] = {
	{ 'o', "output", "FILE",
	  "write here instead of FILE.sample (of .env: .env.sample); - is standard output", false },
	OPTIONS_END,
};

const struct verb sample_verb = {
	.name = "sample",
	.arguments = "FILE",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "Writes the names of a .env file without their values, for others to fill in",
	.details =
	        "FILE is a dotenv file, plain or encrypted by SOPS; no key is needed. Comments stay, but for "
	        "what "
	        "stands\n"
	        "behind NAME= in them and comments that SOPS encrypted. Each file has a sample of its own:\n"
	        ".env.local has .env.local.sample, and .env.encrypted that of .env. One that is there "
	        "already is\n"
	        "brought up to date: what it has for a name stays, and a name that FILE does not have is "
	        "taken out,\n"
	        "with a warning; a link in its place is refused. A FILE without any name is refused, and so "
	        "is a line\n"
	        "that is not understood, for it might be part of a value.",
	.example = "  tokenctl sample .env && git add .env.sample\n"
	           "  tokenctl sample -o - .env.encrypted",
	.options = rows,
	.run = run,
};
