/* The helper process over a fake token: every operation and its refusals through the real socket, in a real sandboxed child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/helper_keys.h"
#include "common/helper_questions.h"
#include "common/helper_sandbox.h"
#include "tests/fake/fake_token.h"
#include "tests/fake/helper_client.h"

#define PIN "correct horse"

static int setup(void **state)
{
	struct helper_client *client = calloc(1, sizeof(*client));

	assert_non_null(client);
	memset(fake_device(), 0, sizeof(struct fake_device));
	fake_device()->pin_allowed = 100;
	client_fork(client, &fake_token_ops, "good");
	*state = client;
	return 0;
}

static int teardown(void **state)
{
	struct helper_client *client = *state;

	assert_int_equal(client_end(client), 0);
	assert_int_equal(fake_device()->loaded, 0);
	free(client);
	return 0;
}

static void make(struct helper_client *client, enum key_kind kind, enum key_class class, struct test_key *key)
{
	const char *pin = class == KEY_CLASS_BOOT ? NULL : PIN;

	assert_int_equal(client_create(client, kind, class, pin, NULL, key), OK);
	assert_int_equal(client_load(client, key), OK);
}

static void test_kinds(void **state)
{
	struct helper_client *client = *state;
	struct test_key p256, x25519;

	assert_int_equal(fake_device()->opened, 0); /* nothing has needed it yet */
	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &p256);
	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &x25519);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(client_unwrap(client, &p256), OK);
		assert_int_equal(client_unwrap(client, &x25519), OK);
	}
	assert_int_equal(fake_device()->commands, 4); /* three ECDHs, and one unseal */
	assert_int_equal(fake_device()->loaded, 1); /* what is unsealed needs no slot */
	assert_int_equal(fake_device()->opened, 1);
}

static void test_import(void **state)
{
	struct helper_client *client = *state;
	uint8_t private_key[SEALED_LEN], public_key[X25519_LEN];
	struct token_message answer;
	struct test_key key;

	randombytes_buf(private_key, sizeof(private_key));
	assert_int_equal(crypto_scalarmult_base(public_key, private_key), 0);
	assert_int_equal(client_create(client, KEY_KIND_X25519, KEY_CLASS_BOOT, NULL, private_key, &key), OK);
	assert_memory_equal(key.public_key, public_key, X25519_LEN);
	assert_int_equal(client_create(client, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, private_key, &key),
	                 ERR_USAGE);

	/* 31 bytes; something that was not sealed to this helper; and nothing at all */
	for (int i = 0; i < 3; i++) {
		client_begin(client, TOKEN_OP_CREATE);
		client_put(client, TOKEN_FIELD_KEY_ID, bytes_of(key.id.bytes, KEY_ID_LEN));
		client_put(client, TOKEN_FIELD_KIND, bytes_of("\x02", 1));
		client_put(client, TOKEN_FIELD_CLASS, bytes_of("\x01", 1));
		if (i == 0)
			client_put_sealed(client, TOKEN_FIELD_SEALED_KEY, bytes_of(private_key, 31));
		if (i == 1)
			client_put(client, TOKEN_FIELD_SEALED_KEY,
			           bytes_of("0123456789012345678901234567890123456789012345678901234567890123"
			                    "4567890123456789",
			                    80));
		if (i == 2)
			client_put(client, TOKEN_FIELD_SEALED_KEY, bytes_of("x", 1));
		assert_int_equal(client_ask(client, &answer), i == 0 ? ERR_USAGE : ERR_BAD_MESSAGE);
	}
}

static void test_session_class(void **state)
{
	static const enum key_kind kinds[] = { KEY_KIND_P256, KEY_KIND_X25519 };
	struct helper_client *client = *state;

	for (size_t i = 0; i < 2; i++) {
		struct test_key key;

		make(client, kinds[i], KEY_CLASS_SESSION, &key);
		assert_int_equal(client_unwrap(client, &key), ERR_PIN_NEEDED);
		assert_int_equal(client_unlock(client, &key, "wrong horse"), ERR_PIN_WRONG);
		assert_int_equal(client_unwrap(client, &key), ERR_PIN_NEEDED);
		assert_int_equal(client_unlock(client, &key, PIN), OK);
		assert_int_equal(client_unwrap(client, &key), OK);
		assert_int_equal(client_unlock(client, &key, "wrong horse"), ERR_PIN_WRONG);
		assert_int_equal(client_unwrap(client, &key), OK);
		assert_int_equal(client_load(client, &key), OK); /* again: changes nothing */
		assert_int_equal(client_unwrap(client, &key), OK);
		assert_int_equal(client_lock(client, &key), OK);
		assert_int_equal(client_unwrap(client, &key), ERR_PIN_NEEDED);
	}
}

