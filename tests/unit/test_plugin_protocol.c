/*
 * The plugin's side of both conversations, against a client and a daemon that are scripts. A row is what the client says from first to last (phase 1 and
 * all its replies), how the daemon answers, what the plugin is expected to say, and what it asks the daemon. Every row runs twice: all of the input at
 * once, and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "cli/plugin_protocol.h"
#include "common/encoding.h"
#include "common/secret.h"

#define TEXT_MAX (1U << 20)

typedef enum err (*state_machine)(struct plugin_wire *wire, const struct plugin_ops *ops, void *context);

#define IDENTITY plugin_identity_v1
#define RECIPIENT plugin_recipient_v1

/* ---- what stands in braces in a row ---- */

struct word {
	const char *name;
	char text[512];
};

static struct word words[] = {
	{ "any", "" }, /* identity that names no key */
	{ "host", "" }, /* identities of p256 keys 1 and 2 and of the x25519 keys 3 and 4 */
	{ "other", "" },     { "old", "" },      { "older", "" }, { "to-host", "" }, /* recipients */
	{ "to-old", "" },    { "for-host", "" }, /* stanzas, from the type on */
	{ "for-other", "" }, { "for-old", "" },
};

static char *word(const char *name)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].name, name) == 0)
			return words[i].text;
	fail_msg("no word {%s}", name);
	return NULL;
}

static void put(struct buf *buf, const char *text, size_t len)
{
	assert_int_equal(buf_put(buf, bytes_of(text, len)), OK);
}

static void expand(const char *text, struct buf *out)
{
	for (const char *open; (open = strchr(text, '{'));) {
		const char *end = strchr(open, '}');
		char name[32];

		put(out, text, (size_t)(open - text));
		(void)snprintf(name, sizeof(name), "%.*s", (int)(end - open - 1), open + 1);
		put(out, word(name), strlen(word(name)));
		text = end + 1;
	}
	put(out, text, strlen(text));
}

/* ---- the client and the daemon ---- */

struct script {
	struct reader input;
	size_t step;
	struct buf *said; /* what the plugin said, a line for each stanza */
	struct buf *asked; /* what the daemon was asked, one after the other */
	const char *answers; /* of the daemon: words with blanks between */
	struct secret *file_key;
	bool hides_messages;
	struct token_stanza last; /* of a recipient-stanza that was sent */
};

static enum err receive(void *context, struct buf *input)
{
	struct script *script = context;
	size_t n = script->step < script->input.rest.len ? script->step : script->input.rest.len;

	if (n == 0)
		return ERR_TRUNCATED;
	if (n > buf_room(input))
		n = buf_room(input);
	return buf_put(input, reader_take(&script->input, n));
}

/* "words... (body)": text as it is, other bytes by their number. */
static void note(struct buf *said, const struct plugin_stanza *stanza)
{
	bool is_text = !plugin_stanza_is(stanza, "file-key") && !plugin_stanza_is(stanza, "recipient-stanza");
	size_t shown = stanza->argument_count > 4 ? 4 : stanza->argument_count;

	if (!is_text && shown > 3)
		shown = 3;
	for (size_t i = 0; i < shown; i++)
		assert_int_equal(buf_printf(said, "%s%.*s", i ? " " : "", (int)stanza->arguments[i].len,
		                            (const char *)stanza->arguments[i].data),
		                 OK);
	if (is_text)
		assert_int_equal(
		        buf_printf(said, " (%.*s)\n", (int)stanza->body.len, (const char *)stanza->body.data),
		        OK);
	else
		assert_int_equal(buf_printf(said, " (%zu)\n", stanza->body.len), OK);
}

static enum err send_one(void *context, struct buf *output)
{
	CLEANUP(buf_freep) struct buf *body = NULL;
	struct script *script = context;
	struct plugin_stanza stanza;
	size_t len;

	assert_int_equal(buf_new(PLUGIN_STANZA_MAX, &body), OK);
	assert_int_equal(plugin_stanza_parse(buf_bytes(output), body, &stanza, &len), OK);
	assert_int_equal(len, buf_len(output));
	note(script->said, &stanza);
	if (plugin_stanza_is(&stanza, "recipient-stanza")) {
		struct age_stanza inner = { stanza.argument_count - 2, stanza.arguments + 2, stanza.body };

		assert_int_equal(token_stanza_read(&inner, &script->last), OK);
	}
	buf_clear(output);
	return OK;
}

static void next_answer(struct script *script, char *out, size_t len)
{
	size_t n = strcspn(script->answers, " ");

	assert_true(n > 0); /* otherwise the daemon was asked more often than the row says */
	(void)snprintf(out, len, "%.*s", (int)n, script->answers);
	script->answers += n;
	script->answers += *script->answers == ' ';
}

static enum err named_error(const char *name)
{
	for (int i = 1; i < ERR_COUNT; i++)
		if (strcmp(err_info((enum err)i)->name, name) == 0)
			return (enum err)i;
	fail_msg("no error %s", name);
	return ERR_BUG;
}

