#include "tpm/error.h"
#include "tpm/token.h"

struct start {
	ESYS_TR salt_key;
	ESYS_TR session;
};

static TSS2_RC start(struct token *token, void *context)
{
	static const TPMT_SYM_DEF aes_128_cfb = {
		.algorithm = TPM2_ALG_AES,
		.keyBits.aes = 128,
		.mode.aes = TPM2_ALG_CFB,
	};
	struct start *request = context;
	uint32_t before = shim_commands(token->shim), sent;
	TPM2_HANDLE handle;
	TSS2_RC rc;

	tpm_sweep_session_sent(token);
	rc = Esys_StartAuthSession(token->esys, request->salt_key, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
	                           ESYS_TR_NONE, NULL, TPM2_SE_HMAC, &aes_128_cfb, TPM2_ALG_SHA256,
	                           &request->session);

	sent = shim_commands(token->shim) - before;
	token->sweep.sessions_sent += sent;
	/* Also where ESYS had no memory for it: the session stands all the same. */
	if (sent && shim_session_arrived(token->shim, &handle))
		tpm_sweep_session_arrived(token, handle);
	return rc;
}

static enum err session_start(struct token *token, struct tpm_parent *parent)
{
	struct start request = { parent->object.tr, ESYS_TR_NONE };
	enum err err = tpm_sweep_before_session(token);

	if (err)
		return err;
	err = tpm_with_slot(token, start, &request);
	if (err)
		return err;
	token->session = request.session;
	token->session_parent = parent->name;
	token->session_doubtful = false;
	return OK;
}

bool tpm_session_is_of(const struct token *token, const TPM2B_NAME *parent)
{
	const TPM2B_NAME *salted = &token->session_parent;

	return token->session != ESYS_TR_NONE &&
	       bytes_equal(bytes_of(salted->name, salted->size), bytes_of(parent->name, parent->size));
}

/*
 * Salted with the parent, whose Name the key's blob carries: whoever stands on the bus and offers a parent of his own is refused before the salt is
 * made. Not bound to any object, so one session serves all keys of a parent, and those only: of two parents one may have been believed that is no TPM's, and whoever has its private half
 * would read what is sent for the other's keys. A key's authorisation value goes into the HMAC of its own command alone.
 */
enum err tpm_session(struct token *token, struct tpm_parent *parent, TPMA_SESSION attributes,
                     ESYS_TR *ret_session)
{
	enum err err = OK;

	if (parent && !tpm_session_is_of(token, &parent->name)) {
		tpm_session_flush(token);
		err = session_start(token, parent);
	}
	if (!err)
		err = tpm_check(token,
		                Esys_TRSess_SetAttributes(token->esys, token->session,
		                                          TPMA_SESSION_CONTINUESESSION | attributes, 0xff));
	if (!err)
		*ret_session = token->session;
	return err;
}

TSS2_RC tpm_session_result(struct token *token, TSS2_RC rc)
{
	token->session_doubtful = rc != TSS2_RC_SUCCESS;
	return rc;
}

void tpm_session_flush(struct token *token)
{
	bool flushed = token->session != ESYS_TR_NONE && token->esys && !token->broken &&
	               tpm_check(token, Esys_FlushContext(token->esys, token->session)) == OK;

	token->session = ESYS_TR_NONE;
	if (flushed)
		tpm_sweep_session_gone(token);
}
