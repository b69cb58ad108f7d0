#include "cli/guard_look.h"
#include "cli/shown.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/guard_scan.h"
#include "cli/sops_examine.h"
#include "cli/sops_file.h"
#include "cli/sops_recipients.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/path.h"
#include "formats/age_file.h"
#include "formats/dotenv.h"
#include "formats/sops_expand.h"
#include "formats/sops_metadata.h"
#include "formats/sops_value.h"
#include "formats/text.h"

#define TEXT_MAX 1200U
#define RECIPIENT_SHOWN 300
#define VALUES_COMPARED 64U /* of a file that may have another name now */
#define UTF8_MARK "\xef\xbb\xbf" /* what some editors put before a text */

struct look {
	const struct guard_file *file; /* borrowed, as what follows */
	struct findings *findings;
	size_t line, line_at; /* of a position, counted on from the one before */
	char quoted[SHOWN_QUOTED_MAX]; /* the path as a shell takes it */
	char pathspec[SHOWN_QUOTED_MAX]; /* and as git does */
};

static size_t line_of(struct look *look, size_t position)
{
	struct bytes text = look->file->text;

	if (position < look->line_at) {
		look->line = 1;
		look->line_at = 0;
	}
	for (; look->line_at < position && look->line_at < text.len; look->line_at++)
		look->line += text.data[look->line_at] == '\n';
	return look->line;
}

