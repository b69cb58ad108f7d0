/*
 * SOPS names
 *
 * What stands where somebody's path leads to nothing: the nearest name, or all that are there, for the hint of get, set and unset. Keys are in the clear in every SOPS file; it knows nothing of
 * values.
 */
#pragma once

#include "cli/problem.h"
#include "formats/sops_path.h"

/* The keys in a map, or how many elements a list has, as "user, pass" or "3 elements, from 0 on"; "" when nothing is in it. */
void sops_names_list(const struct sops_document *document, uint32_t container, char *out, size_t size);

/* The hint for a path that is not there: the command with the nearest name, or what is in the last part that is there. file: its name. */
void sops_names_hint(const struct sops_document *document, const struct sops_path *path, const char *file,
                     struct problem *problem);

/* Is what was written short, as a.b, one key with dots in it? Then out has its place, as it has to be written: ["a.b"]. */
bool sops_names_dotted(const struct sops_document *document, const struct sops_path *path, char *out,
                       size_t size);