/* "ok"; "pin-needed:A" for the lock of key A; "pin-wrong:2" with tries left; "sealed:A" for a lock without a box key; else an error's name. */
static enum err answer(struct script *script, struct plugin_problem *problem)
{
	char text[64];
	char *detail;

	next_answer(script, text, sizeof(text));
	detail = strchr(text, ':');
	if (detail)
		*detail++ = '\0';
	if (strcmp(text, "ok") == 0)
		return OK;
	if (strcmp(text, "pin-wrong") == 0) {
		problem->tries_left = detail ? atoi(detail) : -1;
		return ERR_PIN_WRONG;
	}
	if (strcmp(text, "pin-needed") == 0 || strcmp(text, "sealed") == 0) {
		(void)snprintf(problem->lock.key, sizeof(problem->lock.key), "%s", detail);
		(void)snprintf(problem->lock.name, sizeof(problem->lock.name), "%s", detail);
		(void)snprintf(problem->lock.box_key, sizeof(problem->lock.box_key), "%s",
		               text[0] == 's' ? "" : "x");
		return ERR_PIN_NEEDED;
	}
	if (detail)
		problem_hint(&problem->text, "%s", detail);
	return named_error(text);
}

static enum err unwrap(void *context, const struct key_id *key, const struct token_stanza *stanzas,
                       size_t stanza_count, struct secret **ret_file_key, struct plugin_problem *ret_problem)
{
	struct script *script = context;
	size_t tagged = 0;
	enum err err;

	for (size_t i = 0; i < stanza_count; i++)
		tagged += stanzas[i].kind == KEY_KIND_P256;
	assert_int_equal(buf_printf(script->asked, "%sunwrap %d %zu+%zu", buf_len(script->asked) ? "; " : "",
	                            key ? key->bytes[0] : 0, tagged, stanza_count - tagged),
	                 OK);
	err = answer(script, ret_problem);
	return err ? err : secret_new_from(bytes_of("0123456789abcdef", FILE_KEY_LEN), ret_file_key);
}

static enum err unlock(void *context, const struct plugin_lock *lock, const struct secret *pin,
                       struct plugin_problem *ret_problem)
{
	struct script *script = context;

	assert_int_equal(buf_printf(script->asked, "; unlock %s %.*s", lock->key, (int)secret_len(pin),
	                            (const char *)secret_reveal(pin).data),
	                 OK);
	return answer(script, ret_problem);
}

static enum err locked_keys(void *context, struct key_id *keys, size_t keys_max, size_t *ret_count)
{
	struct script *script = context;

	assert_true(keys_max >= 2);
	assert_int_equal(buf_put_string(script->asked, "; keys"), OK);
	memset(keys, 0, 2 * sizeof(*keys));
	keys[0].bytes[0] = 8;
	keys[1].bytes[0] = 9;
	*ret_count = 2;
	return OK;
}

static enum err only_recipient(void *context, struct recipient *ret_recipient,
                               struct plugin_problem *ret_problem)
{
	struct script *script = context;
	struct bytes what;
	enum err err;

	assert_int_equal(buf_put_string(script->asked, "only"), OK);
	err = answer(script, ret_problem);
	return err ? err : recipient_parse(bytes_of_string(word("to-old")), ret_recipient, &what);
}

static const struct plugin_ops ops = { unwrap, unlock, locked_keys, only_recipient };

/* ---- rows ---- */

struct row {
	const char *name;
	state_machine machine;
	const char *client;
	const char *answers;
	const char *said;
	const char *asked;
	enum err err;
};

#define ADD(identity) "-> add-identity {" identity "}\n\n"
#define FOR(file, stanza) "-> recipient-stanza " file " {" stanza "}\n"
#define TO(recipient) "-> add-recipient " recipient "\n\n"
#define WRAP "-> wrap-file-key\nMDEyMzQ1Njc4OWFiY2RlZg\n"
#define DONE "-> done\n\n"
#define REPLY_OK "-> ok\n\n"
#define REPLY_FAIL "-> fail\n\n"
#define SSH "-> recipient-stanza 0 ssh-ed25519 Cg8d1Q iAJtxYKvLzqLdcDRvJqDLnEDt8YKGNc4FFCoRLDwMEQ\nAAAA\n"
#define SCRYPT                                                 \
	"-> recipient-stanza 0 scrypt AAAAAAAAAAAAAAAAAAAAAA " \
	"18\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
#define FULL_LINE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
#define NOT_OURS "(this is not an identity of tokend; type tokenctl identity to get one)\n"

