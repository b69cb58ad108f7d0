/* Shamir's secret sharing over GF(2^8) as sops has it (Vault's): the last byte of a share is its x, the others are one value each. */
#pragma once

#include "common/err.h"
#include "common/secret.h"

/* Combines 2 to 255 shares of the same length. ERR_BAD_CIPHERTEXT when they do not belong together: lengths differ, two have the same x, or there are fewer than 2. */
MUST_CHECK enum err sops_shamir_combine(struct secret *const *shares, size_t count,
                                        struct secret **ret_secret);

/* Divides a secret into count shares (2 to 255), threshold (2 to count) of which are needed to combine it again; x is 1 to count. Each is one byte longer than the secret; owned by the caller. ERR_USAGE. */
MUST_CHECK enum err sops_shamir_split(const struct secret *secret, size_t count, size_t threshold,
                                      struct secret **ret_shares);
