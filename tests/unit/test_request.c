/*
 * The way of a request, from bytes to bytes: real front-end, client, policy, keyring and audit; the tokens are played by this file, each by what its URI says. A row is a policy,
 * what a client says, and what it is answered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sodium.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/control.h"
#include "common/encoding.h"
#include "tokend/daemon.h"
#include "tokend/frontend/table.h"

static char directory[64];
static int directory_fd = -1;
static struct keyring *keyring; /* one for all rows: keys that rows make stay */
static struct options options = { .mode = MODE_PRIVATE,
	                          .state_directory = "/state",
	                          .runtime_directory = "/run" };

/* ---- tokens that this file plays ---- */

struct worker {
	const char *uri;
	enum err answer; /* to everything; OK: the first try opens */
	unsigned asked;
	unsigned tries; /* of all questions */
	unsigned cost; /* of the last one */
	bool wrong_key; /* names another key than it was asked to try */
	bool hold; /* what is asked waits in held */
	struct worker_call *held[2 * REQUESTS_PER_UID_MAX];
	size_t held_count;
	bool restarted;
};

static struct worker fakes[] = {
	{ .uri = "tpm:swtpm:path=/ok" },
	{ .uri = "tpm:swtpm:path=/gone" },
	{ .uri = "tpm:swtpm:path=/other" },
};
enum { TOKEN_OK, TOKEN_GONE, TOKEN_OTHER, TOKENS };

static const uint8_t file_key[FILE_KEY_LEN] = "sixteen secrets";
static const uint8_t box_key[TOKEN_BOX_KEY_LEN] = "the box key of every helper";

static void put_answer(struct worker *worker, const struct token_message *question, struct buf *packet)
{
	struct bytes try = { 0 };
	size_t cursor = 0;
	uint8_t id[KEY_ID_LEN] = { 0 };

	assert_int_equal(token_message_begin(packet, question->op, worker->answer, 1), OK);
	if (token_message_next(question, TOKEN_FIELD_TRY, &cursor, &try))
		memcpy(id, try.data, KEY_ID_LEN);
	if (worker->wrong_key)
		id[0] ^= 0xff;
	if (question->op == TOKEN_OP_UNWRAP && try.data) {
		assert_int_equal(token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(id, KEY_ID_LEN)), OK);
		assert_int_equal(token_message_put_u16(
		                         packet, TOKEN_FIELD_INDEX,
		                         (uint16_t)(try.data[KEY_ID_LEN] << 8 | try.data[KEY_ID_LEN + 1])),
		                 OK);
		assert_int_equal(
		        token_message_put(packet, TOKEN_FIELD_FILE_KEY, bytes_of(file_key, FILE_KEY_LEN)),
		        OK);
	}
	if (question->op == TOKEN_OP_CREATE && !worker->answer) {
		static const struct token_blob blob = { .parent = 1,
			                                .public_area_len = 2,
			                                .private_area_len = 2 };
		static const uint8_t public_key[P256_POINT_LEN] = { 0x04, 7 };

		assert_int_equal(
		        token_message_put(packet, TOKEN_FIELD_PUBLIC, bytes_of(public_key, P256_POINT_LEN)),
		        OK);
		assert_int_equal(token_message_put_blob(packet, &blob), OK);
	}
	assert_int_equal(token_message_end(packet), OK);
}

static unsigned count_tries(const struct token_message *question)
{
	struct bytes try;
	size_t cursor = 0;
	unsigned count = 0;

	while (token_message_next(question, TOKEN_FIELD_TRY, &cursor, &try))
		count++;
	return count;
}

static void answer(struct worker *worker, struct worker_call *call)
{
	CLEANUP(buf_freep) struct buf *question_packet = NULL;
	CLEANUP(buf_freep) struct buf *answer_packet = NULL;
	struct token_message question, message;
	enum err err;

	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &question_packet), OK);
	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &answer_packet), OK);
	assert_int_equal(token_message_begin(question_packet, call->op, OK, 1), OK);
	err = call->build ? call->build(call, question_packet) : OK;
	if (err) {
		call->done(call, err, NULL);
		return;
	}
	assert_int_equal(token_message_end(question_packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(question_packet), &question), OK);
	worker->asked++;
	worker->tries += count_tries(&question);
	worker->cost = call->cost;
	if (worker->answer == ERR_NO_TOKEN || worker->answer == ERR_TIMEOUT) {
		call->done(call, worker->answer, NULL);
		return;
	}
	put_answer(worker, &question, answer_packet);
	assert_int_equal(token_message_parse(buf_bytes(answer_packet), &message), OK);
	call->done(call, message.err, &message);
}

void worker_submit(struct worker *worker, struct worker_call *call)
{
	if (worker->hold)
		worker->held[worker->held_count++] = call;
	else
		answer(worker, call);
}

static void release(struct worker *worker)
{
	while (worker->held_count > 0)
		answer(worker, worker->held[--worker->held_count]);
}

