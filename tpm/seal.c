#include <tss2/tss2_mu.h>

#include "tpm/error.h"
#include "tpm/token.h"

#define COORDINATE_LEN 32U
#define OUR_ATTRIBUTES (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_USERWITHAUTH)
#define PROTECT_BOTH (TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT)

/* ---- templates ---- */

/* Nothing can leave its TPM or its parent. Without a PIN there is nothing to guess, so the device need not count; with one it must. */
static TPMA_OBJECT attributes_of(enum key_kind kind, bool has_pin)
{
	TPMA_OBJECT attributes = OUR_ATTRIBUTES;

	if (kind == KEY_KIND_P256)
		attributes |= TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SENSITIVEDATAORIGIN;
	return has_pin ? attributes : attributes | TPMA_OBJECT_NODA;
}

static TPM2B_PUBLIC template_of(enum key_kind kind, bool has_pin)
{
	TPM2B_PUBLIC template = { .publicArea = { .nameAlg = TPM2_ALG_SHA256,
		                                  .objectAttributes = attributes_of(kind, has_pin) } };
	TPMT_PUBLIC *area = &template.publicArea;

	if (kind != KEY_KIND_P256) {
		area->type = TPM2_ALG_KEYEDHASH;
		area->parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
		return template;
	}
	area->type = TPM2_ALG_ECC;
	area->parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
	area->parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDH;
	area->parameters.eccDetail.scheme.details.ecdh.hashAlg = TPM2_ALG_SHA256;
	area->parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
	area->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
	return template;
}

/* Left-padded: a TPM may leave out zero bytes at the front. */
static bool coordinate_copy(const TPM2B_ECC_PARAMETER *coordinate, uint8_t out[static COORDINATE_LEN])
{
	if (coordinate->size > COORDINATE_LEN)
		return false;
	memset(out, 0, COORDINATE_LEN);
	memcpy(out + COORDINATE_LEN - coordinate->size, coordinate->buffer, coordinate->size);
	return true;
}

/* ---- create ---- */

/* The one structure that holds what is to be sealed and the PIN's value: in locked memory, as the call wants it. */
static enum err sensitive_make(const struct token_create *create, struct secret **ret_sensitive)
{
	CLEANUP(secret_freep) struct secret *memory = NULL;
	CLEANUP(secret_freep) struct secret *auth = NULL;
	TPM2B_SENSITIVE_CREATE *sensitive;
	enum err err = secret_new(sizeof(*sensitive), &memory);

	if (!err && create->pin)
		err = tpm_pin_auth(create->id, create->pin, &auth);
	if (err)
		return err;
	sensitive = (TPM2B_SENSITIVE_CREATE *)(void *)secret_fill(memory);
	if (auth) {
		sensitive->sensitive.userAuth.size = (uint16_t)secret_len(auth);
		memcpy(sensitive->sensitive.userAuth.buffer, secret_reveal(auth).data, secret_len(auth));
	}
	if (create->sealed) {
		sensitive->sensitive.data.size = (uint16_t)secret_len(create->sealed);
		memcpy(sensitive->sensitive.data.buffer, secret_reveal(create->sealed).data,
		       secret_len(create->sealed));
	}
	*ret_sensitive = TAKE(memory);
	return OK;
}

struct creation {
	struct tpm_parent *parent;
	ESYS_TR session;
	const TPM2B_SENSITIVE_CREATE *sensitive;
	const TPM2B_PUBLIC *template;
	TPM2B_PRIVATE *private_area; /* owned, by ESYS's allocator */
	TPM2B_PUBLIC *public_area;
};

static TSS2_RC create_command(struct token *token, void *context)
{
	static const TPM2B_DATA no_data = { 0 };
	static const TPML_PCR_SELECTION no_pcr = { 0 };
	struct creation *creation = context;

	return tpm_session_result(
	        token, Esys_Create(token->esys, creation->parent->object.tr, creation->session, ESYS_TR_NONE,
	                           ESYS_TR_NONE, creation->sensitive, creation->template, &no_data, &no_pcr,
	                           &creation->private_area, &creation->public_area, NULL, NULL, NULL));
}

static enum err blob_fill(const struct creation *creation, uint32_t parent_handle,
                          struct token_blob *ret_blob)
{
	struct token_blob blob = { .parent = parent_handle, .parent_name_len = creation->parent->name.size };

