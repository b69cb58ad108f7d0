#include "tests/fake/soft_tpm.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <tss2/tss2_tpm2_types.h>

#include "tests/fake/p256.h"

#define SRK_HANDLE 0x81000001U
#define FIRST_OBJECT 0x80000000U
#define FIRST_SESSION 0x02000000U
#define HASH_LEN 32U
#define ATTRIBUTE_DECRYPT 0x20U
#define ATTRIBUTE_ENCRYPT 0x40U

static const uint8_t srk_scalar[P256_SCALAR_LEN] = { 1 };
static uint8_t srk_point[P256_POINT_LEN];

static void must(bool good)
{
	if (!good)
		abort();
}

/* ---- writing ---- */

struct writer {
	uint8_t *data;
	size_t len, size;
};

static void put(struct writer *writer, const void *data, size_t len)
{
	must(len <= writer->size - writer->len);
	if (len > 0)
		memcpy(writer->data + writer->len, data, len);
	writer->len += len;
}

static void put_number(struct writer *writer, uint64_t value, size_t len)
{
	for (size_t i = len; i > 0; i--) {
		uint8_t byte = (uint8_t)(value >> (8 * (i - 1)));

		put(writer, &byte, 1);
	}
}

static void put_u16(struct writer *writer, uint16_t value)
{
	put_number(writer, value, 2);
}

static void put_u32(struct writer *writer, uint32_t value)
{
	put_number(writer, value, 4);
}

static void put_sized(struct writer *writer, struct bytes bytes)
{
	put_u16(writer, (uint16_t)bytes.len);
	put(writer, bytes.data, bytes.len);
}

static struct bytes take_sized(struct reader *reader)
{
	return reader_take(reader, reader_u16(reader));
}

/* ---- what TPMs compute (part 1, 11.4) ---- */

static void random_bytes(struct soft_tpm *tpm, uint8_t out[static HASH_LEN])
{
	uint32_t number = ++tpm->random;

	must(crypto_hash_sha256(out, (const uint8_t *)&number, sizeof(number)) == 0);
}

static void kdfa(struct bytes key, const char *label, struct bytes u, struct bytes v,
                 uint8_t out[static HASH_LEN])
{
	static const uint8_t first[4] = { 0, 0, 0, 1 }, bits[4] = { 0, 0, 1, 0 };
	crypto_auth_hmacsha256_state state;

	must(crypto_auth_hmacsha256_init(&state, key.data, key.len) == 0);
	(void)crypto_auth_hmacsha256_update(&state, first, sizeof(first));
	(void)crypto_auth_hmacsha256_update(&state, (const uint8_t *)label, strlen(label) + 1);
	(void)crypto_auth_hmacsha256_update(&state, u.data, u.len);
	(void)crypto_auth_hmacsha256_update(&state, v.data, v.len);
	(void)crypto_auth_hmacsha256_update(&state, bits, sizeof(bits));
	(void)crypto_auth_hmacsha256_final(&state, out);
}

static void kdfe(const uint8_t z[static 32], struct bytes u, struct bytes v, uint8_t out[static HASH_LEN])
{
	static const uint8_t first[4] = { 0, 0, 0, 1 };
	crypto_hash_sha256_state state;

	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, first, sizeof(first));
	(void)crypto_hash_sha256_update(&state, z, 32);
	(void)crypto_hash_sha256_update(&state, (const uint8_t *)"SECRET", sizeof("SECRET"));
	(void)crypto_hash_sha256_update(&state, u.data, u.len);
	(void)crypto_hash_sha256_update(&state, v.data, v.len);
	(void)crypto_hash_sha256_final(&state, out);
}

/* key: 16 bytes key and 16 bytes IV. */
static void aes_cfb(bool encrypting, const uint8_t key[static 32], uint8_t *data, size_t len)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int got = 0;

	must(context &&
	     EVP_CipherInit_ex(context, EVP_aes_128_cfb128(), NULL, key, key + 16, encrypting) == 1);
	must(EVP_CipherUpdate(context, data, &got, data, (int)len) == 1);
	EVP_CIPHER_CTX_free(context);
}

/* ---- public areas ---- */

