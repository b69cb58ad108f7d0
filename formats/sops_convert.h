/*
 * SOPS convert
 *
 * A decrypted file as one of another format (--output-type): read again, and written anew. Comments are lost, as JSON has none; what the other format cannot hold is refused.
 */
#pragma once

#include "formats/sops_document.h"

/* decrypted: what sops_decrypt gave for document, whose reason says what cannot be converted. To JSON, and of it to YAML (JSON is YAML); of a flat map to dotenv; a binary
 * file's bytes from the string under the key data. ERR_UNSUPPORTED with a reason. */
MUST_CHECK enum err sops_convert(struct sops_document *document, struct bytes decrypted,
                                 enum sops_format output, struct buf *out);

/* A decrypted dotenv file once more, with quotes where a shell needs them for what sops takes as it is. Names, comments and lines stay. */
MUST_CHECK enum err sops_convert_quote(struct bytes decrypted, struct buf *out);
