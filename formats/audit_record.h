/*
 * Audit record
 *
 * One line of the audit log and the chain that runs through them: pure functions over text, used by the broker to write and by `tokenctl audit` to show and verify. A line is
 * a JSON object that ends with "previous" (SHA-256 of the line before it, without its newline; 64 zeros for the first) and, last, "hash" is not stored: it is what the next
 * line's "previous" must be. The number "sequence" counts from 1 without a gap.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

#define AUDIT_LINE_MAX 4096U
#define AUDIT_HASH_LEN 32U

struct audit_chain {
	unsigned long long sequence; /* of the last line seen; 0: none */
	uint8_t last_hash[AUDIT_HASH_LEN]; /* of the last line seen; zeros: none */
};

enum audit_fault {
	AUDIT_WHOLE, /* the line is what it should be */
	AUDIT_FAULT_SYNTAX, /* it does not parse */
	AUDIT_FAULT_CHAIN, /* it does not follow from the line before: that one was changed, or one was removed, inserted or moved */
	AUDIT_FAULT_SEQUENCE, /* its number is not the next one */
};

/* Checks one line (without its newline) against the chain and moves the chain on to it. On a fault the chain moves on as well, so that the lines after it can be checked. */
enum audit_fault audit_chain_next(struct audit_chain *chain, struct bytes line);
const char *audit_fault_text(enum audit_fault fault);

/* Appends the members "sequence" and "previous" and closes the object that line holds without its closing brace ("{...,"), then a newline; the chain moves on. */
MUST_CHECK enum err audit_chain_close(struct audit_chain *chain, struct buf *line);

/* Appends text as a JSON string with quotes; control characters and invalid UTF-8 become \u escapes. */
MUST_CHECK enum err audit_put_string(struct buf *line, const char *text);
