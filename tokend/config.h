/*
 * Config
 *
 * tokend.conf: one "word value" per line, '#' begins a comment (docs/man/tokend.conf.5). It says which tokens there are and where things stand; who may do what is policy.
 *
 *	token TOKEN-URI           tpm:device:/dev/tpmrm0, tpm:swtpm:path=/run/x.sock (may be repeated; default: /dev/tpmrm0 if it exists)
 *	policy-directory PATH     default: policy.d; one that does not begin with '/' is beside the configuration file
 *	session-time DURATION     how long an unlock lasts where the policy does not say; default 15m, at most 24h
 *	token-deadline DURATION   longest wait for one operation of a token before its helper is ended; default 30s
 *	log-level error|warning|info|debug
 *	user NAME                 started as root: the broker's uid (default tokend)
 *	helper-user NAME          started as root: the helpers' uid (default tokend-tpm); its groups must reach the device
 *
 * All but token stand at most once. What is not known is refused, not skipped: a word that is misspelt must not pass for one that is missing.
 */
#pragma once

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "tokend/duration.h"

#define CONFIG_TEXT_MAX (1U << 20)
#define CONFIG_LINE_MAX 8192U
#define CONFIG_TOKENS_MAX 16U
#define CONFIG_SESSION_MAX (24U * 60 * 60) /* seconds */
#define CONFIG_DEADLINE_MAX (10U * 60) /* seconds */
#define TOKEN_URI_MAX 256U

struct config {
	size_t token_count;
	/* whole URIs, checked: known scheme, allowed TCTI, printable */
	char tokens[CONFIG_TOKENS_MAX][TOKEN_URI_MAX];
	char policy_directory[4096];
	unsigned session_seconds;
	unsigned token_deadline_ms;
	enum log_level log_level;
	char user[64];
	char helper_user[64];
};

/* The defaults, as if the file were empty. path (of tokend.conf) decides the policy directory. */
void config_defaults(struct config *config, const char *path);

/* The machine's own tokend was told of no token and saw no TPM: it may still come up, so it is asked for as if it were there. */
void config_expect_device(struct config *config);

/* Reads path; a missing file gives the defaults, or ERR_NO_FILE where it is needed. Not a regular file of root's or ours, or writable by others (so may its directory not be): ERR_STATE_DIR.
 * ERR_BAD_CONFIG: problem gets "file:line: what is wrong". */
MUST_CHECK enum err config_load(const char *path, bool needed, struct buf *problem,
                                struct config *ret_config);

/* Parses text alone; for the tests and the fuzzer. */
MUST_CHECK enum err config_parse(struct bytes text, const char *path, struct buf *problem,
                                 struct config *ret_config);

/* "tpm:device:/dev/tpmrm0" checked: ERR_USAGE when the scheme or the TCTI (device, swtpm, mssim, tabrmd) is not one of ours. */
MUST_CHECK enum err token_uri_check(struct bytes uri);