/* The format makes the next command. */
__attribute__((format(printf, 5, 6))) static enum err say(struct look *look, size_t line, const char *kind,
                                                          const char *text, const char *format, ...)
{
	char command[3 * TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	return findings_add(look->findings, look->file->place, line, kind, false, text, command);
}

/* ---- private keys ---- */

static enum err say_key(struct look *look, size_t line, const char *text)
{
	if (look->file->only_on_disk)
		return say(
		        look, line, "private-key", text,
		        "tokenctl encrypt --key NAME -o %s.age %s && shred -u %s   or name it in .gitignore",
		        look->quoted, look->quoted, look->quoted);
	return say(look, line, "private-key", text,
	           "git rm --cached %s   and put a new key in its place: this one was written down",
	           look->pathspec);
}

static enum err look_for_keys(struct look *look)
{
	struct guard_key key;
	char text[TEXT_MAX];
	struct guard_cursor cursor = { .at = 0 };
	enum err err;

	while (guard_scan_next(look->file->text, &cursor, &key, &err)) {
		(void)snprintf(text, sizeof(text), "here is %s in the clear", key.what);
		err = say_key(look, line_of(look, key.start), text);
		if (err)
			return err;
	}
	return err;
}

/* ---- what is encrypted ---- */

/* Of other programs than sops, whose files nobody has to read. */
static bool is_ciphertext(struct bytes text)
{
	static const char *const beginnings[] = { "$ANSIBLE_VAULT;", "-----BEGIN PGP MESSAGE-----" };

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (bytes_begin_with(text, beginnings[i]))
			return true;
	return age_file_looks_like(text) || (text.len >= 9 && memcmp(text.data, "\0GITCRYPT", 9) == 0);
}

bool guard_has_value_of(struct bytes text, struct bytes old)
{
	for (size_t i = 0; i < VALUES_COMPARED && old.len && text.len; i++) {
		const uint8_t *value = memmem(old.data, old.len, SOPS_VALUE_BEGIN, strlen(SOPS_VALUE_BEGIN));
		size_t rest = value ? old.len - (size_t)(value - old.data) : 0;
		const uint8_t *end = rest ? memchr(value, ']', rest) : NULL;

		if (!end)
			return false;
		if (memmem(text.data, text.len, value, (size_t)(end - value) + 1))
			return true;
		old = bytes_of(end, (size_t)(old.data + old.len - end));
	}
	return false;
}

/* A manual may quote such a value; what is to be encrypted, or was a SOPS file, does not. */
static bool is_remains(const struct guard_file *file)
{
	return (file->rule || sops_file_is_likely(file->old_text)) && sops_file_has_value(file->text);
}

/* Encrypted once more it would be lost for good. */
static enum err look_at_remains(struct look *look)
{
	return say(look, 0, "broken",
	           "values that SOPS encrypted are in this file, and no sops metadata, without which they "
	           "cannot be opened",
	           "git log -p -S lastmodified -- %s   shows the metadata that is missing", look->pathspec);
}

bool guard_is_identity_file(struct bytes text)
{
	struct guard_key key;
	struct guard_cursor cursor = { .at = 0 };
	enum err err;

	while (guard_scan_next(text, &cursor, &key, &err))
		if ((key.start == 0 || text.data[key.start - 1] == '\n') &&
		    bytes_begin_with(bytes_of(text.data + key.start, text.len - key.start), "AGE-"))
			return true;
	return false;
}

static enum err look_at_coverage(struct look *look)
{
	const struct guard_file *file = look->file;
	char text[TEXT_MAX];

	(void)snprintf(text, sizeof(text),
	               "the rule in line %zu of %s covers this file, and it is not encrypted",
	               file->rule->line, file->rules);
	return say(look, 0, "not-encrypted", text, "tokenctl encrypt --in-place %s && git add %s",
	           look->quoted, look->pathspec);
}

/* ---- variables ---- */

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* As a word of its own, or as the plural of one: what is redistributed is no distribution. */
static bool has_name_word(const char *name, const char *word)
{
	for (const char *at = name; (at = strcasestr(at, word)); at++) {
		const char *end = at + strlen(word);

		end += *end == 's' || *end == 'S';
		if ((at == name || !is_letter(at[-1])) && !is_letter(*end))
			return true;
	}
	return false;
}

bool guard_is_dotenv_name(const char *path)
{
	static const char *const samples[] = { "sample", "example", "template", "dist", "default" };
	const char *name = path_name(path);
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		if (has_name_word(name, samples[i]))
			return false;
	return strncasecmp(name, ".env", 4) == 0 ? strchr(".-_", name[4]) != NULL /* or the end */
	                                         : len > 4 && strcasecmp(name + len - 4, ".env") == 0;
}

static void pass_blanks(struct reader *reader)
{
	while (reader->rest.len && is_white_space(*reader->rest.data))
		(void)reader_take(reader, 1);
}

static bool is_blank_after(struct bytes text, size_t len)
{
	return text.len > len && is_white_space(text.data[len]);
}

/* NAME=value, maybe after "export", with blanks around it as some programs take them; an empty value, in quotes or not, gives nothing away. */
static bool assigns(struct bytes line)
{
	static const char export[] = "export";
	struct reader reader = reader_of(line);
	size_t len = 0;

	pass_blanks(&reader);
	if (bytes_begin_with(reader.rest, export) && is_blank_after(reader.rest, strlen(export)))
		(void)reader_take(&reader, strlen(export));
	pass_blanks(&reader);
	while (len < reader.rest.len && dotenv_is_name_letter(reader.rest.data[len], len == 0))
		len++;
	(void)reader_take(&reader, len);
	pass_blanks(&reader);
	if (len == 0 || reader_u8(&reader) != '=')
		return false;
	for (size_t i = 0; i < reader.rest.len; i++)
		if (!is_white_space(reader.rest.data[i]) && reader.rest.data[i] != '"' &&
		    reader.rest.data[i] != '\'')
			return reader.rest.data[i] != '#' || i == 0;
	return false;
}

static enum err look_at_variables(struct look *look)
{
	struct bytes text = look->file->text;

	for (size_t at = bytes_begin_with(text, UTF8_MARK) ? strlen(UTF8_MARK) : 0; at < text.len;) {
		const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
		size_t next = end ? (size_t)(end - text.data) : text.len;

		if (assigns(bytes_of(text.data + at, next - at)) && look->file->only_on_disk)
			return say(look, line_of(look, at), "dotenv",
			           "variables with their values are in the clear in this file",
			           "name it in .gitignore, and tokenctl sample %s   gives others the names",
			           look->quoted);
		if (assigns(bytes_of(text.data + at, next - at)))
			return say(look, line_of(look, at), "dotenv",
			           "variables with their values are in the clear in this file",
			           "git rm --cached %s   and tokenctl sample %s   gives others the names",
			           look->pathspec, look->quoted);
		at = next + 1;
	}
	return OK;
}

/* ---- SOPS files ---- */

static enum err take_finding(void *context, enum sops_finding finding, size_t line, const char *what)
{
	struct look *look = context;

	if (finding == SOPS_FOUND_COMMENT)
		return findings_add(look->findings, look->file->place, line, "clear-comment", true, what, "");
	if (finding == SOPS_FOUND_CLEAR)
		return say(look, line, "clear-value", what,
		           "git checkout HEAD -- %s   takes it back; put it in with: tokenctl set %s PATH",
		           look->pathspec, look->quoted);
	return say(look, line, finding == SOPS_FOUND_METADATA ? "metadata" : "malformed-value", what,
	           "git diff HEAD -- %s   shows what changed", look->pathspec);
}

static bool is_allowed(const struct guard_file *file, struct bytes recipient)
{
	for (size_t i = 0; i < file->allowed_count; i++)
		if (bytes_equal(recipient, bytes_of_string(file->allowed[i])))
			return true;
	return false;
}

static bool has_recipient(const struct sops_metadata *metadata, const struct sops_entry *entry)
{
	for (size_t i = 0; i < metadata->entry_count; i++)
		if (sops_recipient_is(metadata->entries[i].kind, metadata->entries[i].recipient, entry->kind,
		                      entry->recipient))
			return true;
	return false;
}

/* Where a text stands for the first time. */
static size_t line_with(struct look *look, struct bytes part)
{
	struct bytes text = look->file->text;
	const uint8_t *at = part.len && text.len ? memmem(text.data, text.len, part.data, part.len) : NULL;

	return at ? line_of(look, (size_t)(at - text.data)) : 0;
}

static enum err say_recipient(struct look *look, const struct sops_entry *entry)
{
	int len = entry->recipient.len < RECIPIENT_SHOWN ? (int)entry->recipient.len : RECIPIENT_SHOWN;
	char recipient[RECIPIENT_SHOWN + 1], quoted[SHOWN_QUOTED_MAX], text[TEXT_MAX];

	(void)snprintf(recipient, sizeof(recipient), "%.*s", len, (const char *)entry->recipient.data);
	shown_quote(recipient, quoted);
	(void)snprintf(text, sizeof(text),
	               "the %s recipient %s was added, who can read this file from now on", entry->kind,
	               recipient);
	/* With the rules that it came from: `git commit -a` has staged both, and after its hook's refusal neither. */
	return say(look, line_with(look, entry->recipient), "recipient", text,
	           "git add %s%s%s && tokenctl guard --allow-recipient %s && git commit --no-verify   if "
	           "that is meant",
	           look->pathspec, look->file->rules_pathspec ? " " : "",
	           look->file->rules_pathspec ? look->file->rules_pathspec : "", quoted);
}

/* A SOPS file, read for its metadata. */
struct side {
	struct buf *written; /* owned: what it is of, when there were aliases */
	struct sops_document document;
	struct sops_metadata *metadata; /* owned */
};

static void side_done(struct side *side)
{
	sops_document_done(&side->document);
	(void)buf_free(side->written);
	free(side->metadata);
}

/* ERR_NO_MATCH, ERR_BAD_FILE and the like: it is no SOPS file, or none that can be read. */
static enum err side_read(struct side *side, enum sops_format format, struct bytes text)
{
	enum err err = sops_sealed_read(&side->document, format, text, &side->written);

	side->metadata = calloc(1, sizeof(*side->metadata));
	if (!side->metadata)
		return ERR_NOMEM;
	return err ? err : sops_metadata_read(&side->document, side->metadata);
}

static enum err compare_recipients(struct look *look, const struct sops_metadata *before,
                                   const struct sops_metadata *merged, const struct sops_metadata *now)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < now->entry_count; i++)
		if (!has_recipient(before, &now->entries[i]) &&
		    !(merged && has_recipient(merged, &now->entries[i])) &&
		    !is_allowed(look->file, now->entries[i].recipient))
			err = say_recipient(look, &now->entries[i]);
	return err;
}

