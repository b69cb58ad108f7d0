/*
 * Token message
 *
 * What the broker and a helper say to each other, over a SOCK_SEQPACKET socket pair: one packet is one message. A message is a fixed header and
 * then fields, each a number, a length and bytes. It is the only thing a helper parses apart from its device's answers, so it is small: every
 * field has a fixed or a greatest length (token_message.c has the table), no field nests, and a message that breaks a rule is refused whole.
 *
 *	header  magic u32 "tkn1" | op u16 | err u16 | id u32 | length of what follows u32        (16 bytes, big-endian)
 *	field   number u16 | length u16 | bytes
 *
 * The helper answers every message once, with the same op and id, and in order but for what needs no device, which may be answered while the device is at work; err is OK in questions. Secrets on the way to a helper (PINs, keys to
 * import) are sealed by the client to the helper's own X25519 key (libsodium crypto_box_seal), so the broker never sees them.
 *
 * op       question                                                    answer
 * HELLO    -                                                           BOX_KEY
 * STATUS   -                                                           STATUS fields [BLOB_PARENT BLOB_PARENT_NAME], what stands there now
 * CREATE   KEY_ID KIND CLASS [SEALED_PIN] [SEALED_KEY]                 PUBLIC (65-byte point, 32-byte X25519 key; none for symmetric) BLOB_*
 *          [TRUSTED_PARENT...]
 * LOAD     KEY_ID KIND CLASS BLOB_* [PUBLIC]                           -            keeps the blob; touches the device at first use only
 * UNLOAD   KEY_ID                                                      -
 * UNLOCK   KEY_ID SEALED_PIN                                           -            proves the PIN on the device, then keeps the key open
 *                                                                      [PIN_TRIES_LEFT] with ERR_PIN_WRONG, when the device says it
 * LOCK     [KEY_ID]                                                    -            closes one key, or all, and wipes what was unsealed
 * UNWRAP   STANZA... TRY...                                            FILE_KEY KEY_ID INDEX
 *
 * STANZA is 1 byte kind (enum key_kind) | 65 bytes share (X25519: 32 and zeros) | 32 bytes body. TRY is 16 bytes key id | u16 stanza number: the
 * helper tries them in order and stops at the first that opens. When none did, UNWRAP answers with the first of these that happened:
 *	ERR_NO_KEY		a key is not loaded (KEY_ID says which): LOAD it and ask again
 *	any device error	KEY_ID says at which key
 *	ERR_PIN_NEEDED		KEY_ID says which: UNLOCK it and ask again
 *	ERR_BAD_CIPHERTEXT	a p256 stanza did not open, or a share was not one
 *	ERR_NO_MATCH		X25519 stanzas, which carry no tag, are not for these keys
 *
 * A key of class boot has no PIN and is never locked. One of class session stays open from UNLOCK to LOCK, one of class admin from UNLOCK to the
 * UNWRAP that it opened. A wrong PIN leaves an open key open. LOAD of what is loaded already changes nothing. CREATE and UNLOCK answer
 * ERR_BAD_MESSAGE for what was not sealed to this helper's BOX_KEY (it was started anew: ask HELLO again), ERR_PIN_NEEDED when the class wants a
 * PIN and none came, ERR_USAGE for a PIN where there is none, of a wrong length, or a key that is not 32 bytes. STATUS of an absent device is OK and says so.
 *
 * TRUSTED_PARENT is a BLOB_PARENT_NAME of a key that there is already. When any is given, a new key is made under one of those parents or not at all (ERR_TOKEN_STATE): what is
 * sealed must not go to a device that merely stands where ours stood.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"
#include "common/key.h"
#include "common/token.h"

#define TOKEN_MESSAGE_MAX 65536U
#define TOKEN_MESSAGE_HEADER_LEN 16U
#define TOKEN_STANZA_LEN (1U + P256_POINT_LEN + 32U)
#define TOKEN_TRY_LEN (KEY_ID_LEN + 2U)
#define TOKEN_STANZAS_MAX 256U
#define TOKEN_TRIES_MAX 1024U
#define TOKEN_BOX_KEY_LEN 32U
#define TOKEN_SEALED_MAX 256U /* crypto_box_seal of at most PIN_MAX or 32 bytes: 48 more */

enum token_op {
	TOKEN_OP_HELLO = 1,
	TOKEN_OP_STATUS,
	TOKEN_OP_CREATE,
	TOKEN_OP_LOAD,
	TOKEN_OP_UNLOAD,
	TOKEN_OP_UNLOCK,
	TOKEN_OP_LOCK,
	TOKEN_OP_UNWRAP,
};