static void test_admin_class(void **state)
{
	static const enum key_kind kinds[] = { KEY_KIND_P256, KEY_KIND_X25519 };
	struct helper_client *client = *state;

	for (size_t i = 0; i < 2; i++) {
		struct test_key key;

		make(client, kinds[i], KEY_CLASS_ADMIN, &key);
		assert_int_equal(client_unwrap(client, &key), ERR_PIN_NEEDED);
		assert_int_equal(client_unlock(client, &key, PIN), OK);
		assert_int_equal(client_unwrap(client, &key), OK);
		assert_int_equal(client_unwrap(client, &key), ERR_PIN_NEEDED);
	}
}

static void test_lock_all(void **state)
{
	struct helper_client *client = *state;
	struct token_message answer;
	struct test_key keys[2];

	for (size_t i = 0; i < 2; i++) {
		make(client, KEY_KIND_P256, KEY_CLASS_SESSION, &keys[i]);
		assert_int_equal(client_unlock(client, &keys[i], PIN), OK);
	}
	client_begin(client, TOKEN_OP_LOCK);
	assert_int_equal(client_ask(client, &answer), OK);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(client_unwrap(client, &keys[i]), ERR_PIN_NEEDED);
}

static void test_pin_rules(void **state)
{
	struct helper_client *client = *state;
	struct token_message answer;
	struct test_key key;

	assert_int_equal(client_create(client, KEY_KIND_P256, KEY_CLASS_SESSION, NULL, NULL, &key),
	                 ERR_PIN_NEEDED);
	assert_int_equal(client_create(client, KEY_KIND_P256, KEY_CLASS_BOOT, PIN, NULL, &key), ERR_USAGE);
	assert_int_equal(client_create(client, KEY_KIND_P256, KEY_CLASS_ADMIN, "123", NULL, &key), ERR_USAGE);
	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &key);
	assert_int_equal(client_unlock(client, &key, PIN), ERR_USAGE);
	make(client, KEY_KIND_P256, KEY_CLASS_SESSION, &key);
	client_begin(client, TOKEN_OP_UNLOCK);
	client_put(client, TOKEN_FIELD_KEY_ID, bytes_of(key.id.bytes, KEY_ID_LEN));
	assert_int_equal(client_ask(client, &answer), ERR_PIN_NEEDED);
	fake_device()->pin_allowed = 1;
	fake_device()->commands = 0;
	assert_int_equal(client_unlock(client, &key, PIN), ERR_PIN_LOCKED);
	assert_int_equal(fake_device()->commands, 0); /* the device was not asked */
}

/* A wrong PIN says what is left, if the device does; a right one and any other refusal say nothing of it. */
static void test_tries_left(void **state)
{
	static const struct {
		const char *pin;
		bool unsaid;
		enum err err;
		int left; /* -1: not in the answer */
	} rows[] = {
		{ "wrong horse", false, ERR_PIN_WRONG, 2 },
		{ PIN, false, OK, -1 },
		{ "wrong horse", true, ERR_PIN_WRONG, -1 },
		{ "123", false, ERR_USAGE, -1 },
		{ "", false, ERR_USAGE, -1 },
		{ "wrong horse", false, ERR_PIN_WRONG, 0 },
		{ PIN, false, ERR_PIN_LOCKED, -1 },
	};
	struct helper_client *client = *state;
	struct test_key key;

	make(client, KEY_KIND_X25519, KEY_CLASS_SESSION, &key);
	fake_device()->pin_allowed = 4;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct token_message answer;
		uint32_t left = UINT32_MAX;

		fake_device()->tries_unsaid = rows[i].unsaid;
		client_begin(client, TOKEN_OP_UNLOCK);
		client_put(client, TOKEN_FIELD_KEY_ID, bytes_of(key.id.bytes, KEY_ID_LEN));
		client_put_sealed(client, TOKEN_FIELD_SEALED_PIN, bytes_of_string(rows[i].pin));
		assert_int_equal(client_ask(client, &answer), rows[i].err);
		if (rows[i].left < 0)
			assert_int_equal(token_message_u32(&answer, TOKEN_FIELD_PIN_TRIES_LEFT, &left),
			                 ERR_BAD_MESSAGE);
		else
			assert_int_equal(token_message_u32(&answer, TOKEN_FIELD_PIN_TRIES_LEFT, &left), OK);
		assert_int_equal((int)left, rows[i].left);
	}
}