static const struct row rows[] = {
	/* identity-v1 as stock clients speak it */
	{ "any key", IDENTITY, ADD("any") FOR("0", "for-host") DONE REPLY_OK, "ok", "file-key 0 (16)\n",
	  "unwrap 0 1+0", OK },
	{ "any key, of three kinds of stanzas", IDENTITY,
	  ADD("any") SSH FOR("0", "for-old") SSH FOR("0", "for-host") FOR("0", "for-other") DONE REPLY_OK,
	  "ok", "file-key 0 (16)\n", "unwrap 0 2+1", OK },
	{ "one key, one stanza", IDENTITY, ADD("host") FOR("0", "for-host") DONE REPLY_OK, "ok",
	  "file-key 0 (16)\n", "unwrap 1 1+0", OK },
	{ "own tag last of three", IDENTITY,
	  ADD("host") FOR("0", "for-other") FOR("0", "for-other") FOR("0", "for-host") DONE REPLY_OK, "ok",
	  "file-key 0 (16)\n", "unwrap 1 1+0", OK },
	{ "nobody's tag: no call", IDENTITY, ADD("host") FOR("0", "for-other") DONE, "", "", "", OK },
	{ "other kind: no call", IDENTITY, ADD("old") FOR("0", "for-host") DONE, "", "", "", OK },
	{ "only stanzas of other types: no call", IDENTITY, ADD("any") SSH DONE, "", "", "", OK },
	{ "a passphrase's: no call", IDENTITY, ADD("any") SCRYPT DONE, "", "", "", OK },
	{ "no stanza at all", IDENTITY, ADD("any") DONE, "", "", "", OK },
	{ "no identity at all", IDENTITY, FOR("0", "for-host") DONE, "", "", "", OK },
	{ "X25519 is tried", IDENTITY, ADD("old") FOR("0", "for-old") FOR("0", "for-host") DONE REPLY_OK,
	  "ok", "file-key 0 (16)\n", "unwrap 3 0+1", OK },
	{ "grease everywhere in phase 1", IDENTITY,
	  "-> grease-4f2 12 7\n\n" ADD("host") "-> grease-1\n" FULL_LINE "AAAA\n" FOR(
	          "0", "for-host") "-> add-idea x y\nAAAA\n" DONE REPLY_OK,
	  "ok", "file-key 0 (16)\n", "unwrap 1 1+0", OK },
	{ "first identity's key is elsewhere", IDENTITY,
	  ADD("older") ADD("old") FOR("0", "for-old") DONE REPLY_OK, "no-match ok", "file-key 0 (16)\n",
	  "unwrap 4 0+1; unwrap 3 0+1", OK },
	{ "first identity opens: the second is not asked", IDENTITY,
	  ADD("old") ADD("older") FOR("0", "for-old") DONE REPLY_OK, "ok", "file-key 0 (16)\n",
	  "unwrap 3 0+1", OK },
	{ "identities between stanzas, three files", IDENTITY,
	  FOR("0", "for-host") ADD("host") FOR("1", "for-other") FOR("2", "for-old") ADD("old")
	          FOR("2", "for-host") DONE REPLY_OK REPLY_OK,
	  "ok ok", "file-key 0 (16)\nfile-key 2 (16)\n", "unwrap 1 1+0; unwrap 1 1+0", OK },
	{ "the same identity twice", IDENTITY, ADD("old") ADD("old") FOR("0", "for-old") DONE,
	  "no-match no-match", "", "unwrap 3 0+1; unwrap 3 0+1", OK },

	/* what is not opened */
	{ "no match: silence", IDENTITY, ADD("any") FOR("0", "for-old") DONE, "no-match", "", "unwrap 0 0+1",
	  OK },
	{ "no such key: silence", IDENTITY, ADD("host") FOR("0", "for-host") DONE, "no-key", "",
	  "unwrap 1 1+0", OK },
	{ "denied: a message, no error", IDENTITY, ADD("host") FOR("0", "for-host") DONE REPLY_OK,
	  "denied:type-this", "msg (not permitted, or there is no such key; hint: type-this)\n",
	  "unwrap 1 1+0", OK },
	{ "message that nobody shows", IDENTITY, ADD("host") FOR("0", "for-host") DONE REPLY_FAIL, "denied",
	  "msg (not permitted, or there is no such key)\n", "unwrap 1 1+0", OK },
	{ "message that the client does not know", IDENTITY,
	  ADD("host") FOR("0", "for-host") DONE "-> unsupported\n\n", "denied",
	  "msg (not permitted, or there is no such key)\n", "unwrap 1 1+0", OK },
	{ "no daemon: said once for two files", IDENTITY,
	  ADD("host") FOR("0", "for-host") FOR("1", "for-host") DONE REPLY_OK, "no-daemon no-daemon",
	  "msg (tokend is not running)\n", "unwrap 1 1+0; unwrap 1 1+0", OK },
	{ "absent token, then another key", IDENTITY,
	  ADD("older") ADD("old") FOR("0", "for-old") DONE REPLY_OK REPLY_OK, "no-token ok",
	  "msg (the token is not there)\nfile-key 0 (16)\n", "unwrap 4 0+1; unwrap 3 0+1", OK },
	{ "audit log full", IDENTITY, ADD("host") FOR("0", "for-host") DONE REPLY_OK, "audit",
	  "msg (the audit log cannot be written, so nothing was released)\n", "unwrap 1 1+0", OK },

	/* malformed */
	{ "another plugin's identity", IDENTITY,
	  "-> add-identity AGE-PLUGIN-YUBIKEY-1QYQQYQC8X3HTW\n\n" FOR("0", "for-host") DONE REPLY_OK, "",
	  "error identity 0 " NOT_OURS, "", OK },
	{ "a bad identity among good ones: nothing is opened", IDENTITY,
	  ADD("host") "-> add-identity AGE-PLUGIN-TOKEND-1QQQQQQ\n\n" ADD("old") "-> add-identity x\n\n" FOR(
	          "0", "for-host") DONE REPLY_OK REPLY_OK,
	  "", "error identity 1 " NOT_OURS "error identity 3 " NOT_OURS, "", OK },
	{ "malformed stanza of a known type", IDENTITY,
	  ADD("host") FOR("0", "for-host") "-> recipient-stanza 0 X25519 AAAA\nAAAA\n" FOR("1", "for-host")
	          DONE REPLY_OK REPLY_OK,
	  "ok", "error stanza 0 1 (the file's header is malformed)\nfile-key 1 (16)\n", "unwrap 1 1+0", OK },
	{ "index of a malformed stanza counts other types", IDENTITY,
	  ADD("host") SSH SSH "-> recipient-stanza 0 p256tag AAAA\n\n" DONE REPLY_OK, "",
	  "error stanza 0 2 (the file's header is malformed)\n", "", OK },

	/* PINs */
	{ "PIN, right at once", IDENTITY, ADD("host") FOR("0", "for-host") DONE "-> ok\nMTIzNA\n" REPLY_OK,
	  "pin-needed:A ok ok", "request-secret (PIN of the key A)\nfile-key 0 (16)\n",
	  "unwrap 1 1+0; unlock A 1234; unwrap 1 1+0", OK },
	{ "PIN, wrong then right", IDENTITY,
	  ADD("host") FOR("0", "for-host") DONE "-> ok\nMTIzNA\n-> ok\nNDMyMQ\n" REPLY_OK,
	  "pin-needed:A pin-wrong:1 ok ok",
	  "request-secret (PIN of the key A)\nrequest-secret (that was not it, 1 try left; PIN of the key "
	  "A)\n"
	  "file-key 0 (16)\n",
	  "unwrap 1 1+0; unlock A 1234; unlock A 4321; unwrap 1 1+0", OK },
	{ "PIN, no try left", IDENTITY, ADD("host") FOR("0", "for-host") DONE "-> ok\nMTIzNA\n" REPLY_OK,
	  "pin-needed:A pin-wrong:0", "request-secret (PIN of the key A)\nmsg (that is not the PIN)\n",
	  "unwrap 1 1+0; unlock A 1234", OK },
	{ "PIN, locked", IDENTITY, ADD("host") FOR("0", "for-host") DONE "-> ok\nMTIzNA\n" REPLY_OK,
	  "pin-needed:A pin-locked",
	  "request-secret (PIN of the key A)\nmsg (too many wrong PINs; tokend keeps the last tries back)\n",
	  "unwrap 1 1+0; unlock A 1234", OK },
	{ "PIN too short: the device is not asked", IDENTITY,
	  ADD("host") FOR("0", "for-host") DONE "-> ok\nMTIz\n" REPLY_FAIL REPLY_OK, "pin-needed:A",
	  "request-secret (PIN of the key A)\nrequest-secret (a PIN has 4 to 128 bytes; PIN of the key "
	  "A)\nmsg (the key is locked and needs its PIN)\n",
	  "unwrap 1 1+0", OK },
	{ "PIN cancelled", IDENTITY, ADD("host") FOR("0", "for-host") DONE REPLY_FAIL REPLY_OK,
	  "pin-needed:A", "request-secret (PIN of the key A)\nmsg (the key is locked and needs its PIN)\n",
	  "unwrap 1 1+0", OK },
	{ "PIN empty: as cancelled", IDENTITY, ADD("host") FOR("0", "for-host") DONE REPLY_OK REPLY_OK,
	  "pin-needed:A", "request-secret (PIN of the key A)\nmsg (the key is locked and needs its PIN)\n",
	  "unwrap 1 1+0", OK },
	{ "PIN, client cannot ask", IDENTITY,
	  ADD("host") FOR("0", "for-host") DONE "-> unsupported\n\n" REPLY_OK, "pin-needed:A",
	  "request-secret (PIN of the key A)\nmsg (the key is locked and needs its PIN)\n", "unwrap 1 1+0",
	  OK },
	{ "PIN cancelled is not asked again for the next file", IDENTITY,
	  ADD("host") FOR("0", "for-host") FOR("1", "for-host") DONE REPLY_FAIL REPLY_OK,
	  "pin-needed:A pin-needed:A",
	  "request-secret (PIN of the key A)\nmsg (the key is locked and needs its PIN)\n",
	  "unwrap 1 1+0; unwrap 1 1+0", OK },
	{ "PIN of the first cancelled: the second key is tried", IDENTITY,
	  ADD("older") ADD("old") FOR("0", "for-old") DONE REPLY_FAIL REPLY_OK, "pin-needed:A ok",
	  "request-secret (PIN of the key A)\nfile-key 0 (16)\n", "unwrap 4 0+1; unwrap 3 0+1", OK },
	{ "any key, PIN of the first cancelled: the others are tried", IDENTITY,
	  ADD("any") FOR("0", "for-old") DONE REPLY_FAIL "-> ok\nMTIzNA\n" REPLY_OK,
	  "pin-needed:A pin-needed:A pin-needed:B ok ok",
	  "request-secret (PIN of the key A)\nrequest-secret (PIN of the key B)\nfile-key 0 (16)\n",
	  "unwrap 0 0+1; keys; unwrap 8 0+1; unwrap 9 0+1; unlock B 1234; unwrap 9 0+1", OK },
	{ "PIN that cannot be sealed", IDENTITY, ADD("host") FOR("0", "for-host") DONE REPLY_OK, "sealed:A",
	  "msg (the key is locked and needs its PIN)\n", "unwrap 1 1+0", OK },

	/* not the protocol: fatal */
	{ "nothing", IDENTITY, "", "", "", "", ERR_TRUNCATED },
	{ "half a line", IDENTITY, "-> add-ide", "", "", "", ERR_TRUNCATED },
	{ "no body line", IDENTITY, "-> done\n", "", "", "", ERR_TRUNCATED },
	{ "ends before done", IDENTITY, ADD("host") FOR("0", "for-host"), "", "", "", ERR_TRUNCATED },
	{ "ends before the reply", IDENTITY, ADD("host") FOR("0", "for-host") DONE, "ok", "file-key 0 (16)\n",
	  "unwrap 1 1+0", ERR_TRUNCATED },
	{ "not a stanza", IDENTITY, "GET / HTTP/1.1\r\n", "", "", "", ERR_BAD_MESSAGE },
	{ "not a stanza, no line end", IDENTITY, "x", "", "", "", ERR_BAD_MESSAGE },
	{ "two blanks", IDENTITY, "->  done\n\n", "", "", "", ERR_BAD_MESSAGE },
	{ "blank at the end", IDENTITY, "-> done \n\n", "", "", "", ERR_BAD_MESSAGE },
	{ "no command", IDENTITY, "->\n\n", "", "", "", ERR_BAD_MESSAGE },
	{ "no command but a blank", IDENTITY, "-> \n\n", "", "", "", ERR_BAD_MESSAGE },
	{ "carriage return", IDENTITY, "-> done\r\n\r\n", "", "", "", ERR_BAD_MESSAGE },
	{ "not ASCII", IDENTITY, "-> d\xc3\xb6ne\n\n", "", "", "", ERR_BAD_MESSAGE },
	{ "body line of 65", IDENTITY, "-> x\nA" FULL_LINE "\n", "", "", "", ERR_BAD_MESSAGE },
	{ "body line of a length that is none", IDENTITY, "-> x\nAAAAA\n", "", "", "", ERR_BAD_MESSAGE },
	{ "body with padding", IDENTITY, "-> x\nAA==\n", "", "", "", ERR_BAD_MESSAGE },
	{ "body with loose bits", IDENTITY, "-> x\nAB\n", "", "", "", ERR_BAD_MESSAGE },
	{ "second stanza in the body", IDENTITY, "-> x\n-> done\n\n", "", "", "", ERR_BAD_MESSAGE },
	{ "done with an argument", IDENTITY, "-> done 1\n\n", "", "", "", ERR_BAD_MESSAGE },
	{ "done with a body", IDENTITY, "-> done\nAAAA\n", "", "", "", ERR_BAD_MESSAGE },
	{ "identity with a body", IDENTITY, "-> add-identity {any}\nAAAA\n" DONE, "", "", "",
	  ERR_BAD_MESSAGE },
	{ "identity without one", IDENTITY, "-> add-identity\n\n" DONE, "", "", "", ERR_BAD_MESSAGE },
	{ "two identities at once", IDENTITY, "-> add-identity {any} {any}\n\n" DONE, "", "", "",
	  ERR_BAD_MESSAGE },
	{ "stanza without a type", IDENTITY, "-> recipient-stanza 0\n\n" DONE, "", "", "", ERR_BAD_MESSAGE },
	{ "first file is not 0", IDENTITY, FOR("1", "for-host") DONE, "", "", "", ERR_BAD_MESSAGE },
	{ "a file left out", IDENTITY, FOR("0", "for-host") FOR("2", "for-host") DONE, "", "", "",
	  ERR_BAD_MESSAGE },
	{ "back to an earlier file", IDENTITY,
	  FOR("0", "for-host") FOR("1", "for-host") FOR("0", "for-host") DONE, "", "", "", ERR_BAD_MESSAGE },
	{ "file 00", IDENTITY, FOR("00", "for-host") DONE, "", "", "", ERR_BAD_MESSAGE },
	{ "file -0", IDENTITY, FOR("-0", "for-host") DONE, "", "", "", ERR_BAD_MESSAGE },
	{ "file 2^64", IDENTITY, FOR("18446744073709551616", "for-host") DONE, "", "", "", ERR_BAD_MESSAGE },
	{ "a reply that there is not", IDENTITY, ADD("host") FOR("0", "for-host") DONE "-> maybe\n\n", "ok",
	  "file-key 0 (16)\n", "unwrap 1 1+0", ERR_BAD_MESSAGE },
	{ "a reply with an argument", IDENTITY, ADD("host") FOR("0", "for-host") DONE "-> ok yes\n\n", "ok",
	  "file-key 0 (16)\n", "unwrap 1 1+0", ERR_BAD_MESSAGE },

	/* recipient-v1 as stock clients speak it */
	{ "age1tag1", RECIPIENT,
	  TO("{to-host}") "-> grease-77\nAAAA\n" WRAP "-> extension-labels\n\n" DONE REPLY_OK, "",
	  "recipient-stanza 0 p256tag (32)\n", "", OK },
	{ "age1", RECIPIENT, TO("{to-old}") WRAP DONE REPLY_OK, "", "recipient-stanza 0 X25519 (32)\n", "",
	  OK },
	{ "an older client, without labels, file key first", RECIPIENT, WRAP TO("{to-host}") DONE REPLY_OK,
	  "", "recipient-stanza 0 p256tag (32)\n", "", OK },
	{ "identities", RECIPIENT, ADD("host") ADD("old") WRAP DONE REPLY_OK REPLY_OK, "",
	  "recipient-stanza 0 p256tag (32)\nrecipient-stanza 0 X25519 (32)\n", "", OK },
	{ "two files, three recipients", RECIPIENT,
	  TO("{to-host}") ADD("old") WRAP TO("{to-old}")
	          WRAP DONE REPLY_OK REPLY_OK REPLY_OK REPLY_OK REPLY_OK REPLY_OK,
	  "",
	  "recipient-stanza 0 p256tag (32)\nrecipient-stanza 0 X25519 (32)\nrecipient-stanza 0 X25519 (32)\n"
	  "recipient-stanza 1 p256tag (32)\nrecipient-stanza 1 X25519 (32)\nrecipient-stanza 1 X25519 (32)\n",
	  "", OK },
	{ "the only key", RECIPIENT, ADD("any") WRAP DONE REPLY_OK, "ok", "recipient-stanza 0 X25519 (32)\n",
	  "only", OK },
	{ "no only key", RECIPIENT, TO("{to-host}") ADD("any") WRAP DONE REPLY_OK, "usage:name-it",
	  "error identity 0 (the request is not of the right form; hint: name-it)\n", "only", OK },
	{ "no daemon to ask for the only key", RECIPIENT, ADD("any") WRAP DONE REPLY_OK, "no-daemon",
	  "error identity 0 (tokend is not running)\n", "only", OK },
	{ "errors count by kind, and no stanza is sent", RECIPIENT,
	  TO("{to-host}") TO("age1x") ADD("host") ADD("to-host") WRAP DONE REPLY_OK REPLY_OK, "",
	  "error recipient 1 (this is not a recipient; type tokenctl recipient to get an age1... or "
	  "age1tag1... line)\n"
	  "error identity 1 " NOT_OURS,
	  "", OK },
	{ "another plugin's recipient", RECIPIENT,
	  TO("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t") WRAP DONE REPLY_OK,
	  "",
	  "error recipient 0 (recipients of this kind are not supported yet; age1... and age1tag1... are)\n",
	  "", OK },
	{ "no file key", RECIPIENT, TO("{to-host}") DONE, "", "", "", OK },
	{ "no recipient", RECIPIENT, WRAP DONE, "", "", "", OK },
	{ "file key of 15", RECIPIENT, TO("{to-host}") "-> wrap-file-key\nMDEyMzQ1Njc4OWFiY2Rl\n" DONE, "",
	  "", "", ERR_BAD_MESSAGE },
	{ "file key as an argument", RECIPIENT,
	  TO("{to-host}") "-> wrap-file-key MDEyMzQ1Njc4OWFiY2RlZg\nMDEyMzQ1Njc4OWFiY2RlZg\n" DONE, "", "",
	  "", ERR_BAD_MESSAGE },
	{ "labels with an argument", RECIPIENT, "-> extension-labels x\n\n" DONE, "", "", "",
	  ERR_BAD_MESSAGE },
	{ "recipient with a body", RECIPIENT, "-> add-recipient {to-host}\nAAAA\n" DONE, "", "", "",
	  ERR_BAD_MESSAGE },
	{ "ends before the second reply", RECIPIENT, TO("{to-host}") TO("{to-old}") WRAP DONE REPLY_OK, "",
	  "recipient-stanza 0 p256tag (32)\nrecipient-stanza 0 X25519 (32)\n", "", ERR_TRUNCATED },
};

