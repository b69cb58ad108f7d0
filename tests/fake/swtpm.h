/*
 * Software TPM
 *
 * A swtpm of its own for a test, in a temporary directory, and the few raw commands with which a test looks at it and plays somebody else who uses it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct swtpm {
	char directory[64];
	char socket[80];
	char uri[128]; /* "tpm:swtpm:path=..." */
	pid_t pid;
};

/* Is there a swtpm to start? */
int swtpm_available(void);

/* A new TPM, started. It ends itself after two minutes. */
void swtpm_new(struct swtpm *swtpm);

/* Ends the process: in order (TPM2_Shutdown first) or as if power were cut; the state stays. */
void swtpm_stop(struct swtpm *swtpm, int orderly);
void swtpm_start(struct swtpm *swtpm);

/* Stops it and removes the directory. */
void swtpm_free(struct swtpm *swtpm);

/* Sends a command (hexadecimal, without its length: tag and code and what follows); returns the response code, and how long the answer was. */
uint32_t swtpm_command(const struct swtpm *swtpm, const char *hex, uint8_t *answer, size_t *answer_len);

/* How many objects are loaded; how many sessions. */
unsigned swtpm_objects(const struct swtpm *swtpm);
unsigned swtpm_sessions(const struct swtpm *swtpm);

/* The handle of the first object that is loaded. */
uint32_t swtpm_first_object(const struct swtpm *swtpm);

/* Takes a slot for an object, or for a session, as another program would; returns the handle, 0 when there is no room. */
uint32_t swtpm_take_object(const struct swtpm *swtpm);
uint32_t swtpm_take_session(const struct swtpm *swtpm);
void swtpm_flush(const struct swtpm *swtpm, uint32_t handle);
int swtpm_try_flush(const struct swtpm *swtpm, uint32_t handle); /* 0: there is no such thing */

/* Puts a key that signs, and can be nobody's parent, where the storage root key is wanted; or takes away what is there. */
void swtpm_occupy_srk(const struct swtpm *swtpm);
void swtpm_evict_srk(const struct swtpm *swtpm);

/* Forgets wrong PINs, as the owner of the TPM may. */
void swtpm_forgive(const struct swtpm *swtpm);