	if (blob.parent_name_len > sizeof(blob.parent_name))
		return ERR_TOKEN;
	memcpy(blob.parent_name, creation->parent->name.name, blob.parent_name_len);
	if (Tss2_MU_TPM2B_PUBLIC_Marshal(creation->public_area, blob.public_area, sizeof(blob.public_area),
	                                 &blob.public_area_len) != TSS2_RC_SUCCESS)
		return ERR_TOKEN;
	if (Tss2_MU_TPM2B_PRIVATE_Marshal(creation->private_area, blob.private_area,
	                                  sizeof(blob.private_area),
	                                  &blob.private_area_len) != TSS2_RC_SUCCESS)
		return ERR_TOKEN;
	*ret_blob = blob;
	return OK;
}

static enum err point_fill(const struct creation *creation, uint8_t ret_point[static P256_POINT_LEN])
{
	const TPMS_ECC_POINT *point = &creation->public_area->publicArea.unique.ecc;

	ret_point[0] = 0x04;
	return coordinate_copy(&point->x, ret_point + 1) &&
	                       coordinate_copy(&point->y, ret_point + 1 + COORDINATE_LEN)
	               ? OK
	               : ERR_TOKEN;
}

static enum err create_under(struct token *token, struct tpm_parent *parent, uint32_t parent_handle,
                             const struct token_create *create, struct token_blob *ret_blob,
                             uint8_t ret_point[P256_POINT_LEN])
{
	CLEANUP(secret_freep) struct secret *sensitive = NULL;
	const TPM2B_PUBLIC template = template_of(create->kind, create->pin != NULL);
	struct creation creation = { .parent = parent, .template = &template };
	enum err err = tpm_objects_shrink(token, TPM_OBJECTS_MAX - 1);

	if (!err)
		err = tpm_session(token, parent, PROTECT_BOTH, &creation.session);
	if (!err)
		err = sensitive_make(create, &sensitive);
	if (err)
		return err;
	creation.sensitive = (const TPM2B_SENSITIVE_CREATE *)(const void *)secret_reveal(sensitive).data;
	err = tpm_with_slot(token, create_command, &creation);
	if (!err)
		err = blob_fill(&creation, parent_handle, ret_blob);
	if (!err && create->kind == KEY_KIND_P256)
		err = point_fill(&creation, ret_point);
	Esys_Free(creation.private_area);
	Esys_Free(creation.public_area);
	return err;
}

enum err tpm_create(struct token *token, const struct token_create *create, struct token_blob *ret_blob,
                    uint8_t ret_point[P256_POINT_LEN])
{
	struct tpm_parent *parent = NULL;
	uint32_t handle = 0;
	enum err err = tpm_parent_for_new(token, create, &parent, &handle);

	if (!err)
		err = create_under(token, parent, handle, create, ret_blob, ret_point);
	tpm_parent_release(parent);
	tpm_forget_answer(token);
	/* ESYS keeps what it was given to send, until it is given something else of the same kind. */
	if (!token->broken && (create->pin || create->sealed)) {
		enum err renewed = tpm_device_renew(token);

		err = err ? err : renewed;
	}
	return err;
}

/* ---- load ---- */

struct loading {
	struct tpm_parent *parent;
	ESYS_TR session;
	TPM2B_PRIVATE private_area;
	TPM2B_PUBLIC public_area;
	ESYS_TR tr;
};

/* A blob is ours and unharmed, or is refused before the TPM sees it: what it may do is in its public area. */
static enum err blob_read(const struct token_load *load, struct loading *loading)
{
	const struct token_blob *blob = load->blob;
	const TPM2B_PUBLIC wanted = template_of(load->kind, load->has_pin);
	const TPMT_PUBLIC *area = &loading->public_area.publicArea;
	size_t offset = 0;

	if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob->public_area, blob->public_area_len, &offset,
	                                   &loading->public_area) != TSS2_RC_SUCCESS ||
	    offset != blob->public_area_len)
		return ERR_TOKEN_STATE;
	offset = 0;
	if (Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob->private_area, blob->private_area_len, &offset,
	                                    &loading->private_area) != TSS2_RC_SUCCESS ||
	    offset != blob->private_area_len)
		return ERR_TOKEN_STATE;
	return area->type == wanted.publicArea.type && area->nameAlg == wanted.publicArea.nameAlg &&
	                       area->objectAttributes == wanted.publicArea.objectAttributes
	               ? OK
	               : ERR_TOKEN_STATE;
}

static TSS2_RC load_command(struct token *token, void *context)
{
	struct loading *loading = context;

	return tpm_session_result(token, Esys_Load(token->esys, loading->parent->object.tr, loading->session,
	                                           ESYS_TR_NONE, ESYS_TR_NONE, &loading->private_area,
	                                           &loading->public_area, &loading->tr));
}

