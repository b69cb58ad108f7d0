/*
 * TPM token
 *
 * One open TPM, as the files of this folder share it:
 *
 *	token.c		the vtable: each operation, put together from what follows
 *	device.c	connection, ESYS context, what is done when it dies
 *	srk.c		the parent of all keys, known by its Name
 *	session.c	the one session that every secret crosses the bus in
 *	object.c	what is loaded, never more than two; the rest waits as saved contexts
 *	seal.c		templates; making and opening keys
 *	pin.c		from PIN to authorisation value, and the budget of tries
 *	tcti.c shim.c	the wire, and the check of what comes from it
 *	bus.c		waiting for it, while the helper does something else
 *	crypto_ready.c	what OpenSSL makes only once, made before all else
 *	error.c		TSS2_RC to enum err
 */
#pragma once

#include <tss2/tss2_esys.h>

#include "common/token.h"
#include "tpm/shim.h"
#include "tpm/tcti.h"

#define TPM_SRK_HANDLE 0x81000001U /* TCG provisioning guidance: the owner's storage root key */
#define TPM_SRK_TRANSIENT 0x40000001U /* as key files say it: made from the owner's seed, each time */

/* A bare TPM has three slots for objects, and a persistent parent takes one of them while it is used. */
#define TPM_OBJECTS_MAX 2U

/* Something that can be loaded: a key, or a transient parent. */
struct tpm_object {
	struct tpm_object *next; /* among those that are loaded */
	ESYS_TR tr; /* ESYS_TR_NONE: not loaded */
	TPM2_HANDLE handle; /* the TPM's own, while loaded */
	TPM2B_NAME name; /* once it was loaded */
	uint8_t *context; /* owned; a marshalled TPMS_CONTEXT, once it was saved */
	size_t context_len;
	uint64_t used; /* when it was last used */
	bool pinned; /* in use by the command that is being put together */
};

struct token_key {
	struct tpm_object object;
	struct key_id id;
	enum key_kind kind;
	bool has_pin;
	uint32_t parent;
	TPM2B_NAME parent_name;
};

struct tpm_parent {
	struct tpm_object object; /* a persistent one is never in the list of what is loaded */
	TPM2B_NAME name; /* computed by us from the public key that ESYS salts sessions with */
	bool known;
};

/* What may still stand on a TPM though we lost hold of it: an answer did not arrive, or a connection broke. */
#define TPM_SWEEP_NAMES 16U
#define TPM_SWEEP_SESSIONS 64U
struct tpm_sweep {
	bool broken_before; /* from now on sessions are listed before ours is started */
	bool wanted;
	TPM2B_NAME names[TPM_SWEEP_NAMES]; /* of objects of ours */
	size_t name_count;
	TPM2B_NAME in_flight; /* of the object that is being loaded; empty: none is */
	bool primary_lost; /* a transient parent was asked for and did not arrive; its Name is the TPM's to say */
	TPM2_HANDLE session; /* ours, as the TPM named it; 0: none */
	uint32_t
	        sessions_sent; /* how often one was asked for, ESYS's own repetitions included: so many may be ours */
	bool sessions_listed;
	TPM2_HANDLE sessions[TPM_SWEEP_SESSIONS]; /* of others, from before */
	size_t session_count;
	uint32_t reset_count; /* then; when it has changed nothing of it is left */
	struct token_notes inherited; /* what a process before this one left when it was killed */
};

struct token {
	const struct tcti_driver *driver;
	char *uri; /* owned */
	const char *configuration; /* in uri */
	struct shim *shim;
	ESYS_CONTEXT *esys;
	ESYS_TR session; /* ESYS_TR_NONE: not started */
	TPM2B_NAME session_parent; /* of the key that salted it, while there is one */
	bool session_doubtful; /* its last command got an error, which anybody on the bus could have made */
	struct tpm_parent persistent;
	struct tpm_parent transient;
	struct tpm_object *loaded;
	uint64_t clock; /* counts uses */
	bool broken; /* ESYS must be made anew before anything else */
	bool reset_count_known;
	uint32_t reset_count; /* as last read, over all connections */
	uint32_t restart_count; /* read with it; of its own it closes nothing */
	uint32_t commands_before; /* sent over connections that are closed */
	struct tpm_sweep sweep;
	const struct token_meanwhile *meanwhile; /* borrowed; for the shim of each connection */
	struct token_notes *
	        notes; /* borrowed, for the next process; NULL: there are none, or the TPM forgets by itself */
};

/* device.c */

MUST_CHECK enum err tpm_device_open(struct token *token);
/* Closes the connection; objects and session count as left over. */
void tpm_device_close(struct token *token);
/* tpm_error, and notes when the context is of no more use: then every operation says ERR_NO_TOKEN until it was opened again. */
enum err tpm_check(struct token *token, TSS2_RC rc);
MUST_CHECK enum err tpm_reset_count(struct token *token, uint32_t *ret_count);
/* The same connection with a new ESYS context, when the old one has seen what it should not keep. Keys stay usable. */
MUST_CHECK enum err tpm_device_renew(struct token *token);
/* A property of TPM_PT_FIXED or TPM_PT_VAR: as many as *count asks from first on. */
MUST_CHECK enum err tpm_properties(struct token *token, TPM2_PT first, TPMS_TAGGED_PROPERTY *properties,
                                   size_t *count);
/* Wipes what the last answer left in ESYS's buffer and on the stack. */
void tpm_forget_answer(struct token *token);
/* On a software TPM that is about to be closed for good. */
void tpm_device_shutdown(struct token *token);

