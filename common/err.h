/*
 * Errors
 *
 * A function that can fail returns enum err and nothing else; what it produces goes out through pointers named ret_*, which are written on
 * success only. The set is closed. Each value has one row in err.c: its text, and what each wire protocol and the command line say for it.
 * A front-end never invents a status of its own.
 */
#pragma once

#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result)) /* before every enum err, vtables included */

enum err {
	OK = 0,

	/* the caller's doing; expected; logged at info */
	ERR_AGAIN, /* message not complete yet; read more */
	ERR_USAGE, /* the command line, or a parameter of a call, is not of the right form */
	ERR_BAD_MESSAGE, /* a protocol message does not parse, or breaks a limit */
	ERR_BAD_CONFIG, /* configuration or policy does not parse */
	ERR_DENIED, /* policy said no, or there was no rule, or it may not be known that there is no such key */
	ERR_NO_KEY, /* permitted, but there is no such key */
	ERR_NO_MATCH, /* none of the keys that the peer may use opens this */
	ERR_EXISTS, /* that name is taken */
	ERR_PIN_NEEDED, /* the key is locked */
	ERR_PIN_WRONG, /* that was not the PIN */
	ERR_PIN_LOCKED, /* no tries left, or tokend keeps the last ones back */
	ERR_BAD_CIPHERTEXT, /* wrong key, or tampered: the same text for every cause */
	ERR_BAD_FILE, /* not an age file, or a malformed one */
	ERR_TRUNCATED, /* ends before its end */
	ERR_UNSUPPORTED, /* well-formed, but of a kind tokend does not do yet */
	ERR_NO_FILE, /* the file named is not there */
	ERR_FILE_ACCESS, /* the file named cannot be read or written by us */

	/* the world's doing; expected; logged at warning */
	ERR_NO_DAEMON, /* nobody listens on the control socket */
	ERR_NO_TOKEN, /* unplugged, or no such device */
	ERR_TOKEN_STATE, /* present, but its state forbids it: another TPM, cleared, in lockout */
	ERR_TOKEN_FULL, /* others occupy all of the device's slots */
	ERR_TIMEOUT, /* the deadline passed */
	ERR_BUSY, /* a limit was reached; try later */
	ERR_AUDIT, /* the audit log cannot be written, so nothing is released */
	ERR_STATE_DIR, /* the state directory cannot be used as it is */
	ERR_DISK_FULL, /* no space left */
	ERR_MEMORY_LOCKED, /* memory cannot be locked, so no secret may enter it */

	/* our doing; a fault; logged at error */
	ERR_NOMEM,
	ERR_SYSTEM, /* errno says what */
	ERR_TOKEN, /* the device broke its contract */
	ERR_BUG,

	ERR_COUNT, /* how many there are; not an error */
};

struct err_info {
	enum err err;
	const char *name; /* stable: audit log, JSON output */
	const char *text; /* for people: one sentence without a full stop */
	const char *varlink; /* the error's name in io.tokend */
	int grpc; /* gRPC status code */
	int http; /* HTTP status */
	int exit_code; /* of tokenctl */
	bool fault; /* true: our doing */
};

/* The row of err; never NULL. */
const struct err_info *err_info(enum err err);

/* The error whose Varlink name is name (as in the reply of a daemon); ERR_BAD_MESSAGE when there is none. */
enum err err_from_varlink(const char *name);

/* What errno says as one of ours: ENOENT, EACCES, EPERM, EROFS, ENOSPC, EDQUOT, ENOMEM have a value of their own; else ERR_SYSTEM. */
enum err err_from_errno(int error_number);
