#include <sodium.h>
#include <tss2/tss2_mu.h>

#include "tpm/error.h"
#include "tpm/token.h"

#define SRK_ATTRIBUTES                                                                      \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | \
	 TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

/* With an empty "unique" field, as the readers of TPM key files make the parent that such a file calls 0x40000001. */
static const TPM2B_PUBLIC srk_template = {
	.publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = SRK_ATTRIBUTES | TPMA_OBJECT_NODA,
		.parameters.eccDetail = {
			.symmetric = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB },
			.scheme.scheme = TPM2_ALG_NULL,
			.curveID = TPM2_ECC_NIST_P256,
			.kdf.scheme = TPM2_ALG_NULL,
		},
	},
};

/* ---- the Name ---- */

/* Not the Name that the TPM said, but the one of the public key that ESYS holds and will salt sessions with: it is computed here. */
static enum err parent_name(struct token *token, ESYS_TR tr, TPM2B_NAME *ret_name)
{
	TPM2B_NAME *name = NULL;
	enum err err = tpm_check(token, Esys_TR_GetName(token->esys, tr, &name));

	if (!err)
		*ret_name = *name;
	Esys_Free(name);
	return err;
}

static bool name_is(const struct tpm_parent *parent, struct bytes name)
{
	return bytes_equal(bytes_of(parent->name.name, parent->name.size), name);
}

/* ---- the persistent one ---- */

/* A persistent object takes a slot even to be read. That there is none is an answer, and leaves *context as it is. */
static TSS2_RC read_persistent(struct token *token, void *context)
{
	TSS2_RC rc = Esys_TR_FromTPMPublic(token->esys, TPM_SRK_HANDLE, ESYS_TR_NONE, ESYS_TR_NONE,
	                                   ESYS_TR_NONE, context);

	return tpm_error_is(rc, TPM2_RC_HANDLE) ? TSS2_RC_SUCCESS : rc;
}

/* ERR_TOKEN_STATE when there is none. */
static enum err persistent_find(struct token *token)
{
	struct tpm_parent *parent = &token->persistent;
	ESYS_TR tr = ESYS_TR_NONE;
	enum err err;

	if (parent->known)
		return OK;
	err = tpm_with_slot(token, read_persistent, &tr);
	if (!err && tr == ESYS_TR_NONE)
		return ERR_TOKEN_STATE;
	if (!err)
		err = parent_name(token, tr, &parent->name);
	if (err)
		return err;
	parent->object.tr = tr;
	parent->known = true;
	return OK;
}

static bool is_storage_key(const TPMT_PUBLIC *area)
{
	const TPMS_ECC_PARMS *ecc = &area->parameters.eccDetail;

	return area->type == TPM2_ALG_ECC && area->nameAlg == TPM2_ALG_SHA256 &&
	       (area->objectAttributes & SRK_ATTRIBUTES) == SRK_ATTRIBUTES &&
	       !(area->objectAttributes & TPMA_OBJECT_SIGN_ENCRYPT) && ecc->curveID == TPM2_ECC_NIST_P256 &&
	       ecc->symmetric.algorithm == TPM2_ALG_AES && ecc->symmetric.mode.aes == TPM2_ALG_CFB;
}

bool tpm_name_of(const TPMT_PUBLIC *area, TPM2B_NAME *ret_name)
{
	uint8_t marshalled[sizeof(TPMT_PUBLIC)];
	size_t len = 0;

	if (Tss2_MU_TPMT_PUBLIC_Marshal(area, marshalled, sizeof(marshalled), &len) != TSS2_RC_SUCCESS)
		return false;
	ret_name->size = 2 + crypto_hash_sha256_BYTES;
	ret_name->name[0] = TPM2_ALG_SHA256 >> 8;
	ret_name->name[1] = TPM2_ALG_SHA256 & 0xff;
	return crypto_hash_sha256(ret_name->name + 2, marshalled, len) == 0;
}