static void put_ecc(struct writer *writer, uint32_t attributes, bool storage,
                    const uint8_t point[static P256_POINT_LEN])
{
	put_u16(writer, TPM2_ALG_ECC);
	put_u16(writer, TPM2_ALG_SHA256);
	put_u32(writer, attributes);
	put_u16(writer, 0);
	put_u16(writer, storage ? TPM2_ALG_AES : TPM2_ALG_NULL);
	if (storage) {
		put_u16(writer, 128);
		put_u16(writer, TPM2_ALG_CFB);
	}
	put_u16(writer, storage ? TPM2_ALG_NULL : TPM2_ALG_ECDH);
	if (!storage)
		put_u16(writer, TPM2_ALG_SHA256);
	put_u16(writer, TPM2_ECC_NIST_P256);
	put_u16(writer, TPM2_ALG_NULL);
	put_sized(writer, bytes_of(point + 1, 32));
	put_sized(writer, bytes_of(point + 33, 32));
}

#define SRK_ATTRIBUTES 0x00030472U

static struct bytes srk_public(void)
{
	static uint8_t area[256];
	static struct writer writer = { area, 0, sizeof(area) };

	if (writer.len == 0) {
		p256_public(srk_scalar, srk_point);
		put_ecc(&writer, SRK_ATTRIBUTES, true, srk_point);
	}
	return bytes_of(area, writer.len);
}

static struct bytes public_of(const struct soft_tpm *tpm, uint32_t handle)
{
	if (handle == SRK_HANDLE && tpm->persistent)
		return srk_public();
	if (handle >= FIRST_OBJECT && handle < FIRST_OBJECT + SOFT_TPM_OBJECTS &&
	    tpm->objects[handle - FIRST_OBJECT].used)
		return bytes_of(tpm->objects[handle - FIRST_OBJECT].public_area,
		                tpm->objects[handle - FIRST_OBJECT].public_len);
	return bytes_of(NULL, 0);
}

static const struct soft_tpm_object *object_of(const struct soft_tpm *tpm, uint32_t handle)
{
	return handle >= FIRST_OBJECT && public_of(tpm, handle).data && handle != SRK_HANDLE
	               ? &tpm->objects[handle - FIRST_OBJECT]
	               : NULL;
}

static void put_name(struct writer *writer, struct bytes public_area)
{
	uint8_t hash[HASH_LEN];

	must(crypto_hash_sha256(hash, public_area.data, public_area.len) == 0);
	put_u16(writer, 2 + HASH_LEN);
	put_u16(writer, TPM2_ALG_SHA256);
	put(writer, hash, sizeof(hash));
}

/* The two parts of a private area. */
static struct bytes private_part(const struct soft_tpm_object *object, unsigned part)
{
	struct reader reader =
	        reader_of(object ? bytes_of(object->private_area, object->private_len) : bytes_of(NULL, 0));
	struct bytes value = take_sized(&reader);

	return part == 0 ? value : take_sized(&reader);
}

/* ---- a command and its answer ---- */

struct exchange {
	struct soft_tpm *tpm;
	uint32_t code;
	bool sessions;
	uint32_t handle; /* the first */
	struct reader in; /* parameters */
	uint32_t out_handle; /* 0: none */
	struct writer out; /* parameters */

	/* the authorisation */
	uint32_t auth_handle; /* 0: none */
	struct bytes nonce_caller;
	uint8_t attributes;
	uint8_t key[HASH_LEN + SOFT_TPM_PART_MAX]; /* session key and authorisation value */
	size_t key_len;
};

static unsigned handle_count(uint32_t code)
{
	switch (code) {
	case TPM2_CC_StartAuthSession:
	case TPM2_CC_EvictControl:
		return 2;
	case TPM2_CC_ReadPublic:
	case TPM2_CC_CreatePrimary:
	case TPM2_CC_Create:
	case TPM2_CC_Load:
	case TPM2_CC_ContextSave:
	case TPM2_CC_ECDH_ZGen:
	case TPM2_CC_Unseal:
		return 1;
	default:
		return 0;
	}
}

