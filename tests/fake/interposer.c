#include "tests/fake/interposer.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <tss2/tss2_tpm2_types.h>

#include "tests/fake/p256.h"
#include "tpm/tcti.h"

#define HEADER_LEN 10U
#define SRK_HANDLE 0x81000001U

static struct interposer *shared;

struct between {
	TSS2_TCTI_CONTEXT_COMMON_V2 common; /* first, because the shim knows it by that */
	TSS2_TCTI_CONTEXT *inner; /* owned */
	struct interposer_exchange *exchange; /* the one under way */
	bool lost;
};

static void must(bool good)
{
	if (!good)
		abort();
}

static uint16_t u16_at(const uint8_t *data)
{
	return (uint16_t)(data[0] << 8 | data[1]);
}

static uint32_t u32_at(const uint8_t *data)
{
	return (uint32_t)u16_at(data) << 16 | u16_at(data + 2);
}

static void u32_put(uint8_t *data, uint32_t value)
{
	for (size_t i = 0; i < 4; i++)
		data[i] = (uint8_t)(value >> (24 - 8 * i));
}

uint32_t interposer_code(const struct interposer_exchange *exchange)
{
	return u32_at(exchange->command + 6);
}

uint32_t interposer_answer(const struct interposer_exchange *exchange)
{
	return u32_at(exchange->response + 6);
}

/* ---- the key that is swapped in ---- */

/* TPM2B_PUBLIC of an ECC key ends with its coordinates, 32 bytes each; the Name that follows from it is written over the real one, wherever that stands. */
static void swap_key(uint8_t *response, size_t len, size_t public_at)
{
	const size_t area_len = u16_at(response + public_at);
	uint8_t *area = response + public_at + 2;
	uint8_t before[34] = { 0x00, 0x0b }, after[34] = { 0x00, 0x0b };

	must(area_len > 68 && public_at + 2 + area_len <= len);
	(void)crypto_hash_sha256(before + 2, area, area_len);
	memcpy(area + area_len - 66, shared->point + 1, 32);
	memcpy(area + area_len - 32, shared->point + 33, 32);
	(void)crypto_hash_sha256(after + 2, area, area_len);
	for (size_t at = 0; at + sizeof(before) <= len; at++)
		if (memcmp(response + at, before, sizeof(before)) == 0)
			memcpy(response + at, after, sizeof(after));
}

static bool shows_key(const struct interposer_exchange *exchange)
{
	uint32_t code = interposer_code(exchange);

	if (u32_at(exchange->response + 6) != TPM2_RC_SUCCESS)
		return false;
	return code == TPM2_CC_CreatePrimary ||
	       (code == TPM2_CC_ReadPublic && u32_at(exchange->command + HEADER_LEN) == SRK_HANDLE);
}

void interposer_swap(uint8_t *response, size_t len, uint8_t ret_name[34])
{
	swap_key(response, len, HEADER_LEN);
	memcpy(ret_name, response + HEADER_LEN + 2 + u16_at(response + HEADER_LEN) + 2, 34);
}

static void swap(const struct interposer_exchange *exchange, uint8_t *response, size_t len)
{
	if (!shows_key(exchange) || !(shared->value >> (shared->shown++ % 32) & 1))
		return;
	swap_key(response, len,
	         interposer_code(exchange) == TPM2_CC_CreatePrimary ? HEADER_LEN + 8 : HEADER_LEN);
	shared->acted++;
}

/* ---- what is done to an answer ---- */

static bool is_due(const struct interposer_exchange *exchange)
{
	uint32_t number = (uint32_t)(exchange - shared->log);

	if (shared->act == INTERPOSER_PASS || shared->act == INTERPOSER_SWAP || number < shared->target)
		return false;
	if (number == shared->target || shared->act == INTERPOSER_LATE)
		return true;
	return shared->always && (shared->act == INTERPOSER_DROP || shared->act == INTERPOSER_LOSE ||
	                          interposer_code(exchange) == interposer_code(&shared->log[shared->target]));
}

static size_t resize(uint8_t *response, size_t len, bool whole)
{
	if (whole && len >= 6)
		u32_put(response + 2, (uint32_t)len);
	return len;
}

static size_t replace(const struct interposer_exchange *by, uint8_t *response)
{
	memcpy(response, by->response, by->response_len);
	return by->response_len;
}

static size_t refuse(uint8_t *response, uint32_t code)
{
	memcpy(response, "\x80\x01\x00\x00\x00\x0a", 6);
	u32_put(response + 6, code);
	return HEADER_LEN;
}

