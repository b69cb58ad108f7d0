/*
 * Regular expressions
 *
 * What SOPS rules are matched with: Go's RE2, unanchored. libpcre2 does it, with limits on its work; what RE2 does not know (look-around, back-references, possessive and
 * atomic groups, recursion) is refused, so that a pattern means here what it means to sops or nothing. Loaded when the first pattern is compiled.
 */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"

#define REGEX_PATTERN_MAX 4096U

struct regex;

/* ERR_BAD_FILE: it is no pattern, or not one of RE2; ERR_UNSUPPORTED: there is no libpcre2. */
MUST_CHECK enum err regex_new(struct bytes pattern, struct regex **ret_regex);
struct regex *regex_free(struct regex *regex);
DEFINE_CLEANUP(struct regex *, regex_free);

/* What it takes to match is counted here from now on, together with others that count there; 0 at first, borrowed while there is the regex. */
void regex_count_in(struct regex *regex, uint64_t *work);

/* Is there a match anywhere in text? ERR_BUSY when finding out takes too long, and when all matches together did: a file of many names must not keep whoever looks at it for hours. */
MUST_CHECK enum err regex_match(const struct regex *regex, struct bytes text, bool *ret_match);
