#include <sodium.h>

#include "tpm/error.h"
#include "tpm/token.h"

#define AUTH_LEN 32U

static const char auth_label[] = "tokend TPM PIN 1";

/*
 * Hashed, so that every authorisation value has the same length and no part of the PIN is one; with the key's id, so that one PIN for two keys does
 * not make two equal values. A slow hash would add nothing: the value is checked by the TPM alone, which counts, and what crosses the bus is an HMAC
 * under the session's key as well. TPMs and the libraries take zero bytes off the end of a value, each in its own way; so it never ends in one.
 */
enum err tpm_pin_auth(const struct key_id *id, const struct secret *pin, struct secret **ret_auth)
{
	CLEANUP(secret_freep) struct secret *auth = NULL;
	CLEANUP(secret_freep) struct secret *memory = NULL;
	crypto_hash_sha256_state *state;
	uint8_t *last;
	enum err err = secret_new(AUTH_LEN, &auth);

	if (!err)
		err = secret_new(sizeof(*state), &memory);
	if (err)
		return err;
	state = (crypto_hash_sha256_state *)(void *)secret_fill(memory);
	(void)crypto_hash_sha256_init(state);
	(void)crypto_hash_sha256_update(state, (const uint8_t *)auth_label, sizeof(auth_label));
	(void)crypto_hash_sha256_update(state, id->bytes, KEY_ID_LEN);
	(void)crypto_hash_sha256_update(state, secret_reveal(pin).data, secret_len(pin));
	(void)crypto_hash_sha256_final(state, secret_fill(auth));
	last = secret_fill(auth) + AUTH_LEN - 1;
	*last |= 0x01;
	*ret_auth = TAKE(auth);
	return OK;
}

/*
 * The device's counter is everybody's: who spends its last try locks out all keys with a PIN, tokend's and others'. So tokend stops before: one try
 * short of the limit where the limit is 5 or less (a swtpm's 3: two wrong PINs), five tries short where it is more (usually 32: 27).
 */
unsigned tpm_pin_tries(uint32_t failures, uint32_t allowed)
{
	uint32_t reserve = allowed <= 5 ? 1 : 5;

	if (allowed <= reserve || failures >= allowed - reserve)
		return 0;
	return allowed - reserve - failures;
}

enum err tpm_may_try_pin(struct token *token)
{
	TPMS_TAGGED_PROPERTY properties[2];
	size_t count = 2;
	enum err err = tpm_properties(token, TPM2_PT_LOCKOUT_COUNTER, properties, &count);

	if (err)
		return err;
	if (count != 2 || properties[0].property != TPM2_PT_LOCKOUT_COUNTER ||
	    properties[1].property != TPM2_PT_MAX_AUTH_FAIL)
		return ERR_TOKEN;
	return tpm_pin_tries(properties[0].value, properties[1].value) > 0 ? OK : ERR_PIN_LOCKED;
}
