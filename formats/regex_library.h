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

/* Is there a match anywhere in text? ERR_BUSY when finding out takes too long. */
MUST_CHECK enum err regex_match(const struct regex *regex, struct bytes text, bool *ret_match);