static void run_text(state_machine machine, struct script *script, struct buf *client, enum err expected)
{
	CLEANUP(plugin_wire_freep) struct plugin_wire *wire = NULL;
	struct plugin_pipe pipe = { receive, send_one, script, script->hides_messages };

	script->input = reader_of(buf_bytes(client));
	assert_int_equal(buf_new(TEXT_MAX, &script->said), OK);
	assert_int_equal(buf_new(TEXT_MAX, &script->asked), OK);
	assert_int_equal(plugin_wire_new(&pipe, &wire), OK);
	assert_int_equal(machine(wire, &ops, script), expected);
}

static void run_row(const struct row *row, size_t step)
{
	CLEANUP(buf_freep) struct buf *client = NULL;
	struct script script = { .step = step, .answers = row->answers };

	print_message("%s\n", row->name);
	assert_int_equal(buf_new(TEXT_MAX, &client), OK);
	expand(row->client, client);
	run_text(row->machine, &script, client, row->err);
	assert_string_equal(buf_string(script.said), row->said);
	assert_string_equal(buf_string(script.asked), row->asked);
	assert_string_equal(script.answers, "");
	if (!row->err)
		assert_int_equal(script.input.rest.len, 0);
	(void)buf_free(script.said);
	(void)buf_free(script.asked);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		run_row(&rows[i], 4096);
		run_row(&rows[i], 1);
	}
	assert_int_equal(secret_stats().live, 0);
}

