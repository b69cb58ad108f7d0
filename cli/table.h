/*
 * Table
 *
 * Rows of words in aligned columns, for people. Widths are counted in characters of UTF-8; control characters are printed as '?', for names come from elsewhere.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/err.h"

struct table;

MUST_CHECK enum err table_new(size_t columns, struct table **ret_table);
struct table *table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free);

/* Adds the next cell, from left to right and line after line; a copy. NULL or "" becomes "-". */
MUST_CHECK enum err table_put(struct table *table, const char *text);

void table_print(const struct table *table, FILE *file);