/* Whom the other side of a merge has let in was looked at when it was committed there. */
static enum err read_merged(struct side *side, const struct guard_file *file)
{
	enum err err;

	if (!file->merged_text.len)
		return OK;
	err = side_read(side, sops_format_guess(file->path, file->merged_text), file->merged_text);
	if (err && err != ERR_NOMEM) /* it has nothing to say, and the metadata may be half of one */
		side->metadata->entry_count = 0;
	return err == ERR_NOMEM ? err : OK;
}

/* A file that was no SOPS file before has no recipients that one could compare with. */
static enum err look_at_recipients(struct look *look, enum sops_format format)
{
	const struct guard_file *file = look->file;
	struct side before = { .metadata = NULL }, merged = { .metadata = NULL }, now = { .metadata = NULL };
	enum err err;

	if (!file->old_text.data)
		return OK;
	err = side_read(&before, sops_format_guess(file->path, file->old_text), file->old_text);
	if (!err)
		err = read_merged(&merged, file);
	if (!err)
		err = side_read(&now, format, file->text);
	if (!err)
		err = compare_recipients(look, before.metadata, merged.metadata, now.metadata);
	else if (err != ERR_NOMEM)
		err = OK;
	side_done(&before);
	side_done(&merged);
	side_done(&now);
	return err;
}