/* ---- limits ---- */

static void repeat(struct buf *out, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		expand(text, out);
}

static void check_limit(state_machine machine, struct buf *client, enum err expected)
{
	struct script script = { .step = 4096, .answers = "" };

	run_text(machine, &script, client, expected);
	assert_int_equal(buf_len(script.said), 0);
	(void)buf_free(script.said);
	(void)buf_free(script.asked);
	buf_clear(client);
}

static void test_limits(void **state)
{
	CLEANUP(buf_freep) struct buf *client = NULL;

	(void)state;
	assert_int_equal(buf_new(4 * TEXT_MAX, &client), OK);

	repeat(client, ADD("any"), PLUGIN_IDENTITIES_MAX);
	expand(DONE, client);
	check_limit(IDENTITY, client, OK);
	repeat(client, ADD("any"), PLUGIN_IDENTITIES_MAX + 1);
	check_limit(IDENTITY, client, ERR_BUSY);

	repeat(client, FOR("0", "for-host"), PLUGIN_FILE_STANZAS_MAX);
	expand(DONE, client);
	check_limit(IDENTITY, client, OK);
	repeat(client, FOR("0", "for-host"), PLUGIN_FILE_STANZAS_MAX + 1);
	check_limit(IDENTITY, client, ERR_BUSY);

	repeat(client, WRAP, PLUGIN_FILES_MAX + 1);
	check_limit(RECIPIENT, client, ERR_BUSY);
	repeat(client, TO("{to-old}"), PLUGIN_IDENTITIES_MAX + 1);
	check_limit(RECIPIENT, client, ERR_BUSY);

	/* one stanza longer than any can be: refused before it ends */
	expand("-> grease\n", client);
	repeat(client, FULL_LINE, PLUGIN_STANZA_MAX / 65 + 1);
	check_limit(IDENTITY, client, ERR_BAD_MESSAGE);
	expand("-> ", client);
	repeat(client, "x", PLUGIN_STANZA_MAX);
	check_limit(IDENTITY, client, ERR_BAD_MESSAGE);
	expand("->", client);
	repeat(client, " a", PLUGIN_ARGUMENTS_MAX + 1);
	expand("\n\n" DONE, client);
	check_limit(IDENTITY, client, ERR_BAD_MESSAGE);
	expand("->", client);
	repeat(client, " a", PLUGIN_ARGUMENTS_MAX);
	expand("\n\n" DONE, client);
	check_limit(IDENTITY, client, OK);
}

