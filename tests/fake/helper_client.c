#include "tests/fake/helper_client.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "formats/filekey.h"
#include "tests/fake/p256.h"

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
	abort();
}

static void must(enum err err)
{
	if (err)
		die("%s", err_info(err)->name);
}

static int client_pair(struct helper_client *client)
{
	int fds[2];

	memset(client, 0, sizeof(*client));
	must(secret_client_init());
	must(buf_new(TOKEN_MESSAGE_MAX, &client->packet));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0)
		die("socketpair");
	client->fd = fds[0];
	return fds[1];
}

static void child_began(struct helper_client *client, pid_t pid, int child_fd)
{
	if (pid < 0)
		die("fork");
	client->pid = pid;
	(void)close(child_fd);
}

void client_fork(struct helper_client *client, const struct token_ops *ops, const char *uri)
{
	int child_fd = client_pair(client);
	pid_t pid = fork();

	if (pid == 0) {
		const struct helper_options options = { .uri = uri, .socket = child_fd };

		(void)close(client->fd);
		buf_free(client->packet);
		/* One that hangs is a test that fails, and not one that waits for it. */
		(void)alarm(60);
		exit(helper_run(ops, &options));
	}
	child_began(client, pid, child_fd);
	client_hello(client);
}

void client_exec(struct helper_client *client, const char *program, const char *uri)
{
	int child_fd = client_pair(client);
	pid_t pid = fork();

	if (pid == 0) {
		char fd_text[16];

		(void)close(client->fd);
		(void)snprintf(fd_text, sizeof(fd_text), "%d", child_fd);
		(void)execl(program, program, "--socket", fd_text, "--token", uri, NULL);
		_exit(127);
	}
	child_began(client, pid, child_fd);
	client_hello(client);
}

