/*
 * Key
 *
 * The words for a key that all programs share: its id, name, kind and class. The id is made once and never changes; the name is an alias. No
 * policy, no token and no key material is known here.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"

#define KEY_ID_LEN 16U
#define KEY_NAME_MAX 255U /* bytes, without the NUL */
#define P256_POINT_LEN 65U /* uncompressed: 04 || x || y */
#define P256_COMPRESSED_LEN 33U
#define X25519_LEN 32U
#define FILE_KEY_LEN 16U /* age */
#define SEALED_LEN 32U /* what kinds x25519 and symmetric seal */
#define PIN_MIN 4U /* bytes */
#define PIN_MAX 128U /* bytes */

enum key_kind {
	KEY_KIND_P256 = 1, /* made on the device; ECDH there */
	KEY_KIND_X25519, /* 32 bytes sealed to the device */
	KEY_KIND_SYMMETRIC, /* 32 bytes sealed to the device */
};

enum key_class {
	KEY_CLASS_BOOT = 1, /* no PIN */
	KEY_CLASS_SESSION, /* PIN once, then for a time */
	KEY_CLASS_ADMIN, /* PIN each time */
};

struct key_id {
	uint8_t bytes[KEY_ID_LEN];
};

/* "p256", "x25519", "symmetric" / "boot", "session", "admin". Static. */
const char *key_kind_name(enum key_kind kind);
const char *key_class_name(enum key_class class);

/* The reverse; ERR_USAGE for any other word. */
MUST_CHECK enum err key_kind_from_name(const char *name, enum key_kind *ret_kind);
MUST_CHECK enum err key_class_from_name(const char *name, enum key_class *ret_class);

/* A key's name: 1 to 255 bytes of [A-Za-z0-9_.-] in parts separated by '/', no part empty, "." or ".." or beginning with '-'. */
bool key_name_valid(struct bytes name);

bool key_id_equal(const struct key_id *a, const struct key_id *b);