enum token_field {
	TOKEN_FIELD_KEY_ID = 1, /* 16 */
	TOKEN_FIELD_KIND, /* 1, enum key_kind */
	TOKEN_FIELD_CLASS, /* 1, enum key_class */
	TOKEN_FIELD_SEALED_PIN, /* <= TOKEN_SEALED_MAX */
	TOKEN_FIELD_SEALED_KEY, /* <= TOKEN_SEALED_MAX */
	TOKEN_FIELD_PUBLIC, /* 32 or 65 */
	TOKEN_FIELD_BLOB_PARENT, /* 4 */
	TOKEN_FIELD_BLOB_PARENT_NAME, /* <= 66 */
	TOKEN_FIELD_BLOB_PUBLIC_AREA, /* <= TOKEN_BLOB_PART_MAX */
	TOKEN_FIELD_BLOB_PRIVATE_AREA, /* <= TOKEN_BLOB_PART_MAX */
	TOKEN_FIELD_STANZA, /* TOKEN_STANZA_LEN, repeated <= TOKEN_STANZAS_MAX */
	TOKEN_FIELD_TRY, /* TOKEN_TRY_LEN, repeated <= TOKEN_TRIES_MAX */
	TOKEN_FIELD_FILE_KEY, /* 16 */
	TOKEN_FIELD_INDEX, /* 2, stanza number */
	TOKEN_FIELD_BOX_KEY, /* 32 */
	TOKEN_FIELD_PRESENT, /* 1 */
	TOKEN_FIELD_SIMULATION, /* 1 */
	TOKEN_FIELD_IN_LOCKOUT, /* 1 */
	TOKEN_FIELD_PIN_TRIES_LEFT, /* 4, two's complement */
	TOKEN_FIELD_RESET_COUNT, /* 4 */
	TOKEN_FIELD_COMMANDS, /* 4 */
	TOKEN_FIELD_MANUFACTURER, /* <= 63, printable ASCII */
	TOKEN_FIELD_SERIAL, /* <= 63, printable ASCII */
	TOKEN_FIELD_TRUSTED_PARENT, /* <= 66, repeated <= TOKEN_TRUSTED_MAX */
	TOKEN_FIELD_PIN_RECOVERY, /* 4, seconds; may be missing */
	TOKEN_FIELD_COUNT,
};

/* A message that was checked whole: the header, and the fields still encoded, borrowed from the packet. */
struct token_message {
	enum token_op op;
	enum err err;
	uint32_t id;
	struct bytes fields;
};

/* Checks packet: magic, op, err, exact length, every field known, of its length, and repeated only where it may be. ERR_BAD_MESSAGE. */
MUST_CHECK enum err token_message_parse(struct bytes packet, struct token_message *ret_message);

/* The one value of field; false when it is not there. */
bool token_message_find(const struct token_message *message, enum token_field field, struct bytes *ret_value);

/* Walks all fields of one number: start with *cursor 0, false at the end. */
bool token_message_next(const struct token_message *message, enum token_field field, size_t *cursor,
                        struct bytes *ret_value);

/* Typed readers; ERR_BAD_MESSAGE when the field is missing or holds no valid value. */
MUST_CHECK enum err token_message_key_id(const struct token_message *message, struct key_id *ret_id);
MUST_CHECK enum err token_message_kind(const struct token_message *message, enum key_kind *ret_kind);
MUST_CHECK enum err token_message_class(const struct token_message *message, enum key_class *ret_class);
MUST_CHECK enum err token_message_u16(const struct token_message *message, enum token_field field,
                                      uint16_t *ret_value);
MUST_CHECK enum err token_message_u32(const struct token_message *message, enum token_field field,
                                      uint32_t *ret_value);
MUST_CHECK enum err token_message_blob(const struct token_message *message, struct token_blob *ret_blob);
MUST_CHECK enum err token_message_status(const struct token_message *message,
                                         struct token_status *ret_status);

/* Writing: begin clears packet, then fields, then end sets the length. All return the errors of buf_put. */
MUST_CHECK enum err token_message_begin(struct buf *packet, enum token_op op, enum err err, uint32_t id);
MUST_CHECK enum err token_message_put(struct buf *packet, enum token_field field, struct bytes value);
MUST_CHECK enum err token_message_put_u8(struct buf *packet, enum token_field field, uint8_t value);
MUST_CHECK enum err token_message_put_u16(struct buf *packet, enum token_field field, uint16_t value);
MUST_CHECK enum err token_message_put_u32(struct buf *packet, enum token_field field, uint32_t value);
MUST_CHECK enum err token_message_put_blob(struct buf *packet, const struct token_blob *blob);
MUST_CHECK enum err token_message_put_status(struct buf *packet, const struct token_status *status);
MUST_CHECK enum err token_message_end(struct buf *packet);

/* Changes the err of a packet that was begun. */
MUST_CHECK enum err token_message_set_err(struct buf *packet, enum err err);
