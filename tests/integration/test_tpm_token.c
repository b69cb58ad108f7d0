/* tokend-tpm, the program, over a real swtpm: every kind, what each operation costs in TPM commands, and what happens when the TPM misbehaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/fake/helper_client.h"
#include "tests/fake/swtpm.h"

/* What STATUS itself sends: the clock, twice the properties, and for the Name of the parent. */
#define STATUS_COMMANDS 4U

struct bench {
	struct swtpm swtpm;
	struct helper_client client;
};

static const char *program(void)
{
	const char *path = getenv("TOKEND_TPM_PROGRAM");

	return path ? path : "bin/tokend-tpm";
}

static void helper_start(struct bench *bench)
{
	client_exec(&bench->client, program(), bench->swtpm.uri);
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	swtpm_new(&bench->swtpm);
	helper_start(bench);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(client_end(&bench->client), 0);
	swtpm_free(&bench->swtpm);
	free(bench);
	return 0;
}

static uint32_t commands(struct bench *bench)
{
	struct token_status status;

	assert_int_equal(client_status(&bench->client, &status), OK);
	assert_true(status.present && status.simulation);
	return status.commands;
}

/* The commands of what was done since before was read. */
static uint32_t cost(struct bench *bench, uint32_t before)
{
	return commands(bench) - before - STATUS_COMMANDS;
}

/* A bare TPM has three slots for either; one object and one session more are for whoever else there is. */
static void assert_few(const struct bench *bench)
{
	assert_true(swtpm_objects(&bench->swtpm) <= 2);
	assert_true(swtpm_sessions(&bench->swtpm) <= 2);
}

static void make(struct bench *bench, enum key_kind kind, enum key_class class, const char *pin,
                 struct test_key *key)
{
	assert_int_equal(client_create(&bench->client, kind, class, pin, NULL, key), OK);
	assert_few(bench);
	assert_int_equal(client_load(&bench->client, key), OK);
	assert_few(bench);
}

static void assert_unwraps(struct bench *bench, const struct test_key *key)
{
	assert_int_equal(client_unwrap(&bench->client, key), OK);
	assert_few(bench);
}

static void helper_restart(struct bench *bench)
{
	assert_int_equal(client_end(&bench->client), 0);
	assert_int_equal(swtpm_objects(&bench->swtpm), 0);
	assert_int_equal(swtpm_sessions(&bench->swtpm), 0);
	helper_start(bench);
}

static void helper_kill(struct bench *bench)
{
	(void)kill(bench->client.pid, SIGKILL);
	assert_int_equal(client_end(&bench->client), 1000 + SIGKILL);
}

/* ---- kinds and costs ---- */

static void test_p256(void **state)
{
	struct bench *bench = *state;
	struct test_key key;
	uint32_t before;

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &key);
	assert_int_equal(key.blob.parent, 0x81000001);
	assert_int_equal(key.blob.parent_name_len, 34);
	assert_unwraps(bench, &key);
	before = commands(bench);
	assert_unwraps(bench, &key);
	assert_int_equal(cost(bench, before), 1);
	before = commands(bench);
	for (int i = 0; i < 20; i++)
		assert_unwraps(bench, &key);
	assert_int_equal(cost(bench, before), 20);

	helper_restart(bench);
	assert_int_equal(client_load(&bench->client, &key), OK);
	assert_unwraps(bench, &key);
	before = commands(bench) - STATUS_COMMANDS;
	print_message("first p256 unwrap after start: %u TPM commands\n", before);
	assert_true(before <= 6);
}

static void test_x25519(void **state)
{
	struct bench *bench = *state;
	struct test_key key;
	uint32_t before;

	make(bench, KEY_KIND_X25519, KEY_CLASS_BOOT, NULL, &key);
	assert_unwraps(bench, &key);
	before = commands(bench);
	for (int i = 0; i < 20; i++)
		assert_unwraps(bench, &key);
	assert_int_equal(cost(bench, before), 0);
	assert_int_equal(swtpm_objects(&bench->swtpm), 0); /* unsealed once, and no slot held for it */

	helper_restart(bench);
	assert_int_equal(client_load(&bench->client, &key), OK);
	assert_unwraps(bench, &key);
	before = commands(bench) - STATUS_COMMANDS;
	print_message("first x25519 unwrap after start: %u TPM commands\n", before);
	assert_true(before <= 6);
}

