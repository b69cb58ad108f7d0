/*
 * TPM key file
 *
 * The "TSS2 PRIVATE KEY" PEM that openssl's tpm2 provider reads (ASN.1 TPMKey, DER; type 2.23.133.10.1.3 loadable for p256, .5 sealed data for what is
 * sealed). Encoded and decoded here by hand: a dozen lines of DER either way, with every length checked.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"
#include "common/token.h"

#define TPMKEY_TEXT_MAX 8192U

/* Appends the PEM. empty_auth: no PIN. parent_name is not part of the format and is kept beside it. */
MUST_CHECK enum err tpmkey_put(struct buf *buf, const struct token_blob *blob, enum key_kind kind,
                               bool empty_auth);

/* Reads a PEM. ERR_BAD_FILE for anything it does not understand completely (policies, importable keys: ERR_UNSUPPORTED). parent_name stays empty. */
MUST_CHECK enum err tpmkey_read(struct bytes text, struct token_blob *ret_blob, bool *ret_sealed,
                                bool *ret_empty_auth);