static enum err load_under(struct token *token, struct loading *loading, struct token_key *key)
{
	enum err err = tpm_session(token, loading->parent, PROTECT_BOTH, &loading->session);

	if (!err)
		err = tpm_objects_shrink(token, TPM_OBJECTS_MAX - 1);
	if (!err)
		err = tpm_with_slot(token, load_command, loading);
	if (!err)
		tpm_object_loaded(token, &key->object, loading->tr);
	return err;
}

static enum err key_new(const struct token_load *load, struct token_key **ret_key)
{
	const struct token_blob *blob = load->blob;
	struct token_key *key;

	if (blob->parent_name_len > sizeof(key->parent_name.name))
		return ERR_TOKEN_STATE;
	key = calloc(1, sizeof(*key));
	if (!key)
		return ERR_NOMEM;
	key->object.tr = ESYS_TR_NONE;
	key->id = *load->id;
	key->kind = load->kind;
	key->has_pin = load->has_pin;
	key->parent = blob->parent;
	key->parent_name.size = (uint16_t)blob->parent_name_len;
	memcpy(key->parent_name.name, blob->parent_name, blob->parent_name_len);
	*ret_key = key;
	return OK;
}

static enum err key_parent(struct token *token, const struct token_key *key, struct tpm_parent **ret_parent)
{
	return tpm_parent_of(token, key->parent, bytes_of(key->parent_name.name, key->parent_name.size),
	                     ret_parent);
}

enum err tpm_load(struct token *token, const struct token_load *load, struct token_key **ret_key)
{
	CLEANUP(freep) struct token_key *key = NULL;
	CLEANUP(freep) struct loading *loading = calloc(1, sizeof(*loading));
	enum err err;

	if (!loading)
		return ERR_NOMEM;
	err = key_new(load, &key);
	if (!err)
		err = blob_read(load, loading);
	if (!err && !tpm_name_of(&loading->public_area.publicArea, &key->object.name))
		err = ERR_TOKEN_STATE;
	if (err)
		return err;
	tpm_sweep_sent(token, &key->object.name);
	err = key_parent(token, key, &loading->parent);
	if (!err)
		err = load_under(token, loading, key);
	tpm_parent_release(loading->parent);
	if (!token->broken)
		tpm_sweep_arrived(token, &key->object.name);
	/* An error that the device did not say, but somebody on the way, leaves the object where it is. */
	if (err)
		tpm_sweep_note(token, &key->object.name);
	if (!err)
		*ret_key = TAKE(key);
	return err;
}

/* ---- use ---- */

/* Gives ESYS the key's authorisation value for the command to come. */
static enum err auth_set(struct token *token, const struct token_key *key, const struct secret *pin)
{
	CLEANUP(secret_freep) struct secret *auth = NULL;
	CLEANUP(secret_freep) struct secret *memory = NULL;
	TPM2B_AUTH *value;
	enum err err;

	if (!key->has_pin)
		return OK;
	if (!pin)
		return ERR_PIN_NEEDED;
	err = tpm_pin_auth(&key->id, pin, &auth);
	if (!err)
		err = secret_new(sizeof(*value), &memory);
	if (err)
		return err;
	value = (TPM2B_AUTH *)(void *)secret_fill(memory);
	value->size = (uint16_t)secret_len(auth);
	memcpy(value->buffer, secret_reveal(auth).data, secret_len(auth));
	return tpm_check(token, Esys_TR_SetAuth(token->esys, key->object.tr, value));
}

static TPM2B_ECC_POINT point_of(const uint8_t point[static P256_POINT_LEN])
{
	TPM2B_ECC_POINT result = { .point = { .x.size = COORDINATE_LEN, .y.size = COORDINATE_LEN } };

	memcpy(result.point.x.buffer, point + 1, COORDINATE_LEN);
	memcpy(result.point.y.buffer, point + 1 + COORDINATE_LEN, COORDINATE_LEN);
	return result;
}

/* The session keeps the authorisation value of its last command behind its own key, until the next command writes another there. So it is given one, with a value that is
 * none and of the same length; the shim keeps that command from the device. */
static void session_forget_auth(struct token *token, const struct token_key *key)
{
	static const uint8_t no_point[P256_POINT_LEN];
	const TPM2B_ECC_POINT in = point_of(no_point);
	TPM2B_ECC_POINT *out = NULL;

	if (token->session == ESYS_TR_NONE || token->broken)
		return;
	shim_keep_next(token->shim);
	(void)Esys_ECDH_ZGen(token->esys, key->object.tr, token->session, ESYS_TR_NONE, ESYS_TR_NONE, &in,
	                     &out);
	Esys_Free(out);
}