static void test_import(void **state)
{
	struct bench *bench = *state;
	struct test_key key;
	uint8_t private_key[SEALED_LEN], public_key[X25519_LEN];

	randombytes_buf(private_key, sizeof(private_key));
	assert_int_equal(crypto_scalarmult_base(public_key, private_key), 0);
	assert_int_equal(
	        client_create(&bench->client, KEY_KIND_X25519, KEY_CLASS_BOOT, NULL, private_key, &key), OK);
	assert_memory_equal(key.public_key, public_key, X25519_LEN);
	assert_int_equal(client_load(&bench->client, &key), OK);
	assert_unwraps(bench, &key);
	assert_int_equal(
	        client_create(&bench->client, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, private_key, &key),
	        ERR_USAGE);
}

static void test_symmetric(void **state)
{
	struct bench *bench = *state;
	struct test_key key;

	make(bench, KEY_KIND_SYMMETRIC, KEY_CLASS_SESSION, "a symmetric key's PIN", &key);
	assert_int_equal(client_unlock(&bench->client, &key, "another"), ERR_PIN_WRONG);
	assert_int_equal(client_unlock(&bench->client, &key, "a symmetric key's PIN"), OK);
	assert_few(bench);
}

/* Many more keys than slots: each first use loads, each later one costs at most a save, a flush, a load and the ECDH. */
static void test_many_keys(void **state)
{
	static struct test_key keys[50];
	struct bench *bench = *state;
	uint32_t before;

	for (size_t i = 0; i < 50; i++)
		make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &keys[i]);
	for (size_t i = 0; i < 50; i++)
		assert_unwraps(bench, &keys[i]);
	for (size_t i = 0; i < 50; i++)
		assert_unwraps(bench, &keys[i]);
	before = commands(bench);
	for (size_t i = 0; i < 50; i++)
		assert_unwraps(bench, &keys[i]);
	assert_int_equal(cost(bench, before), 150); /* flush, load, ECDH */
	for (size_t i = 0; i < 50; i++)
		assert_int_equal(client_unload(&bench->client, &keys[i]), OK);
	assert_int_equal(swtpm_objects(&bench->swtpm), 0);
}

static void test_bad_ciphertext(void **state)
{
	struct bench *bench = *state;
	uint8_t file_key[FILE_KEY_LEN] = { 0 }, stanza[TOKEN_STANZA_LEN];
	struct token_message answer;
	struct test_key key, other;

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &key);
	make(bench, KEY_KIND_X25519, KEY_CLASS_BOOT, NULL, &other);
	client_stanza(&key, file_key, stanza);
	for (size_t at = 1; at < TOKEN_STANZA_LEN; at += 7) {
		stanza[at] ^= 0x10;
		client_begin(&bench->client, TOKEN_OP_UNWRAP);
		client_put(&bench->client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
		client_put_try(&bench->client, &key.id, 0);
		assert_int_equal(client_ask(&bench->client, &answer), ERR_BAD_CIPHERTEXT);
		stanza[at] ^= 0x10;
	}
	assert_unwraps(bench, &key); /* the session has survived all that */
	assert_few(bench);
}

/* ---- PINs ---- */

static void test_session_pin(void **state)
{
	struct bench *bench = *state;
	struct test_key key, sealed;
	uint32_t before;

	make(bench, KEY_KIND_P256, KEY_CLASS_SESSION, "123456", &key);
	make(bench, KEY_KIND_X25519, KEY_CLASS_SESSION, "123456", &sealed);
	assert_int_equal(client_unwrap(&bench->client, &key), ERR_PIN_NEEDED);
	assert_int_equal(client_unwrap(&bench->client, &sealed), ERR_PIN_NEEDED);
	assert_int_equal(client_unlock(&bench->client, &key, "123456"), OK);
	assert_int_equal(client_unlock(&bench->client, &sealed, "123456"), OK);
	assert_few(bench);
	assert_unwraps(bench, &key);
	assert_unwraps(bench, &sealed);
	before = commands(bench);
	assert_unwraps(bench, &key);
	assert_int_equal(cost(bench, before), 1);
	before = commands(bench);
	assert_unwraps(bench, &sealed);
	assert_int_equal(cost(bench, before), 0);
	assert_int_equal(client_lock(&bench->client, &key), OK);
	assert_int_equal(client_lock(&bench->client, &sealed), OK);
	assert_int_equal(client_unwrap(&bench->client, &key), ERR_PIN_NEEDED);
	assert_int_equal(client_unwrap(&bench->client, &sealed), ERR_PIN_NEEDED);
}