/* sweep.c */

/* An object of this Name may have been left behind. */
void tpm_sweep_note(struct token *token, const TPM2B_NAME *name);
/* An object of this Name is about to be loaded, and was. Until then one that stands on the TPM is a lost one. */
void tpm_sweep_sent(struct token *token, const TPM2B_NAME *name);
void tpm_sweep_arrived(struct token *token, const TPM2B_NAME *name);
/* A transient parent is about to be asked for, and arrived: made anew it has the same Name as one that was lost. */
bool tpm_sweep_primary_sent(struct token *token);
void tpm_sweep_primary_arrived(struct token *token, bool lost_before, const TPM2B_NAME *name);
/* Before our session is started: whose are there already? Only after the first loss, so that a first unwrap costs no command for it. */
MUST_CHECK enum err tpm_sweep_before_session(struct token *token);
/* After sent commands one arrived, with this handle. */
void tpm_sweep_session_sent(struct token *token);
void tpm_sweep_session_arrived(struct token *token, TPM2_HANDLE handle);
/* Our session was flushed. */
void tpm_sweep_session_gone(struct token *token);
/* Notes for the next process what stands on the TPM by now: called where that changes. */
void tpm_sweep_write_notes(struct token *token);
/* Takes over what is noted, and notes from now on. */
void tpm_sweep_remember(struct token *token, struct token_notes *notes);
/* The connection is about to be closed with these loaded. */
void tpm_sweep_before_close(struct token *token);
/* Flushes what is ours and was lost; nothing that might be somebody else's. */
void tpm_sweep(struct token *token);

/* session.c */

/* Starts the session if it is not there, or was salted with another parent; NULL: that was seen to. attributes: TPMA_SESSION_DECRYPT and ENCRYPT as the command's parameters allow. */
MUST_CHECK enum err tpm_session(struct token *token, struct tpm_parent *parent, TPMA_SESSION attributes,
                                ESYS_TR *ret_session);
/* Is there one, salted with the parent of this Name? */
bool tpm_session_is_of(const struct token *token, const TPM2B_NAME *parent);
void tpm_session_flush(struct token *token);
/* Passes on what a command in the session got: only success proves that both ends still agree on the session's nonces. */
TSS2_RC tpm_session_result(struct token *token, TSS2_RC rc);

/* object.c */

/* Room for one more object, by taking the longest unused off the device; fewer than keep stay. */
MUST_CHECK enum err tpm_objects_shrink(struct token *token, size_t keep);
/* Does a command that needs a slot; when the TPM has none, takes our own off one by one and tries again. ERR_TOKEN_FULL when none is left. */
typedef TSS2_RC (*tpm_command)(struct token *token, void *context);
MUST_CHECK enum err tpm_with_slot(struct token *token, tpm_command command, void *context);
/* Takes in an object that was just loaded. */
void tpm_object_loaded(struct token *token, struct tpm_object *object, ESYS_TR tr);
/* Loads it from its context if it is not loaded. ERR_NO_TOKEN when that is stale. */
MUST_CHECK enum err tpm_object_ready(struct token *token, struct tpm_object *object);
/* Off the device and forgotten. */
void tpm_object_drop(struct token *token, struct tpm_object *object);
/* Forgets without a command: the connection is gone. */
void tpm_objects_forget(struct token *token);

/* srk.c */

/* The parent at handle, ready for a command and kept loaded until it is released, if its Name is name: ERR_TOKEN_STATE when not. */
MUST_CHECK enum err tpm_parent_of(struct token *token, uint32_t handle, struct bytes name,
                                  struct tpm_parent **ret_parent);
/* The Name of what stands at TPM_SRK_HANDLE now, of size 0 when nothing does. One command. */
MUST_CHECK enum err tpm_parent_look(struct token *token, TPM2B_NAME *ret_name);
/* The parent for a new key: the persistent one if it is suitable, a new persistent one if there is none, else a transient one. ERR_TOKEN_STATE when
 * that is none of those that are trusted. */
MUST_CHECK enum err tpm_parent_for_new(struct token *token, const struct token_create *create,
                                       struct tpm_parent **ret_parent, uint32_t *ret_handle);
/* Computes the Name of a public area whose nameAlg is SHA-256. */
bool tpm_name_of(const TPMT_PUBLIC *area, TPM2B_NAME *ret_name);
void tpm_parent_release(struct tpm_parent *parent);

/* seal.c */

MUST_CHECK enum err tpm_create(struct token *token, const struct token_create *create,
                               struct token_blob *ret_blob, uint8_t ret_point[P256_POINT_LEN]);
MUST_CHECK enum err tpm_load(struct token *token, const struct token_load *load, struct token_key **ret_key);
MUST_CHECK enum err tpm_ecdh(struct token *token, struct token_key *key, const struct secret *pin,
                             const uint8_t point[P256_POINT_LEN], struct secret **ret_x);
MUST_CHECK enum err tpm_unseal(struct token *token, struct token_key *key, const struct secret *pin,
                               struct secret **ret_sealed);

/* pin.c */

/* The authorisation value of a key for a PIN: 32 bytes, the last of them not zero. */
MUST_CHECK enum err tpm_pin_auth(const struct key_id *id, const struct secret *pin, struct secret **ret_auth);
/* How many tries tokend would spend when the device has counted failures of at most allowed. */
unsigned tpm_pin_tries(uint32_t failures, uint32_t allowed);
MUST_CHECK enum err tpm_may_try_pin(struct token *token);

extern const struct token_ops tpm_token_ops;
