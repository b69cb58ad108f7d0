#include "tests/fake/p256.h"

#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <sodium.h>
#include <stdlib.h>

static void must(bool good)
{
	if (!good)
		abort();
}

/* scalar * point, or scalar * base point when point is NULL; false when point is none of the curve. */
static bool multiply(const uint8_t scalar[P256_SCALAR_LEN], const uint8_t *point,
                     uint8_t ret_product[P256_POINT_LEN])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	BIGNUM *k = BN_bin2bn(scalar, P256_SCALAR_LEN, NULL);
	EC_POINT *in = group ? EC_POINT_new(group) : NULL;
	EC_POINT *out = group ? EC_POINT_new(group) : NULL;
	bool good;

	must(group && k && in && out);
	good = !point || EC_POINT_oct2point(group, in, point, P256_POINT_LEN, NULL) == 1;
	if (good) {
		must(EC_POINT_mul(group, out, point ? NULL : k, point ? in : NULL, point ? k : NULL, NULL) ==
		     1);
		must(EC_POINT_point2oct(group, out, POINT_CONVERSION_UNCOMPRESSED, ret_product,
		                        P256_POINT_LEN, NULL) == P256_POINT_LEN);
	}
	EC_POINT_free(out);
	EC_POINT_free(in);
	BN_free(k);
	EC_GROUP_free(group);
	return good;
}

void p256_make(uint8_t ret_scalar[P256_SCALAR_LEN], uint8_t ret_point[P256_POINT_LEN])
{
	randombytes_buf(ret_scalar, P256_SCALAR_LEN);
	ret_scalar[0] &= 0x7f; /* below the order of the group, which begins with ffffffff */
	must(multiply(ret_scalar, NULL, ret_point));
}

void p256_public(const uint8_t scalar[P256_SCALAR_LEN], uint8_t ret_point[P256_POINT_LEN])
{
	must(multiply(scalar, NULL, ret_point));
}

bool p256_ecdh(const uint8_t scalar[P256_SCALAR_LEN], const uint8_t point[P256_POINT_LEN], uint8_t ret_x[32])
{
	uint8_t product[P256_POINT_LEN];

	if (!multiply(scalar, point, product))
		return false;
	memcpy(ret_x, product + 1, 32);
	return true;
}
