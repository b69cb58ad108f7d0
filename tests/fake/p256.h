/* P-256 in software, for tests: what a device would do, and what a sender does. Nothing here is for real keys. */
#pragma once

#include "common/key.h"

#define P256_SCALAR_LEN 32U

/* A random key pair. */
void p256_make(uint8_t ret_scalar[P256_SCALAR_LEN], uint8_t ret_point[P256_POINT_LEN]);

/* The public half of a private key. */
void p256_public(const uint8_t scalar[P256_SCALAR_LEN], uint8_t ret_point[P256_POINT_LEN]);

/* X coordinate of scalar * point; false when point is none of the curve. */
bool p256_ecdh(const uint8_t scalar[P256_SCALAR_LEN], const uint8_t point[P256_POINT_LEN], uint8_t ret_x[32]);
