#include "formats/audit_record.h"

#include <string.h>

#include "common/encoding.h"
#include "common/utf8.h"
#include "formats/sha256.h"

_Static_assert(AUDIT_HASH_LEN == SHA256_LEN, "the chain is of SHA-256");

/* ---- characters ---- */

static enum err put_escape(struct buf *line, uint32_t point)
{
	return buf_printf(line, "\\u%04x", (unsigned)point);
}

/* Appends the character at the head of text; ret_len: how many bytes it was. */
static enum err put_character(struct buf *line, struct bytes text, size_t *ret_len)
{
	uint32_t point;
	size_t len = utf8_take(text, &point);

	*ret_len = len ? len : 1;
	if (len == 0)
		return put_escape(line, text.data[0]);
	if (utf8_is_unprintable(point))
		return put_escape(line, point);
	if (point == '"' || point == '\\') {
		enum err err = buf_put_u8(line, '\\');

		if (err)
			return err;
	}
	return buf_put(line, bytes_of(text.data, len));
}

static size_t plain_prefix(struct bytes text)
{
	size_t len = 0;

	while (len < text.len && text.data[len] >= 0x20 && text.data[len] < 0x7f && text.data[len] != '"' &&
	       text.data[len] != '\\')
		len++;
	return len;
}

enum err audit_put_string(struct buf *line, const char *text)
{
	struct bytes rest = bytes_of_string(text);
	enum err err = buf_put_u8(line, '"');

	while (!err && rest.len > 0) {
		size_t len = plain_prefix(rest);

		if (len > 0)
			err = buf_put(line, bytes_of(rest.data, len));
		else
			err = put_character(line, rest, &len);
		rest = bytes_of(rest.data + len, rest.len - len);
	}
	return err ? err : buf_put_u8(line, '"');
}

/* ---- the parser: one flat object, in the one form that we write ---- */

static bool take_literal(struct reader *cursor, const char *literal)
{
	struct bytes wanted = bytes_of_string(literal);

	if (cursor->rest.len < wanted.len || memcmp(cursor->rest.data, wanted.data, wanted.len) != 0)
		return false;
	(void)reader_take(cursor, wanted.len);
	return true;
}

static bool is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool take_escape(struct reader *cursor)
{
	struct bytes digits;

	if (take_literal(cursor, "\\\"") || take_literal(cursor, "\\\\"))
		return true;
	if (!take_literal(cursor, "\\u"))
		return false;
	digits = reader_take(cursor, 4);
	return digits.data && is_hex(digits.data[0]) && is_hex(digits.data[1]) && is_hex(digits.data[2]) &&
	       is_hex(digits.data[3]);
}

static bool take_string(struct reader *cursor)
{
	if (!take_literal(cursor, "\""))
		return false;
	while (!cursor->failed && cursor->rest.len > 0 && !take_literal(cursor, "\"")) {
		uint32_t point = ' ';
		size_t len = plain_prefix(cursor->rest);

		if (len == 0 && cursor->rest.data[0] == '\\') {
			if (!take_escape(cursor))
				return false;
			continue;
		}
		if (len == 0)
			len = utf8_take(cursor->rest, &point);
		if (len == 0 || utf8_is_unprintable(point))
			return false;
		(void)reader_take(cursor, len);
	}
	return !cursor->failed && cursor->rest.len > 0;
}

static bool take_number(struct reader *cursor)
{
	size_t len = 0;

	while (len < cursor->rest.len && cursor->rest.data[len] >= '0' && cursor->rest.data[len] <= '9')
		len++;
	if (len == 0 || len > 20 || (len > 1 && cursor->rest.data[0] == '0'))
		return false;
	(void)reader_take(cursor, len);
	return true;
}

static bool take_value(struct reader *cursor)
{
	if (cursor->rest.len > 0 && cursor->rest.data[0] == '"')
		return take_string(cursor);
	return take_literal(cursor, "null") || take_literal(cursor, "true") ||
	       take_literal(cursor, "false") || take_number(cursor);
}

static struct bytes taken_since(const uint8_t *start, const struct reader *cursor)
{
	return bytes_of(start, (size_t)(cursor->rest.data - start));
}

