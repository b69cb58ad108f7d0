/* The kept SOPS files of tests/data/sops, which were made by another implementation of the format (Python's), and the data key that is theirs: 00 01 02 ... 1f. What cannot be in a test ends it. */
#pragma once

#include "common/buf.h"
#include "common/secret.h"

/* The file called name, of fewer than max bytes. To be freed by the caller. */
struct buf *sops_data_read(const char *name, size_t max);

/* Borrowed; made, with the secrets' pool, at the first call. */
struct secret *sops_data_key(void);
