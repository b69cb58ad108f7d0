/*
 * Audit record
 *
 * One line of the audit log and the chain that runs through them: pure functions over text, used by the broker to write and by `tokenctl audit` to show and verify.
 *
 * A line is one flat JSON object without white space, its members strings, whole numbers, true, false or null; the last three are "sequence", which counts from 1
 * without a gap, "previous", the SHA-256 of the line before it without its newline (64 zeros for the first), and "check", the first 16 digits of the SHA-256 of what the line would be without this
 * member. Lines that were written before there was one have no check. A line's own hash is not stored: it is what the next line's "previous" must be. So a record that was changed by accident is
 * found at itself, one that was changed on purpose at the next one, and a record that was removed, inserted or moved is found where the chain breaks. What the chain alone cannot show is that
 * records are missing at its end, or that all of it was written anew: that takes somebody who remembers a record's number and hash.
 *
 * A log that grew long is closed and another one begun (tokend/audit_rotation): the chain goes on from one file to the next, and the first record of the next, "continued", says that it does.
 *
 * The check is there for the last line, which has no next one yet: a power failure may leave the beginning of one line and the end of another where a line should be.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

#define AUDIT_LINE_MAX 4096U /* with its newline */
#define AUDIT_HASH_LEN 32U
#define AUDIT_CHECK_DIGITS 16U

struct audit_chain {
	unsigned long long sequence; /* of the last line seen; 0: none */
	uint8_t last_hash[AUDIT_HASH_LEN]; /* of the last line seen; zeros: none */
};

enum audit_fault {
	AUDIT_WHOLE, /* the line is what it should be */
	AUDIT_FAULT_SYNTAX, /* it does not parse */
	AUDIT_FAULT_CHECK, /* it was changed: it does not match its own check */
	AUDIT_FAULT_CHAIN, /* it does not follow from the line before: that one was changed, or one was removed, inserted or moved */
	AUDIT_FAULT_SEQUENCE, /* its number is not the next one */
};

/* Checks one line (without its newline) against the chain and moves the chain on to it. On a fault the chain moves on as well, so that the lines after it can be checked. */
enum audit_fault audit_chain_next(struct audit_chain *chain, struct bytes line);

/* Does the line say that the log itself did operation? No client can write such a record. */
bool audit_record_notes(struct bytes line, const char *operation);

/* Is it the first record of a log that another was closed for ("continued")? Its number and its link then go on from that one's end, which ret_before becomes; it is left alone otherwise. */
bool audit_record_goes_on(struct bytes line, struct audit_chain *ret_before);

/* A sentence without a full stop. Static. */
const char *audit_fault_text(enum audit_fault fault);

/* Appends the members "sequence", "previous" and "check" and closes the object that line holds without its closing brace ("{...,"), then a newline; the chain moves on. line
 * holds nothing else. Errors of buf_put, and ERR_BUSY for a line over AUDIT_LINE_MAX: the chain has then not moved. */
MUST_CHECK enum err audit_chain_close(struct audit_chain *chain, struct buf *line);

/* Appends text as a JSON string with quotes. Control characters, characters that change how a terminal shows the others, and the bytes of invalid UTF-8 (each by itself,
 * \u00XX) become \u escapes: a line can be printed as it is. */
MUST_CHECK enum err audit_put_string(struct buf *line, const char *text);

/* One member of a line: the value as it stands there (a string with its quotes). Borrowed. */
struct audit_member {
	struct bytes name; /* without quotes */
	struct bytes value;
};

struct audit_cursor {
	struct bytes rest;
	bool begun;
	bool failed; /* the line is not what this page says */
};

static inline struct audit_cursor audit_cursor_of(struct bytes line)
{
	return (struct audit_cursor){ line, false, false };
}

/* The next member of a line (without its newline). False at the end, and then failed says whether it was a good one. */
bool audit_next_member(struct audit_cursor *cursor, struct audit_member *ret_member);
