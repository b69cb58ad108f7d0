/*
 * SOPS examine
 *
 * Asks formats/sops_check.h about a whole file, for verify and guard: which format it has, whether it is a SOPS file at all, and what was found.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"
#include "formats/sops_check.h"

enum sops_verdict {
	SOPS_IS_NONE, /* it has no metadata of sops */
	SOPS_IS_BROKEN, /* it has, and cannot be read: reason */
	SOPS_IS_CHECKED, /* what was found, was said */
};

struct sops_examination {
	enum sops_verdict verdict;
	enum sops_format format;
	char reason[256]; /* of SOPS_IS_BROKEN */
};

/* format NULL: by name (NULL: none) and content. Errors that say nothing of the file: ERR_NOMEM, ERR_UNSUPPORTED (a library is missing), what found returned. */
MUST_CHECK enum err sops_examine(const char *name, const enum sops_format *format, struct bytes text,
                                 sops_check_found found, void *context,
                                 struct sops_examination *ret_examination);