/* ESYS only forgets the length, so the value is written over first. */
static void auth_clear(struct token *token, const struct token_key *key)
{
	/* ESYS takes zeros off the end of a value. */
	TPM2B_AUTH none = { .size = 32 };

	if (!key->has_pin || key->object.tr == ESYS_TR_NONE)
		return;
	memset(none.buffer, 0xff, none.size);
	(void)Esys_TR_SetAuth(token->esys, key->object.tr, &none);
	session_forget_auth(token, key);
	(void)Esys_TR_SetAuth(token->esys, key->object.tr, NULL);
}

/* A session that was ended since the key was loaded, or was begun for the keys of another parent, is started again; the parent that salts it has to be the key's. */
static enum err session_restart(struct token *token, const struct token_key *key)
{
	struct tpm_parent *parent = NULL;
	ESYS_TR session;
	enum err err;

	if (tpm_session_is_of(token, &key->parent_name))
		return OK;
	err = key_parent(token, key, &parent);
	if (!err)
		err = tpm_session(token, parent, PROTECT_BOTH, &session);
	tpm_parent_release(parent);
	return err;
}

static enum err use_begin(struct token *token, struct token_key *key, const struct secret *pin,
                          TPMA_SESSION attributes, ESYS_TR *ret_session)
{
	enum err err;

	/* In a session whose ends disagree every HMAC is wrong. To the device that would be one more wrong PIN, and to whoever typed it as well. */
	if (key->has_pin && token->session_doubtful)
		tpm_session_flush(token);
	err = session_restart(token, key);
	if (!err)
		err = tpm_object_ready(token, &key->object);
	if (!err)
		err = tpm_session(token, NULL, attributes, ret_session);
	return err ? err : auth_set(token, key, pin);
}

static void use_end(struct token *token, const struct token_key *key)
{
	auth_clear(token, key);
	tpm_forget_answer(token);
}

static enum err x_copy(const TPM2B_ECC_POINT *point, struct secret **ret_x)
{
	CLEANUP(secret_freep) struct secret *x = NULL;
	enum err err = secret_new(COORDINATE_LEN, &x);

	if (!err && !coordinate_copy(&point->point.x, secret_fill(x)))
		err = ERR_TOKEN;
	if (!err)
		*ret_x = TAKE(x);
	return err;
}

enum err tpm_ecdh(struct token *token, struct token_key *key, const struct secret *pin,
                  const uint8_t point[P256_POINT_LEN], struct secret **ret_x)
{
	const TPM2B_ECC_POINT in = point_of(point);
	TPM2B_ECC_POINT *out = NULL;
	ESYS_TR session;
	enum err err = use_begin(token, key, pin, PROTECT_BOTH, &session);

	if (!err)
		err = tpm_check(token, tpm_session_result(token, Esys_ECDH_ZGen(token->esys, key->object.tr,
		                                                                session, ESYS_TR_NONE,
		                                                                ESYS_TR_NONE, &in, &out)));
	if (!err)
		err = x_copy(out, ret_x);
	if (out)
		secret_wipe(out, sizeof(*out));
	Esys_Free(out);
	use_end(token, key);
	return err;
}

static enum err data_copy(const TPM2B_SENSITIVE_DATA *data, struct secret **ret_sealed)
{
	if (data->size != SEALED_LEN)
		return ERR_TOKEN_STATE;
	return secret_new_from(bytes_of(data->buffer, data->size), ret_sealed);
}

enum err tpm_unseal(struct token *token, struct token_key *key, const struct secret *pin,
                    struct secret **ret_sealed)
{
	TPM2B_SENSITIVE_DATA *data = NULL;
	ESYS_TR session;
	enum err err = use_begin(token, key, pin, TPMA_SESSION_ENCRYPT, &session);

	if (!err)
		err = tpm_check(token,
		                tpm_session_result(token, Esys_Unseal(token->esys, key->object.tr, session,
		                                                      ESYS_TR_NONE, ESYS_TR_NONE, &data)));
	if (!err)
		err = data_copy(data, ret_sealed);
	if (data)
		secret_wipe(data, sizeof(*data));
	Esys_Free(data);
	use_end(token, key);
	/* The session's own copy of the authorisation value goes with the session; there is the one unseal, and then none until the next PIN. */
	if (pin && !token->broken)
		tpm_session_flush(token);
	return err;
}