/* "name":value */
static bool take_member(struct reader *cursor, struct audit_member *ret_member)
{
	const uint8_t *start = cursor->rest.data;

	if (!take_string(cursor) || !take_literal(cursor, ":"))
		return false;
	ret_member->name = taken_since(start + 1, cursor);
	ret_member->name.len -= 2; /* the quote and the colon */
	start = cursor->rest.data;
	if (!take_value(cursor))
		return false;
	ret_member->value = taken_since(start, cursor);
	return true;
}

bool audit_next_member(struct audit_cursor *cursor, struct audit_member *ret_member)
{
	struct reader walk = reader_of(cursor->rest);
	struct audit_member member;

	if (cursor->failed || (cursor->begun && bytes_equal(cursor->rest, bytes_of_string("}"))))
		return false;
	cursor->failed = !take_literal(&walk, cursor->begun ? "," : "{") || !take_member(&walk, &member) ||
	                 !(bytes_equal(walk.rest, bytes_of_string("}")) ||
	                   (walk.rest.len > 0 && walk.rest.data[0] == ','));
	if (cursor->failed)
		return false;
	cursor->begun = true;
	cursor->rest = walk.rest;
	*ret_member = member;
	return true;
}

/* ---- the chain ---- */

#define CHECK_BEFORE ",\"check\":\""

static bool read_number(struct bytes value, unsigned long long *ret_number)
{
	unsigned long long number = 0;

	for (size_t i = 0; i < value.len; i++) {
		unsigned digit = value.data[i] - (unsigned)'0';

		if (digit > 9 || __builtin_mul_overflow(number, 10ULL, &number) ||
		    __builtin_add_overflow(number, digit, &number))
			return false;
	}
	*ret_number = number;
	return true;
}

static bool read_link(const struct audit_member *sequence, const struct audit_member *previous,
                      struct audit_chain *ret_link)
{
	if (!bytes_equal(sequence->name, bytes_of_string("sequence")) ||
	    !bytes_equal(previous->name, bytes_of_string("previous")) ||
	    previous->value.len != 2 * AUDIT_HASH_LEN + 2 || previous->value.data[0] != '"')
		return false;
	return read_number(sequence->value, &ret_link->sequence) &&
	       hex_decode(bytes_of(previous->value.data + 1, 2 * (size_t)AUDIT_HASH_LEN), ret_link->last_hash,
	                  AUDIT_HASH_LEN) == OK;
}

/* What a line says of itself. */
struct link {
	struct audit_chain chain; /* its number, and the hash that it claims for the line before */
	struct bytes
	        check; /* its digits, in the line; empty: it has none, as those of before there was one */
};

/* "0123456789abcdef" */
static bool read_check(const struct audit_member *member, struct bytes *ret_digits)
{
	if (!bytes_equal(member->name, bytes_of_string("check")))
		return false;
	*ret_digits = bytes_of(member->value.data + 1, AUDIT_CHECK_DIGITS);
	return member->value.len == AUDIT_CHECK_DIGITS + 2 && member->value.data[0] == '"';
}

static bool read_line(struct bytes line, struct link *ret_link)
{
	struct audit_cursor cursor = audit_cursor_of(line);
	struct audit_member last[3] = { 0 };
	struct audit_member member;
	size_t at;

	if (line.len >= AUDIT_LINE_MAX)
		return false;
	while (audit_next_member(&cursor, &member)) {
		last[0] = last[1];
		last[1] = last[2];
		last[2] = member;
	}
	ret_link->check = bytes_of(NULL, 0);
	at = last[2].name.data && read_check(&last[2], &ret_link->check) ? 0 : 1;
	return !cursor.failed && last[at].name.data && read_link(&last[at], &last[at + 1], &ret_link->chain);
}

/* The digits of the check of a line that begins with open and is closed there; the state is that of open, to go on from. */
static void check_of(struct bytes open, struct sha256 *ret_state,
                     char ret_digits[static AUDIT_CHECK_DIGITS + 1])
{
	struct sha256 closed;
	uint8_t hash[AUDIT_HASH_LEN];

	sha256_begin(ret_state);
	sha256_add(ret_state, open);
	closed = *ret_state;
	sha256_add(&closed, bytes_of_string("}"));
	sha256_end(&closed, hash);
	hex_encode(bytes_of(hash, AUDIT_CHECK_DIGITS / 2), ret_digits);
}

