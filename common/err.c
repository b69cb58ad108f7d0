#include "common/err.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define ROW(err, name, text, varlink, grpc, http, exit_code, fault)                               \
	case err: {                                                                               \
		static const struct err_info row = { err,  name, text,      "io.tokend." varlink, \
			                             grpc, http, exit_code, fault };              \
		return &row;                                                                      \
	}

/* No default: a value without a row does not compile. */
/* clang-format off */
const struct err_info *err_info(enum err err)
{
	switch (err) {
	ROW(OK,                "ok",             "done", "Ok", 0, 200, 0, false)
	ROW(ERR_AGAIN,         "again",          "the message is not complete yet", "Again", 14, 503, 8, false)
	ROW(ERR_USAGE,         "usage",          "the request is not of the right form", "Usage", 3, 400, 2, false)
	ROW(ERR_BAD_MESSAGE,   "bad-message",    "the message does not parse or breaks a limit", "BadMessage", 3, 400, 1, false)
	ROW(ERR_BAD_CONFIG,    "bad-config",     "the configuration does not parse", "BadConfig", 9, 500, 2, false)
	ROW(ERR_DENIED,        "denied",         "not permitted, or there is no such key", "Denied", 7, 403, 3, false)
	ROW(ERR_NO_KEY,        "no-key",         "there is no such key", "NoKey", 5, 404, 4, false)
	ROW(ERR_NO_MATCH,      "no-match",       "none of the keys that you may use opens this", "NoMatch", 5, 404, 4, false)
	ROW(ERR_EXISTS,        "exists",         "a key of that name exists already", "Exists", 6, 409, 2, false)
	ROW(ERR_PIN_NEEDED,    "pin-needed",     "the key is locked and needs its PIN", "PinNeeded", 16, 401, 5, false)
	ROW(ERR_PIN_WRONG,     "pin-wrong",      "that is not the PIN", "PinWrong", 16, 401, 5, false)
	ROW(ERR_PIN_LOCKED,    "pin-locked",     "too many wrong PINs; tokend keeps the last tries back", "PinLocked", 8, 429, 5, false)
	ROW(ERR_BAD_CIPHERTEXT, "bad-ciphertext", "the data was damaged or was not made for this key", "BadCiphertext", 3, 400, 7, false)
	ROW(ERR_BAD_FILE,      "bad-file",       "this is not a well-formed age file", "BadFile", 3, 400, 7, false)
	ROW(ERR_TRUNCATED,     "truncated",      "the file is cut off before its end", "Truncated", 3, 400, 7, false)
	ROW(ERR_UNSUPPORTED,   "unsupported",    "not supported yet", "Unsupported", 12, 501, 2, false)
	ROW(ERR_NO_FILE,       "no-file",        "there is no such file", "NoFile", 5, 404, 2, false)
	ROW(ERR_FILE_ACCESS,   "file-access",    "the file cannot be opened with your permissions", "FileAccess", 7, 403, 2, false)
	ROW(ERR_NO_DAEMON,     "no-daemon",      "tokend is not running", "NoDaemon", 14, 503, 6, false)
	ROW(ERR_NO_TOKEN,      "no-token",       "the token is not there", "NoToken", 14, 503, 6, false)
	ROW(ERR_TOKEN_STATE,   "token-state",    "the token's state forbids this", "TokenState", 9, 409, 6, false)
	ROW(ERR_TOKEN_FULL,    "token-full",     "other programs occupy all of the token's slots", "TokenFull", 8, 503, 8, false)
	ROW(ERR_TIMEOUT,       "timeout",        "no answer in time", "Timeout", 4, 504, 8, false)
	ROW(ERR_BUSY,          "busy",           "too much at once; try again later", "Busy", 8, 429, 8, false)
	ROW(ERR_AUDIT,         "audit",          "the audit log cannot be written, so nothing was released", "Audit", 14, 503, 8, false)
	ROW(ERR_STATE_DIR,     "state-dir",      "the state directory cannot be used as it is", "StateDir", 9, 500, 1, false)
	ROW(ERR_DISK_FULL,     "disk-full",      "no space is left on the disk", "DiskFull", 8, 507, 1, false)
	ROW(ERR_MEMORY_LOCKED, "memory-locked",  "memory cannot be locked, so no secret may enter it", "MemoryLocked", 8, 503, 1, false)
	ROW(ERR_NOMEM,         "no-memory",      "out of memory", "NoMemory", 8, 503, 1, true)
	ROW(ERR_SYSTEM,        "system",         "the system refused a call", "System", 13, 500, 1, true)
	ROW(ERR_TOKEN,         "token",          "the token failed, or gave an answer that makes no sense", "TokenFault", 13, 500, 1, true)
	ROW(ERR_BUG,           "bug",            "a fault in tokend itself", "Bug", 13, 500, 1, true)
	ROW(ERR_COUNT,         "count",          "a fault in tokend itself", "Bug", 13, 500, 1, true)
	}
	return err_info(ERR_BUG);
}
/* clang-format on */

enum err err_from_varlink(const char *name)
{
	for (int i = 1; i < ERR_COUNT; i++)
		if (strcmp(err_info((enum err)i)->varlink, name) == 0)
			return (enum err)i;
	return ERR_BAD_MESSAGE;
}

enum err err_from_errno(int error_number)
{
	switch (error_number) {
	case ENOENT:
	case ENOTDIR:
		return ERR_NO_FILE;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_FILE_ACCESS;
	case ENOSPC:
	case EDQUOT:
		return ERR_DISK_FULL;
	case ENOMEM:
		return ERR_NOMEM;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	default:
		return ERR_SYSTEM;
	}
}