void worker_withdraw(struct worker *worker, struct worker_call *call)
{
	for (size_t i = 0; i < worker->held_count; i++)
		if (worker->held[i] == call) {
			worker->held[i] = worker->held[--worker->held_count];
			call->done(call, ERR_BUSY, NULL);
			return;
		}
}

void worker_restart(struct worker *worker)
{
	worker->restarted = true;
}

size_t worker_in_flight(const struct worker *worker)
{
	(void)worker;
	return 0;
}

const char *worker_uri(const struct worker *worker)
{
	return worker->uri;
}

bool worker_running(const struct worker *worker)
{
	return worker->answer != ERR_NO_TOKEN;
}

const uint8_t *worker_box_key(const struct worker *worker)
{
	return worker->answer == ERR_NO_TOKEN ? NULL : box_key;
}

/* ---- as much of a daemon as a request needs ---- */

int64_t daemon_seconds(const struct daemon *daemon)
{
	(void)daemon;
	return 1000;
}

struct worker *daemon_worker(const struct daemon *daemon, const char *token_uri)
{
	for (size_t i = 0; i < daemon->worker_count; i++)
		if (strcmp(daemon->workers[i]->uri, token_uri) == 0)
			return daemon->workers[i];
	return NULL;
}

void daemon_watch_unlocks(struct daemon *daemon)
{
	(void)daemon;
}

void daemon_request_done(struct daemon *daemon)
{
	daemon->in_flight--;
}

static void nobody_has_it_open(void *context, const struct key_id *key)
{
	(void)context;
	(void)key;
}

static struct policy *policy_of(const char *text)
{
	struct policy *policy = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	char filled[1024];
	size_t len = 0;

	/* "me" stands for our own uid. */
	for (const char *at = text; *at && len < sizeof(filled) - 16;) {
		if (strncmp(at, "user me", 7) == 0) {
			len += (size_t)snprintf(filled + len, 16, "user %lu", (unsigned long)getuid());
			at += 7;
		} else {
			filled[len++] = *at++;
		}
	}
	assert_int_equal(buf_new(512, &problem), OK);
	assert_int_equal(policy_new(&policy), OK);
	if (policy_add(policy, "test", bytes_of(filled, len), problem))
		fail_msg("%s", buf_string(problem));
	return policy;
}

static void add_key(const char *name, enum key_kind kind, enum key_class class, uint8_t number, size_t token)
{
	struct key_slot slot = { .blob = { .public_area_len = 4, .private_area_len = 4 } };
	struct key key = { .kind = kind, .class = class, .created = 1, .slot_count = 1, .slots = { &slot } };

	(void)snprintf(slot.token_uri, sizeof(slot.token_uri), "%s", fakes[token].uri);
	(void)snprintf(key.name, sizeof(key.name), "%s", name);
	memset(key.id.bytes, number, KEY_ID_LEN);
	memset(key.public_key, number, sizeof(key.public_key));
	key.public_key[0] = kind == KEY_KIND_P256 ? 0x04 : number;
	assert_int_equal(keyring_add(keyring, &key), OK);
}

static void make_keys(void)
{
	assert_int_equal(keyring_load(directory_fd, NULL, &keyring), OK);
	add_key("sealed", KEY_KIND_X25519, KEY_CLASS_BOOT, 1, TOKEN_OK);
	add_key("gone", KEY_KIND_X25519, KEY_CLASS_BOOT, 2, TOKEN_GONE);
	add_key("held", KEY_KIND_X25519, KEY_CLASS_SESSION, 3, TOKEN_OTHER);
	add_key("host", KEY_KIND_P256, KEY_CLASS_BOOT, 4, TOKEN_OTHER);
	add_key("boss", KEY_KIND_P256, KEY_CLASS_ADMIN, 6, TOKEN_OTHER);
	add_key("master", KEY_KIND_SYMMETRIC, KEY_CLASS_BOOT, 5, TOKEN_OK);
}

static void daemon_begin(struct daemon *daemon, const char *policy)
{
	static const enum err answers[TOKENS] = { OK, ERR_NO_TOKEN, OK };

	*daemon = (struct daemon){ .options = &options, .channel = -1, .worker_count = TOKENS };
	daemon->config.session_seconds = 900;
	for (size_t i = 0; i < TOKENS; i++) {
		fakes[i] = (struct worker){ .uri = fakes[i].uri, .answer = answers[i] };
		daemon->workers[i] = &fakes[i];
	}
	assert_true(sd_event_new(&daemon->event) >= 0);
	daemon->policy = policy_of(policy);
	daemon->keyring = keyring;
	assert_int_equal(audit_new(daemon->event, directory_fd, &daemon->audit), OK);
	assert_int_equal(unlocks_new(nobody_has_it_open, NULL, &daemon->unlocks), OK);
	assert_int_equal(candidate_cache_new(&daemon->candidates), OK);
	assert_int_equal(clients_new(daemon, &daemon->clients), OK);
}