static void test_no_key(void **state)
{
	struct helper_client *client = *state;
	struct token_message answer;
	struct test_key key;

	make(client, KEY_KIND_P256, KEY_CLASS_SESSION, &key);
	assert_int_equal(client_unload(client, &key), OK);
	assert_int_equal(client_unload(client, &key), ERR_NO_KEY);
	assert_int_equal(client_unwrap(client, &key), ERR_NO_KEY);
	assert_int_equal(client_unlock(client, &key, PIN), ERR_NO_KEY);
	assert_int_equal(client_lock(client, &key), ERR_NO_KEY);
	client_begin(client, TOKEN_OP_UNLOAD);
	assert_int_equal(client_ask(client, &answer), ERR_BAD_MESSAGE);
}

/* ---- many stanzas, many keys ---- */

struct attempt {
	struct test_key *key;
	uint16_t index;
};

static enum err unwrap_many(struct helper_client *client, struct test_key *const *recipients, size_t stanzas,
                            const struct attempt *attempts, size_t count, struct token_message *ret_answer)
{
	uint8_t file_key[FILE_KEY_LEN] = "the file's key!", stanza[TOKEN_STANZA_LEN];

	client_begin(client, TOKEN_OP_UNWRAP);
	for (size_t i = 0; i < stanzas; i++) {
		client_stanza(recipients[i], file_key, stanza);
		client_put(client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
	}
	for (size_t i = 0; i < count; i++)
		client_put_try(client, &attempts[i].key->id, attempts[i].index);
	return client_ask(client, ret_answer);
}

static void assert_names(const struct token_message *answer, const struct test_key *key)
{
	struct key_id id;

	assert_int_equal(token_message_key_id(answer, &id), OK);
	assert_true(key_id_equal(&id, &key->id));
}

static void test_order(void **state)
{
	struct helper_client *client = *state;
	struct test_key mine, other, locked, absent, legacy, stranger;
	struct test_key *const recipients[] = { &other, &legacy, &mine };
	struct token_message answer;
	uint16_t index;

	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &mine);
	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &other);
	make(client, KEY_KIND_P256, KEY_CLASS_SESSION, &locked);
	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &legacy);
	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &stranger);
	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &absent);
	assert_int_equal(client_unload(client, &absent), OK);
	{
		/* the first that opens wins, whatever failed before it */
		const struct attempt attempts[] = { { &absent, 0 },   { &locked, 0 }, { &mine, 0 },
			                            { &stranger, 1 }, { &mine, 1 },   { &legacy, 1 },
			                            { &mine, 2 } };

		assert_int_equal(unwrap_many(client, recipients, 3, attempts, 7, &answer), OK);
		assert_names(&answer, &legacy);
		assert_int_equal(token_message_u16(&answer, TOKEN_FIELD_INDEX, &index), OK);
		assert_int_equal(index, 1);
	}
	{
		const struct attempt attempts[] = {
			{ &stranger, 1 }, { &mine, 0 }, { &locked, 0 }, { &absent, 0 }
		};
		struct key_id id;

		/* the heaviest cause is told, in the order of the header */
		assert_int_equal(unwrap_many(client, recipients, 3, attempts, 4, &answer), ERR_NO_KEY);
		assert_names(&answer, &absent);
		assert_int_equal(unwrap_many(client, recipients, 3, attempts, 3, &answer), ERR_PIN_NEEDED);
		assert_names(&answer, &locked);
		assert_int_equal(unwrap_many(client, recipients, 3, attempts, 2, &answer),
		                 ERR_BAD_CIPHERTEXT);
		assert_int_equal(token_message_key_id(&answer, &id), ERR_BAD_MESSAGE);
		assert_int_equal(unwrap_many(client, recipients, 3, attempts, 1, &answer), ERR_NO_MATCH);
		assert_int_equal(unwrap_many(client, recipients, 3, attempts, 0, &answer), ERR_NO_MATCH);
		fake_device()->fail = ERR_TOKEN_FULL;
		assert_int_equal(unwrap_many(client, recipients, 3, attempts, 3, &answer), ERR_TOKEN_FULL);
		assert_names(&answer, &mine);
	}
	{
		const struct attempt beyond[] = { { &mine, 3 } };

		assert_int_equal(unwrap_many(client, recipients, 3, beyond, 1, &answer), ERR_BAD_MESSAGE);
		assert_int_equal(unwrap_many(client, recipients, 0, beyond, 1, &answer), ERR_BAD_MESSAGE);
	}
}