/* More stanzas than one call takes: the rest goes in a second one. */
static void test_many_stanzas(void **state)
{
	CLEANUP(buf_freep) struct buf *client = NULL;
	struct script script = { .step = 4096, .answers = "no-match ok" };

	(void)state;
	assert_int_equal(buf_new(4 * TEXT_MAX, &client), OK);
	expand(ADD("old"), client);
	repeat(client, FOR("0", "for-old"), PLUGIN_CALL_STANZAS_MAX + 3);
	expand(DONE REPLY_OK, client);
	run_text(IDENTITY, &script, client, OK);
	assert_string_equal(buf_string(script.asked), "unwrap 3 0+256; unwrap 3 0+3");
	assert_string_equal(buf_string(script.said), "file-key 0 (16)\n");
	(void)buf_free(script.said);
	(void)buf_free(script.asked);
}

/* Nobody is asked for a PIN without end, whatever the daemon says. */
static void test_prompts_end(void **state)
{
	CLEANUP(buf_freep) struct buf *client = NULL;
	CLEANUP(buf_freep) struct buf *answers = NULL;
	struct script script = { .step = 4096 };

	(void)state;
	assert_int_equal(buf_new(TEXT_MAX, &client), OK);
	assert_int_equal(buf_new(TEXT_MAX, &answers), OK);
	expand(ADD("host") FOR("0", "for-host") DONE, client);
	repeat(client, "-> ok\nMTIzNA\n", PLUGIN_PROMPTS_MAX);
	expand(REPLY_OK, client);
	expand("pin-needed:A", answers);
	repeat(answers, " pin-wrong", PLUGIN_PROMPTS_MAX);
	script.answers = buf_string(answers);
	run_text(IDENTITY, &script, client, OK);
	assert_string_equal(script.answers, "");
	assert_non_null(strstr(buf_string(script.said), "msg (that is not the PIN)\n"));
	(void)buf_free(script.said);
	(void)buf_free(script.asked);
}