static void daemon_end(struct daemon *daemon)
{
	daemon->audit = audit_free(daemon->audit);
	clients_free(daemon->clients);
	candidate_cache_free(daemon->candidates);
	unlocks_free(daemon->unlocks);
	policy_free(daemon->policy);
	sd_event_unref(daemon->event);
}

/* ---- a client ---- */

static int client_new(struct daemon *daemon)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	clients_add(daemon->clients, &control_frontend, pair[1]);
	return pair[0];
}

static void say(int fd, const char *method, const char *parameters)
{
	char message[8192];
	int len = snprintf(message, sizeof(message), "{\"method\":\"io.tokend.%s\",\"parameters\":{%s}}",
	                   method, parameters);

	assert_int_equal(send(fd, message, (size_t)len + 1, MSG_NOSIGNAL), len + 1);
}

/* Lets the loop run until nothing happens for a moment. */
static void run(struct daemon *daemon, uint64_t usec)
{
	while (sd_event_run(daemon->event, usec) > 0)
		;
}

static void hear(struct daemon *daemon, int fd, char *text, size_t len)
{
	size_t got = 0;

	/* The audit's thread has 100 ms for its part. */
	for (int i = 0; i < 3000 && (got == 0 || text[got - 1] != '\0'); i++) {
		ssize_t more = recv(fd, text + got, len - got - 1, MSG_DONTWAIT);

		if (more > 0)
			got += (size_t)more;
		else if (more == 0)
			break;
		else
			(void)sd_event_run(daemon->event, 1000);
	}
	text[got] = '\0';
}

/* ---- rows ---- */

#define STANZA_X25519                                                                           \
	"{\"type\":\"X25519\",\"arguments\":[\"TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\"]," \
	"\"body\":\"EmECAEcKN+n/Vs9SbWiV+Hu0r+E8R77DdWYyd83nw7U\"}"
#define STANZA_OTHER "{\"type\":\"ssh-ed25519\",\"arguments\":[\"x\"],\"body\":\"AAAA\"}"
#define EVERYTHING "permit unwrap list admin key * user me\n"
#define ONE(key) "\"key\":\"" key "\",\"stanzas\":[" STANZA_X25519 "]"
#define ANY "\"stanzas\":[" STANZA_OTHER "," STANZA_X25519 "]"
#define FILE_KEY "\"fileKey\":\"c2l4dGVlbiBzZWNyZXRzAA==\""

