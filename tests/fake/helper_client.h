/*
 * Helper client
 *
 * The broker's end of a helper's socket, for tests: starts a helper, and says what the broker would say. What cannot be in a test (no answer, an
 * answer to something else) ends it.
 */
#pragma once

#include <sys/types.h>

#include "common/helper.h"
#include "common/token_message.h"

struct helper_client {
	int fd;
	pid_t pid;
	uint32_t id;
	uint8_t box_key[TOKEN_BOX_KEY_LEN];
	struct buf *packet;
	const struct test_key
	        *trusted; /* borrowed; its parent is the one that new keys are to have; NULL: any */
	uint8_t answer[TOKEN_MESSAGE_MAX];
};

/* A key as the broker knows it. */
struct test_key {
	struct key_id id;
	enum key_kind kind;
	enum key_class class;
	struct token_blob blob;
	uint8_t public_key[P256_POINT_LEN];
	uint8_t import[SEALED_LEN]; /* given to CREATE when imported */
	bool imported;
};

/* A forked child that runs helper_run over ops, or the program of a helper. */
void client_fork(struct helper_client *client, const struct token_ops *ops, const char *uri);
void client_exec(struct helper_client *client, const char *program, const char *uri);

/* Hangs up and waits; returns the exit status, or 1000 + the signal. */
int client_end(struct helper_client *client);

/* Asks HELLO, and keeps the box key. */
void client_hello(struct helper_client *client);

/* A question by hand: begin, fields into client->packet, ask. The answer is borrowed until the next question. */
void client_begin(struct helper_client *client, enum token_op op);
void client_put(struct helper_client *client, enum token_field field, struct bytes value);
void client_put_sealed(struct helper_client *client, enum token_field field, struct bytes value);
enum err client_ask(struct helper_client *client, struct token_message *ret_answer);

/* A key with a random id. pin: NULL when there is none. */
enum err client_create(struct helper_client *client, enum key_kind kind, enum key_class class,
                       const char *pin, const uint8_t *import, struct test_key *ret_key);
enum err client_load(struct helper_client *client, const struct test_key *key);
enum err client_unload(struct helper_client *client, const struct test_key *key);
enum err client_unlock(struct helper_client *client, const struct test_key *key, const char *pin);
enum err client_lock(struct helper_client *client, const struct test_key *key);
enum err client_status(struct helper_client *client, struct token_status *ret_status);

/* Wraps a random file key to key, has it unwrapped, and compares. */
enum err client_unwrap(struct helper_client *client, const struct test_key *key);

/* The parts of that: a stanza of a file key for a key, and trying keys on stanzas. */
void client_stanza(const struct test_key *key, const uint8_t file_key[FILE_KEY_LEN],
                   uint8_t ret_stanza[TOKEN_STANZA_LEN]);
void client_put_try(struct helper_client *client, const struct key_id *id, uint16_t index);
