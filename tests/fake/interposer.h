/*
 * Interposer
 *
 * Somebody who sits between tokend and its TPM: a TCTI of its own around the real one, for programs that are linked with -Wl,--wrap=tcti_connect. What it is to do, and what it
 * has seen, is in memory that the test shares with the helper it forks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTERPOSER_LOG 48U
#define INTERPOSER_PACKET_MAX 4096U

enum interposer_act {
	INTERPOSER_PASS,
	INTERPOSER_FLIP, /* the byte at is changed by value */
	INTERPOSER_CUT, /* only the first at bytes arrive */
	INTERPOSER_CUT_WHOLE, /* the same, and the header says so */
	INTERPOSER_GROW, /* at bytes of value more */
	INTERPOSER_GROW_WHOLE,
	INTERPOSER_DROP, /* done, but the answer is lost */
	INTERPOSER_LOSE, /* the command does not get there */
	INTERPOSER_ERROR, /* the answer is the code value and nothing else */
	INTERPOSER_SUBSTITUTE, /* the answer that was number at of an earlier conversation */
	INTERPOSER_LATE, /* from here on always the answer to the command before */
	INTERPOSER_SWAP, /* the storage root key, where bit n of value is set for the n-th time it is shown, is the interposer's own; and TPM2_Load is answered with the error at, if that is one */
};

struct interposer_exchange {
	size_t command_len, response_len; /* the response as the TPM gave it */
	uint8_t command[INTERPOSER_PACKET_MAX];
	uint8_t response[INTERPOSER_PACKET_MAX];
};

struct interposer {
	enum interposer_act act;
	uint32_t target; /* which response since interposer_begin, counted from 0 */
	bool always; /* and each later one that is of the same command; of any, when it is lost */
	uint32_t at, value;

	uint32_t acted; /* how often it did */
	uint32_t shown; /* how often the storage root key was */
	uint32_t count; /* exchanges since interposer_begin */
	struct interposer_exchange log[INTERPOSER_LOG];
	struct interposer_exchange old[INTERPOSER_LOG]; /* of an earlier conversation, for SUBSTITUTE */
	size_t old_count;
	uint8_t scalar[32], point[65]; /* of the interposer's own key */
};

/* Shared with every process that is forked from now on. There is one. */
struct interposer *interposer_new(void);

/* A new conversation, passed on unharmed until told otherwise. */
void interposer_begin(struct interposer *interposer);

/* The last conversation becomes the old one. */
void interposer_keep(struct interposer *interposer);

uint32_t interposer_code(const struct interposer_exchange *exchange); /* of the command */
uint32_t interposer_answer(
        const struct interposer_exchange *exchange); /* the response code, as the TPM gave it */

/* The answer to TPM2_ReadPublic of the storage root key, as it is when that is swapped; ret_name: the Name that is in it. */
void interposer_swap(uint8_t *response, size_t len, uint8_t ret_name[34]);

/* As an interposer whose key was taken for the TPM's would do it: from the salt to the session's key, from that to what the first command that makes an object seals. Is that secret?
 * Also false when there was no session to begin with. */
bool interposer_reads(const struct interposer *interposer, const uint8_t *secret, size_t secret_len);