/* Moves the hash on to line. Is its check, if it has one, the right one? */
static bool hash_line(struct bytes line, struct bytes check, uint8_t ret_hash[static AUDIT_HASH_LEN])
{
	char digits[AUDIT_CHECK_DIGITS + 1];
	struct sha256 state;
	size_t open_len;

	if (check.len == 0) {
		sha256_of(line, ret_hash);
		return true;
	}
	open_len = (size_t)(check.data - line.data) - strlen(CHECK_BEFORE);
	check_of(bytes_of(line.data, open_len), &state, digits);
	sha256_add(&state, bytes_of(line.data + open_len, line.len - open_len));
	sha256_end(&state, ret_hash);
	return bytes_equal(check, bytes_of_string(digits));
}

enum audit_fault audit_chain_next(struct audit_chain *chain, struct bytes line)
{
	struct link link = { 0 };
	const struct audit_chain before = *chain;
	bool parsed = read_line(line, &link);
	bool checked = hash_line(line, parsed ? link.check : bytes_of(NULL, 0), chain->last_hash);

	chain->sequence = parsed ? link.chain.sequence : before.sequence + 1;
	if (!parsed)
		return AUDIT_FAULT_SYNTAX;
	if (!checked)
		return AUDIT_FAULT_CHECK;
	if (memcmp(link.chain.last_hash, before.last_hash, AUDIT_HASH_LEN) != 0)
		return AUDIT_FAULT_CHAIN;
	return link.chain.sequence == before.sequence + 1 ? AUDIT_WHOLE : AUDIT_FAULT_SEQUENCE;
}

bool audit_record_notes(struct bytes line, const char *operation)
{
	struct audit_cursor cursor = audit_cursor_of(line);
	struct audit_member member;
	bool is_log = false, is_operation = false;
	const size_t len = strlen(operation);

	if (!memmem(line.data, line.len, operation, len))
		return false;
	while (audit_next_member(&cursor, &member)) {
		is_log |= bytes_equal(member.name, bytes_of_string("frontend")) &&
		          bytes_equal(member.value, bytes_of_string("\"audit\""));
		is_operation |= bytes_equal(member.name, bytes_of_string("operation")) &&
		                member.value.len == len + 2 &&
		                memcmp(member.value.data + 1, operation, len) == 0;
	}
	return !cursor.failed && is_log && is_operation;
}

bool audit_record_goes_on(struct bytes line, struct audit_chain *ret_before)
{
	struct link link = { 0 };

	if (!audit_record_notes(line, "continued") || !read_line(line, &link) || link.chain.sequence < 2)
		return false;
	*ret_before = link.chain;
	ret_before->sequence--;
	return true;
}

const char *audit_fault_text(enum audit_fault fault)
{
	switch (fault) {
	case AUDIT_WHOLE:
		return "whole";
	case AUDIT_FAULT_SYNTAX:
		return "this line is not an audit record as they are written here: it was changed, only half "
		       "written, or a newer tokend wrote it";
	case AUDIT_FAULT_CHECK:
		return "this record was changed: its check is that of another";
	case AUDIT_FAULT_CHAIN:
		return "this record does not follow from the line before it: that line was changed, or lines "
		       "were removed, inserted or moved here";
	case AUDIT_FAULT_SEQUENCE:
		return "this record has the wrong number: it was changed together with its chain";
	}
	return "unknown";
}

enum err audit_chain_close(struct audit_chain *chain, struct buf *line)
{
	char previous[2 * AUDIT_HASH_LEN + 1], check[AUDIT_CHECK_DIGITS + 1];
	struct sha256 state;
	size_t open_len;
	enum err err;

	hex_encode(bytes_of(chain->last_hash, AUDIT_HASH_LEN), previous);
	err = buf_printf(line, "\"sequence\":%llu,\"previous\":\"%s\"", chain->sequence + 1, previous);
	if (err)
		return err;
	open_len = buf_len(line);
	check_of(buf_bytes(line), &state, check);
	err = buf_printf(line, CHECK_BEFORE "%s\"}\n", check);
	if (err)
		return err;
	if (buf_len(line) > AUDIT_LINE_MAX)
		return ERR_BUSY;
	sha256_add(&state, bytes_of(buf_bytes(line).data + open_len, buf_len(line) - open_len - 1));
	sha256_end(&state, chain->last_hash);
	chain->sequence++;
	return OK;
}