static const struct row {
	const char *what;
	const char *policy;
	const char *method, *parameters;
	const char *answer; /* a part of it */
	const char *audited; /* result of the last record; NULL: there is none */
	enum err token; /* what the first token answers */
} rows[] = {
	{ "named", EVERYTHING, "Unwrap", ONE("sealed"), FILE_KEY, "ok", OK },
	{ "named by id", EVERYTHING, "Unwrap", ONE("01010101010101010101010101010101"), FILE_KEY, "ok", OK },
	{ "any", EVERYTHING, "Unwrap", ANY,
	  "\"index\":1,\"key\":\"01010101010101010101010101010101\",\"name\":\"sealed\",", "ok", OK },
	{ "only what policy allows", "permit unwrap key sealed user me\n", "Unwrap", ANY, FILE_KEY, "ok",
	  OK },
	{ "denied", "permit unwrap key host user me\n", "Unwrap", ONE("sealed"), "io.tokend.Denied", "denied",
	  OK },
	{ "denied by id", "permit unwrap key host user me\n", "Unwrap",
	  ONE("01010101010101010101010101010101"), "io.tokend.Denied", "denied", OK },
	{ "unknown, not everything", "permit unwrap key host user me\n", "Unwrap", ONE("nothing"),
	  "io.tokend.Denied", "denied", OK },
	{ "unknown, permitted by name", "permit unwrap key nothing user me\n", "Unwrap", ONE("nothing"),
	  "io.tokend.Denied", "denied", OK },
	{ "unknown, everything", EVERYTHING, "Unwrap", ONE("nothing"), "io.tokend.NoKey", "no-key", OK },
	{ "nothing at all", "permit list key * user me\n", "Unwrap", ANY, "io.tokend.Denied", "denied", OK },
	{ "another front-end", "permit unwrap key * user me via sops\n", "Unwrap", ONE("sealed"),
	  "io.tokend.Denied", "denied", OK },
	{ "PIN rule, key without", "permit unwrap key * user me pin\n", "Unwrap", ONE("sealed"),
	  "io.tokend.Denied", "denied", OK },
	{ "locked", EVERYTHING, "Unwrap", ONE("held"), "io.tokend.PinNeeded", "pin-needed", OK },
	{ "locked names key and box", EVERYTHING, "Unwrap", ONE("held"),
	  "\"name\":\"held\",\"boxKey\":\"dGhl", "pin-needed", OK },
	{ "locked in the way", "permit unwrap key sealed user me\npermit unwrap key held user me\n", "Unwrap",
	  ANY, "io.tokend.PinNeeded", "pin-needed", ERR_NO_MATCH },
	{ "not for these", "permit unwrap key sealed user me\n", "Unwrap", ANY, "io.tokend.NoMatch",
	  "no-match", ERR_NO_MATCH },
	{ "of no type of ours", EVERYTHING, "Unwrap", "\"stanzas\":[" STANZA_OTHER "]", "io.tokend.NoMatch",
	  "no-match", OK },
	{ "no stanza", EVERYTHING, "Unwrap", "\"stanzas\":[]", "io.tokend.NoMatch", "no-match", OK },
	{ "symmetric", EVERYTHING, "Unwrap", ONE("master"), "io.tokend.NoMatch", "no-match", OK },
	{ "unplugged", EVERYTHING, "Unwrap", ONE("gone"), "io.tokend.NoToken", "no-token", OK },
	{ "one unplugged, one there", "permit unwrap key sealed user me\npermit unwrap key gone user me\n",
	  "Unwrap", ANY, FILE_KEY, "ok", OK },
	{ "one unplugged, one not for it",
	  "permit unwrap key sealed user me\npermit unwrap key gone user me\n", "Unwrap", ANY,
	  "io.tokend.NoToken", "no-token", ERR_NO_MATCH },
	{ "hangs", EVERYTHING, "Unwrap", ONE("sealed"), "io.tokend.Timeout", "timeout", ERR_TIMEOUT },
	{ "in lockout", EVERYTHING, "Unwrap", ONE("sealed"), "io.tokend.TokenState", "token-state",
	  ERR_TOKEN_STATE },
	{ "tampered", EVERYTHING, "Unwrap", ONE("sealed"), "io.tokend.BadCiphertext", "bad-ciphertext",
	  ERR_BAD_CIPHERTEXT },
	{ "the helper lost it", EVERYTHING, "Unwrap", ONE("sealed"), "io.tokend.TokenFault", "token",
	  ERR_NO_KEY },
	{ "no stanzas", EVERYTHING, "Unwrap", "\"key\":\"sealed\"",
	  "InvalidParameter\",\"parameters\":{\"parameter\":\"stanzas\"", NULL, OK },
	{ "malformed stanza", EVERYTHING, "Unwrap",
	  "\"stanzas\":[{\"type\":\"X25519\",\"arguments\":[],\"body\":\"\"}]", "io.tokend.BadFile", NULL,
	  OK },
	{ "key is a number", EVERYTHING, "Unwrap", "\"key\":1,\"stanzas\":[]", "\"parameter\":\"key\"", NULL,
	  OK },
	{ "unknown parameter", EVERYTHING, "Lock", "\"keys\":\"x\"", "\"parameter\":\"keys\"", NULL, OK },
	{ "list all", "permit list key sealed user me\n", "GetKeys", "",
	  "{\"keys\":[{\"id\":\"01010101010101010101010101010101\"", NULL, OK },
	{ "list none", "permit unwrap key sealed user me\n", "GetKeys", "", "{\"keys\":[]}", NULL, OK },
	{ "list one", "permit list key sealed user me\n", "GetKeys", "\"key\":\"gone\"", "io.tokend.Denied",
	  "denied", OK },
	{ "absent is not usable", EVERYTHING, "GetKeys", "\"key\":\"gone\"",
	  "\"present\":false}],\"usable\":false}", NULL, OK },
	{ "tokens for nobody", "permit unwrap key x user 1\n", "GetTokens", "", "io.tokend.Denied", "denied",
	  OK },
	{ "status for anybody", "permit unwrap key x user 1\n", "GetStatus", "", "\"policyRules\":1", NULL,
	  OK },
	{ "enroll", EVERYTHING, "Enroll", "\"name\":\"new\",\"kind\":\"p256\",\"class\":\"boot\"",
	  "\"recipient\":\"age1tag1", "ok", OK },
	{ "enroll again", EVERYTHING, "Enroll", "\"name\":\"new\",\"kind\":\"p256\",\"class\":\"boot\"",
	  "io.tokend.Exists", "exists", OK },
	{ "enroll, not permitted", "permit unwrap list key * user me\n", "Enroll",
	  "\"name\":\"n2\",\"kind\":\"p256\",\"class\":\"boot\"", "io.tokend.Denied", "denied", OK },
	{ "enroll, another name", "permit admin key a/* user me\n", "Enroll",
	  "\"name\":\"n2\",\"kind\":\"p256\",\"class\":\"boot\"", "io.tokend.Denied", "denied", OK },
	{ "enroll, absent token", EVERYTHING, "Enroll",
	  "\"name\":\"n2\",\"kind\":\"p256\",\"class\":\"boot\",\"token\":\"tpm:swtpm:path=/gone\"",
	  "io.tokend.NoToken", "no-token", OK },
	{ "enroll, other token", EVERYTHING, "Enroll",
	  "\"name\":\"n2\",\"kind\":\"p256\",\"class\":\"boot\",\"token\":\"tpm:x\"", "io.tokend.Usage",
	  "usage", OK },
	{ "enroll, full token", EVERYTHING, "Enroll", "\"name\":\"n2\",\"kind\":\"p256\",\"class\":\"boot\"",
	  "io.tokend.TokenFull", "token-full", ERR_TOKEN_FULL },
	{ "enroll, session without PIN", EVERYTHING, "Enroll",
	  "\"name\":\"n2\",\"kind\":\"p256\",\"class\":\"session\"", "io.tokend.Usage", "usage", OK },
	{ "enroll, PIN rule", "permit admin key * user me pin\n", "Enroll",
	  "\"name\":\"n2\",\"kind\":\"p256\",\"class\":\"boot\"", "io.tokend.Denied", "denied", OK },
	{ "unlock without a PIN", EVERYTHING, "Unlock", "\"key\":\"sealed\",\"sealedPin\":\"AAAA\"",
	  "io.tokend.Usage", "usage", OK },
	{ "unlock", EVERYTHING, "Unlock", "\"key\":\"held\",\"sealedPin\":\"AAAA\",\"seconds\":60",
	  "\"seconds\":60", "ok", OK },
	{ "unlock for too long", EVERYTHING, "Unlock",
	  "\"key\":\"held\",\"sealedPin\":\"AAAA\",\"seconds\":999999", "\"seconds\":900", "ok", OK },
	{ "unlock, policy's time", "permit unwrap key held user me via sops for 2m\n", "Unlock",
	  "\"key\":\"held\",\"sealedPin\":\"AAAA\"", "\"seconds\":120", "ok", OK },
	{ "unlock, two ways' times",
	  "permit unwrap key held user me via age for 10m\npermit unwrap key held user me via sops for 2m\n",
	  "Unlock", "\"key\":\"held\",\"sealedPin\":\"AAAA\"", "\"seconds\":120", "ok", OK },
	{ "unlock, a way's time and the usual one",
	  "permit unwrap key held user me via age for 10h\npermit unwrap key held user me via sops\n",
	  "Unlock", "\"key\":\"held\",\"sealedPin\":\"AAAA\"", "\"seconds\":900", "ok", OK },
	{ "unlock, denied", "permit list key * user me\n", "Unlock",
	  "\"key\":\"held\",\"sealedPin\":\"AAAA\"", "io.tokend.Denied", "denied", OK },
	{ "lock nothing", EVERYTHING, "Lock", "", "{\"locked\":0}", "ok", OK },
	{ "explain", "permit unwrap key a user me via sops\n", "ExplainPolicy",
	  "\"operation\":\"unwrap\",\"key\":\"a\",\"frontend\":\"sops\"",
	  "\"verdict\":\"permit\",\"rule\":\"test:1: permit", NULL, OK },
	{ "explain for another", "permit unwrap key a user me\n", "ExplainPolicy",
	  "\"operation\":\"unwrap\",\"key\":\"a\",\"frontend\":\"age\",\"uid\":77", "io.tokend.Denied",
	  "denied", OK },
	{ "explain for a unit, which is not root",
	  "permit unwrap key a user root\npermit admin key * user me\n", "ExplainPolicy",
	  "\"operation\":\"unwrap\",\"key\":\"a\",\"frontend\":\"age\",\"unit\":\"x.service\"",
	  "{\"verdict\":\"deny\"}", NULL, OK },
};

