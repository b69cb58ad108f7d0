/*
 * SOPS environment
 *
 * The values of SOPS files as environment variables: the keys on the way to a value are joined with _ (and the places of a list counted), numbers and booleans are written as sops does for
 * its exec-env. Which values are meant, what is put before their names, and that no two have one name, is decided here; it knows nothing of processes. dotenv files have values that sops
 * takes as they are; read with quotes, they are what a shell makes of them.
 */
#pragma once

#include "formats/sops_document.h"
#include "formats/sops_value.h"

#define ENVIRONMENT_MAX (2U << 20) /* as the kernel has it for all arguments and variables together */
#define ENVIRONMENT_STRING_MAX 131072U /* and for each */
#define ENVIRONMENT_NAME_MAX 1024U
#define ENVIRONMENT_OTHERS_MAX 16384U /* bytes of names that are not asked for; more are not kept */

struct environment_choice {
	const char *name; /* borrowed */
	bool found; /* set when there was such a value */
};

struct sops_environment {
	struct environment_choice *only; /* borrowed; before the prefix */
	size_t only_count; /* 0: all */
	const char *prefix; /* borrowed; NULL: none */
	bool quotes; /* values of dotenv files as other programs read them */
	struct buf *strings; /* owned: NAME=value, each with a NUL behind */
	size_t count;
	struct buf *others; /* owned: the names that only passes over, each with a NUL behind */
	char reason[ENVIRONMENT_NAME_MAX + 256]; /* after an error; names, no values */
};

/* only, only_count, prefix and quotes are set by the caller, before. */
MUST_CHECK enum err sops_environment_init(struct sops_environment *environment);
void sops_environment_done(struct sops_environment *environment);

/* Takes a value, as sops_decrypt_values gives it; one that is not meant is passed over. ERR_USAGE: no name of a variable comes of it, or one that chooses what code is run and was not asked for by name; ERR_BUSY: too large; ERR_UNSUPPORTED: a NUL in it. */
MUST_CHECK enum err sops_environment_add(struct sops_environment *environment,
                                         const struct sops_document *document, uint32_t index,
                                         enum sops_type type, struct bytes text);

/* An array with a NULL behind, to be freed by the caller, of strings that are borrowed from environment and from inherited (NULL: none), of which those are left out that environment has
 * too. ERR_EXISTS: two values have one name. */
MUST_CHECK enum err sops_environment_list(struct sops_environment *environment, char *const *inherited,
                                          char ***ret_list);

/* Is it a name that every shell takes? */
bool sops_environment_is_name(struct bytes name);
