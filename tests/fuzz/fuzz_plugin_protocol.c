/*
 * Both plugin conversations with a hostile client and a capricious daemon. The first byte chooses the conversation and how the input is cut into
 * reads, the second how the daemon answers; it may say that these are told
 * one by one, and that an allocation fails, and which. Whatever is said, the plugin's own side is checked: every stanza it sends must parse, there is at most
 * one file key for each file, and after an error there is no recipient stanza.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/plugin_protocol.h"
#include "tests/fake/failing_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MOODS_ARE_TOLD 8U
#define MEMORY_FAILS 0x80U
#define SENT_MAX (PLUGIN_STANZA_MAX + 4096U)

struct client {
	struct reader input;
	size_t step; /* bytes of one read */
	uint8_t mood; /* of the daemon */
	struct reader moods; /* and those that were told one by one */
	unsigned calls;
	size_t files_opened;
	bool failed; /* the plugin sent an error */
};

static enum err receive(void *context, struct buf *input)
{
	struct client *client = context;
	size_t n = client->step;

	if (client->input.rest.len == 0)
		return ERR_TRUNCATED;
	if (n > client->input.rest.len)
		n = client->input.rest.len;
	if (n > buf_room(input))
		n = buf_room(input);
	return buf_put(input, reader_take(&client->input, n));
}

static void check(bool good)
{
	if (!good)
		abort();
}

static void check_sent(struct client *client, const struct plugin_stanza *stanza)
{
	size_t index;

	if (plugin_stanza_is(stanza, "file-key")) {
		check(stanza->argument_count == 2 && stanza->body.len == FILE_KEY_LEN);
		check(plugin_index_parse(stanza->arguments[1], &index) == OK);
		check(index >= client->files_opened); /* in order, so none twice */
		client->files_opened = index + 1;
	} else if (plugin_stanza_is(stanza, "recipient-stanza")) {
		check(!client->failed && stanza->body.len == WRAPPED_LEN);
	} else if (plugin_stanza_is(stanza, "error")) {
		client->failed = true;
		check(stanza->argument_count >= 2 && stanza->body.len > 0);
	} else {
		check(plugin_stanza_is(stanza, "msg") || plugin_stanza_is(stanza, "request-secret"));
	}
}

static enum err send_one(void *context, struct buf *output)
{
	CLEANUP(buf_freep) struct buf *body = NULL;
	unsigned paused = failing_memory_pause();
	struct plugin_stanza stanza;
	size_t len;

	check(buf_new(PLUGIN_STANZA_MAX, &body) == OK);
	check(plugin_stanza_parse(buf_bytes(output), body, &stanza, &len) == OK);
	check(len == buf_len(output));
	check_sent(context, &stanza);
	failing_memory_resume(paused);
	return OK;
}

static enum err mood(struct client *client, struct plugin_problem *problem)
{
	static const enum err moods[] = {
		OK,       ERR_NO_MATCH,   ERR_DENIED, ERR_PIN_NEEDED, ERR_NO_DAEMON, ERR_PIN_WRONG,
		ERR_BUSY, ERR_PIN_NEEDED, ERR_NO_KEY, ERR_PIN_LOCKED, ERR_NO_TOKEN
	};
	unsigned told = client->moods.rest.len > 0 ? reader_u8(&client->moods) : client->mood + client->calls;
	enum err err = moods[told % (sizeof(moods) / sizeof(moods[0]))];

	client->calls++;
	problem->tries_left = (int)(client->mood >> 4) - 1;
	(void)snprintf(problem->lock.key, sizeof(problem->lock.key), "key%u", client->calls % 3);
	(void)snprintf(problem->lock.name, sizeof(problem->lock.name), "host");
	(void)snprintf(problem->lock.box_key, sizeof(problem->lock.box_key), "%s",
	               client->mood & 8 ? "" : "x");
	return err;
}

static enum err unwrap(void *context, const struct key_id *key, const struct token_stanza *stanzas,
                       size_t stanza_count, struct secret **ret_file_key, struct plugin_problem *ret_problem)
{
	enum err err = mood(context, ret_problem);

	(void)key;
	check(stanza_count > 0 && stanza_count <= PLUGIN_CALL_STANZAS_MAX);
	for (size_t i = 0; i < stanza_count; i++)
		check(stanzas[i].kind == KEY_KIND_P256 || stanzas[i].kind == KEY_KIND_X25519);
	return err ? err : secret_new(FILE_KEY_LEN, ret_file_key);
}

static enum err unlock(void *context, const struct plugin_lock *lock, const struct secret *pin,
                       struct plugin_problem *ret_problem)
{
	check(lock->key[0] && secret_len(pin) >= PIN_MIN && secret_len(pin) <= PIN_MAX);
	return mood(context, ret_problem);
}

static enum err locked_keys(void *context, struct key_id *keys, size_t keys_max, size_t *ret_count)
{
	struct client *client = context;

	memset(keys, 7, keys_max * sizeof(*keys));
	*ret_count = client->mood % (keys_max + 1);
	return OK;
}

static enum err only_recipient(void *context, struct recipient *ret_recipient,
                               struct plugin_problem *ret_problem)
{
	enum err err = mood(context, ret_problem);

	if (!err)
		*ret_recipient = (struct recipient){ .kind = RECIPIENT_X25519, .public_key = { 9 } };
	return err;
}

static const struct plugin_ops ops = { unwrap, unlock, locked_keys, only_recipient };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(plugin_wire_freep) struct plugin_wire *wire = NULL;
	struct client client = { .input = reader_of(bytes_of(data, len)) };
	struct plugin_pipe pipe = { receive, send_one, &client, false };
	unsigned nth;
	uint8_t choice;
	enum err err;

	/* Constant after the first run; the fuzzer has no other place before it. */
	check(secret_client_init() == OK);
	choice = reader_u8(&client.input);
	pipe.hides_messages = choice & 4;
	client.mood = reader_u8(&client.input);
	client.step = choice & 2 ? 97 : 4096;
	nth = choice & MEMORY_FAILS ? reader_u8(&client.input) : 0;
	if (choice & MOODS_ARE_TOLD)
		client.moods = reader_of(reader_take(&client.input, reader_u8(&client.input)));
	if (client.input.failed)
		return 0;
	check(plugin_wire_new(&pipe, &wire) == OK);
	failing_memory_begin(nth);
	err = choice & 1 ? plugin_recipient_v1(wire, &ops, &client) : plugin_identity_v1(wire, &ops, &client);
	if (failing_memory_end() && err == ERR_NOMEM)
		err = OK;
	check(!err || err == ERR_BAD_MESSAGE || err == ERR_TRUNCATED || err == ERR_BUSY);
	check(secret_stats().live <= 3); /* the wire's buffers */
	return 0;
}
