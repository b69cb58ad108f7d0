/*
 * Secret
 *
 * Key material, a PIN, a file key. It lives in locked pages between guard pages, is left out of core dumps and of children, and is wiped when
 * freed. There is no function to copy one, print one or turn one into a string. struct secret and struct bytes do not convert into each
 * other; the one place that reads a secret's bytes says so by calling secret_reveal().
 *
 * Small secrets (up to 2048 bytes) share guarded pages, so that ten thousand of them fit under RLIMIT_MEMLOCK's usual 8 MiB; each carries a
 * canary that is checked when it is freed. A larger one has guard pages of its own. Memory that cannot be locked is not used: the answer is
 * ERR_MEMORY_LOCKED.
 *
 * One pool per process. Several threads may make and free secrets; one secret is used by one thread at a time, or only read.
 */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"

struct secret;

/* A secret of len bytes (1 to 1 MiB), zeroed, to be filled by secret_fill. Freed by the caller. ERR_MEMORY_LOCKED, ERR_NOMEM, ERR_USAGE. */
MUST_CHECK enum err secret_new(size_t len, struct secret **ret_secret);

/* A copy of bytes that were read into a buffer that wipes itself. Errors as secret_new. */
MUST_CHECK enum err secret_new_from(struct bytes bytes, struct secret **ret_secret);

/* Wipes and frees; NULL is fine. Aborts when the canary was overwritten. Returns NULL. */
struct secret *secret_free(struct secret *secret);
DEFINE_CLEANUP(struct secret *, secret_free);

size_t secret_len(const struct secret *secret);
uint8_t *secret_fill(struct secret *secret); /* to write it, once */
struct bytes secret_reveal(
        const struct secret *secret); /* borrowed; for the encoder or the cipher, never for a copy */

/* Makes it shorter and wipes what was cut off; len <= secret_len. */
void secret_truncate(struct secret *secret, size_t len);

/* Compares in constant time; false when the lengths differ. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Wipes len bytes that are about to go out of scope; the compiler may not drop it. */
void secret_wipe(void *data, size_t len);

/* What helps against ERR_MEMORY_LOCKED. */
#define SECRET_LOCK_HINT "ulimit -l 8192"

/* What a process does before its first secret: no core dump, not dumpable (PR_SET_DUMPABLE 0), libsodium ready, one page of pool locked as proof;
 * everything else locked as well where the limits allow it (MCL_ONFAULT). ERR_MEMORY_LOCKED, ERR_SYSTEM. */
MUST_CHECK enum err secret_process_init(void);

/* The lighter form for short-lived clients: not dumpable, so that nobody but root looks in, libsodium ready and no core dump; the pool is locked when first used. */
MUST_CHECK enum err secret_client_init(void);

struct secret_stats {
	size_t live; /* secrets alive */
	size_t locked_bytes; /* bytes of locked pool */
};
struct secret_stats secret_stats(void);