static void test_admin_pin(void **state)
{
	struct bench *bench = *state;
	struct test_key keys[2];

	make(bench, KEY_KIND_P256, KEY_CLASS_ADMIN, "0000", &keys[0]);
	make(bench, KEY_KIND_X25519, KEY_CLASS_ADMIN, "0000", &keys[1]);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(client_unwrap(&bench->client, &keys[i]), ERR_PIN_NEEDED);
		assert_int_equal(client_unlock(&bench->client, &keys[i], "0000"), OK);
		assert_unwraps(bench, &keys[i]);
		assert_int_equal(client_unwrap(&bench->client, &keys[i]), ERR_PIN_NEEDED);
	}
}

static void test_pin_usage(void **state)
{
	struct bench *bench = *state;
	struct test_key key;
	char long_pin[PIN_MAX + 2];

	memset(long_pin, 'p', sizeof(long_pin));
	long_pin[PIN_MAX + 1] = '\0';
	assert_int_equal(client_create(&bench->client, KEY_KIND_P256, KEY_CLASS_SESSION, NULL, NULL, &key),
	                 ERR_PIN_NEEDED);
	assert_int_equal(client_create(&bench->client, KEY_KIND_P256, KEY_CLASS_BOOT, "1234", NULL, &key),
	                 ERR_USAGE);
	assert_int_equal(client_create(&bench->client, KEY_KIND_P256, KEY_CLASS_SESSION, "123", NULL, &key),
	                 ERR_USAGE);
	assert_int_equal(
	        client_create(&bench->client, KEY_KIND_P256, KEY_CLASS_SESSION, long_pin, NULL, &key),
	        ERR_USAGE);
	long_pin[PIN_MAX] = '\0';
	make(bench, KEY_KIND_P256, KEY_CLASS_SESSION, long_pin, &key);
	assert_int_equal(client_unlock(&bench->client, &key, long_pin), OK);
	assert_unwraps(bench, &key);
}

/* A swtpm locks after three: two wrong PINs reach it, the third does not, however often it is tried; keys without a PIN never notice. */
static void test_pin_budget(void **state)
{
	struct bench *bench = *state;
	struct test_key key, free_key;
	struct token_status status;

	make(bench, KEY_KIND_P256, KEY_CLASS_SESSION, "123456", &key);
	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &free_key);
	assert_int_equal(client_status(&bench->client, &status), OK);
	assert_int_equal(status.pin_tries_left, 2);
	assert_int_equal(client_unlock(&bench->client, &key, "123457"), ERR_PIN_WRONG);
	assert_int_equal(client_unlock(&bench->client, &key, "123457"), ERR_PIN_WRONG);
	for (int i = 0; i < 10; i++)
		assert_int_equal(client_unlock(&bench->client, &key, "123457"), ERR_PIN_LOCKED);
	assert_int_equal(client_unlock(&bench->client, &key, "123456"), ERR_PIN_LOCKED);
	assert_int_equal(client_status(&bench->client, &status), OK);
	assert_int_equal(status.pin_tries_left, 0);
	assert_false(status.in_lockout);
	assert_unwraps(bench, &free_key);
}

/* A wrong PIN leaves an open key open. */
static void test_pin_wrong_while_open(void **state)
{
	struct bench *bench = *state;
	struct test_key key;

	make(bench, KEY_KIND_P256, KEY_CLASS_SESSION, "123456", &key);
	assert_int_equal(client_unlock(&bench->client, &key, "123456"), OK);
	assert_int_equal(client_unlock(&bench->client, &key, "654321"), ERR_PIN_WRONG);
	assert_unwraps(bench, &key);
}

/* ---- a TPM that goes away, comes back, or is another one ---- */

static void tpm_restart(struct bench *bench, int orderly)
{
	swtpm_stop(&bench->swtpm, orderly);
	swtpm_start(&bench->swtpm);
}

/* The reset is noticed by the first thing that asks the TPM: what was opened with a PIN is closed, what needs none goes on. */
static void test_reset(void **state)
{
	struct bench *bench = *state;
	struct test_key boot, sealed, session;

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &boot);
	make(bench, KEY_KIND_X25519, KEY_CLASS_SESSION, "123456", &sealed);
	make(bench, KEY_KIND_P256, KEY_CLASS_SESSION, "123456", &session);
	assert_int_equal(client_unlock(&bench->client, &sealed, "123456"), OK);
	assert_int_equal(client_unlock(&bench->client, &session, "123456"), OK);
	assert_unwraps(bench, &boot);
	tpm_restart(bench, 1);
	assert_unwraps(bench, &boot);
	assert_int_equal(client_unwrap(&bench->client, &sealed), ERR_PIN_NEEDED);
	assert_int_equal(client_unwrap(&bench->client, &session), ERR_PIN_NEEDED);
	assert_int_equal(client_unlock(&bench->client, &session, "123456"), OK);
	assert_unwraps(bench, &session);
	tpm_restart(bench, 1);
	assert_int_equal(client_unwrap(&bench->client, &session), ERR_PIN_NEEDED);
}