/* What the log says of its last request; "" when it says nothing of any. */
static void last_record(char result[static 32])
{
	char path[128], line[8192];
	CLEANUP(fclosep) FILE *file = NULL;

	result[0] = '\0';
	(void)snprintf(path, sizeof(path), "%s/audit.log", directory);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		const char *found = strstr(line, "\"result\":\"");

		if (found)
			(void)snprintf(result, 32, "%.*s", (int)strcspn(found + 10, "\""), found + 10);
	}
}

static void run_row(const struct row *row)
{
	CLEANUP(close_fdp) int fd = -1;
	struct daemon daemon;
	char text[16384], path[128], result[32];

	(void)snprintf(path, sizeof(path), "%s/audit.log", directory);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/audit.ahead", directory); /* knows what the log ended with */
	(void)unlink(path);
	daemon_begin(&daemon, row->policy);
	fakes[TOKEN_OK].answer = row->token;
	fd = client_new(&daemon);
	say(fd, row->method, row->parameters);
	hear(&daemon, fd, text, sizeof(text));
	daemon_end(&daemon);
	if (!strstr(text, row->answer))
		fail_msg("%s: %s", row->what, text);
	last_record(result);
	if (strcmp(result, row->audited ? row->audited : "") != 0)
		fail_msg("%s: the log says \"%s\"", row->what, result);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(&rows[i]);
}