static int free_object(const struct soft_tpm *tpm)
{
	for (unsigned i = 0; i < SOFT_TPM_OBJECTS; i++)
		if (!tpm->objects[i].used)
			return (int)i;
	return -1;
}

static uint32_t object_put(struct exchange *exchange, struct bytes public_area, struct bytes private_area)
{
	int number = free_object(exchange->tpm);
	struct soft_tpm_object *object;

	if (number < 0)
		return TPM2_RC_OBJECT_MEMORY;
	if (public_area.len > SOFT_TPM_PART_MAX || private_area.len > SOFT_TPM_PART_MAX)
		return TPM2_RC_SIZE;
	object = &exchange->tpm->objects[number];
	object->used = true;
	memcpy(object->public_area, public_area.data, public_area.len);
	object->public_len = public_area.len;
	if (private_area.len > 0)
		memcpy(object->private_area, private_area.data, private_area.len);
	object->private_len = private_area.len;
	exchange->out_handle = FIRST_OBJECT + (uint32_t)number;
	return 0;
}

static uint32_t read_clock(struct exchange *exchange)
{
	put_number(&exchange->out, 1000, 8);
	put_number(&exchange->out, 1000, 8);
	put_u32(&exchange->out, exchange->tpm->reset_count);
	put_u32(&exchange->out, 0);
	put_number(&exchange->out, 1, 1);
	return 0;
}

static uint32_t property_value(const struct soft_tpm *tpm, uint32_t property)
{
	if (property == TPM2_PT_MANUFACTURER)
		return 0x534f4654; /* SOFT */
	if (property == TPM2_PT_LOCKOUT_COUNTER)
		return tpm->lockout_counter;
	return property == TPM2_PT_MAX_AUTH_FAIL ? tpm->max_auth_fail : 0;
}

static void put_handles(struct exchange *exchange, uint32_t first)
{
	uint32_t found[SOFT_TPM_OBJECTS + SOFT_TPM_SESSIONS], count = 0;

	for (uint32_t i = 0; first == FIRST_OBJECT && i < SOFT_TPM_OBJECTS; i++)
		if (exchange->tpm->objects[i].used)
			found[count++] = FIRST_OBJECT + i;
	for (uint32_t i = 0; first == FIRST_SESSION && i < SOFT_TPM_SESSIONS; i++)
		if (exchange->tpm->sessions[i].used)
			found[count++] = FIRST_SESSION + i;
	put_u32(&exchange->out, count);
	for (uint32_t i = 0; i < count; i++)
		put_u32(&exchange->out, found[i]);
}

static uint32_t get_capability(struct exchange *exchange)
{
	uint32_t capability = reader_u32(&exchange->in), first = reader_u32(&exchange->in),
	         count = reader_u32(&exchange->in);

	put_number(&exchange->out, 0, 1);
	put_u32(&exchange->out, capability);
	if (capability == TPM2_CAP_HANDLES) {
		put_handles(exchange, first);
		return 0;
	}
	if (capability != TPM2_CAP_TPM_PROPERTIES || count > 32)
		return TPM2_RC_VALUE;
	put_u32(&exchange->out, count);
	for (uint32_t i = 0; i < count; i++) {
		put_u32(&exchange->out, first + i);
		put_u32(&exchange->out, property_value(exchange->tpm, first + i));
	}
	return 0;
}

static uint32_t read_public(struct exchange *exchange)
{
	struct bytes area = public_of(exchange->tpm, exchange->handle);

	if (!area.data)
		return TPM2_RC_HANDLE | TPM2_RC_1;
	put_sized(&exchange->out, area);
	put_name(&exchange->out, area);
	put_name(&exchange->out, area);
	return 0;
}

static void put_creation(struct exchange *exchange)
{
	/* TPMS_CREATION_DATA: no PCR, no digest, locality, parent's algorithm, Name and qualified Name, no outside information. */
	static const uint8_t data[] = { 0, 15, 0, 0, 0, 0, 0, 0, 1, 0, TPM2_ALG_NULL, 0, 0, 0, 0, 0, 0 };

	put(&exchange->out, data, sizeof(data));
	put_u16(&exchange->out, 0);
	put_u16(&exchange->out, TPM2_ST_CREATION);
	put_u32(&exchange->out, TPM2_RH_OWNER);
	put_u16(&exchange->out, 0);
}

