/*
 * Soft TPM
 *
 * As much of a TPM 2.0 as tokend uses, in one process and with no more honesty than a test wants: sessions, HMACs and encrypted parameters are those of a TPM that holds its keys, so that what a test changes in an
 * answer can be covered by a right HMAC, which no recorded answer can have. Its keys protect nothing, it checks no authorisation and knows no PIN.
 */
#pragma once

#include "common/bytes.h"
#include "common/key.h"

#define SOFT_TPM_ANSWER_MAX 4096U
#define SOFT_TPM_OBJECTS 3U
#define SOFT_TPM_SESSIONS 3U
#define SOFT_TPM_PART_MAX 1024U

struct soft_tpm_object {
	bool used;
	size_t public_len;
	uint8_t public_area[SOFT_TPM_PART_MAX]; /* TPMT_PUBLIC */
	size_t private_len;
	uint8_t private_area
	        [SOFT_TPM_PART_MAX]; /* u16 length and authorisation value, u16 length and secret: in the clear */
};

struct soft_tpm_session {
	bool used;
	uint8_t key[32];
	uint8_t nonce_tpm[32];
};

struct soft_tpm {
	bool started;
	bool persistent; /* there is an SRK at 0x81000001 */
	uint32_t reset_count;
	uint32_t random; /* counts */
	uint32_t lockout_counter, max_auth_fail;
	struct soft_tpm_object objects[SOFT_TPM_OBJECTS];
	struct soft_tpm_session sessions[SOFT_TPM_SESSIONS];

	/* Changes an answer's parameters before they are encrypted and signed. May be NULL. */
	void (*change)(void *context, uint32_t code, uint8_t *parameters, size_t *len, size_t size);
	void *context;
};

/* Forgets what a TPM forgets without power. */
void soft_tpm_reset(struct soft_tpm *tpm);

/* The answer to command; its length. */
size_t soft_tpm_answer(struct soft_tpm *tpm, struct bytes command, uint8_t answer[SOFT_TPM_ANSWER_MAX]);
