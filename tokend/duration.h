/* Durations as people write them in the configuration and in rules. */
#pragma once

#include "common/bytes.h"
#include "common/err.h"

/* "15m", "30s", "2h", "90": seconds. ERR_USAGE for anything else and for more than 365 days. */
MUST_CHECK enum err duration_parse(struct bytes text, unsigned *ret_seconds);
