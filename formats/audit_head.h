/*
 * Audit head
 *
 * The number and the hash of a record that was the audit log's last one once, kept apart from the log: what shows that a log was cut off, or written anew, which its own chain cannot (formats/audit_record).
 * Two forms of text, pure functions: what people keep, "NUMBER:HASH", and what the broker leaves in its runtime directory while the machine runs,
 *
 *	"tokend head 1 NUMBER HASH CHECK\n"
 *
 * with NUMBER of 20 digits. CHECK is the first digits of the SHA-256 of what stands before it and of the path of the state directory whose log it is: a head that was read while it was written, and
 * one of another state directory that was served from here before, are none.
 */
#pragma once

#include <stdbool.h>

#include "common/bytes.h"
#include "common/err.h"
#include "formats/audit_record.h"

#define AUDIT_HEAD_LEN (20U + 1U + 2U * AUDIT_HASH_LEN) /* "NUMBER:HASH" */

/* ERR_USAGE when text is not of that form. */
MUST_CHECK enum err audit_head_parse(const char *text, struct audit_chain *ret_head);
void audit_head_print(const struct audit_chain *head, char ret_text[static AUDIT_HEAD_LEN + 1]);

#define AUDIT_MEMO_NAME "audit.head" /* in the runtime directory */
#define AUDIT_MEMO_LEN (14U + 20U + 1U + 2U * AUDIT_HASH_LEN + 1U + AUDIT_CHECK_DIGITS + 1U)

/* The broker's form. directory: the path of the state directory, without the name of the log. */
void audit_memo_print(const struct audit_chain *head, struct bytes directory,
                      char ret_text[static AUDIT_MEMO_LEN + 1]);

/* False: it is none, or another directory's. */
bool audit_memo_parse(struct bytes text, struct bytes directory, struct audit_chain *ret_head);