/* What a denied and an unknown key are answered differs in no byte, but for the name that was asked for. */
static void test_denied_is_unknown(void **state)
{
	CLEANUP(close_fdp) int fd = -1;
	struct daemon daemon;
	char denied[1024], unknown[1024];

	(void)state;
	daemon_begin(&daemon, "permit unwrap key sealed user me\n");
	fd = client_new(&daemon);
	say(fd, "Unwrap", ONE("gone"));
	hear(&daemon, fd, denied, sizeof(denied));
	say(fd, "Unwrap", ONE("none"));
	hear(&daemon, fd, unknown, sizeof(unknown));
	daemon_end(&daemon);
	assert_string_equal(denied, unknown);
}

static void test_session_belongs_to_its_uid(void **state)
{
	CLEANUP(close_fdp) int fd = -1;
	struct daemon daemon;
	char text[1024];
	struct key_id held;

	(void)state;
	memset(held.bytes, 3, KEY_ID_LEN);
	daemon_begin(&daemon, EVERYTHING);
	fd = client_new(&daemon);
	assert_int_equal(unlock_open(daemon.unlocks, getuid() + 1, &held, 1000, 60), OK);
	say(fd, "Unwrap", ONE("held"));
	hear(&daemon, fd, text, sizeof(text));
	assert_non_null(strstr(text, "PinNeeded"));
	say(fd, "Unlock", "\"key\":\"held\",\"sealedPin\":\"AAAA\"");
	hear(&daemon, fd, text, sizeof(text));
	say(fd, "Unwrap", ONE("held"));
	hear(&daemon, fd, text, sizeof(text));
	assert_non_null(strstr(text, FILE_KEY));
	/* The helper has lost it: said to be locked from now on. */
	fakes[TOKEN_OTHER].answer = ERR_PIN_NEEDED;
	say(fd, "Unwrap", ONE("held"));
	hear(&daemon, fd, text, sizeof(text));
	assert_non_null(strstr(text, "PinNeeded"));
	assert_int_equal(unlock_left(daemon.unlocks, getuid(), &held, 1000), 0);
	daemon_end(&daemon);
}

static void ask(struct daemon *daemon, int fd, const char *method, const char *parameters,
                const char *expected)
{
	char text[4096];

	say(fd, method, parameters);
	hear(daemon, fd, text, sizeof(text));
	if (!strstr(text, expected))
		fail_msg("%s: %s", method, text);
}

#define UNLOCK(key) "\"key\":\"" key "\",\"sealedPin\":\"AAAA\""

/* One PIN is one file key, however many ask at once; what came to nothing costs no PIN. */
static void test_one_pin_one_use(void **state)
{
	struct daemon daemon;
	struct worker *worker = &fakes[TOKEN_OTHER];
	int fds[4];
	char text[4096];

	(void)state;
	daemon_begin(&daemon, "permit unwrap key held user me pin\n");
	for (size_t i = 0; i < 4; i++)
		fds[i] = client_new(&daemon);
	ask(&daemon, fds[0], "Unlock", UNLOCK("held"), "\"name\":\"held\"");
	worker->hold = true;
	for (size_t i = 0; i < 4; i++)
		say(fds[i], "Unwrap", i % 2 ? ONE("held") : ANY);
	run(&daemon, 2000);
	assert_int_equal(worker->held_count, 1);
	worker->hold = false;
	release(worker);
	for (size_t i = 0; i < 4; i++) {
		hear(&daemon, fds[i], text, sizeof(text));
		assert_non_null(strstr(text, i == 0 ? FILE_KEY : "PinNeeded"));
	}
	ask(&daemon, fds[0], "Unwrap", ONE("held"), "PinNeeded");
	ask(&daemon, fds[0], "Unlock", UNLOCK("held"), "\"name\":\"held\"");
	worker->answer = ERR_NO_MATCH;
	ask(&daemon, fds[0], "Unwrap", ONE("held"), "NoMatch");
	worker->answer = ERR_TOKEN;
	ask(&daemon, fds[0], "Unwrap", ONE("held"), "TokenFault");
	worker->answer = OK;
	worker->hold = true;
	say(fds[3], "Unwrap", ONE("held"));
	run(&daemon, 2000);
	assert_int_equal(worker->held_count, 1);
	(void)close(fds[3]);
	run(&daemon, 2000);
	worker->hold = false;
	ask(&daemon, fds[0], "Unwrap", ONE("held"), FILE_KEY);
	ask(&daemon, fds[0], "Unwrap", ONE("held"), "PinNeeded");
	for (size_t i = 0; i < 3; i++)
		(void)close(fds[i]);
	daemon_end(&daemon);
}

/* A rule of another front-end that opened the key for longer does not make the PIN good for more than one use here. */
static void test_pin_through_one_frontend(void **state)
{
	CLEANUP(close_fdp) int fd = -1;
	struct daemon daemon;

	(void)state;
	daemon_begin(&daemon, "permit unwrap key held user me via age pin\n"
	                      "permit unwrap key held user me via sops\n");
	fd = client_new(&daemon);
	ask(&daemon, fd, "Unlock", UNLOCK("held"), "\"name\":\"held\"");
	ask(&daemon, fd, "Unwrap", ONE("held"), FILE_KEY);
	ask(&daemon, fd, "Unwrap", ONE("held"), "PinNeeded");
	daemon_end(&daemon);
}