/* A client that shows no messages is told by an error that there is no daemon, and only that. */
static void test_hidden_messages(void **state)
{
	CLEANUP(buf_freep) struct buf *client = NULL;
	struct script script = { .step = 4096, .answers = "denied no-daemon", .hides_messages = true };

	(void)state;
	assert_int_equal(buf_new(TEXT_MAX, &client), OK);
	expand(ADD("older") ADD("old") FOR("0", "for-old") DONE REPLY_OK REPLY_OK, client);
	run_text(IDENTITY, &script, client, OK);
	assert_string_equal(buf_string(script.said), "msg (not permitted, or there is no such key)\n"
	                                             "error internal (tokend is not running)\n");
	(void)buf_free(script.said);
	(void)buf_free(script.asked);
}

/* What recipient-v1 makes, the key opens. */
static void test_stanza_opens(void **state)
{
	CLEANUP(buf_freep) struct buf *client = NULL;
	CLEANUP(secret_freep) struct secret *private_key = NULL;
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	uint8_t public_key[X25519_LEN];
	struct script script = { .step = 4096, .answers = "" };

	(void)state;
	assert_int_equal(buf_new(TEXT_MAX, &client), OK);
	expand(TO("{to-old}") WRAP DONE REPLY_OK, client);
	run_text(RECIPIENT, &script, client, OK);
	assert_int_equal(
	        secret_new_from(bytes_of("33333333333333333333333333333333", X25519_LEN), &private_key), OK);
	x25519_public(private_key, public_key);
	assert_int_equal(
	        x25519_unwrap(private_key, public_key, script.last.share, script.last.body, &file_key), OK);
	assert_memory_equal(secret_reveal(file_key).data, "0123456789abcdef", FILE_KEY_LEN);
	(void)buf_free(script.said);
	(void)buf_free(script.asked);
}