/* Answers from memory alone do not see the reset at once; the check after an answer does, some seconds later. */
static void test_reset_watch(void **state)
{
	const struct timespec pause = { 11, 0 };
	struct bench *bench = *state;
	struct test_key sealed, device;

	make(bench, KEY_KIND_X25519, KEY_CLASS_SESSION, "123456", &sealed);
	assert_int_equal(client_unlock(&bench->client, &sealed, "123456"), OK);
	tpm_restart(bench, 1);
	(void)nanosleep(&pause, NULL);
	assert_int_equal(client_unwrap(&bench->client, &sealed), OK);
	assert_int_equal(client_unwrap(&bench->client, &sealed), ERR_PIN_NEEDED);
	/* It was away meanwhile, so that the helper had to give it up, and nobody asks for what needs it. */
	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &device);
	assert_int_equal(client_unlock(&bench->client, &sealed, "123456"), OK);
	swtpm_stop(&bench->swtpm, 1);
	assert_int_equal(client_unwrap(&bench->client, &device), ERR_NO_TOKEN);
	swtpm_start(&bench->swtpm);
	(void)nanosleep(&pause, NULL);
	assert_int_equal(client_unwrap(&bench->client, &sealed), OK);
	assert_int_equal(client_unwrap(&bench->client, &sealed), ERR_PIN_NEEDED);
}

static void test_power_cuts(void **state)
{
	struct bench *bench = *state;
	struct test_key key;

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &key);
	for (int i = 0; i < 10; i++) {
		tpm_restart(bench, 0);
		assert_unwraps(bench, &key);
	}
}

static void test_absent(void **state)
{
	struct bench *bench = *state;
	struct token_status status;
	struct test_key boot, sealed;

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &boot);
	make(bench, KEY_KIND_X25519, KEY_CLASS_BOOT, NULL, &sealed);
	assert_unwraps(bench, &sealed);
	swtpm_stop(&bench->swtpm, 1);
	assert_int_equal(client_unwrap(&bench->client, &boot), ERR_NO_TOKEN);
	assert_int_equal(client_unwrap(&bench->client, &boot), ERR_NO_TOKEN);
	assert_int_equal(client_status(&bench->client, &status), OK);
	assert_false(status.present);
	assert_int_equal(client_unwrap(&bench->client, &sealed), OK); /* unsealed before */
	swtpm_start(&bench->swtpm);
	assert_unwraps(bench, &boot);
	assert_int_equal(client_status(&bench->client, &status), OK);
	assert_true(status.present);
}

/* A helper that was killed leaves what it had loaded: the next one knows the object by its Name. (A session has none: three such deaths fill a TPM that
 * has no resource manager, until it is reset.) */
static void test_helper_killed(void **state)
{
	struct bench *bench = *state;
	struct test_key keys[2];

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &keys[0]);
	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &keys[1]);
	assert_unwraps(bench, &keys[0]);
	assert_unwraps(bench, &keys[1]);
	helper_kill(bench);
	assert_int_equal(swtpm_objects(&bench->swtpm), 2);
	helper_start(bench);
	assert_int_equal(client_load(&bench->client, &keys[0]), OK);
	assert_int_equal(client_load(&bench->client, &keys[1]), OK);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(client_unwrap(&bench->client, &keys[i % 2]), OK);
}

/* Another program flushes what is ours: noticed by the handle, mended at once. It may put its own there: that is neither used nor flushed. */
static void test_flushed_by_others(void **state)
{
	struct bench *bench = *state;
	struct test_key key;
	uint32_t taken;

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &key);
	assert_unwraps(bench, &key);
	swtpm_flush(&bench->swtpm, swtpm_first_object(&bench->swtpm));
	assert_unwraps(bench, &key);
	swtpm_flush(&bench->swtpm, swtpm_first_object(&bench->swtpm));
	taken = swtpm_take_object(&bench->swtpm);
	assert_true(taken != 0);
	assert_unwraps(bench, &key);
	assert_int_equal(swtpm_objects(&bench->swtpm), 2);
	swtpm_flush(&bench->swtpm, taken); /* it is still there */
}