/* What waits for the device when its key is closed, by its user or by the time, opens nothing any more; and one PIN more is one use, as ever. */
static void test_closed_meanwhile(void **state)
{
	static const char *const policies[] = { EVERYTHING, "permit unwrap key held user me pin\n" };
	struct worker *worker = &fakes[TOKEN_OTHER];

	(void)state;
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		CLEANUP(close_fdp) int fd = -1;
		CLEANUP(close_fdp) int other = -1;
		struct daemon daemon;
		char text[4096];

		daemon_begin(&daemon, policies[i]);
		fd = client_new(&daemon);
		other = client_new(&daemon);
		ask(&daemon, fd, "Unlock", UNLOCK("held"), "\"name\":\"held\"");
		worker->hold = true;
		say(fd, "Unwrap", ONE("held"));
		run(&daemon, 2000);
		assert_int_equal(worker->held_count, 1);
		ask(&daemon, other, "Lock", "", "\"locked\":1");
		worker->hold = false;
		release(worker);
		hear(&daemon, fd, text, sizeof(text));
		if (strstr(text, FILE_KEY) || !strstr(text, "PinNeeded") || !strstr(text, "boxKey"))
			fail_msg("policy %zu: %s", i, text);
		ask(&daemon, fd, "Unlock", UNLOCK("held"), "\"name\":\"held\"");
		ask(&daemon, fd, "Unwrap", ONE("held"), FILE_KEY);
		daemon_end(&daemon);
	}
}

#define NEW_KEY(name) "\"name\":\"" name "\",\"kind\":\"p256\",\"class\":\"boot\""

/* To administer with a PIN wants that of a key of class admin, and of one that the peer administers. */
static void test_admin_pin(void **state)
{
	CLEANUP(close_fdp) int fd = -1;
	CLEANUP(close_fdp) int other = -1;
	struct daemon daemon;

	(void)state;
	daemon_begin(&daemon, "permit admin key * user me pin\npermit unwrap key * user me pin\n");
	fd = client_new(&daemon);
	ask(&daemon, fd, "Unlock", UNLOCK("held"), "\"name\":\"held\"");
	ask(&daemon, fd, "Enroll", NEW_KEY("made/1"), "io.tokend.Denied");
	ask(&daemon, fd, "Enroll", NEW_KEY("made/1"), "tokenctl unlock boss   (which a rule");
	ask(&daemon, fd, "Unlock", UNLOCK("boss"), "\"name\":\"boss\"");
	ask(&daemon, fd, "Enroll", NEW_KEY("made/1"), "\"recipient\"");
	ask(&daemon, fd, "Enroll", NEW_KEY("made/2"), "io.tokend.Denied");
	daemon_end(&daemon);
	daemon_begin(&daemon, "permit admin key made/* user me pin\npermit unwrap key * user me\n");
	other = client_new(&daemon);
	ask(&daemon, other, "Unlock", UNLOCK("boss"), "\"name\":\"boss\"");
	ask(&daemon, other, "Enroll", NEW_KEY("made/2"), "io.tokend.Denied");
	ask(&daemon, other, "Enroll", NEW_KEY("made/2"), "of class admin first, and there is none");
	daemon_end(&daemon);
}

