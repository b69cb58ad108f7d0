/*
 * SOPS check
 *
 * What can be said of a SOPS file without any key: is its metadata whole, is every value encrypted that its rule covers, and is none encrypted that the rule leaves clear. Whether a
 * ciphertext opens, and whether the MAC is right, only the key tells.
 */
#pragma once

#include "formats/sops_document.h"
#include "formats/sops_metadata.h"

enum sops_finding {
	SOPS_FOUND_CLEAR, /* a value that the rule covers stands there to be read */
	SOPS_FOUND_ENCRYPTED, /* a value is encrypted that the rule leaves clear: sops would take it for a text */
	SOPS_FOUND_MALFORMED, /* it begins as an encrypted value and is none */
	SOPS_FOUND_COMMENT, /* a comment is clear that sops would encrypt; sops takes it with a warning */
	SOPS_FOUND_METADATA, /* the metadata is not such as sops writes */
};

/* Says one finding: the line from 1 (0: the metadata as a whole) and a sentence; a path of keys stands in it, and no value. Both borrowed for the call. An error ends the check. */
typedef enum err (*sops_check_found)(void *context, enum sops_finding finding, size_t line, const char *what);

/* OK when the file was checked, whatever was found. ERR_BAD_FILE: its rule is no pattern, with the document's reason; ERR_UNSUPPORTED without libpcre2; ERR_BUSY, ERR_NOMEM; what found returned. */
MUST_CHECK enum err sops_check(struct sops_document *document, const struct sops_metadata *metadata,
                               sops_check_found found, void *context);
