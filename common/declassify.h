/*
 * Declassify
 *
 * Says that something which was computed from a secret is none: whether a checksum is right, where a separator stands. In the programs this is nothing; in tests/integration/poison.c, where every secret
 * is poisoned and valgrind reports each branch and each address that depends on one, it is what may be branched on. Each use is a decision that somebody has to be able to defend, and says why.
 */
#pragma once

#include <stddef.h>

#ifdef TOKEND_POISON
#include <valgrind/memcheck.h>
#endif

static inline void declassify(const void *data, size_t len)
{
#ifdef TOKEND_POISON
	(void)VALGRIND_MAKE_MEM_DEFINED(data, len);
#else
	(void)data;
	(void)len;
#endif
}
