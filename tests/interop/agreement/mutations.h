/*
 * Mutations
 *
 * What is done to an age file to see who still takes it: damage of single bytes, and what somebody would do who knows the format. Each has a name,
 * under which differences are explained.
 */
#pragma once

#include "tests/interop/agreement/draft.h"

enum stage {
	STAGE_HEADER, /* before the MAC is computed */
	STAGE_PAYLOAD,
	STAGE_FILE, /* on the bytes of the whole file, armored or not */
	STAGE_ARMOR, /* as above, on armored files only */
};

struct mutation {
	const char *name;
	enum stage stage;
	void (*apply)(struct draft *draft);
};

extern const struct mutation mutations[];
extern const size_t mutation_count;