static void test_slots_full(void **state)
{
	struct bench *bench = *state;
	struct test_key keys[2];
	uint32_t taken[3];

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &keys[0]);
	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &keys[1]);
	assert_unwraps(bench, &keys[0]);
	assert_int_equal(client_unload(&bench->client, &keys[0]), OK);
	assert_int_equal(client_load(&bench->client, &keys[0]), OK);
	for (size_t i = 0; i < 3; i++)
		taken[i] = swtpm_take_object(&bench->swtpm);
	assert_true(taken[2] != 0);
	assert_int_equal(client_unwrap(&bench->client, &keys[0]), ERR_TOKEN_FULL);
	swtpm_flush(&bench->swtpm, taken[0]);
	assert_int_equal(client_unwrap(&bench->client, &keys[0]),
	                 ERR_TOKEN_FULL); /* the parent takes one while it is used */
	swtpm_flush(&bench->swtpm, taken[1]);
	assert_int_equal(client_unwrap(&bench->client, &keys[0]), OK);
	assert_int_equal(client_unwrap(&bench->client, &keys[1]), OK); /* with one of ours taken off */
	assert_int_equal(client_unwrap(&bench->client, &keys[0]), OK);
}

static void test_sessions_full(void **state)
{
	struct bench *bench = *state;
	struct test_key key;
	uint32_t taken[3];

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &key);
	helper_restart(bench);
	assert_int_equal(client_load(&bench->client, &key), OK);
	for (size_t i = 0; i < 3; i++)
		taken[i] = swtpm_take_session(&bench->swtpm);
	assert_true(taken[2] != 0);
	assert_int_equal(client_unwrap(&bench->client, &key), ERR_TOKEN_FULL);
	swtpm_flush(&bench->swtpm, taken[1]);
	assert_int_equal(client_unwrap(&bench->client, &key), OK);
}

static void test_another_tpm(void **state)
{
	struct bench *bench = *state;
	struct test_key p256, x25519, own;

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &p256);
	make(bench, KEY_KIND_X25519, KEY_CLASS_BOOT, NULL, &x25519);
	assert_int_equal(client_end(&bench->client), 0);
	swtpm_free(&bench->swtpm);
	swtpm_new(&bench->swtpm);
	helper_start(bench);
	assert_int_equal(client_load(&bench->client, &p256), OK);
	assert_int_equal(client_load(&bench->client, &x25519), OK);
	assert_int_equal(client_unwrap(&bench->client, &p256), ERR_TOKEN_STATE); /* no parent there at all */
	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &own);
	assert_int_equal(client_unwrap(&bench->client, &p256),
	                 ERR_TOKEN_STATE); /* a parent of another Name */
	assert_int_equal(client_unwrap(&bench->client, &x25519), ERR_TOKEN_STATE);
	assert_unwraps(bench, &own);
}

/* A blob that was harmed, or is of another key. */
static void test_bad_blob(void **state)
{
	struct bench *bench = *state;
	struct test_key key, other;

	make(bench, KEY_KIND_X25519, KEY_CLASS_BOOT, NULL, &other);
	assert_int_equal(client_create(&bench->client, KEY_KIND_X25519, KEY_CLASS_BOOT, NULL, NULL, &key),
	                 OK);
	key.blob.private_area[key.blob.private_area_len - 1] ^= 1;
	assert_int_equal(client_load(&bench->client, &key), OK);
	assert_int_equal(client_unwrap(&bench->client, &key), ERR_TOKEN_STATE);
	assert_int_equal(client_unload(&bench->client, &key), OK);
	key.blob = other.blob;
	key.kind = KEY_KIND_P256;
	key.public_key[0] = 4;
	memcpy(key.public_key, "\x04", 1);
	assert_int_equal(client_load(&bench->client, &key), OK);
	{
		uint8_t stanza[TOKEN_STANZA_LEN] = { KEY_KIND_P256, 0x04 };
		struct token_message answer;

		client_begin(&bench->client, TOKEN_OP_UNWRAP);
		client_put(&bench->client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
		client_put_try(&bench->client, &key.id, 0);
		assert_int_equal(client_ask(&bench->client, &answer), ERR_TOKEN_STATE);
	}
	assert_unwraps(bench, &other);
}

/* Something else stands where the storage root key is wanted: it is left alone, and the parent is made each time. */
static void test_srk_occupied(void **state)
{
	struct bench *bench = *state;
	uint8_t before[4096], after[4096];
	size_t before_len, after_len;
	struct test_key keys[3];

	swtpm_occupy_srk(&bench->swtpm);
	assert_int_equal(swtpm_command(&bench->swtpm, "8001 00000173 81000001", before, &before_len), 0);
	for (size_t i = 0; i < 3; i++) {
		make(bench, i == 1 ? KEY_KIND_X25519 : KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &keys[i]);
		assert_int_equal(keys[i].blob.parent, 0x40000001);
	}
	for (size_t i = 0; i < 9; i++)
		assert_unwraps(bench, &keys[i % 3]);
	helper_restart(bench);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(client_load(&bench->client, &keys[i]), OK);
	for (size_t i = 0; i < 9; i++)
		assert_unwraps(bench, &keys[i % 3]);
	tpm_restart(bench, 1);
	assert_unwraps(bench, &keys[2]);
	assert_int_equal(swtpm_command(&bench->swtpm, "8001 00000173 81000001", after, &after_len), 0);
	assert_int_equal(before_len, after_len);
	assert_memory_equal(before, after, before_len);
}

/* ---- the process ---- */

static void assert_exit(const char *const *arguments, int expected)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)close_range(2, ~0U, 0);
		(void)execv(program(), (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), expected);
}