/* A share that gives nothing but zeros is one more bad ciphertext. */
static void test_low_order_share(void **state)
{
	struct helper_client *client = *state;
	uint8_t stanza[TOKEN_STANZA_LEN] = { KEY_KIND_X25519 };
	struct token_message answer;
	struct test_key key;

	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &key);
	client_begin(client, TOKEN_OP_UNWRAP);
	client_put(client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
	client_put_try(client, &key.id, 0);
	assert_int_equal(client_ask(client, &answer), ERR_BAD_CIPHERTEXT);

	stanza[0] = 9; /* no such kind */
	client_begin(client, TOKEN_OP_UNWRAP);
	client_put(client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
	assert_int_equal(client_ask(client, &answer), ERR_BAD_MESSAGE);
}

/* ---- the device comes and goes ---- */

static void test_lost(void **state)
{
	struct helper_client *client = *state;
	struct test_key key;

	make(client, KEY_KIND_P256, KEY_CLASS_SESSION, &key);
	assert_int_equal(client_unlock(client, &key, PIN), OK);
	fake_device()->lose_once = true;
	assert_int_equal(client_unwrap(client, &key), OK); /* opened again, loaded again, with the same PIN */
	assert_int_equal(fake_device()->opened, 2);
	fake_device()->lose_once = true;
	fake_device()->reset_count++;
	assert_int_equal(client_unwrap(client, &key), ERR_PIN_NEEDED); /* it was a reset */
}

static void test_absent(void **state)
{
	struct helper_client *client = *state;
	struct token_status status;
	struct test_key key, sealed;

	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &key);
	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &sealed);
	assert_int_equal(client_unwrap(client, &sealed), OK);
	fake_device()->absent = true;
	assert_int_equal(client_unwrap(client, &key), ERR_NO_TOKEN);
	assert_int_equal(client_status(client, &status), OK);
	assert_false(status.present);
	assert_int_equal(client_unwrap(client, &sealed), OK);
	fake_device()->absent = false;
	assert_int_equal(client_unwrap(client, &key), OK);
	assert_int_equal(client_status(client, &status), OK);
	assert_true(status.present);
	assert_string_equal(status.manufacturer, "fake");
}

static void test_device_errors(void **state)
{
	static const enum err errs[] = { ERR_TOKEN_STATE, ERR_TOKEN_FULL, ERR_PIN_LOCKED,
		                         ERR_TOKEN,       ERR_BUSY,       ERR_NOMEM };
	struct helper_client *client = *state;
	struct test_key key;

	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &key);
	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		fake_device()->fail = errs[i];
		assert_int_equal(client_unwrap(client, &key), errs[i]);
		assert_int_equal(client_unwrap(client, &key), OK);
	}
}

static void test_bad_load(void **state)
{
	struct helper_client *client = *state;
	struct test_key key;

	assert_int_equal(client_create(client, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, NULL, &key), OK);
	key.public_key[0] = 0x05;
	assert_int_equal(client_load(client, &key), ERR_BAD_MESSAGE);
	key.public_key[0] = 0x04;
	assert_int_equal(client_load(client, &key), OK);
	key.blob.private_area[0] = 9;
	assert_int_equal(client_load(client, &key), OK); /* another blob for the same id takes its place */
	assert_int_equal(client_unwrap(client, &key), ERR_TOKEN_STATE);
}

/* ---- while the device is at work ---- */

#define BUSY_MS 300U

static void send_question(struct helper_client *client)
{
	struct bytes packet;

	assert_int_equal(token_message_end(client->packet), OK);
	packet = buf_bytes(client->packet);
	assert_int_equal(send(client->fd, packet.data, packet.len, MSG_NOSIGNAL), packet.len);
}