/* ---- the words ---- */

static void keep(const char *name, struct buf *buf)
{
	size_t len = buf_len(buf);

	/* A stanza's own "-> " and last line end are in the rows. */
	if (strncmp(buf_string(buf), "-> ", 3) == 0)
		(void)snprintf(word(name), sizeof(words[0].text), "%.*s", (int)(len - 4),
		               buf_string(buf) + 3);
	else
		(void)snprintf(word(name), sizeof(words[0].text), "%s", buf_string(buf));
	buf_clear(buf);
}

static void make_key(struct buf *buf, uint8_t number, enum key_kind kind, const char *identity,
                     const char *recipient, const char *stanza)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	CLEANUP(secret_freep) struct secret *private_key = NULL;
	static const char *const points[] = {
		"036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
		"037cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
	};
	struct recipient to = { .kind = kind == KEY_KIND_P256 ? RECIPIENT_P256TAG : RECIPIENT_X25519 };
	struct key_id id = { { number } };
	char scalar[X25519_LEN];

	memset(scalar, '0' + number, sizeof(scalar));
	assert_int_equal(secret_new_from(bytes_of(scalar, sizeof(scalar)), &private_key), OK);
	assert_int_equal(secret_new_from(bytes_of("0123456789abcdef", FILE_KEY_LEN), &file_key), OK);
	if (kind == KEY_KIND_P256)
		assert_int_equal(
		        hex_decode(bytes_of_string(points[number - 1]), to.public_key, P256_COMPRESSED_LEN),
		        OK);
	else
		x25519_public(private_key, to.public_key);
	assert_int_equal(identity_put_tokend(buf, &id, kind, to.public_key), OK);
	keep(identity, buf);
	if (kind == KEY_KIND_P256)
		assert_int_equal(recipient_put_p256(buf, to.public_key), OK);
	else
		assert_int_equal(recipient_put_x25519(buf, to.public_key), OK);
	keep(recipient, buf);
	assert_int_equal(recipient_wrap(&to, file_key, buf), OK);
	keep(stanza, buf);
}

static int make_words(void **state)
{
	CLEANUP(buf_freep) struct buf *buf = NULL;
	(void)state;
	assert_int_equal(secret_client_init(), OK);
	assert_int_equal(buf_new(4096, &buf), OK);
	assert_int_equal(identity_put_tokend(buf, NULL, KEY_KIND_P256, NULL), OK);
	keep("any", buf);
	make_key(buf, 2, KEY_KIND_P256, "other", "to-host", "for-other");
	make_key(buf, 1, KEY_KIND_P256, "host", "to-host", "for-host");
	make_key(buf, 4, KEY_KIND_X25519, "older", "to-old", "for-old");
	make_key(buf, 3, KEY_KIND_X25519, "old", "to-old", "for-old");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),         cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many_stanzas), cmocka_unit_test(test_prompts_end),
		cmocka_unit_test(test_stanza_opens), cmocka_unit_test(test_hidden_messages),
	};

	return cmocka_run_group_tests_name("plugin protocol", tests, make_words, NULL);
}
