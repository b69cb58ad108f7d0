/*
 * Shim
 *
 * Stands between ESYS and the TCTI that reaches the device. A TPM's answer is input like any other: the libraries above unpack it with fixed
 * structures and have been wrong about it before. So the shim takes in each answer whole and lets it through only when its tag, its sizes, its
 * handle area, its parameters' sizes and its authorisation area are those of an answer to the command that was sent. Commands that tokend never
 * sends are refused. It also counts commands, which is how tests and status know what a request costs.
 */
#pragma once

#include <tss2/tss2_tcti.h>
#include <tss2/tss2_tpm2_types.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/token.h"

#define SHIM_RESPONSE_MAX 4096U

struct shim;

/* Takes ownership of inner, which was initialised and allocated with malloc; also when it fails. ERR_NOMEM. */
MUST_CHECK enum err shim_new(TSS2_TCTI_CONTEXT *inner, struct shim **ret_shim);

/* Finalizes inner as well. NULL is fine. Returns NULL. */
struct shim *shim_free(struct shim *shim);
DEFINE_CLEANUP(struct shim *, shim_free);

/* What ESYS is to be given; borrowed. */
TSS2_TCTI_CONTEXT *shim_tcti(struct shim *shim);

/* Commands sent since shim_new, those that ESYS sent again included; and the code of the last one. */
uint32_t shim_commands(const struct shim *shim);
uint32_t shim_last_command(const struct shim *shim);

/* Did the last command start a session, and has its answer arrived? Then its handle, also when ESYS could do nothing with the answer. */
bool shim_session_arrived(const struct shim *shim, TPM2_HANDLE *ret_handle);

/* From now on meanwhile (borrowed) is looked after while the device is at work, which takes a thread (bus.h). NULL: nothing is. */
void shim_meanwhile(struct shim *shim, const struct token_meanwhile *meanwhile);

/* The next command does not reach the device, and is not counted: it is answered with an error here. What ESYS does before it sends is done all the same. */
void shim_keep_next(struct shim *shim);

/* What the shim remembers of a command, to judge its answer. */
struct shim_command {
	uint32_t code;
	uint16_t tag; /* with sessions or without */
};

/* Reads a command's header; ERR_BAD_MESSAGE when it is none, or one that tokend never sends. */
MUST_CHECK enum err shim_read_command(struct bytes command, struct shim_command *ret_command);

/* Is response a well-formed answer to command? ERR_BAD_MESSAGE when not. Pure. */
MUST_CHECK enum err shim_check_response(const struct shim_command *command, struct bytes response);