static uint32_t send_unwrap(struct helper_client *client, const struct test_key *key)
{
	uint8_t file_key[FILE_KEY_LEN], stanza[TOKEN_STANZA_LEN];

	randombytes_buf(file_key, sizeof(file_key));
	client_stanza(key, file_key, stanza);
	client_begin(client, TOKEN_OP_UNWRAP);
	client_put(client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
	client_put_try(client, &key->id, 0);
	send_question(client);
	return client->id;
}

static uint32_t send_lock(struct helper_client *client, const struct test_key *key)
{
	client_begin(client, TOKEN_OP_LOCK);
	client_put(client, TOKEN_FIELD_KEY_ID, bytes_of(key->id.bytes, KEY_ID_LEN));
	send_question(client);
	return client->id;
}

static void expect_answer(struct helper_client *client, uint32_t id, enum err err)
{
	struct token_message answer;
	ssize_t got = recv(client->fd, client->answer, sizeof(client->answer), 0);

	assert_true(got > 0);
	assert_int_equal(token_message_parse(bytes_of(client->answer, (size_t)got), &answer), OK);
	assert_int_equal(answer.id, id);
	assert_int_equal(answer.err, err);
}

/* What needs no device comes before what does, and nothing comes before the closing of a key that was asked for earlier. */
static void test_meanwhile(void **state)
{
	struct helper_client *client = *state;
	struct test_key p256, open, closed, session;
	uint32_t first, second, third, lock, after;

	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &p256);
	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &open);
	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &closed);
	make(client, KEY_KIND_X25519, KEY_CLASS_SESSION, &session);
	assert_int_equal(client_unwrap(client, &open), OK);
	assert_int_equal(client_unlock(client, &session, PIN), OK);

	fake_device()->busy_ms = BUSY_MS;
	first = send_unwrap(client, &p256);
	second = send_unwrap(client, &closed); /* has to be unsealed first */
	third = send_unwrap(client, &open);
	expect_answer(client, third, OK);
	lock = send_lock(client, &session);
	after = send_unwrap(client, &session);
	expect_answer(client, first, OK);
	expect_answer(client, second, OK);
	expect_answer(client, lock, OK);
	expect_answer(client, after, ERR_PIN_NEEDED);
	fake_device()->busy_ms = 0;
}

/* A device that was lost may have been reset: while it is opened again nothing is said in its place. */
static void test_meanwhile_reopened(void **state)
{
	struct helper_client *client = *state;
	struct test_key p256, session;
	uint32_t first, second;

	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &p256);
	make(client, KEY_KIND_X25519, KEY_CLASS_SESSION, &session);
	assert_int_equal(client_unlock(client, &session, PIN), OK);
	assert_int_equal(client_unwrap(client, &p256), OK);
	fake_device()->reopen_ms = BUSY_MS;
	for (unsigned reset = 0; reset < 2; reset++) {
		fake_device()->lose_once = true;
		fake_device()->reset_count += reset;
		first = send_unwrap(client, &p256);
		second = send_unwrap(client, &session);
		expect_answer(client, first, OK);
		expect_answer(client, second, reset ? ERR_PIN_NEEDED : OK);
	}
	fake_device()->reopen_ms = 0;
}

/* One that is opened for one unwrap is closed by it: that is no reading. */
static void test_meanwhile_changes_no_key(void **state)
{
	struct helper_client *client = *state;
	struct test_key p256, admin;
	uint32_t first, second, third;

	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &p256);
	make(client, KEY_KIND_X25519, KEY_CLASS_ADMIN, &admin);
	assert_int_equal(client_unlock(client, &admin, PIN), OK);
	fake_device()->busy_ms = BUSY_MS;
	first = send_unwrap(client, &p256);
	second = send_unwrap(client, &admin);
	third = send_unwrap(client, &admin);
	expect_answer(client, first, OK);
	expect_answer(client, second, OK);
	expect_answer(client, third, ERR_PIN_NEEDED);
	fake_device()->busy_ms = 0;
}

