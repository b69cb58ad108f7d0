/*
 * Token
 *
 * A device that holds keys: a TPM, or a PKCS#11 module. Everything above this header is ignorant of which. A backend is one constant struct
 * token_ops and nothing else; it never sees a peer, never decides who may, never touches a file that the configuration did not name, and holds
 * no key but in what it returns. The helper process (common/helper) calls it, one operation at a time; an operation may block, for the broker
 * kills the process when a deadline passes.
 *
 * Errors a backend may return: ERR_NO_TOKEN (gone, I/O failed, or it forgot what we had on it: the helper has it opened again and tries once
 * more), ERR_TOKEN_STATE, ERR_TOKEN_FULL, ERR_PIN_NEEDED, ERR_PIN_WRONG, ERR_PIN_LOCKED, ERR_BAD_CIPHERTEXT, ERR_TIMEOUT, ERR_BUSY, ERR_TOKEN,
 * ERR_NOMEM, ERR_MEMORY_LOCKED, ERR_UNSUPPORTED. Device codes become these in exactly one function per backend.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"
#include "common/key.h"
#include "common/secret.h"

struct token; /* the backend's own: one open device */
struct token_key; /* the backend's own: one key made usable */

/* What must be kept to find a key again. Nothing in it is secret, and the device alone can use it. */
#define TOKEN_BLOB_PART_MAX 1024U
#define TOKEN_PARENT_NAME_MAX 66U
struct token_blob {
	uint32_t parent; /* TPM: handle of the parent, 0x81000001 or 0x40000001 */
	size_t parent_name_len; /* TPM: the parent's Name when the key was made; compared at every load */
	uint8_t parent_name[TOKEN_PARENT_NAME_MAX];
	size_t public_area_len; /* TPM2B_PUBLIC with its size field; PKCS#11: CKA_ID */
	uint8_t public_area[TOKEN_BLOB_PART_MAX];
	size_t private_area_len; /* TPM2B_PRIVATE with its size field; PKCS#11: empty */
	uint8_t private_area[TOKEN_BLOB_PART_MAX];
};

struct token_status {
	bool present;
	bool simulation; /* a software TPM: no protection against root */
	bool in_lockout;
	int pin_tries_left; /* that tokend would spend; -1: the device does not say */
	uint32_t pin_recovery; /* seconds after which the device forgives one wrong PIN; 0: it does not say */
	uint32_t reset_count; /* changes when the device was reset: what was cached is no longer authorised */
	uint32_t commands; /* sent to the device since the helper started */
	char manufacturer[64]; /* for people: maker, model, firmware */
	char serial[64];
	uint32_t parent; /* where the device's own key stands that most keys are made under; 0: not known */
	size_t parent_name_len; /* its Name; 0: nothing stands there */
	uint8_t parent_name[TOKEN_PARENT_NAME_MAX];
};

/* The Name of a device's key that keys are made under. */
#define TOKEN_TRUSTED_MAX 8U
struct token_parent {
	size_t len;
	uint8_t name[TOKEN_PARENT_NAME_MAX];
};

/* One key to be made. */
struct token_create {
	const struct key_id *id; /* borrowed; goes into what the PIN becomes on the device */
	enum key_kind kind;
	const struct secret *pin; /* borrowed; NULL: no PIN, so the device does not count its failures */
	const struct secret
	        *sealed; /* borrowed; 32 bytes to seal, for kinds x25519 and symmetric; NULL for p256 */
	const struct token_parent *trusted; /* borrowed; when there are any, no other parent will do */
	size_t trusted_count;
};

/* One key to be made usable again. */
struct token_load {
	const struct key_id *id; /* borrowed for the call, as all of it */
	enum key_kind kind;
	const struct token_blob *blob;
	bool has_pin;
};

/*
 * What would be left behind on the device if this process were killed now, for the process that comes after it. It stands in a file in memory that outlives the process, and the whole tokend, and holds
 * nothing secret. Who reads it believes no more of it than what he could do to the device anyway.
 */