/* A conflict can be made again as long as it is in no commit. */
static enum err say_broken(struct look *look, const char *reason)
{
	const struct guard_file *file = look->file;
	struct problem marks = { 0 };
	struct sops_request request = { .name = file->path, .path = file->path, .problem = &marks };
	enum err err = sops_file_explain_marks(&request, file->text, ERR_BAD_FILE);

	if (err == ERR_BAD_FILE && marks.message[0] && strcmp(file->place, file->path) == 0)
		return say(look, 0, "broken", marks.message + strlen(file->path) + strlen(": "), "%s",
		           marks.hint);
	return say(look, 0, "broken", reason, "git diff HEAD -- %s   shows what changed", look->pathspec);
}

/* ret_encrypted: nothing more has to be said about what is in it. */
static enum err look_at_sops(struct look *look, bool *ret_encrypted)
{
	struct sops_examination examination;
	enum err err =
	        sops_examine(look->file->path, NULL, look->file->text, take_finding, look, &examination);

	if (err)
		return err;
	*ret_encrypted = examination.verdict != SOPS_IS_NONE;
	if (examination.verdict == SOPS_IS_BROKEN)
		return say_broken(look, examination.reason);
	return examination.verdict == SOPS_IS_NONE ? OK : look_at_recipients(look, examination.format);
}

/* ---- texts of two bytes for each character ---- */

/* As PowerShell writes what is redirected. A byte for each character, so that lines stay lines; one that has no place there is '?'. NULL: it is none. */
static enum err make_narrow(struct bytes text, struct buf **ret_narrow)
{
	CLEANUP(buf_freep) struct buf *narrow = NULL;
	bool little = bytes_begin_with(text, "\xff\xfe"), big = bytes_begin_with(text, "\xfe\xff");
	enum err err = little || big ? buf_new(text.len, &narrow) : OK;

	for (size_t i = 2; narrow && !err && i + 1 < text.len; i += 2) {
		uint8_t high = text.data[little ? i + 1 : i];

		err = buf_put_u8(narrow, high ? '?' : text.data[little ? i : i + 1]);
	}
	if (!err)
		*ret_narrow = TAKE(narrow);
	return err;
}

/* What may be in any file: variables where the name says so, and keys. */
static enum err look_at_text(struct look *look, bool encrypted)
{
	const struct guard_file *file = look->file;
	enum err err = OK;

	if (!encrypted && !file->rule && guard_is_dotenv_name(file->path))
		err = look_at_variables(look);
	return err ? err : look_for_keys(look);
}

static enum err look_at_narrow(struct look *look, bool encrypted)
{
	CLEANUP(buf_freep) struct buf *narrow = NULL;
	const struct guard_file *whole = look->file;
	struct guard_file file = *whole;
	enum err err = make_narrow(file.text, &narrow);

	if (err || !narrow)
		return err ? err : look_at_text(look, encrypted);
	file.text = buf_bytes(narrow);
	look->file = &file;
	look->line = 1;
	look->line_at = 0;
	err = look_at_text(look, encrypted);
	look->file = whole;
	return err;
}

enum err guard_look(const struct guard_file *file, struct findings *findings)
{
	struct look look = { .file = file, .findings = findings, .line = 1 };
	bool encrypted = is_ciphertext(file->text);
	/* Of a private key that is to be encrypted here it is enough to say that; an identity file has another way on. */
	bool covered = file->rule && file->text.len && !guard_is_identity_file(file->text), remains;
	enum err err = OK;

	findings_begin_file(findings);
	shown_quote(file->path, look.quoted);
	shown_quote_pathspec(file->path, look.pathspec);
	if (!encrypted)
		err = look_at_sops(&look, &encrypted);
	remains = !err && !encrypted && is_remains(file);
	if (remains)
		err = look_at_remains(&look);
	else if (!err && !encrypted && covered)
		return look_at_coverage(&look);
	return err ? err : look_at_narrow(&look, encrypted || remains);
}
