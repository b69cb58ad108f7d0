/*
 * Conflict marks
 *
 * The lines that a merge puts around what both sides changed: "<<<<<<< NAME", "=======", ">>>>>>> NAME". In some formats they are a value like any other, so no parser stumbles over them.
 */
#pragma once

#include <stddef.h>

#include "common/bytes.h"

/* The line, counted from 1, where the first group of such lines begins that is not in the text from before; 0 when there is none. */
size_t conflict_marks_find(struct bytes text, struct bytes before);