/* What stands at the handle now, if anything. */
static TSS2_RC read_name(struct token *token, void *context)
{
	TSS2_RC rc = Esys_ReadPublic(token->esys, token->persistent.object.tr, ESYS_TR_NONE, ESYS_TR_NONE,
	                             ESYS_TR_NONE, NULL, context, NULL);

	return tpm_error_is(rc, TPM2_RC_HANDLE) ? TSS2_RC_SUCCESS : rc;
}

static TSS2_RC read_again(struct token *token, void *context)
{
	return Esys_ReadPublic(token->esys, token->persistent.object.tr, ESYS_TR_NONE, ESYS_TR_NONE,
	                       ESYS_TR_NONE, context, NULL, NULL);
}

/* Can what stands at the handle be the parent of our keys? It is read again for that, so it must have the Name that was computed before. */
static enum err persistent_suitable(struct token *token, bool *ret_suitable)
{
	TPM2B_PUBLIC *public_area = NULL;
	TPM2B_NAME name = { 0 };
	enum err err = tpm_with_slot(token, read_again, &public_area);

	if (err)
		return err;
	*ret_suitable = is_storage_key(&public_area->publicArea) &&
	                tpm_name_of(&public_area->publicArea, &name) &&
	                bytes_equal(bytes_of(name.name, name.size),
	                            bytes_of(token->persistent.name.name, token->persistent.name.size));
	Esys_Free(public_area);
	return OK;
}

/* ---- the transient one ---- */

static TSS2_RC create_primary(struct token *token, void *context)
{
	static const TPM2B_SENSITIVE_CREATE nothing_secret = { 0 };
	static const TPM2B_DATA no_data = { 0 };
	static const TPML_PCR_SELECTION no_pcr = { 0 };

	/* The owner's authorisation is empty: no value is sent, and there is no session yet that could be salted. */
	TSS2_RC rc = Esys_CreatePrimary(token->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
	                                ESYS_TR_NONE, &nothing_secret, &srk_template, &no_data, &no_pcr,
	                                context, NULL, NULL, NULL, NULL);

	/* Here it is the owner who has set one, and not an object that was lost. */
	return tpm_error_is(rc, TPM2_RC_BAD_AUTH) ? TPM2_RC_HIERARCHY : rc;
}

static enum err transient_make(struct token *token)
{
	struct tpm_parent *parent = &token->transient;
	ESYS_TR tr = ESYS_TR_NONE;
	bool lost_before;
	enum err err = tpm_objects_shrink(token, TPM_OBJECTS_MAX - 1);

	if (err)
		return err;
	lost_before = tpm_sweep_primary_sent(token);
	err = tpm_with_slot(token, create_primary, &tr);
	if (err)
		return err;
	tpm_object_loaded(token, &parent->object, tr);
	err = parent_name(token, tr, &parent->name);
	if (!err)
		tpm_sweep_primary_arrived(token, lost_before, &parent->name);
	parent->known = !err;
	return err;
}

static enum err transient_ready(struct token *token)
{
	return token->transient.known ? tpm_object_ready(token, &token->transient.object)
	                              : transient_make(token);
}

/* ---- which of them is believed ---- */

static bool trusted(const struct token_create *create, const struct tpm_parent *parent)
{
	for (size_t i = 0; i < create->trusted_count; i++)
		if (name_is(parent, bytes_of(create->trusted[i].name, create->trusted[i].len)))
			return true;
	return create->trusted_count == 0;
}

/* What has another Name than it should is read anew the next time: it may have been a lie on the bus, and that may be over. */
static void parent_forget(struct token *token, struct tpm_parent *parent)
{
	if (parent == &token->transient)
		tpm_object_drop(token, &parent->object);
	else if (parent->object.tr != ESYS_TR_NONE && !token->broken)
		(void)Esys_TR_Close(token->esys, &parent->object.tr);
	*parent = (struct tpm_parent){ .object.tr = ESYS_TR_NONE };
}

/* ---- what the others ask for ---- */

/* Nothing of it is kept: what is known of a device, and so what of ours may be lost on it when its answers are, begins with the first use of a key. */
static enum err look_once(struct token *token, TPM2B_NAME *ret_name)
{
	ESYS_TR tr = ESYS_TR_NONE;
	enum err err = tpm_with_slot(token, read_persistent, &tr);