static uint32_t create_primary(struct exchange *exchange)
{
	struct bytes area = srk_public();
	uint32_t rc = object_put(exchange, area, bytes_of(NULL, 0));

	if (rc)
		return rc;
	put_sized(&exchange->out, area);
	put_creation(exchange);
	put_name(&exchange->out, area);
	return 0;
}

static uint32_t evict_control(struct exchange *exchange)
{
	exchange->tpm->persistent = true;
	return 0;
}

static uint32_t start_session(struct exchange *exchange)
{
	struct bytes nonce = take_sized(&exchange->in), encrypted = take_sized(&exchange->in);
	struct reader point_reader = reader_of(encrypted);
	struct bytes x = take_sized(&point_reader), y = take_sized(&point_reader);
	uint8_t point[P256_POINT_LEN] = { 4 }, z[32], salt[HASH_LEN];
	struct soft_tpm_session *session = NULL;

	for (uint32_t i = 0; !session && i < SOFT_TPM_SESSIONS; i++)
		if (!exchange->tpm->sessions[i].used) {
			session = &exchange->tpm->sessions[i];
			exchange->out_handle = FIRST_SESSION + i;
		}
	if (!session)
		return TPM2_RC_SESSION_HANDLES;
	if (x.len != 32 || y.len != 32 || nonce.len > HASH_LEN)
		return TPM2_RC_SIZE;
	memcpy(point + 1, x.data, 32);
	memcpy(point + 33, y.data, 32);
	(void)srk_public();
	if (!p256_ecdh(srk_scalar, point, z))
		return TPM2_RC_ECC_POINT;
	kdfe(z, x, bytes_of(srk_point + 1, 32), salt);
	random_bytes(exchange->tpm, session->nonce_tpm);
	kdfa(bytes_of(salt, sizeof(salt)), "ATH", bytes_of(session->nonce_tpm, HASH_LEN), nonce,
	     session->key);
	session->used = true;
	put_sized(&exchange->out, bytes_of(session->nonce_tpm, HASH_LEN));
	return 0;
}

/* inSensitive and inPublic become a private area in the clear and a public area with a key in it. */
static uint32_t create(struct exchange *exchange)
{
	struct reader sensitive = reader_of(take_sized(&exchange->in)),
	              template = reader_of(take_sized(&exchange->in));
	struct bytes auth = take_sized(&sensitive), data = take_sized(&sensitive);
	uint8_t scalar[P256_SCALAR_LEN], point[P256_POINT_LEN], private_data[SOFT_TPM_PART_MAX],
	        public_data[256];
	struct writer private_area = { private_data, 0, sizeof(private_data) },
	              area = { public_data, 0, sizeof(public_data) };
	uint16_t type = reader_u16(&template);
	uint32_t attributes;

	(void)reader_u16(&template);
	attributes = reader_u32(&template);
	if (sensitive.failed || template.failed || auth.len > HASH_LEN || data.len > 128)
		return TPM2_RC_SIZE;
	put_sized(&private_area, auth);
	if (type == TPM2_ALG_ECC) {
		p256_make(scalar, point);
		put_sized(&private_area, bytes_of(scalar, sizeof(scalar)));
		put_ecc(&area, attributes, false, point);
	} else {
		put_sized(&private_area, data);
		put_u16(&area, TPM2_ALG_KEYEDHASH);
		put_u16(&area, TPM2_ALG_SHA256);
		put_u32(&area, attributes);
		put_u16(&area, 0);
		put_u16(&area, TPM2_ALG_NULL);
		random_bytes(exchange->tpm, scalar);
		put_sized(&area, bytes_of(scalar, HASH_LEN));
	}
	put_sized(&exchange->out, bytes_of(private_data, private_area.len));
	put_sized(&exchange->out, bytes_of(public_data, area.len));
	put_creation(exchange);
	return 0;
}

