/* OpenSSL as ESYS uses it, made ready before the process does anything else. */
#pragma once

#include "common/err.h"

/*
 * Does once, with values that mean nothing, each kind of computation that ESYS asks OpenSSL for in a session (TPM 2.0 part 1, 11.4 and 19.6): SHA-256, HMAC, AES-128-CFB, random bytes, a P-256 key and a product of points.
 * ERR_NOMEM: one of them failed, and this process must not go on, for OpenSSL tries some of what it makes once never again.
 */
MUST_CHECK enum err tpm_crypto_ready(void);
