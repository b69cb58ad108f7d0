#include <tss2/tss2_mu.h>
#include <tss2/tss2_sys.h>

#include "tpm/error.h"
#include "tpm/token.h"

#define STACK_SCRUB_LEN 16384U

static void parents_forget(struct token *token)
{
	free(token->transient.object.context);
	token->persistent = (struct tpm_parent){ .object.tr = ESYS_TR_NONE };
	token->transient = (struct tpm_parent){ .object.tr = ESYS_TR_NONE };
}

void tpm_device_close(struct token *token)
{
	tpm_sweep_before_close(token);
	tpm_objects_forget(token);
	parents_forget(token);
	token->session = ESYS_TR_NONE;
	if (token->esys)
		Esys_Finalize(&token->esys);
	if (token->shim)
		token->commands_before += shim_commands(token->shim);
	token->shim = shim_free(token->shim);
}

enum err tpm_device_renew(struct token *token)
{
	enum err err = tpm_objects_shrink(token, 0);

	tpm_session_flush(token);
	if (err)
		return err;
	parents_forget(token);
	Esys_Finalize(&token->esys);
	return tpm_check(token, Esys_Initialize(&token->esys, shim_tcti(token->shim), NULL));
}

enum err tpm_device_open(struct token *token)
{
	TSS2_TCTI_CONTEXT *tcti = NULL;
	enum err err = tcti_connect(token->driver, token->configuration, &tcti);

	if (!err)
		err = shim_new(tcti, &token->shim);
	if (err)
		return err;
	token->broken = false;
	shim_meanwhile(token->shim, token->meanwhile);
	return tpm_check(token, Esys_Initialize(&token->esys, shim_tcti(token->shim), NULL));
}

/* After an error of a layer below, and after the TPM lost what we had on it, nothing that ESYS knows is true: not even the handles, which may by
 * now belong to somebody else. */
enum err tpm_check(struct token *token, TSS2_RC rc)
{
	enum err err = tpm_error(rc);

	if (rc != TSS2_RC_SUCCESS && (err == ERR_NO_TOKEN || !tpm_error_is_answer(rc)))
		token->broken = true;
	return err;
}

static TSS2_RC read_clock(struct token *token, uint32_t *ret_count)
{
	TPMS_TIME_INFO *info = NULL;
	TSS2_RC rc = Esys_ReadClock(token->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &info);

	if (rc == TSS2_RC_SUCCESS)
		*ret_count = info->clockInfo.resetCount;
	if (rc == TSS2_RC_SUCCESS)
		token->restart_count = info->clockInfo.restartCount;
	Esys_Free(info);
	return rc;
}

/* The first command after each opening. A software TPM may stand there without having been started, and nobody else will; a real one was started
 * by the firmware, or is in a state that is none of our business. */
static TSS2_RC read_clock_started(struct token *token, uint32_t *ret_count)
{
	TSS2_RC rc = read_clock(token, ret_count);

	if (!tpm_error_is(rc, TPM2_RC_INITIALIZE) || !token->driver->simulation)
		return rc;
	rc = Esys_Startup(token->esys, TPM2_SU_CLEAR);
	return rc == TSS2_RC_SUCCESS ? read_clock(token, ret_count) : rc;
}

/* The answer has no session to protect it, and a changed count closes everything that was opened with a PIN: so a change is asked for twice. */
enum err tpm_reset_count(struct token *token, uint32_t *ret_count)
{
	uint32_t count = 0, again = 0;
	enum err err = tpm_check(token, read_clock_started(token, &count));

	if (!err && token->reset_count_known && count != token->reset_count) {
		err = tpm_check(token, read_clock(token, &again));
		if (!err && again != count)
			err = again == token->reset_count ? OK : ERR_TOKEN;
		count = again;
	}
	if (err)
		return err;
	token->reset_count = count;
	token->reset_count_known = true;
	if (token->sweep.wanted)
		tpm_sweep(token);
	*ret_count = count;
	return token->broken ? ERR_NO_TOKEN : OK;
}

enum err tpm_properties(struct token *token, TPM2_PT first, TPMS_TAGGED_PROPERTY *properties, size_t *count)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	TPMI_YES_NO more;
	enum err err = tpm_check(token, Esys_GetCapability(token->esys, ESYS_TR_NONE, ESYS_TR_NONE,
	                                                   ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES, first,
	                                                   (uint32_t)*count, &more, &data));

	if (err)
		return err;
	if (data->capability != TPM2_CAP_TPM_PROPERTIES || data->data.tpmProperties.count > *count) {
		Esys_Free(data);
		return ERR_TOKEN;
	}
	*count = data->data.tpmProperties.count;
	memcpy(properties, data->data.tpmProperties.tpmProperty, *count * sizeof(*properties));
	Esys_Free(data);
	return OK;
}

/* What functions that have returned left behind, below this frame. */
static __attribute__((noinline)) void stack_scrub(void)
{
	uint8_t below[STACK_SCRUB_LEN];

	secret_wipe(below, sizeof(below));
}

/* ESYS decrypts an answer where it stands in its buffer, by way of a local copy, and leaves both. */
void tpm_forget_answer(struct token *token)
{
	TSS2_SYS_CONTEXT *sys;
	const uint8_t *answer;
	size_t len;

	stack_scrub();
	if (Esys_GetSysContext(token->esys, &sys) != TSS2_RC_SUCCESS ||
	    Tss2_Sys_GetRpBuffer(sys, &len, &answer) != TSS2_RC_SUCCESS || len > SHIM_RESPONSE_MAX)
		return;
	/* The buffer is ESYS's own and not constant; only the call that finds it says so. */
	secret_wipe((void *)(uintptr_t)answer, len);
}

void tpm_device_shutdown(struct token *token)
{
	if (token->driver->simulation && token->esys && !token->broken)
		(void)Esys_Shutdown(token->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_SU_CLEAR);
}