/* More than are kept wait in the socket, and all are answered in order. */
static void test_meanwhile_keeps_so_many(void **state)
{
	struct helper_client *client = *state;
	uint32_t first;
	struct test_key p256;

	make(client, KEY_KIND_P256, KEY_CLASS_BOOT, &p256);
	fake_device()->busy_ms = 30;
	first = send_unwrap(client, &p256);
	for (unsigned i = 1; i < 2 * HELPER_KEPT_MAX; i++)
		assert_int_equal(send_unwrap(client, &p256), first + i);
	for (unsigned i = 0; i < 2 * HELPER_KEPT_MAX; i++)
		expect_answer(client, first + i, OK);
	fake_device()->busy_ms = 0;
}

/* The end of the conversation, and what is no message, are found while the device is at work, and wait until it is not. */
static void test_meanwhile_end(void **state)
{
	struct helper_client client;
	struct test_key p256;
	char byte;

	(void)state;
	client_fork(&client, &fake_token_ops, "good");
	make(&client, KEY_KIND_P256, KEY_CLASS_BOOT, &p256);
	fake_device()->busy_ms = BUSY_MS;
	(void)send_unwrap(&client, &p256);
	assert_int_equal(send(client.fd, "x", 1, MSG_NOSIGNAL), 1);
	while (recv(client.fd, &byte, 1, 0) > 0)
		; /* it ends by itself */
	assert_int_equal(client_end(&client), 1);

	client_fork(&client, &fake_token_ops, "good");
	make(&client, KEY_KIND_P256, KEY_CLASS_BOOT, &p256);
	(void)send_unwrap(&client, &p256);
	assert_int_equal(client_end(&client), 0); /* its answer is for nobody */
	fake_device()->busy_ms = 0;
}

/* ---- two threads ---- */

#define ROUNDS 100U
#define AT_ONCE 12U

/* So often the same question, while the helper is stopped: then all are there at once. */
static void send_many(struct helper_client *client, const struct test_key *key, size_t count)
{
	uint8_t file_key[FILE_KEY_LEN] = { 1 }, stanza[TOKEN_STANZA_LEN];

	client_stanza(key, file_key, stanza);
	for (size_t i = 0; i < count; i++) {
		client_begin(client, TOKEN_OP_UNWRAP);
		client_put(client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
		client_put_try(client, &key->id, 0);
		send_question(client);
	}
}

static void expect_id(struct helper_client *client, uint32_t *ret_id, enum err *ret_err)
{
	struct token_message answer;
	ssize_t got = recv(client->fd, client->answer, sizeof(client->answer), 0);

	assert_true(got > 0);
	assert_int_equal(token_message_parse(bytes_of(client->answer, (size_t)got), &answer), OK);
	*ret_id = answer.id;
	*ret_err = answer.err;
}

/* Each of count questions from first on is answered once, in any order: with OK, but other with other_err. */
static void expect_all_but(struct helper_client *client, uint32_t first, size_t count, uint32_t other,
                           enum err other_err)
{
	bool answered[2 * AT_ONCE + 1] = { false };

	for (size_t i = 0; i < count; i++) {
		enum err answer_err;
		uint32_t id;

		expect_id(client, &id, &answer_err);
		assert_in_range(id, first, first + count - 1);
		assert_false(answered[id - first]);
		answered[id - first] = true;
		assert_int_equal(answer_err, id == other ? other_err : OK);
	}
}

/* The same: OK up to lock, and ERR_PIN_NEEDED after it; and nothing from before it comes after it. */
static void expect_locked_at(struct helper_client *client, uint32_t first, size_t count, uint32_t lock)
{
	bool locked = false;

	for (size_t i = 0; i < count; i++) {
		enum err err;
		uint32_t id;

		expect_id(client, &id, &err);
		assert_in_range(id, first, first + count - 1);
		assert_int_equal(err, id <= lock ? OK : ERR_PIN_NEEDED);
		assert_false(locked && id < lock);
		locked |= id == lock;
	}
}

static size_t thread_count(const struct helper_client *client)
{
	char path[64];
	struct dirent *entry;
	size_t count = 0;
	DIR *tasks;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)client->pid);
	tasks = opendir(path);
	assert_non_null(tasks);
	while ((entry = readdir(tasks)))
		count += entry->d_name[0] != '.';
	(void)closedir(tasks);
	return count;
}

static void stop(const struct helper_client *client)
{
	assert_int_equal(kill(client->pid, SIGSTOP), 0);
	assert_true(waitpid(client->pid, NULL, WUNTRACED) == client->pid);
}

static void go_on(const struct helper_client *client)
{
	assert_int_equal(kill(client->pid, SIGCONT), 0);
}

