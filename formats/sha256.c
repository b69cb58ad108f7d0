#include "formats/sha256.h"

#include <nettle/hmac.h>
#include <sodium.h>

#include "common/secret.h"
#include "formats/dynamic_library.h"

#define FUNCTIONS(X)                  \
	X(nettle_sha256_init)         \
	X(nettle_sha256_update)       \
	X(nettle_sha256_digest)       \
	X(nettle_hmac_sha256_set_key) \
	X(nettle_hmac_sha256_update)  \
	X(nettle_hmac_sha256_digest)

/* Nettle 3.4.1 to 3.10 have this name and these layouts. */
DYNAMIC_LIBRARY("libnettle.so.8", FUNCTIONS);

#define HOLDS(type, other)                                                                             \
	_Static_assert(sizeof(other) <= sizeof(((struct type *)NULL)->space) && _Alignof(other) <= 16, \
	               "a state holds that of either library")

HOLDS(sha256, struct sha256_ctx);
HOLDS(sha256, crypto_hash_sha256_state);
HOLDS(hmac_sha256, struct hmac_sha256_ctx);
HOLDS(hmac_sha256, crypto_auth_hmacsha256_state);
_Static_assert(SHA256_LEN == crypto_hash_sha256_BYTES && SHA256_LEN == SHA256_DIGEST_SIZE,
               "a hash is a hash");

static bool by_nettle;

bool sha256_prepare(void)
{
	by_nettle = dynamic_library_load(&dynamic);
	return by_nettle;
}

void sha256_begin(struct sha256 *state)
{
	if (by_nettle)
		call.nettle_sha256_init((struct sha256_ctx *)(void *)state->space);
	else
		(void)crypto_hash_sha256_init((crypto_hash_sha256_state *)(void *)state->space);
}

void sha256_add(struct sha256 *state, struct bytes bytes)
{
	if (bytes.len == 0)
		return;
	if (by_nettle)
		call.nettle_sha256_update((struct sha256_ctx *)(void *)state->space, bytes.len, bytes.data);
	else
		(void)crypto_hash_sha256_update((crypto_hash_sha256_state *)(void *)state->space, bytes.data,
		                                bytes.len);
}

void sha256_end(struct sha256 *state, uint8_t ret_hash[static SHA256_LEN])
{
	if (by_nettle)
		call.nettle_sha256_digest((struct sha256_ctx *)(void *)state->space, SHA256_LEN, ret_hash);
	else
		(void)crypto_hash_sha256_final((crypto_hash_sha256_state *)(void *)state->space, ret_hash);
}

void sha256_of(struct bytes bytes, uint8_t ret_hash[static SHA256_LEN])
{
	struct sha256 state;

	sha256_begin(&state);
	sha256_add(&state, bytes);
	sha256_end(&state, ret_hash);
}

void hmac_sha256_begin(struct hmac_sha256 *state, struct bytes key)
{
	static const uint8_t empty[1];
	const uint8_t *data = key.len ? key.data : empty;

	if (by_nettle)
		call.nettle_hmac_sha256_set_key((struct hmac_sha256_ctx *)(void *)state->space, key.len,
		                                data);
	else
		(void)crypto_auth_hmacsha256_init((crypto_auth_hmacsha256_state *)(void *)state->space, data,
		                                  key.len);
}

void hmac_sha256_add(struct hmac_sha256 *state, struct bytes bytes)
{
	if (bytes.len == 0)
		return;
	if (by_nettle)
		call.nettle_hmac_sha256_update((struct hmac_sha256_ctx *)(void *)state->space, bytes.len,
		                               bytes.data);
	else
		(void)crypto_auth_hmacsha256_update((crypto_auth_hmacsha256_state *)(void *)state->space,
		                                    bytes.data, bytes.len);
}

void hmac_sha256_end(struct hmac_sha256 *state, uint8_t ret_mac[static SHA256_LEN])
{
	if (by_nettle)
		call.nettle_hmac_sha256_digest((struct hmac_sha256_ctx *)(void *)state->space, SHA256_LEN,
		                               ret_mac);
	else
		(void)crypto_auth_hmacsha256_final((crypto_auth_hmacsha256_state *)(void *)state->space,
		                                   ret_mac);
	secret_wipe(state, sizeof(*state));
}