int client_end(struct helper_client *client)
{
	int status = 0;

	(void)close(client->fd);
	if (waitpid(client->pid, &status, 0) != client->pid)
		die("waitpid");
	client->packet = buf_free(client->packet);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void client_begin(struct helper_client *client, enum token_op op)
{
	must(token_message_begin(client->packet, op, OK, ++client->id));
}

void client_put(struct helper_client *client, enum token_field field, struct bytes value)
{
	must(token_message_put(client->packet, field, value));
}

void client_put_sealed(struct helper_client *client, enum token_field field, struct bytes value)
{
	uint8_t box[TOKEN_SEALED_MAX];

	if (crypto_box_seal(box, value.data, value.len, client->box_key) != 0)
		die("crypto_box_seal");
	client_put(client, field, bytes_of(box, value.len + crypto_box_SEALBYTES));
}

enum err client_ask(struct helper_client *client, struct token_message *ret_answer)
{
	struct token_message question;
	struct bytes packet;
	ssize_t got;

	must(token_message_end(client->packet));
	packet = buf_bytes(client->packet);
	must(token_message_parse(packet, &question));
	if (send(client->fd, packet.data, packet.len, MSG_NOSIGNAL) != (ssize_t)packet.len)
		die("the helper is gone");
	got = recv(client->fd, client->answer, sizeof(client->answer), 0);
	if (got <= 0)
		die("no answer");
	must(token_message_parse(bytes_of(client->answer, (size_t)got), ret_answer));
	if (ret_answer->id != question.id || ret_answer->op != question.op)
		die("an answer to something else");
	return ret_answer->err;
}

void client_hello(struct helper_client *client)
{
	struct token_message answer;
	struct bytes box_key;

	client_begin(client, TOKEN_OP_HELLO);
	must(client_ask(client, &answer));
	if (!token_message_find(&answer, TOKEN_FIELD_BOX_KEY, &box_key))
		die("no box key");
	memcpy(client->box_key, box_key.data, TOKEN_BOX_KEY_LEN);
}

static void put_u8(struct helper_client *client, enum token_field field, unsigned value)
{
	must(token_message_put_u8(client->packet, field, (uint8_t)value));
}

static void begin_key(struct helper_client *client, enum token_op op, const struct test_key *key)
{
	client_begin(client, op);
	client_put(client, TOKEN_FIELD_KEY_ID, bytes_of(key->id.bytes, KEY_ID_LEN));
}

static void begin_kind(struct helper_client *client, enum token_op op, const struct test_key *key)
{
	begin_key(client, op, key);
	put_u8(client, TOKEN_FIELD_KIND, key->kind);
	put_u8(client, TOKEN_FIELD_CLASS, key->class);
}

enum err client_create(struct helper_client *client, enum key_kind kind, enum key_class class,
                       const char *pin, const uint8_t *import, struct test_key *ret_key)
{
	struct test_key key = { .kind = kind, .class = class, .imported = import != NULL };
	struct token_message answer;
	struct bytes public_key;
	enum err err;

	randombytes_buf(key.id.bytes, KEY_ID_LEN);
	begin_kind(client, TOKEN_OP_CREATE, &key);
	if (pin)
		client_put_sealed(client, TOKEN_FIELD_SEALED_PIN, bytes_of_string(pin));
	if (import) {
		memcpy(key.import, import, SEALED_LEN);
		client_put_sealed(client, TOKEN_FIELD_SEALED_KEY, bytes_of(import, SEALED_LEN));
	}
	if (client->trusted)
		client_put(
		        client, TOKEN_FIELD_TRUSTED_PARENT,
		        bytes_of(client->trusted->blob.parent_name, client->trusted->blob.parent_name_len));
	err = client_ask(client, &answer);
	if (err)
		return err;
	must(token_message_blob(&answer, &key.blob));
	if (token_message_find(&answer, TOKEN_FIELD_PUBLIC, &public_key))
		memcpy(key.public_key, public_key.data, public_key.len);
	*ret_key = key;
	return OK;
}

enum err client_load(struct helper_client *client, const struct test_key *key)
{
	struct token_message answer;

	begin_kind(client, TOKEN_OP_LOAD, key);
	must(token_message_put_blob(client->packet, &key->blob));
	if (key->kind == KEY_KIND_P256)
		client_put(client, TOKEN_FIELD_PUBLIC, bytes_of(key->public_key, P256_POINT_LEN));
	return client_ask(client, &answer);
}

static enum err ask_key(struct helper_client *client, enum token_op op, const struct test_key *key)
{
	struct token_message answer;

	begin_key(client, op, key);
	return client_ask(client, &answer);
}

enum err client_unload(struct helper_client *client, const struct test_key *key)
{
	return ask_key(client, TOKEN_OP_UNLOAD, key);
}

enum err client_unlock(struct helper_client *client, const struct test_key *key, const char *pin)
{
	struct token_message answer;

	begin_key(client, TOKEN_OP_UNLOCK, key);
	client_put_sealed(client, TOKEN_FIELD_SEALED_PIN, bytes_of_string(pin));
	return client_ask(client, &answer);
}

enum err client_lock(struct helper_client *client, const struct test_key *key)
{
	return ask_key(client, TOKEN_OP_LOCK, key);
}

enum err client_status(struct helper_client *client, struct token_status *ret_status)
{
	struct token_message answer;
	enum err err;

	client_begin(client, TOKEN_OP_STATUS);
	err = client_ask(client, &answer);
	return err ? err : token_message_status(&answer, ret_status);
}

/* As a sender would: with the public key alone. */
void client_stanza(const struct test_key *key, const uint8_t file_key[FILE_KEY_LEN],
                   uint8_t ret_stanza[TOKEN_STANZA_LEN])
{
	CLEANUP(secret_freep) struct secret *secret = NULL;
	CLEANUP(secret_freep) struct secret *x = NULL;
	uint8_t scalar[P256_SCALAR_LEN];
	uint8_t *share = ret_stanza + 1, *body = ret_stanza + 1 + P256_POINT_LEN;

	memset(ret_stanza, 0, TOKEN_STANZA_LEN);
	ret_stanza[0] = (uint8_t)key->kind;
	must(secret_new_from(bytes_of(file_key, FILE_KEY_LEN), &secret));
	if (key->kind == KEY_KIND_X25519) {
		must(x25519_wrap(key->public_key, secret, share, body));
		return;
	}
	must(secret_new(32, &x));
	p256_make(scalar, share);
	if (!p256_ecdh(scalar, key->public_key, secret_fill(x)))
		die("the public key is no point");
	must(p256tag_wrap(x, share, key->public_key, secret, body));
}

void client_put_try(struct helper_client *client, const struct key_id *id, uint16_t index)
{
	uint8_t try[TOKEN_TRY_LEN];

	memcpy(try, id->bytes, KEY_ID_LEN);
	try[KEY_ID_LEN] = (uint8_t)(index >> 8);
	try[KEY_ID_LEN + 1] = (uint8_t)index;
	client_put(client, TOKEN_FIELD_TRY, bytes_of(try, sizeof(try)));
}

enum err client_unwrap(struct helper_client *client, const struct test_key *key)
{
	uint8_t file_key[FILE_KEY_LEN], stanza[TOKEN_STANZA_LEN];
	struct token_message answer;
	struct bytes opened;
	enum err err;

	randombytes_buf(file_key, sizeof(file_key));
	client_stanza(key, file_key, stanza);
	client_begin(client, TOKEN_OP_UNWRAP);
	client_put(client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
	client_put_try(client, &key->id, 0);
	err = client_ask(client, &answer);
	if (err)
		return err;
	if (!token_message_find(&answer, TOKEN_FIELD_FILE_KEY, &opened) ||
	    !bytes_equal(opened, bytes_of(file_key, sizeof(file_key))))
		die("another file key");
	return OK;
}