static uint32_t load(struct exchange *exchange)
{
	struct bytes private_area = take_sized(&exchange->in), area = take_sized(&exchange->in);
	uint32_t rc = exchange->in.failed ? TPM2_RC_SIZE : object_put(exchange, area, private_area);

	if (!rc)
		put_name(&exchange->out, area);
	return rc;
}

static uint32_t context_save(struct exchange *exchange)
{
	const struct soft_tpm_object *object = object_of(exchange->tpm, exchange->handle);

	if (!object)
		return TPM2_RC_REFERENCE_H0;
	put_number(&exchange->out, 1, 8);
	put_u32(&exchange->out, FIRST_OBJECT);
	put_u32(&exchange->out, TPM2_RH_OWNER);
	put_u16(&exchange->out, (uint16_t)(4 + object->public_len + object->private_len));
	put_sized(&exchange->out, bytes_of(object->public_area, object->public_len));
	put_sized(&exchange->out, bytes_of(object->private_area, object->private_len));
	return 0;
}

static uint32_t context_load(struct exchange *exchange)
{
	struct bytes area, private_area;

	(void)reader_take(&exchange->in, 18);
	area = take_sized(&exchange->in);
	private_area = take_sized(&exchange->in);
	return exchange->in.failed || area.len == 0 ? TPM2_RC_INTEGRITY
	                                            : object_put(exchange, area, private_area);
}

static uint32_t flush(struct exchange *exchange)
{
	uint32_t handle = reader_u32(&exchange->in);

	if (handle >= FIRST_OBJECT && handle < FIRST_OBJECT + SOFT_TPM_OBJECTS &&
	    exchange->tpm->objects[handle - FIRST_OBJECT].used)
		exchange->tpm->objects[handle - FIRST_OBJECT].used = false;
	else if (handle >= FIRST_SESSION && handle < FIRST_SESSION + SOFT_TPM_SESSIONS)
		exchange->tpm->sessions[handle - FIRST_SESSION].used = false;
	else
		return TPM2_RC_HANDLE;
	return 0;
}

static uint32_t ecdh(struct exchange *exchange)
{
	struct bytes scalar = private_part(object_of(exchange->tpm, exchange->handle), 1);
	struct reader in = reader_of(take_sized(&exchange->in));
	struct bytes x = take_sized(&in), y = take_sized(&in);
	uint8_t point[P256_POINT_LEN] = { 4 }, product[32];

	if (scalar.len != P256_SCALAR_LEN)
		return TPM2_RC_REFERENCE_H0;
	if (x.len != 32 || y.len != 32)
		return TPM2_RC_SIZE;
	memcpy(point + 1, x.data, 32);
	memcpy(point + 33, y.data, 32);
	if (!p256_ecdh(scalar.data, point, product))
		return TPM2_RC_ECC_POINT;
	put_u16(&exchange->out, 68);
	put_sized(&exchange->out, bytes_of(product, 32));
	put_sized(&exchange->out, bytes_of(product, 32)); /* nobody uses Y */
	return 0;
}

static uint32_t unseal(struct exchange *exchange)
{
	struct bytes data = private_part(object_of(exchange->tpm, exchange->handle), 1);

	if (!data.data)
		return TPM2_RC_REFERENCE_H0;
	put_sized(&exchange->out, data);
	return 0;
}

static uint32_t nothing(struct exchange *exchange)
{
	exchange->tpm->started = true;
	return 0;
}

static uint32_t operate(struct exchange *exchange)
{
	static const struct {
		uint32_t code;
		uint32_t (*operate)(struct exchange *exchange);
	} rows[] = {
		{ TPM2_CC_Startup, nothing },
		{ TPM2_CC_Shutdown, nothing },
		{ TPM2_CC_ReadClock, read_clock },
		{ TPM2_CC_GetCapability, get_capability },
		{ TPM2_CC_ReadPublic, read_public },
		{ TPM2_CC_CreatePrimary, create_primary },
		{ TPM2_CC_EvictControl, evict_control },
		{ TPM2_CC_StartAuthSession, start_session },
		{ TPM2_CC_Create, create },
		{ TPM2_CC_Load, load },
		{ TPM2_CC_ContextSave, context_save },
		{ TPM2_CC_ContextLoad, context_load },
		{ TPM2_CC_FlushContext, flush },
		{ TPM2_CC_ECDH_ZGen, ecdh },
		{ TPM2_CC_Unseal, unseal },
	};

	if (!exchange->tpm->started && exchange->code != TPM2_CC_Startup)
		return TPM2_RC_INITIALIZE;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].code == exchange->code)
			return rows[i].operate(exchange);
	return TPM2_RC_COMMAND_CODE;
}

