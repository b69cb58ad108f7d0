#include "tpm/error.h"

#include <stddef.h>
#include <tss2/tss2_tpm2_types.h>

/* TPM 2.0 part 2, 6.6: bit 7 set means format 1, whose bits 6 and 8 to 11 say which parameter, handle or session is meant. */
#define FORMAT_1 0x80U
#define FORMAT_1_CODE 0xbfU
#define CODE_MASK 0xfffU
#define OF_A_PARAMETER 0x40U

struct row {
	TSS2_RC code; /* without the number, where it has one */
	enum err err;
};

static const struct row answers[] = {
	/* nobody started it, or its test of itself failed: not a word about our keys */
	{ TPM2_RC_INITIALIZE, ERR_TOKEN },
	{ TPM2_RC_FAILURE, ERR_TOKEN },

	{ TPM2_RC_LOCKOUT, ERR_PIN_LOCKED },
	{ TPM2_RC_AUTH_FAIL, ERR_PIN_WRONG },
	/* Our keys with a PIN are protected by the dictionary attack logic, so the TPM says AUTH_FAIL for a wrong one. BAD_AUTH is for those
	 * without: then the HMAC was over another object than the one that now stands at that handle. */
	{ TPM2_RC_BAD_AUTH, ERR_NO_TOKEN },
	{ TPM2_RC_AUTH_MISSING, ERR_TOKEN },

	/* not there any more: reset, or flushed by somebody else */
	{ TPM2_RC_REFERENCE_H0, ERR_NO_TOKEN },
	{ TPM2_RC_REFERENCE_H1, ERR_NO_TOKEN },
	{ TPM2_RC_REFERENCE_H2, ERR_NO_TOKEN },
	{ TPM2_RC_REFERENCE_S0, ERR_NO_TOKEN },
	{ TPM2_RC_REFERENCE_S1, ERR_NO_TOKEN },
	{ TPM2_RC_REFERENCE_S2, ERR_NO_TOKEN },
	{ TPM2_RC_HANDLE, ERR_NO_TOKEN },

	/* no room */
	{ TPM2_RC_OBJECT_MEMORY, ERR_TOKEN_FULL },
	{ TPM2_RC_SESSION_MEMORY, ERR_TOKEN_FULL },
	{ TPM2_RC_MEMORY, ERR_TOKEN_FULL },
	{ TPM2_RC_SESSION_HANDLES, ERR_TOKEN_FULL },
	{ TPM2_RC_OBJECT_HANDLES, ERR_TOKEN_FULL },
	{ TPM2_RC_NV_SPACE, ERR_TOKEN_FULL },

	/* not now; ESYS has already asked several times */
	{ TPM2_RC_RETRY, ERR_BUSY },
	{ TPM2_RC_YIELDED, ERR_BUSY },
	{ TPM2_RC_TESTING, ERR_BUSY },
	{ TPM2_RC_CANCELED, ERR_BUSY },
	{ TPM2_RC_NV_RATE, ERR_BUSY },
	{ TPM2_RC_NV_UNAVAILABLE, ERR_BUSY },

	/* this blob is not of this TPM, or of this parent */
	{ TPM2_RC_INTEGRITY, ERR_TOKEN_STATE },
	{ TPM2_RC_BINDING, ERR_TOKEN_STATE },
	{ TPM2_RC_HIERARCHY, ERR_TOKEN_STATE },
	{ TPM2_RC_SENSITIVE, ERR_TOKEN_STATE },
	{ TPM2_RC_TYPE, ERR_TOKEN_STATE },
	{ TPM2_RC_KEY, ERR_TOKEN_STATE },
	{ TPM2_RC_SIZE, ERR_TOKEN_STATE },
	{ TPM2_RC_POLICY_FAIL, ERR_TOKEN_STATE },

	/* a share that is no point of the curve, or gives the point at infinity */
	{ TPM2_RC_ECC_POINT, ERR_BAD_CIPHERTEXT },
	{ TPM2_RC_NO_RESULT, ERR_BAD_CIPHERTEXT },

	{ TPM2_RC_COMMAND_CODE, ERR_UNSUPPORTED },
	{ TPM2_RC_CURVE, ERR_UNSUPPORTED },
	{ TPM2_RC_SCHEME, ERR_UNSUPPORTED },
	{ TPM2_RC_SYMMETRIC, ERR_UNSUPPORTED },
};

static TSS2_RC without_number(TSS2_RC code)
{
	return code & FORMAT_1 ? code & FORMAT_1_CODE : code & CODE_MASK;
}

/* A resource manager answers in the TPM's name with the TPM's codes, in a layer of its own. */
bool tpm_error_is_answer(TSS2_RC rc)
{
	TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;

	return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER ||
	       layer == TSS2_RESMGR_RC_LAYER;
}

bool tpm_error_is(TSS2_RC rc, TSS2_RC code)
{
	return rc != TSS2_RC_SUCCESS && tpm_error_is_answer(rc) &&
	       without_number(rc & CODE_MASK) == without_number(code & CODE_MASK);
}

/* A value that is none, and no parameter's: of a handle, of an object or a session, that we were once given for one. */
static bool is_no_handle(TSS2_RC code)
{
	return code & FORMAT_1 && !(code & OF_A_PARAMETER) &&
	       without_number(code) == without_number(TPM2_RC_VALUE);
}

static enum err answer_error(TSS2_RC code)
{
	if (is_no_handle(code))
		return ERR_NO_TOKEN;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (without_number(code) == without_number(answers[i].code))
			return answers[i].err;
	return ERR_TOKEN;
}

/* What a layer between us and the TPM says of itself. */
static enum err layer_error(TSS2_RC rc)
{
	switch (rc & ~TSS2_RC_LAYER_MASK) {
	case TSS2_BASE_RC_MEMORY:
		return ERR_NOMEM;
	case TSS2_BASE_RC_IO_ERROR:
	case TSS2_BASE_RC_NO_CONNECTION:
	case TSS2_BASE_RC_NOT_PERMITTED:
	case TSS2_BASE_RC_BAD_SEQUENCE: /* ESYS, after an error of the TCTI: its context is of no more use */
	case TSS2_BASE_RC_BAD_TR: /* likewise, of an object */
		return ERR_NO_TOKEN;
	case TSS2_BASE_RC_TRY_AGAIN:
		return ERR_BUSY;
	default:
		return ERR_TOKEN;
	}
}

enum err tpm_error(TSS2_RC rc)
{
	if (rc == TSS2_RC_SUCCESS)
		return OK;
	return tpm_error_is_answer(rc) ? answer_error(rc & CODE_MASK) : layer_error(rc);
}
