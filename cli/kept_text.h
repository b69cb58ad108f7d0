/*
 * Kept text
 *
 * What was typed into a file, or merged for it, and is not in it yet: in a memory directory, beside the text that it began with, so that what others have changed in the file until it is
 * resumed can be told from what was typed. Which file it is for stands there, too, so that the next edit of the file finds it.
 */
#pragma once

#include <stdbool.h>

#include "cli/memory_directory.h"
#include "cli/problem.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

/* Writes what the text of this directory began with, in the place of what stands there. With a sentence. */
MUST_CHECK enum err kept_text_put_base(const char *directory, struct bytes base, struct problem *problem);

/* What the text in this file began with. limit: bytes. ERR_USAGE, with a sentence, when that is not there; path: the file that it is for. */
MUST_CHECK enum err kept_text_base(const char *file, const char *path, size_t limit, struct problem *problem,
                                   struct buf **ret_base);

/* The text in this file, of a memory directory, is kept for path from now on. With a sentence. */
MUST_CHECK enum err kept_text_keep(const char *file, const char *path, struct problem *problem);

/* How many are kept for path (two edits at the same time may both have failed); the newest one in ret_file. */
unsigned kept_text_find(const char *path, char ret_file[static MEMORY_DIRECTORY_FILE_MAX]);

/* Is this what the file says? */
bool kept_text_says(const char *file, struct bytes text);

/* Removes the text in this file with its directory; does nothing when that is no memory directory. */
void kept_text_remove(const char *file);

/* Removes all that is kept for path. Returns how many there were. */
unsigned kept_text_forget(const char *path);

/* For a text that an editor has moved away: gives its name back to the newest file beside it that says something else than unlike. False when there is none. */
bool kept_text_bring_back(const char *file, struct bytes unlike);

/* For an editor that was told to end: gives the text the place of what it was given, when it has saved that under the name that editors use then. False when it has not. */
bool kept_text_rescue(const char *file, struct bytes unlike);