/* ---- sessions ---- */

static struct soft_tpm_session *session_of(const struct exchange *exchange)
{
	uint32_t number = exchange->auth_handle - FIRST_SESSION;

	return number < SOFT_TPM_SESSIONS && exchange->tpm->sessions[number].used
	               ? &exchange->tpm->sessions[number]
	               : NULL;
}

static void key_append(struct exchange *exchange, struct bytes bytes)
{
	must(bytes.len <= sizeof(exchange->key) - exchange->key_len);
	if (bytes.len > 0)
		memcpy(exchange->key + exchange->key_len, bytes.data, bytes.len);
	exchange->key_len += bytes.len;
}

static uint32_t auth_read(struct exchange *exchange, struct bytes area)
{
	struct reader reader = reader_of(area);
	const struct soft_tpm_session *session;

	exchange->auth_handle = reader_u32(&reader);
	exchange->nonce_caller = take_sized(&reader);
	exchange->attributes = reader_u8(&reader);
	if (exchange->auth_handle == TPM2_RS_PW)
		return 0;
	session = session_of(exchange);
	if (!session)
		return TPM2_RC_REFERENCE_S0;
	key_append(exchange, bytes_of(session->key, HASH_LEN));
	key_append(exchange, private_part(object_of(exchange->tpm, exchange->handle), 0));
	return 0;
}

/* Encrypts or decrypts the first parameter, in place. */
static void crypt_first(const struct exchange *exchange, bool encrypting, uint8_t *parameters, size_t len,
                        struct bytes newer, struct bytes older)
{
	uint8_t key[HASH_LEN];
	size_t first = len >= 2 ? (size_t)(parameters[0] << 8 | parameters[1]) : 0;

	if (len < 2 || first > len - 2)
		return;
	kdfa(bytes_of(exchange->key, exchange->key_len), "CFB", newer, older, key);
	aes_cfb(encrypting, key, parameters + 2, first);
}

static void hmac(const struct exchange *exchange, struct bytes parameters,
                 const struct soft_tpm_session *session, uint8_t out[static HASH_LEN])
{
	uint8_t head[8] = { 0 }, hash[HASH_LEN];
	struct writer writer = { head, 4, sizeof(head) };
	crypto_hash_sha256_state digest;
	crypto_auth_hmacsha256_state state;

	put_u32(&writer, exchange->code);
	(void)crypto_hash_sha256_init(&digest);
	(void)crypto_hash_sha256_update(&digest, head, sizeof(head));
	(void)crypto_hash_sha256_update(&digest, parameters.data, parameters.len);
	(void)crypto_hash_sha256_final(&digest, hash);
	(void)crypto_auth_hmacsha256_init(&state, exchange->key, exchange->key_len);
	(void)crypto_auth_hmacsha256_update(&state, hash, sizeof(hash));
	(void)crypto_auth_hmacsha256_update(&state, session->nonce_tpm, HASH_LEN);
	(void)crypto_auth_hmacsha256_update(&state, exchange->nonce_caller.data, exchange->nonce_caller.len);
	(void)crypto_auth_hmacsha256_update(&state, &exchange->attributes, 1);
	(void)crypto_auth_hmacsha256_final(&state, out);
}

static void put_auth(struct exchange *exchange, struct writer *writer)
{
	struct soft_tpm_session *session = session_of(exchange);
	uint8_t code[HASH_LEN];

	if (!session) {
		put(writer, (const uint8_t[]){ 0, 0, 1, 0, 0 }, 5);
		return;
	}
	hmac(exchange, bytes_of(exchange->out.data, exchange->out.len), session, code);
	put_sized(writer, bytes_of(session->nonce_tpm, HASH_LEN));
	put_number(writer, exchange->attributes, 1);
	put_sized(writer, bytes_of(code, sizeof(code)));
}