#define TOKEN_NOTES_OBJECTS 8U
#define TOKEN_NOTES_FORMAT 0x746b6e02U /* another one at its begin: there is nothing in it */
struct token_notes {
	uint32_t format;
	uint32_t session; /* a handle that nobody else cleans up; 0: none */
	bool session_asked_for; /* one whose handle is not known before it is there */
	uint32_t reset_count,
	        restart_count; /* of the device when either was noted: after another one of either it is gone */
	bool parent_asked_for; /* one that is made anew each time, whose Name is not known before it is there */
	struct token_parent objects[TOKEN_NOTES_OBJECTS]; /* by their Names; of length 0: none */
};

/* What the helper's sandbox must leave open for this device. */
struct token_sandbox {
	char directory
	        [256]; /* "": no file at all; else files in it may be opened for reading and writing, never made */
	bool unix_sockets;
	bool inet_sockets; /* never outside a laboratory */
	bool threads; /* the driver starts some of its own */
};

/* A device takes 1 to 500 ms for a command. What is to be looked after meanwhile: whenever fd is readable, act is called, until it returns false or the device has answered. It must not come
 * back to the device, and takes less than a millisecond. */
struct token_meanwhile {
	int fd;
	bool (*act)(void *context);
	void *context;
};

struct token_ops {
	const char *scheme; /* "tpm", "pkcs11": the first part of a token URI */

	/* Called once, before the sandbox shuts: loads the driver library that uri (without the scheme, e.g. "swtpm:path=/run/x.sock") needs, makes
	 * ready what else is made only once, and says what the sandbox must leave open. Does not touch the device. ERR_USAGE when the URI is not of
	 * the right form; ERR_NOMEM. */
	MUST_CHECK enum err (*prepare)(const char *uri, struct token_sandbox *ret_sandbox);

	/* Opens the device. Cheap: what can wait is done at first use. ERR_NO_TOKEN. */
	MUST_CHECK enum err (*open)(const char *uri, struct token **ret_token);

	/* Called once after open, if there are notes: what a process before this one left is removed when the device is next used for it, and what this one would leave is noted from now on.
	 * notes is borrowed for as long as the token is open. NULL where the device forgets by itself. */
	void (*remember)(struct token *token, struct token_notes *notes);

	/* Called once after open: from then on meanwhile is looked after while the device is at work; borrowed for as long as the token is open. NULL where a driver cannot wait for two things. */
	void (*meanwhile)(struct token *token, const struct token_meanwhile *meanwhile);

	/* Closes what is dead and opens again, after ERR_NO_TOKEN or a reset; every key was unloaded before. What of ours may still stand on the
	 * device is removed from it. ERR_NO_TOKEN. */
	MUST_CHECK enum err (*reopen)(struct token *token);

	/* Leaves the device as it was found. */
	void (*close)(struct token *token);

	/* Asks the device how it is; a round trip or a few. */
	MUST_CHECK enum err (*status)(struct token *token, struct token_status *ret_status);

	/* A number that changes when the device was reset. One command at most. */
	MUST_CHECK enum err (*reset_count)(struct token *token, uint32_t *ret_count);

	/* May a PIN that is not known to be right be tried? ERR_PIN_LOCKED when the device's last tries would be spent. */
	MUST_CHECK enum err (*may_try_pin)(struct token *token);

	/* Makes a p256 key, or seals 32 bytes. ret_point: the public key, for p256 only. ERR_TOKEN_STATE when there is none of the trusted parents:
	 * then nothing secret was sent. */
	MUST_CHECK enum err (*create)(struct token *token, const struct token_create *create,
	                              struct token_blob *ret_blob, uint8_t ret_point[P256_POINT_LEN]);

	/* Makes a key usable again from its blob. Checks that the device and its parent key are the ones it was made with, before any secret is
	 * sent. ERR_TOKEN_STATE when they are not. */
	MUST_CHECK enum err (*load)(struct token *token, const struct token_load *load,
	                            struct token_key **ret_key);
	void (*unload)(struct token *token, struct token_key *key);

	/* X coordinate (32 bytes, left-padded) of the ECDH of a p256 key with point. pin: NULL when the key has none. ERR_BAD_CIPHERTEXT when
	 * the device says that point is none. */
	MUST_CHECK enum err (*ecdh)(struct token *token, struct token_key *key, const struct secret *pin,
	                            const uint8_t point[P256_POINT_LEN], struct secret **ret_x);

	/* The 32 bytes that were sealed. */
	MUST_CHECK enum err (*unseal)(struct token *token, struct token_key *key, const struct secret *pin,
	                              struct secret **ret_sealed);
};
