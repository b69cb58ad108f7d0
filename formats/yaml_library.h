/*
 * YAML library
 *
 * The few functions of libfyaml that the reader of YAML files needs. Loaded when the first file is read, never before: a program that reads none does not pay for it.
 */
#pragma once

#include <libfyaml.h>

#include "common/err.h"
#include "formats/dynamic_library.h"

#define YAML_FUNCTIONS(X)       \
	X(fy_parser_create)     \
	X(fy_parser_destroy)    \
	X(fy_parser_set_string) \
	X(fy_parser_parse)      \
	X(fy_parser_event_free) \
	X(fy_diag_create)       \
	X(fy_diag_destroy)      \
	X(fy_event_start_mark)  \
	X(fy_token_start_mark)  \
	X(fy_token_end_mark)    \
	X(fy_token_get_text)    \
	X(fy_token_scalar_style)

struct yaml_library {
	YAML_FUNCTIONS(DYNAMIC_FUNCTION)
};

/* ERR_UNSUPPORTED when there is no libfyaml. Not for several threads at once. */
MUST_CHECK enum err yaml_library_load(const struct yaml_library **ret_library);