	if (!err && tr != ESYS_TR_NONE)
		err = parent_name(token, tr, ret_name);
	if (tr != ESYS_TR_NONE && !token->broken)
		(void)Esys_TR_Close(token->esys, &tr);
	return err;
}

/* Only to be shown: what is believed of it is compared again before anything secret is sent. */
enum err tpm_parent_look(struct token *token, TPM2B_NAME *ret_name)
{
	struct tpm_parent *parent = &token->persistent;
	TPM2B_NAME *name = NULL;
	enum err err;

	*ret_name = (TPM2B_NAME){ 0 };
	if (!parent->known)
		return look_once(token, ret_name);
	err = tpm_with_slot(token, read_name, &name);
	if (err)
		return err;
	if (name)
		*ret_name = *name;
	Esys_Free(name);
	if (!name_is(parent, bytes_of(ret_name->name, ret_name->size)))
		parent_forget(token, parent);
	return OK;
}

enum err tpm_parent_of(struct token *token, uint32_t handle, struct bytes name,
                       struct tpm_parent **ret_parent)
{
	struct tpm_parent *parent = handle == TPM_SRK_HANDLE ? &token->persistent : &token->transient;
	enum err err;

	if (handle != TPM_SRK_HANDLE && handle != TPM_SRK_TRANSIENT)
		return ERR_TOKEN_STATE;
	err = parent == &token->persistent ? persistent_find(token) : transient_ready(token);
	if (err)
		return err;
	if (!name_is(parent, name)) {
		parent_forget(token, parent);
		return ERR_TOKEN_STATE;
	}
	parent->object.pinned = true;
	*ret_parent = parent;
	return OK;
}

/* The handle is empty: the primary that was just made goes there, so that no later start has to make it. Where the owner does not let us, or there
 * is no room, the transient one will do. */
static void transient_persist(struct token *token)
{
	ESYS_TR tr = ESYS_TR_NONE;
	TSS2_RC rc = Esys_EvictControl(token->esys, ESYS_TR_RH_OWNER, token->transient.object.tr,
	                               ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, TPM_SRK_HANDLE, &tr);

	if (rc == TSS2_RC_SUCCESS)
		(void)Esys_TR_Close(token->esys, &tr);
	else if (!tpm_error_is(rc, TPM2_RC_BAD_AUTH))
		(void)tpm_check(token, rc);
}

static enum err persistent_make(struct token *token, const struct token_create *create)
{
	enum err err = transient_ready(token);

	if (err)
		return err;
	if (trusted(create, &token->transient))
		transient_persist(token);
	if (token->broken)
		return ERR_NO_TOKEN;
	err = persistent_find(token);
	if (err == OK)
		tpm_object_drop(token, &token->transient.object);
	if (err == OK)
		token->transient.known = false;
	return err == ERR_TOKEN_STATE ? OK : err;
}

enum err tpm_parent_for_new(struct token *token, const struct token_create *create,
                            struct tpm_parent **ret_parent, uint32_t *ret_handle)
{
	bool suitable = false;
	enum err err = persistent_find(token);

	if (err == ERR_TOKEN_STATE)
		err = persistent_make(token, create);
	if (!err && token->persistent.known)
		err = persistent_suitable(token, &suitable);
	suitable = suitable && trusted(create, &token->persistent);
	if (!err && token->persistent.known && !suitable)
		parent_forget(token, &token->persistent);
	if (!err && !suitable)
		err = transient_ready(token);
	if (!err && !suitable && !trusted(create, &token->transient)) {
		parent_forget(token, &token->transient);
		err = ERR_TOKEN_STATE;
	}
	if (err)
		return err;
	*ret_parent = suitable ? &token->persistent : &token->transient;
	*ret_handle = suitable ? TPM_SRK_HANDLE : TPM_SRK_TRANSIENT;
	(*ret_parent)->object.pinned = true;
	return OK;
}

void tpm_parent_release(struct tpm_parent *parent)
{
	if (parent)
		parent->object.pinned = false;
}
