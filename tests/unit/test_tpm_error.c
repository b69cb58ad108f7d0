/* Every TPM code that this project's lab has seen, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/secret.h"
#include "tpm/error.h"
#include "tpm/token.h"

struct row {
	TSS2_RC rc;
	enum err err;
};

static const struct row rows[] = {
	{ 0, OK },
	{ 0x100, ERR_TOKEN }, /* not started */
	{ 0x101, ERR_TOKEN }, /* failure mode */
	{ 0x921, ERR_PIN_LOCKED }, /* lockout */
	{ 0x98e, ERR_PIN_WRONG }, /* AUTH_FAIL, session 1 */
	{ 0x08e, ERR_PIN_WRONG }, /* the same without a number */
	{ 0xa8e, ERR_PIN_WRONG }, /* session 2 */
	{ 0x9a2, ERR_NO_TOKEN }, /* BAD_AUTH: another object at that handle */
	{ 0x910, ERR_NO_TOKEN }, /* REFERENCE_H0 */
	{ 0x918, ERR_NO_TOKEN }, /* REFERENCE_S0 */
	{ 0x18b, ERR_NO_TOKEN }, /* HANDLE 1 */
	{ 0x902, ERR_TOKEN_FULL },
	{ 0x903, ERR_TOKEN_FULL },
	{ 0x905, ERR_TOKEN_FULL },
	{ 0xb0903, ERR_TOKEN_FULL }, /* by a resource manager */
	{ 0xc0902, ERR_TOKEN_FULL },
	{ 0x922, ERR_BUSY },
	{ 0x908, ERR_BUSY },
	{ 0x1df, ERR_TOKEN_STATE }, /* INTEGRITY, parameter 1 */
	{ 0x2df, ERR_TOKEN_STATE },
	{ 0x1d5, ERR_TOKEN_STATE }, /* SIZE */
	{ 0x1e7, ERR_BAD_CIPHERTEXT }, /* ECC_POINT, parameter 1 */
	{ 0x154, ERR_BAD_CIPHERTEXT }, /* NO_RESULT */
	{ 0x143, ERR_UNSUPPORTED }, /* COMMAND_CODE */
	{ 0x1c4, ERR_TOKEN }, /* VALUE: nothing we expect */
	{ 0xa000a, ERR_NO_TOKEN }, /* TCTI: I/O */
	{ 0xa0008, ERR_NO_TOKEN },
	{ 0x70007, ERR_NO_TOKEN }, /* ESYS: after that */
	{ 0x70018, ERR_NO_TOKEN },
	{ 0x70017, ERR_NOMEM },
	{ 0x7001b, ERR_TOKEN }, /* ESYS: the answer's HMAC is wrong */
	{ 0x80011, ERR_TOKEN }, /* malformed */
	{ 0xa0011, ERR_TOKEN }, /* malformed, says the shim */
	{ 0xffffffff, ERR_TOKEN },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (tpm_error(rows[i].rc) != rows[i].err)
			fail_msg("%x: %s", rows[i].rc, err_info(tpm_error(rows[i].rc))->name);
}

/* No code at all becomes OK but 0, and none becomes something that a backend may not say. */
static void test_all_answers(void **state)
{
	(void)state;
	for (TSS2_RC rc = 1; rc < 0x1000; rc++) {
		enum err err = tpm_error(rc);

		assert_true(err == ERR_NO_TOKEN || err == ERR_TOKEN_STATE || err == ERR_TOKEN_FULL ||
		            err == ERR_PIN_WRONG || err == ERR_PIN_LOCKED || err == ERR_BAD_CIPHERTEXT ||
		            err == ERR_BUSY || err == ERR_TOKEN || err == ERR_UNSUPPORTED);
	}
}

static void test_is(void **state)
{
	(void)state;
	assert_true(tpm_error_is(0x18b, TPM2_RC_HANDLE));
	assert_true(tpm_error_is(0x902, TPM2_RC_OBJECT_MEMORY));
	assert_true(tpm_error_is(0xb0902, TPM2_RC_OBJECT_MEMORY));
	assert_false(tpm_error_is(0, TPM2_RC_HANDLE));
	assert_false(tpm_error_is(0xa000a, TPM2_RC_HANDLE));
	assert_false(tpm_error_is(0x70902, TPM2_RC_OBJECT_MEMORY));
}

