/*
 * Recipient and identity
 *
 * What a line of a recipients file or an identity file means, and what each makes of a stanza: native X25519, scrypt passphrases, p256tag, and
 * tokend's own plugin identity. Other kinds are recognised and named, so that the error can say what they are.
 *
 * tokend's identity AGE-PLUGIN-TOKEND-1... holds no secret. Its payload is empty ("any key I may use", what `age -j tokend` sends) or
 *	version u8 = 1 | key id 16 | kind u8 | public key (p256: 33 bytes compressed, x25519: 32)
 * so that encrypting to an identity needs no daemon.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"
#include "common/key.h"
#include "common/secret.h"
#include "formats/age_header.h"
#include "formats/filekey.h"

enum recipient_kind {
	RECIPIENT_X25519, /* age1... */
	RECIPIENT_P256TAG, /* age1tag1... */
	RECIPIENT_PASSPHRASE, /* scrypt; not from a line */
};

struct recipient {
	enum recipient_kind kind;
	uint8_t public_key[P256_POINT_LEN]; /* x25519: 32 bytes; p256: 33 bytes, compressed */
	struct secret *passphrase; /* owned; scrypt only */
	unsigned work_factor; /* scrypt only: log2 N, 18 unless said */
};

/* Parses one line "age1...". ERR_UNSUPPORTED for ssh-*, age1pq1, age1tagpq1 and other plugins' recipients (ret_what, static or borrowed from line, names
 * it for the message); ERR_USAGE for anything else. */
MUST_CHECK enum err recipient_parse(struct bytes line, struct recipient *ret_recipient,
                                    struct bytes *ret_what);
void recipient_done(struct recipient *recipient);

/* The line of a public key. Errors of buf_put. */
MUST_CHECK enum err recipient_put_x25519(struct buf *buf, const uint8_t public_key[static X25519_LEN]);
MUST_CHECK enum err recipient_put_p256(struct buf *buf, const uint8_t compressed[static P256_COMPRESSED_LEN]);

/* Appends the stanza that wraps file_key to recipient. ERR_USAGE for an invalid point. p256 loads libcrypto at first use. */
MUST_CHECK enum err recipient_wrap(const struct recipient *recipient, const struct secret *file_key,
                                   struct buf *header);

enum identity_kind {
	IDENTITY_X25519, /* AGE-SECRET-KEY-1... */
	IDENTITY_TOKEND, /* AGE-PLUGIN-TOKEND-1...: ask the daemon */
	IDENTITY_PASSPHRASE, /* not from a line */
};

struct identity {
	enum identity_kind kind;
	struct secret *private_key; /* owned; x25519: 32 bytes; passphrase: the passphrase */
	uint8_t public_key[P256_POINT_LEN]; /* x25519: 32 bytes; tokend: as in the payload */
	bool any_key; /* tokend: empty payload */
	struct key_id key_id; /* tokend: which key, unless any_key */
	enum key_kind key_kind; /* tokend: its kind, unless any_key */
};

/* Parses one line. ERR_UNSUPPORTED with ret_what as above (AGE-SECRET-KEY-PQ-1, other plugins, ssh keys); ERR_USAGE for anything else. */
MUST_CHECK enum err identity_parse(struct bytes line, struct identity *ret_identity, struct bytes *ret_what);
void identity_done(struct identity *identity);

/* AGE-PLUGIN-TOKEND-1... of a key; public_key as struct identity has it; key_id NULL: any key. AGE-SECRET-KEY-1... of a private key. */
MUST_CHECK enum err identity_put_tokend(struct buf *buf, const struct key_id *key_id, enum key_kind kind,
                                        const uint8_t *public_key);
MUST_CHECK enum err identity_put_x25519(struct buf *buf, const struct secret *private_key);

/* A new X25519 identity. */
MUST_CHECK enum err identity_new_x25519(struct identity *ret_identity);

/* The one rule about stanzas together: one for a passphrase must be alone. ERR_BAD_FILE. */
MUST_CHECK enum err stanzas_check(const struct age_header *header);

/* Opens a file key with an identity that needs no daemon. ERR_NO_MATCH when no stanza is for it, ERR_BAD_FILE when a stanza of a known type is malformed
 * (fatal for the file, as in age), ERR_UNSUPPORTED when a passphrase file asks for more work than max_work_factor (22). */
MUST_CHECK enum err identity_unwrap(const struct identity *identity, const struct age_header *header,
                                    unsigned max_work_factor, struct secret **ret_file_key);

/* One stanza as a key on a token sees it: kind, share and body at their fixed lengths. */
struct token_stanza {
	enum key_kind kind;
	uint8_t tag[TAG_LEN]; /* p256tag only */
	uint8_t share[P256_POINT_LEN]; /* p256: 65; x25519: 32 */
	uint8_t body[WRAPPED_LEN];
};

/* Reads a stanza of a type that tokens open (X25519, p256tag). ERR_NO_MATCH for other types; ERR_BAD_FILE when it is malformed. The body must be
 * exactly 32 bytes, arguments canonical. */
MUST_CHECK enum err token_stanza_read(const struct age_stanza *stanza, struct token_stanza *ret_stanza);

/* What a file's stanzas are, for a message such as "encrypted with a passphrase" or "to an ssh key": static text; NULL for types of ours
 * and for those that age adds at random so that nobody relies on their absence ("...-grease"). */
const char *stanza_type_text(const struct age_stanza *stanza);