/* One question at a time is one thread's work. Many at once are that of two, where there are two processors. */
static void test_second_thread(void **state)
{
	struct helper_client *client = *state;
	const size_t threads = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
	struct test_key key;

	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &key);
	for (unsigned i = 0; i < AT_ONCE; i++)
		assert_int_equal(client_unwrap(client, &key), OK);
	assert_int_equal(thread_count(client), 1);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t first = client->id + 1;

		stop(client);
		send_many(client, &key, AT_ONCE);
		go_on(client);
		expect_all_but(client, first, AT_ONCE, 0, OK);
	}
	assert_int_equal(thread_count(client), threads);
}

/* What was asked before a key was closed is answered before, what was asked after that opens nothing; also when two threads take questions. */
static void test_second_thread_lock(void **state)
{
	struct helper_client *client = *state;
	struct test_key key;

	make(client, KEY_KIND_X25519, KEY_CLASS_SESSION, &key);
	for (unsigned round = 0; round < ROUNDS; round++) {
		const unsigned before = 1 + round % AT_ONCE;
		uint32_t first = client->id + 1, lock;

		assert_int_equal(client_unlock(client, &key, PIN), OK);
		first = client->id + 1;
		stop(client);
		send_many(client, &key, before);
		lock = send_lock(client, &key);
		send_many(client, &key, AT_ONCE);
		go_on(client);
		expect_locked_at(client, first, before + 1 + AT_ONCE, lock);
	}
}

/* A key that is taken away and brought again, and one that opens once, between questions that two threads answer. */
static void test_second_thread_changes(void **state)
{
	struct helper_client *client = *state;
	struct test_key open, admin;

	make(client, KEY_KIND_X25519, KEY_CLASS_BOOT, &open);
	make(client, KEY_KIND_X25519, KEY_CLASS_ADMIN, &admin);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t first, once;

		assert_int_equal(client_unload(client, &open), OK);
		assert_int_equal(client_load(client, &open), OK);
		assert_int_equal(client_unwrap(client, &open), OK);
		assert_int_equal(client_unlock(client, &admin, PIN), OK);
		first = client->id + 1;
		stop(client);
		send_many(client, &open, AT_ONCE / 2);
		once = client->id + 1;
		send_many(client, &admin, 2);
		send_many(client, &open, AT_ONCE / 2);
		go_on(client);
		expect_all_but(client, first, AT_ONCE + 2, once + 1, ERR_PIN_NEEDED);
	}
}

/* What is no message ends the helper when it is its turn, and the end of the conversation at once; nobody waits for the other thread for ever. */
static void test_second_thread_end(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		struct helper_client client;
		struct test_key key;
		char byte;

		client_fork(&client, &fake_token_ops, "good");
		make(&client, KEY_KIND_X25519, KEY_CLASS_BOOT, &key);
		assert_int_equal(client_unwrap(&client, &key), OK);
		stop(&client);
		send_many(&client, &key, AT_ONCE);
		if (round % 2 == 0)
			assert_int_equal(send(client.fd, "x", 1, MSG_NOSIGNAL), 1);
		go_on(&client);
		while (round % 2 == 0 && recv(client.fd, &byte, 1, 0) > 0)
			; /* it ends by itself */
		assert_int_equal(client_end(&client), round % 2 == 0);
	}
}

/* ---- the process ---- */

/* A peer that breaks the rules of the wire is not answered: the helper ends. */
static void test_garbage(void **state)
{
	static const char *const garbage[] = { "x", "tkn1", "tkn1\0\1\0\1\0\0\0\1\0\0\0\0" };
	static const size_t lens[] = { 1, 4, 16 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct helper_client client;
		char byte;

		client_fork(&client, &fake_token_ops, "good");
		assert_int_equal(send(client.fd, garbage[i], lens[i], MSG_NOSIGNAL), lens[i]);
		assert_int_equal(recv(client.fd, &byte, 1, 0), 0);
		assert_int_equal(client_end(&client), 1);
	}
}

