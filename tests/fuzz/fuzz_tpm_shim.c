/*
 * Answers of a hostile TPM through the shim. An input is the command's code (4 bytes), its tag (2) and the answer. What the shim lets through goes to
 * the library that ESYS unpacks answers with, as ESYS would have it unpacked: that must not be harmed by anything that passed.
 */
#include <stdlib.h>
#include <tss2/tss2_mu.h>

#include "tpm/shim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The parameters of an answer that passed, where the first one is a structure with structures in it. */
static void unpack(const struct shim_command *command, struct bytes answer)
{
	size_t offset = 10;
	TPM2B_PUBLIC public_area = { 0 };
	TPMS_CAPABILITY_DATA capability = { 0 };
	TPM2B_ECC_POINT point = { 0 };
	TPMS_CONTEXT context = { 0 };
	TPM2B_CREATION_DATA creation = { 0 };

	if (command->code == TPM2_CC_CreatePrimary)
		offset += 4;
	if (command->tag == TPM2_ST_SESSIONS)
		offset += 4;
	if (command->code == TPM2_CC_ReadPublic || command->code == TPM2_CC_CreatePrimary) {
		if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(answer.data, answer.len, &offset, &public_area) == 0 &&
		    command->code == TPM2_CC_CreatePrimary)
			(void)Tss2_MU_TPM2B_CREATION_DATA_Unmarshal(answer.data, answer.len, &offset,
			                                            &creation);
	} else if (command->code == TPM2_CC_GetCapability) {
		offset += 1;
		(void)Tss2_MU_TPMS_CAPABILITY_DATA_Unmarshal(answer.data, answer.len, &offset, &capability);
	} else if (command->code == TPM2_CC_ECDH_ZGen) {
		(void)Tss2_MU_TPM2B_ECC_POINT_Unmarshal(answer.data, answer.len, &offset, &point);
	} else if (command->code == TPM2_CC_ContextSave) {
		(void)Tss2_MU_TPMS_CONTEXT_Unmarshal(answer.data, answer.len, &offset, &context);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader reader = reader_of(bytes_of(data, len));
	struct shim_command command, read_command;
	struct bytes answer;

	command.code = reader_u32(&reader);
	command.tag = reader_u16(&reader);
	answer = reader.rest;
	if (reader.failed)
		return 0;
	if (shim_read_command(answer, &read_command) == OK && answer.len < 10)
		abort();
	if (shim_check_response(&command, answer) != OK)
		return 0;
	if (answer.len < 10 || answer.len > SHIM_RESPONSE_MAX)
		abort();
	/* An error is a header and no more. */
	if (answer.data[6] | answer.data[7] | answer.data[8] | answer.data[9]) {
		if (answer.len != 10)
			abort();
		return 0;
	}
	unpack(&command, answer);
	return 0;
}