static void test_command_line(void **state)
{
	static const char *const none[] = { "tokend-tpm", NULL };
	static const char *const scheme[] = { "tokend-tpm", "--socket", "3", "--token", "pkcs11:x", NULL };
	static const char *const driver[] = { "tokend-tpm", "--socket", "3", "--token", "tpm:cmd:cat", NULL };
	static const char *const inet[] = {
		"tokend-tpm", "--socket", "3", "--token", "tpm:swtpm:host=127.0.0.1", NULL
	};
	static const char *const standard[] = { "tokend-tpm", "--socket",          "0",
		                                "--token",    "tpm:swtpm:path=/x", NULL };
	static const char *const extra[] = { "tokend-tpm",        "--socket", "3", "--token",
		                             "tpm:swtpm:path=/x", "y",        NULL };
	static const char *const help[] = { "tokend-tpm", "--help", NULL };

	(void)state;
	assert_exit(none, 2);
	assert_exit(scheme, 2);
	assert_exit(driver, 2);
	assert_exit(inet, 2);
	assert_exit(standard, 2);
	assert_exit(extra, 2);
	assert_exit(help, 0);
}

static double microseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Without one OpenSSL context for all of ESYS an ECDH in the session takes 3 ms and more; the bound is far from both, for a busy machine. */
static void test_speed(void **state)
{
	struct bench *bench = *state;
	static double times[300];
	struct test_key key;
	uint8_t file_key[FILE_KEY_LEN] = { 0 }, stanza[TOKEN_STANZA_LEN];
	struct token_message answer;

	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &key);
	client_stanza(&key, file_key, stanza);
	for (size_t i = 0; i < 300; i++) {
		double start = microseconds();

		client_begin(&bench->client, TOKEN_OP_UNWRAP);
		client_put(&bench->client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
		client_put_try(&bench->client, &key.id, 0);
		assert_int_equal(client_ask(&bench->client, &answer), OK);
		times[i] = microseconds() - start;
	}
	qsort(times, 300, sizeof(times[0]), compare);
	print_message("warm p256 unwrap through the helper: p50 %.0f us, p99 %.0f us\n", times[150],
	              times[297]);
}

int main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		ROW(test_p256),
		ROW(test_x25519),
		ROW(test_import),
		ROW(test_symmetric),
		ROW(test_many_keys),
		ROW(test_bad_ciphertext),
		ROW(test_session_pin),
		ROW(test_admin_pin),
		ROW(test_pin_usage),
		ROW(test_pin_budget),
		ROW(test_pin_wrong_while_open),
		ROW(test_reset),
		ROW(test_reset_watch),
		ROW(test_power_cuts),
		ROW(test_absent),
		ROW(test_helper_killed),
		ROW(test_flushed_by_others),
		ROW(test_slots_full),
		ROW(test_sessions_full),
		ROW(test_another_tpm),
		ROW(test_bad_blob),
		ROW(test_srk_occupied),
		ROW(test_speed),
		cmocka_unit_test(test_command_line),
	};

	if (!swtpm_available()) {
		(void)printf("SKIP: swtpm is not installed\n");
		return 77;
	}
	return cmocka_run_group_tests_name("tpm_token", tests, NULL, NULL);
}