static void test_bad_uri(void **state)
{
	const struct helper_options options = { .uri = "bad", .socket = 3 };
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		exit(helper_run(&fake_token_ops, &options));
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1 /* its reports need some of what is refused otherwise */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static bool refused(int result)
{
	return result < 0;
}

/* What hostile code in a helper would try first. 0 when all of it is refused, else the number of what is not. */
static int probe(void)
{
	if (!refused(socket(AF_INET, SOCK_STREAM, 0)) || !refused(socket(AF_INET6, SOCK_DGRAM, 0)))
		return 1;
	if (!refused(socket(AF_UNIX, SOCK_STREAM, 0)))
		return 2;
	if (!refused(open("/etc/passwd", O_RDONLY)) && !SANITIZED)
		return 3;
	if (!refused(open("/tmp/tokend-probe", O_CREAT | O_WRONLY, 0600)) && !SANITIZED)
		return 4;
	if (!refused(execl("/bin/true", "true", NULL)))
		return 5;
	if (!refused(fcntl(0, F_DUPFD, 10)) && !SANITIZED)
		return 6;
	if (!refused(setuid(0)) || !refused(chdir("/")) || !refused(unlink("/tmp/tokend-probe")))
		return 7;
	return 0;
}

static void test_sandbox(void **state)
{
	const struct token_sandbox nothing = { 0 };
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (helper_sandbox_close(&nothing, 3))
			_exit(99);
		_exit(probe());
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the table of keys ---- */

static struct key_id number_id(uint32_t number)
{
	struct key_id id = { { 0 } };

	id.bytes[0] = (uint8_t)(number >> 8);
	id.bytes[1] = (uint8_t)number;
	id.bytes[2] = (uint8_t)(number >> 16);
	return id;
}

static void test_table(void **state)
{
	CLEANUP(helper_keys_freep) struct helper_keys *keys = NULL;
	CLEANUP(buf_freep) struct buf *packet = NULL;
	struct token_blob blob = { .parent = 1, .public_area_len = 1 };
	struct token_message message;
	struct helper_key *key;
	struct key_id id;

	(void)state;
	assert_int_equal(helper_keys_new(&keys), OK);
	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &packet), OK);
	for (uint32_t i = 0; i <= HELPER_KEYS_MAX; i++) {
		id = number_id(i);
		assert_int_equal(token_message_begin(packet, TOKEN_OP_LOAD, OK, i), OK);
		assert_int_equal(
		        token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(id.bytes, KEY_ID_LEN)), OK);
		assert_int_equal(token_message_put_u8(packet, TOKEN_FIELD_KIND, KEY_KIND_X25519), OK);
		assert_int_equal(token_message_put_u8(packet, TOKEN_FIELD_CLASS, KEY_CLASS_BOOT), OK);
		assert_int_equal(token_message_put_blob(packet, &blob), OK);
		assert_int_equal(token_message_end(packet), OK);
		assert_int_equal(token_message_parse(buf_bytes(packet), &message), OK);
		assert_int_equal(helper_keys_add(keys, &message, &key), i < HELPER_KEYS_MAX ? OK : ERR_BUSY);
	}
	for (uint32_t i = 0; i < HELPER_KEYS_MAX; i += 2) {
		id = number_id(i);
		key = helper_keys_find(keys, &id);
		assert_non_null(key);
		helper_keys_remove(keys, key);
	}
	for (uint32_t i = 0; i < HELPER_KEYS_MAX; i++) {
		id = number_id(i);
		key = helper_keys_find(keys, &id);
		assert_true((key != NULL) == (i % 2 == 1));
		assert_true(!key || key_id_equal(&key->id, &id));
	}
	assert_false(helper_keys_open(keys));
}

int main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		ROW(test_kinds),
		ROW(test_import),
		ROW(test_session_class),
		ROW(test_admin_class),
		ROW(test_lock_all),
		ROW(test_pin_rules),
		ROW(test_tries_left),
		ROW(test_no_key),
		ROW(test_order),
		ROW(test_low_order_share),
		ROW(test_lost),
		ROW(test_absent),
		ROW(test_device_errors),
		ROW(test_bad_load),
		ROW(test_meanwhile),
		ROW(test_meanwhile_reopened),
		ROW(test_meanwhile_changes_no_key),
		ROW(test_meanwhile_keeps_so_many),
		cmocka_unit_test(test_meanwhile_end),
		ROW(test_second_thread),
		ROW(test_second_thread_lock),
		ROW(test_second_thread_changes),
		cmocka_unit_test(test_second_thread_end),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_bad_uri),
		cmocka_unit_test(test_sandbox),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests_name("helper", tests, NULL, NULL);
}