static size_t put_error(uint8_t *answer, uint32_t rc)
{
	struct writer writer = { answer, 0, 10 };

	put_u16(&writer, TPM2_ST_NO_SESSIONS);
	put_u32(&writer, 10);
	put_u32(&writer, rc);
	return writer.len;
}

static size_t put_answer(struct exchange *exchange, uint8_t *answer)
{
	struct writer writer = { answer, 0, SOFT_TPM_ANSWER_MAX }, size = { answer + 2, 0, 4 };

	put_u16(&writer, exchange->sessions ? TPM2_ST_SESSIONS : TPM2_ST_NO_SESSIONS);
	put_u32(&writer, 0);
	put_u32(&writer, 0);
	if (exchange->out_handle)
		put_u32(&writer, exchange->out_handle);
	if (exchange->sessions)
		put_u32(&writer, (uint32_t)exchange->out.len);
	put(&writer, exchange->out.data, exchange->out.len);
	if (exchange->sessions)
		put_auth(exchange, &writer);
	put_u32(&size, (uint32_t)writer.len);
	return writer.len;
}

/* Handles, authorisation, parameters: the last are decrypted into scratch. */
static uint32_t command_read(struct exchange *exchange, struct reader *reader, uint8_t *scratch)
{
	const struct soft_tpm_session *session;
	uint32_t rc = 0;

	for (unsigned i = 0; i < handle_count(exchange->code); i++) {
		uint32_t handle = reader_u32(reader);

		exchange->handle = i == 0 ? handle : exchange->handle;
	}
	if (exchange->sessions)
		rc = auth_read(exchange, reader_take(reader, reader_u32(reader)));
	if (rc || reader->failed || reader->rest.len > SOFT_TPM_ANSWER_MAX)
		return rc ? rc : TPM2_RC_COMMAND_SIZE;
	if (reader->rest.len > 0)
		memcpy(scratch, reader->rest.data, reader->rest.len);
	session = exchange->sessions ? session_of(exchange) : NULL;
	if (session && exchange->attributes & ATTRIBUTE_DECRYPT)
		crypt_first(exchange, false, scratch, reader->rest.len, exchange->nonce_caller,
		            bytes_of(session->nonce_tpm, HASH_LEN));
	exchange->in = reader_of(bytes_of(scratch, reader->rest.len));
	return 0;
}

static void answer_protect(struct exchange *exchange)
{
	struct soft_tpm_session *session = exchange->sessions ? session_of(exchange) : NULL;

	if (!session)
		return;
	random_bytes(exchange->tpm, session->nonce_tpm);
	if (exchange->attributes & ATTRIBUTE_ENCRYPT)
		crypt_first(exchange, true, exchange->out.data, exchange->out.len,
		            bytes_of(session->nonce_tpm, HASH_LEN), exchange->nonce_caller);
}

size_t soft_tpm_answer(struct soft_tpm *tpm, struct bytes command, uint8_t answer[SOFT_TPM_ANSWER_MAX])
{
	uint8_t in[SOFT_TPM_ANSWER_MAX], out[SOFT_TPM_ANSWER_MAX - 256];
	struct reader reader = reader_of(command);
	struct exchange exchange = { .tpm = tpm, .out = { out, 0, sizeof(out) } };
	uint32_t rc;

	exchange.sessions = reader_u16(&reader) == TPM2_ST_SESSIONS;
	(void)reader_u32(&reader);
	exchange.code = reader_u32(&reader);
	rc = command_read(&exchange, &reader, in);
	if (!rc)
		rc = operate(&exchange);
	if (rc)
		return put_error(answer, rc);
	if (tpm->change)
		tpm->change(tpm->context, exchange.code, out, &exchange.out.len, exchange.out.size);
	answer_protect(&exchange);
	return put_answer(&exchange, answer);
}

void soft_tpm_reset(struct soft_tpm *tpm)
{
	memset(tpm->objects, 0, sizeof(tpm->objects));
	memset(tpm->sessions, 0, sizeof(tpm->sessions));
	tpm->reset_count++;
}
