/*
 * SOPS number
 *
 * Floating point numbers as Go writes them, because a MAC is over that text: shortest decimal digits that read back as the same number, without an exponent for the MAC and for
 * ciphertext, with one where Go's YAML and JSON writers use one.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"

#define SOPS_NUMBER_MAX 400U /* characters: 1e-308 has as many */

enum sops_number_form {
	SOPS_NUMBER_PLAIN, /* 'f': never an exponent */
	SOPS_NUMBER_YAML, /* 'g' of Go */
	SOPS_NUMBER_JSON,
};

/* Reads text (decimal, with or without exponent) as a double. ERR_BAD_FILE when it is none, or too large for one. */
MUST_CHECK enum err sops_number_read(struct bytes text, double *ret_number);

/* Writes a finite number, and returns the length. */
size_t sops_number_write(double number, enum sops_number_form form, char out[static SOPS_NUMBER_MAX]);