/* Returns the length of what arrives; 0: nothing does. */
static size_t spoil(const struct interposer_exchange *exchange, uint8_t *response, size_t len)
{
	bool whole = shared->act == INTERPOSER_CUT_WHOLE || shared->act == INTERPOSER_GROW_WHOLE;

	if (shared->act == INTERPOSER_SWAP)
		swap(exchange, response, len);
	if (shared->act == INTERPOSER_SWAP && shared->at && interposer_code(exchange) == TPM2_CC_Load)
		return refuse(response, shared->at);
	if (!is_due(exchange))
		return len;
	if (shared->act != INTERPOSER_FLIP || shared->at < len)
		shared->acted++;
	switch (shared->act) {
	case INTERPOSER_FLIP:
		if (shared->at < len)
			response[shared->at] ^= (uint8_t)shared->value;
		return len;
	case INTERPOSER_CUT:
	case INTERPOSER_CUT_WHOLE:
		return resize(response, shared->at < len ? shared->at : len, whole);
	case INTERPOSER_GROW:
	case INTERPOSER_GROW_WHOLE:
		memset(response + len, (int)shared->value, shared->at);
		return resize(response, len + shared->at, whole);
	case INTERPOSER_DROP:
	case INTERPOSER_LOSE:
		return 0;
	case INTERPOSER_ERROR:
		return refuse(response, shared->value);
	case INTERPOSER_SUBSTITUTE:
		return replace(&shared->old[shared->at], response);
	case INTERPOSER_LATE:
		return exchange > shared->log ? replace(exchange - 1, response) : len;
	case INTERPOSER_PASS:
	case INTERPOSER_SWAP:
		break;
	}
	return len;
}

/* ---- as a TCTI ---- */

static TSS2_RC between_transmit(TSS2_TCTI_CONTEXT *tcti, size_t len, const uint8_t *data)
{
	struct between *between = (struct between *)(void *)tcti;

	must(len >= HEADER_LEN && len <= INTERPOSER_PACKET_MAX && shared->count < INTERPOSER_LOG);
	between->exchange = &shared->log[shared->count++];
	between->exchange->command_len = len;
	memcpy(between->exchange->command, data, len);
	between->lost = shared->act == INTERPOSER_LOSE && is_due(between->exchange);
	return between->lost ? TSS2_RC_SUCCESS : Tss2_Tcti_Transmit(between->inner, len, data);
}

static TSS2_RC receive_inner(struct between *between, int32_t timeout)
{
	struct interposer_exchange *exchange = between->exchange;

	exchange->response_len = sizeof(exchange->response);
	if (!between->lost)
		return Tss2_Tcti_Receive(between->inner, &exchange->response_len, exchange->response,
		                         timeout);
	exchange->response_len = HEADER_LEN;
	memset(exchange->response, 0, HEADER_LEN);
	return TSS2_RC_SUCCESS;
}

static TSS2_RC between_receive(TSS2_TCTI_CONTEXT *tcti, size_t *len, uint8_t *data, int32_t timeout)
{
	struct between *between = (struct between *)(void *)tcti;
	uint8_t response[2 * INTERPOSER_PACKET_MAX];
	size_t response_len;
	TSS2_RC rc = receive_inner(between, timeout);

	if (rc)
		return rc;
	memcpy(response, between->exchange->response, between->exchange->response_len);
	response_len = spoil(between->exchange, response, between->exchange->response_len);
	if (response_len == 0)
		return TSS2_TCTI_RC_IO_ERROR;
	/* A driver hands out no more than there is room for. */
	if (response_len > *len)
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	memcpy(data, response, response_len);
	*len = response_len;
	return TSS2_RC_SUCCESS;
}

static void between_finalize(TSS2_TCTI_CONTEXT *tcti)
{
	struct between *between = (struct between *)(void *)tcti;

	Tss2_Tcti_Finalize(between->inner);
	free(between->inner);
}

enum err __real_tcti_connect(const struct tcti_driver *driver, const char *configuration,
                             TSS2_TCTI_CONTEXT **ret_tcti);
enum err __wrap_tcti_connect(const struct tcti_driver *driver, const char *configuration,
                             TSS2_TCTI_CONTEXT **ret_tcti);

enum err __wrap_tcti_connect(const struct tcti_driver *driver, const char *configuration,
                             TSS2_TCTI_CONTEXT **ret_tcti)
{
	struct between *between = calloc(1, sizeof(*between));
	enum err err;

	must(between != NULL);
	err = __real_tcti_connect(driver, configuration, &between->inner);
	if (err) {
		free(between);
		return err;
	}
	between->common.v1.version = 2;
	between->common.v1.transmit = between_transmit;
	between->common.v1.receive = between_receive;
	between->common.v1.finalize = between_finalize;
	*ret_tcti = (TSS2_TCTI_CONTEXT *)(void *)between;
	return OK;
}

/* ---- for the test ---- */

struct interposer *interposer_new(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED);
	p256_make(shared->scalar, shared->point);
	return shared;
}

void interposer_begin(struct interposer *interposer)
{
	interposer->act = INTERPOSER_PASS;
	interposer->always = false;
	interposer->target = interposer->at = interposer->value = 0;
	interposer->acted = interposer->shown = interposer->count = 0;
}

void interposer_keep(struct interposer *interposer)
{
	memcpy(interposer->old, interposer->log, sizeof(interposer->log));
	interposer->old_count = interposer->count;
}