/* ---- what a PIN becomes ---- */

static void test_tries(void **state)
{
	static const struct {
		uint32_t failures, allowed;
		unsigned tries;
	} budget[] = {
		{ 0, 3, 2 },
		{ 1, 3, 1 },
		{ 2, 3, 0 },
		{ 3, 3, 0 },
		{ 0, 0, 0 },
		{ 0, 1, 0 },
		{ 0, 2, 1 },
		{ 0, 5, 4 },
		{ 0, 6, 1 },
		{ 1, 6, 0 },
		{ 0, 32, 27 },
		{ 26, 32, 1 },
		{ 27, 32, 0 },
		{ 31, 32, 0 },
		{ 99, 32, 0 },
		{ 0xffffffff, 32, 0 },
		{ 0xffffffff, 0xffffffff, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(budget) / sizeof(budget[0]); i++)
		assert_int_equal(tpm_pin_tries(budget[i].failures, budget[i].allowed), budget[i].tries);
}

static void auth_of(uint8_t id_byte, const char *pin, uint8_t out[32])
{
	CLEANUP(secret_freep) struct secret *secret = NULL;
	CLEANUP(secret_freep) struct secret *auth = NULL;
	struct key_id id = { { id_byte } };

	assert_int_equal(secret_new_from(bytes_of_string(pin), &secret), OK);
	assert_int_equal(tpm_pin_auth(&id, secret, &auth), OK);
	assert_int_equal(secret_len(auth), 32);
	memcpy(out, secret_reveal(auth).data, 32);
}

static void test_auth(void **state)
{
	uint8_t one[32], again[32], other_key[32], other_pin[32];
	char pin[16];

	(void)state;
	assert_int_equal(secret_client_init(), OK);
	auth_of(1, "123456", one);
	auth_of(1, "123456", again);
	auth_of(2, "123456", other_key);
	auth_of(1, "123457", other_pin);
	assert_memory_equal(one, again, 32);
	assert_memory_not_equal(one, other_key, 32);
	assert_memory_not_equal(one, other_pin, 32);
	for (int i = 0; i < 2000; i++) {
		(void)snprintf(pin, sizeof(pin), "%04d", i);
		auth_of(1, pin, one);
		assert_int_not_equal(one[31], 0);
	}
}

static void test_drivers(void **state)
{
	static const char *const refused[] = { "",
		                               "cmd:cat",
		                               "pcap:device",
		                               "swtp:path=/x",
		                               "swtpmx:path=/x",
		                               "device:",
		                               "device:tpm0",
		                               "device:/tpm0",
		                               "libtss2-tcti-swtpm.so.0",
		                               "/x" };
	struct token_sandbox sandbox;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(tcti_sandbox(refused[i], &sandbox), ERR_USAGE);
	assert_int_equal(tcti_sandbox("device:/dev/tpmrm0", &sandbox), OK);
	assert_string_equal(sandbox.directory, "/dev");
	assert_false(sandbox.unix_sockets || sandbox.inet_sockets || sandbox.threads);
	assert_int_equal(tcti_sandbox("swtpm:path=/run/x", &sandbox), OK);
	assert_true(sandbox.unix_sockets && !sandbox.inet_sockets && sandbox.directory[0] == '\0');
	assert_int_equal(tcti_sandbox("swtpm:host=127.0.0.1,port=2321", &sandbox), OK);
	assert_true(sandbox.inet_sockets);
	assert_int_equal(tcti_sandbox("tabrmd:bus_type=session", &sandbox), OK);
	assert_true(sandbox.threads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows), cmocka_unit_test(test_all_answers),
		cmocka_unit_test(test_is),   cmocka_unit_test(test_tries),
		cmocka_unit_test(test_auth), cmocka_unit_test(test_drivers),
	};

	return cmocka_run_group_tests_name("tpm_error", tests, NULL, NULL);
}