/* A stanza that the tag says is for the key; its share and body are none. */
static size_t put_p256(char *text, size_t len, const struct key *key, uint8_t share_number,
                       uint8_t body_number)
{
	uint8_t share[P256_POINT_LEN] = { 0x04, share_number }, body[WRAPPED_LEN] = { body_number };
	uint8_t tag[TAG_LEN] = { 0 };
	char texts[3][128];
	const struct bytes parts[3] = { bytes_of(tag, sizeof(tag)), bytes_of(share, sizeof(share)),
		                        bytes_of(body, sizeof(body)) };

	p256tag_tag(share, key->recipient_hash, tag);
	for (size_t i = 0; i < 3; i++)
		sodium_bin2base64(texts[i], sizeof(texts[i]), parts[i].data, parts[i].len,
		                  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	return (size_t)snprintf(text, len,
	                        "%s{\"type\":\"p256tag\",\"arguments\":[\"%s\",\"%s\"],\"body\":\"%s\"}",
	                        share_number || body_number ? "," : "", texts[0], texts[1], texts[2]);
}

/* What one request may cost a device has a ceiling, what would be done twice is done once, and it is asked for in shares, between which others have their turns. */
static void test_device_tries(void **state)
{
	static const struct {
		bool same_share;
		unsigned tries, share;
	} cases[] = { { true, 1, 1 }, { false, 16, 2 } };
	CLEANUP(close_fdp) int fd = -1;
	struct daemon daemon;

	(void)state;
	daemon_begin(&daemon, EVERYTHING);
	fakes[TOKEN_OTHER].answer = ERR_BAD_CIPHERTEXT;
	fd = client_new(&daemon);
	for (size_t i = 0; i < 2; i++) {
		char text[8000] = "\"key\":\"host\",\"stanzas\":[";
		size_t len = strlen(text);

		for (uint8_t n = 0; n < 24; n++)
			len += put_p256(text + len, sizeof(text) - len, keyring_find(keyring, "host"),
			                cases[i].same_share ? 0 : n, n);
		(void)snprintf(text + len, sizeof(text) - len, "]");
		fakes[TOKEN_OTHER].tries = 0;
		ask(&daemon, fd, "Unwrap", text, "BadCiphertext");
		assert_int_equal(fakes[TOKEN_OTHER].tries, cases[i].tries);
		assert_int_equal(fakes[TOKEN_OTHER].cost, cases[i].share * WORKER_COST_DEVICE);
	}
	daemon_end(&daemon);
}

/* A helper that names a key which it was not asked to try is not believed. */
static void test_wrong_answer(void **state)
{
	CLEANUP(close_fdp) int fd = -1;
	struct daemon daemon;
	char text[1024];

	(void)state;
	daemon_begin(&daemon, EVERYTHING);
	fakes[TOKEN_OK].wrong_key = true;
	fd = client_new(&daemon);
	say(fd, "Unwrap", ONE("sealed"));
	hear(&daemon, fd, text, sizeof(text));
	assert_non_null(strstr(text, "io.tokend.TokenFault"));
	assert_true(fakes[TOKEN_OK].restarted);
	daemon_end(&daemon);
}

/* The client hangs up while the token is at work; and answers go out in the order of the questions. */
static void test_hang_up_and_order(void **state)
{
	CLEANUP(close_fdp) int fd = -1;
	struct daemon daemon;
	struct worker *worker = &fakes[TOKEN_OK];
	char text[8192];
	int gone;

	(void)state;
	daemon_begin(&daemon, EVERYTHING);
	worker->hold = true;
	gone = client_new(&daemon);
	say(gone, "Unwrap", ONE("sealed"));
	run(&daemon, 2000);
	assert_int_equal(worker->held_count, 1);
	(void)close(gone);
	run(&daemon, 2000);
	assert_int_equal(daemon.in_flight, 0);
	assert_int_equal(worker->asked, 0); /* nobody waited for it any more */
	fd = client_new(&daemon);
	say(fd, "Unwrap", ONE("sealed"));
	say(fd, "GetStatus", "");
	run(&daemon, 2000);
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), -1);
	release(worker);
	hear(&daemon, fd, text, sizeof(text));
	assert_non_null(strstr(text, FILE_KEY));
	daemon_end(&daemon);
}

/* One uid has so many requests on their way and no more; the others wait in the socket and are served in time. */
static void test_ceiling(void **state)
{
	struct daemon daemon;
	int fds[8];
	char text[4096];

	(void)state;
	daemon_begin(&daemon, EVERYTHING);
	fakes[TOKEN_OK].hold = true;
	for (size_t i = 0; i < 8; i++) {
		fds[i] = client_new(&daemon);
		for (unsigned j = 0; j < 2 * control_frontend.max_requests; j++)
			say(fds[i], "Unwrap", ONE("sealed"));
	}
	run(&daemon, 2000);
	assert_int_equal(daemon.in_flight, REQUESTS_PER_UID_MAX);
	for (size_t i = 0; i < 8; i++)
		(void)close(fds[i]);
	run(&daemon, 2000);
	fds[0] = client_new(&daemon);
	say(fds[0], "GetStatus", "");
	hear(&daemon, fds[0], text, sizeof(text));
	assert_non_null(strstr(text, "\"mode\""));
	(void)close(fds[0]);
	assert_int_equal(daemon.in_flight, 0);
	daemon_end(&daemon);
}

static int set_up(void **state)
{
	(void)state;
	json_wiping_init();
	/* In memory: these tests are not about a disk that is slower than the log's deadline. */
	(void)snprintf(directory, sizeof(directory), "%s/test_request.XXXXXX",
	               access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(directory))
		return -1;
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory_fd < 0 || secret_client_init())
		return -1;
	make_keys();
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	keyring = keyring_free(keyring);
	(void)close(directory_fd);
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_denied_is_unknown),
		cmocka_unit_test(test_session_belongs_to_its_uid),
		cmocka_unit_test(test_one_pin_one_use),
		cmocka_unit_test(test_closed_meanwhile),
		cmocka_unit_test(test_pin_through_one_frontend),
		cmocka_unit_test(test_admin_pin),
		cmocka_unit_test(test_device_tries),
		cmocka_unit_test(test_wrong_answer),
		cmocka_unit_test(test_hang_up_and_order),
		cmocka_unit_test(test_ceiling),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