/* ---- reading along with the swapped key (part 1 of the specification: 11.4.10 KDFs, 19.6 salt, 21 parameter encryption; annex C.6.1) ---- */

struct piece {
	const uint8_t *data;
	size_t len;
};

static struct piece sized_at(const uint8_t *data)
{
	return (struct piece){ data + 2, u16_at(data) };
}

static void kdfe(const uint8_t z[32], struct piece party_u, struct piece party_v, uint8_t ret_key[32])
{
	static const uint8_t counter[4] = { 0, 0, 0, 1 };
	crypto_hash_sha256_state state;

	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, counter, sizeof(counter));
	(void)crypto_hash_sha256_update(&state, z, 32);
	(void)crypto_hash_sha256_update(&state, (const uint8_t *)"SECRET", 7);
	(void)crypto_hash_sha256_update(&state, party_u.data, party_u.len);
	(void)crypto_hash_sha256_update(&state, party_v.data, party_v.len);
	(void)crypto_hash_sha256_final(&state, ret_key);
}

/* 256 bits, which is all that is ever wanted here. */
static void kdfa(const uint8_t key[32], const char *label, struct piece u, struct piece v,
                 uint8_t ret_key[32])
{
	static const uint8_t counter[4] = { 0, 0, 0, 1 }, bits[4] = { 0, 0, 1, 0 };
	crypto_auth_hmacsha256_state state;

	(void)crypto_auth_hmacsha256_init(&state, key, 32);
	(void)crypto_auth_hmacsha256_update(&state, counter, sizeof(counter));
	(void)crypto_auth_hmacsha256_update(&state, (const uint8_t *)label, strlen(label) + 1);
	(void)crypto_auth_hmacsha256_update(&state, u.data, u.len);
	(void)crypto_auth_hmacsha256_update(&state, v.data, v.len);
	(void)crypto_auth_hmacsha256_update(&state, bits, sizeof(bits));
	(void)crypto_auth_hmacsha256_final(&state, ret_key);
}

static bool session_key(const struct interposer *interposer, const struct interposer_exchange *start,
                        uint8_t ret_key[32])
{
	const struct piece caller = sized_at(start->command + HEADER_LEN + 8);
	const struct piece salt_box = sized_at(caller.data + caller.len);
	const struct piece tpm = sized_at(start->response + HEADER_LEN + 4);
	uint8_t ephemeral[65] = { 0x04 }, z[32], salt[32];

	if (salt_box.len != 68 || start->response_len < HEADER_LEN + 6)
		return false;
	memcpy(ephemeral + 1, salt_box.data + 2, 32);
	memcpy(ephemeral + 33, salt_box.data + 36, 32);
	if (!p256_ecdh(interposer->scalar, ephemeral, z))
		return false;
	kdfe(z, (struct piece){ ephemeral + 1, 32 }, (struct piece){ interposer->point + 1, 32 }, salt);
	kdfa(salt, "ATH", tpm, caller, ret_key);
	return true;
}

static void aes_128_cfb(const uint8_t key_and_iv[32], struct piece in, uint8_t *out)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int len = 0;

	must(context &&
	     EVP_DecryptInit_ex(context, EVP_aes_128_cfb128(), NULL, key_and_iv, key_and_iv + 16) == 1);
	must(EVP_DecryptUpdate(context, out, &len, in.data, (int)in.len) == 1);
	EVP_CIPHER_CTX_free(context);
}

/* The first command in the session: its nonce is the newer one. */
static bool sealed_is(const struct interposer_exchange *start, const struct interposer_exchange *create,
                      const uint8_t key[32], const uint8_t *secret, size_t secret_len)
{
	const uint8_t *authorisation = create->command + HEADER_LEN + 4;
	const struct piece newer = sized_at(authorisation + 8);
	const struct piece older = sized_at(start->response + HEADER_LEN + 4);
	const struct piece sealed = sized_at(authorisation + 4 + u32_at(authorisation));
	uint8_t key_and_iv[32], clear[INTERPOSER_PACKET_MAX];

	must(sealed.len < sizeof(clear));
	kdfa(key, "CFB", newer, older, key_and_iv);
	aes_128_cfb(key_and_iv, sealed, clear);
	for (size_t at = 0; at + secret_len <= sealed.len; at++)
		if (memcmp(clear + at, secret, secret_len) == 0)
			return true;
	return false;
}

bool interposer_reads(const struct interposer *interposer, const uint8_t *secret, size_t secret_len)
{
	const struct interposer_exchange *start = NULL;
	uint8_t key[32];

	for (uint32_t i = 0; i < interposer->count; i++) {
		const struct interposer_exchange *exchange = &interposer->log[i];

		if (interposer_code(exchange) == TPM2_CC_StartAuthSession)
			start = session_key(interposer, exchange, key) ? exchange : NULL;
		if (start && interposer_code(exchange) == TPM2_CC_Create &&
		    sealed_is(start, exchange, key, secret, secret_len))
			return true;
	}
	return false;
}
