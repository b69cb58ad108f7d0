#include "formats/sops_shamir.h"

#include <sodium.h>

/* In constant time, for the operands are secret. The field's polynomial is x^8+x^4+x^3+x+1. */
static uint8_t multiply(uint8_t a, uint8_t b)
{
	unsigned product = 0, left = a;

	for (unsigned i = 0; i < 8; i++) {
		product ^= (0U - ((unsigned)b >> i & 1U)) & left;
		left = left << 1 ^ ((0U - (left >> 7 & 1U)) & 0x11bU);
	}
	return (uint8_t)(product & 0xffU);
}

/* a^254 is 1/a. */
static uint8_t invert(uint8_t a)
{
	uint8_t power = a, result = 1;

	for (unsigned i = 1; i < 8; i++) {
		power = multiply(power, power);
		result = multiply(result, power);
	}
	return result;
}

static uint8_t x_of(const struct secret *share)
{
	return secret_reveal(share).data[secret_len(share) - 1];
}

static enum err check(struct secret *const *shares, size_t count)
{
	if (count < 2 || count > 255 || secret_len(shares[0]) < 2)
		return ERR_BAD_CIPHERTEXT;
	for (size_t i = 0; i < count; i++) {
		if (secret_len(shares[i]) != secret_len(shares[0]))
			return ERR_BAD_CIPHERTEXT;
		for (size_t j = 0; j < i; j++)
			if (x_of(shares[i]) == x_of(shares[j]))
				return ERR_BAD_CIPHERTEXT;
	}
	return OK;
}

/* What a share counts in the value at 0: the product of x_j / (x_j - x_i). */
static uint8_t weight(struct secret *const *shares, size_t count, size_t i)
{
	uint8_t result = 1;

	for (size_t j = 0; j < count; j++)
		if (j != i)
			result = multiply(
			        result, multiply(x_of(shares[j]), invert(x_of(shares[i]) ^ x_of(shares[j]))));
	return result;
}

enum err sops_shamir_combine(struct secret *const *shares, size_t count, struct secret **ret_secret)
{
	CLEANUP(secret_freep) struct secret *combined = NULL;
	enum err err = check(shares, count);

	if (!err)
		err = secret_new(secret_len(shares[0]) - 1, &combined);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		uint8_t factor = weight(shares, count, i);

		for (size_t k = 0; k < secret_len(combined); k++)
			secret_fill(combined)[k] ^= multiply(factor, secret_reveal(shares[i]).data[k]);
	}
	*ret_secret = TAKE(combined);
	return OK;
}

/* Horner's way; the coefficients of one byte stand behind each other, the secret's own byte being the constant one. */
static uint8_t value_at(const uint8_t *coefficients, size_t count, uint8_t constant, uint8_t x)
{
	uint8_t result = 0;

	while (count-- > 0)
		result = multiply(result, x) ^ coefficients[count];
	return multiply(result, x) ^ constant;
}

static void fill_shares(const struct secret *secret, const struct secret *random, size_t count, size_t degree,
                        struct secret **shares)
{
	size_t len = secret_len(secret);

	for (size_t i = 0; i < count; i++) {
		uint8_t x = (uint8_t)(i + 1), *out = secret_fill(shares[i]);

		for (size_t k = 0; k < len; k++)
			out[k] = value_at(secret_reveal(random).data + k * degree, degree,
			                  secret_reveal(secret).data[k], x);
		out[len] = x;
	}
}

enum err sops_shamir_split(const struct secret *secret, size_t count, size_t threshold,
                           struct secret **ret_shares)
{
	CLEANUP(secret_freep) struct secret *random = NULL;
	size_t made = 0;
	enum err err = count < 2 || count > 255 || threshold < 2 || threshold > count ? ERR_USAGE : OK;

	if (!err)
		err = secret_new(secret_len(secret) * (threshold - 1), &random);
	while (!err && made < count) {
		err = secret_new(secret_len(secret) + 1, &ret_shares[made]);
		made += err == OK;
	}
	if (err) {
		while (made-- > 0)
			ret_shares[made] = secret_free(ret_shares[made]);
		return err;
	}
	randombytes_buf(secret_fill(random), secret_len(random));
	fill_shares(secret, random, count, threshold - 1, ret_shares);
	return OK;
}
