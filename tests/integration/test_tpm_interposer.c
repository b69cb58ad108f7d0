/*
 * Between tokend and its TPM: everything that an interposer can do to an answer, exhaustively, while the helper's own code does each operation there is. Whatever arrives, an operation
 * is refused with one of the errors that common/token.h lists, or done right; and it is done right at once when the interposer has gone. The helper is a fork of this program, so under
 * the sanitizers all of it is.
 *
 *	test_tpm_interposer [PART]	flips, lengths, order, errors, swaps; all of them without
 *	INTERPOSER_OPERATION=NAME	only that one
 *	INTERPOSER_LONG=1		every bit in turn, and each act also done to all further answers of the same kind
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/fake/helper_client.h"
#include "tests/fake/interposer.h"
#include "tests/fake/swtpm.h"
#include "tpm/token.h"

#define PIN "2468-0 bus"
#define WRONG_PIN "2468-0 sub"
#define ANSWER_SECONDS 20U

struct count {
	unsigned done, refused, right, unprotected, left, wrong;
	unsigned errs[ERR_COUNT];
};

struct bench {
	struct swtpm swtpm;
	struct helper_client client;
	struct interposer *interposer;
	struct test_key p256, other, third; /* p256, class boot */
	struct test_key x25519; /* imported, class boot */
	struct test_key pin_p256, pin_x25519, pin_symmetric; /* class session */
	struct test_key lured; /* of a parent that is the interposer's own key */
	struct test_key made;
	struct token_status status; /* as it is */
	struct count count;
	char attack[10 * INTERPOSER_LOG + 1]; /* the last attack's conversation */
	bool acted; /* did the interposer have an opportunity? */
	bool in_long_form;
};

/* ---- what can be asked of a helper, and whether the answer is right ---- */

enum outcome { REFUSED, RIGHT, UNPROTECTED, WRONG };

struct verdict {
	enum outcome outcome;
	enum err err;
};

static struct verdict refused(enum err err)
{
	return (struct verdict){ REFUSED, err };
}

static struct verdict judged(enum err err, enum err expected)
{
	if (err == expected)
		return (struct verdict){ RIGHT, err };
	return err == OK ? (struct verdict){ WRONG, err } : refused(err);
}

/* As client_unwrap, but a wrong file key is counted and not the end. */
static struct verdict unwrap(struct bench *bench, const struct test_key *key)
{
	uint8_t file_key[FILE_KEY_LEN], stanza[TOKEN_STANZA_LEN];
	struct token_message answer;
	struct bytes opened;
	enum err err;

	randombytes_buf(file_key, sizeof(file_key));
	client_stanza(key, file_key, stanza);
	client_begin(&bench->client, TOKEN_OP_UNWRAP);
	client_put(&bench->client, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
	client_put_try(&bench->client, &key->id, 0);
	err = client_ask(&bench->client, &answer);
	if (err)
		return refused(err);
	if (!token_message_find(&answer, TOKEN_FIELD_FILE_KEY, &opened) ||
	    !bytes_equal(opened, bytes_of(file_key, sizeof(file_key))))
		return (struct verdict){ WRONG, OK };
	return (struct verdict){ RIGHT, OK };
}

static void must(enum err err)
{
	assert_int_equal(err, OK);
}

/* The next question that needs the device has to open it first. */
static void lose_device(struct bench *bench)
{
	struct token_status status;

	interposer_begin(bench->interposer);
	bench->interposer->act = INTERPOSER_LOSE;
	bench->interposer->always = true;
	must(client_status(&bench->client, &status));
	assert_false(status.present);
	interposer_begin(bench->interposer);
}

/* What was unsealed is not there any more. */
static void load_anew(struct bench *bench, const struct test_key *key)
{
	must(client_unload(&bench->client, key));
	must(client_load(&bench->client, key));
}

static void before_first_p256(struct bench *bench)
{
	lose_device(bench);
}

static void before_first_x25519(struct bench *bench)
{
	load_anew(bench, &bench->x25519);
	lose_device(bench);
}

static void before_x25519(struct bench *bench)
{
	load_anew(bench, &bench->x25519);
}

static void nothing(struct bench *bench)
{
	(void)bench;
}

static struct verdict act_p256(struct bench *bench)
{
	return unwrap(bench, &bench->p256);
}

static struct verdict act_x25519(struct bench *bench)
{
	return unwrap(bench, &bench->x25519);
}

/* Two are loaded, and this is the third: one is saved first. */
static void before_third(struct bench *bench)
{
	load_anew(bench, &bench->p256);
	load_anew(bench, &bench->other);
	load_anew(bench, &bench->third);
	assert_int_equal(unwrap(bench, &bench->p256).outcome, RIGHT);
	assert_int_equal(unwrap(bench, &bench->other).outcome, RIGHT);
}

static struct verdict act_third(struct bench *bench)
{
	return unwrap(bench, &bench->third);
}

static void before_saved(struct bench *bench)
{
	before_third(bench);
	assert_int_equal(unwrap(bench, &bench->third).outcome, RIGHT);
}

static void before_unlock(struct bench *bench)
{
	must(client_lock(&bench->client, &bench->pin_p256));
	must(client_lock(&bench->client, &bench->pin_x25519));
	swtpm_forgive(&bench->swtpm);
}

static struct verdict act_unlock_p256(struct bench *bench)
{
	return judged(client_unlock(&bench->client, &bench->pin_p256, PIN), OK);
}

static struct verdict act_unlock_x25519(struct bench *bench)
{
	return judged(client_unlock(&bench->client, &bench->pin_x25519, PIN), OK);
}

static struct verdict act_wrong_pin(struct bench *bench)
{
	return judged(client_unlock(&bench->client, &bench->pin_p256, WRONG_PIN), ERR_PIN_WRONG);
}

static struct verdict act_wrong_pin_sealed(struct bench *bench)
{
	return judged(client_unlock(&bench->client, &bench->pin_x25519, WRONG_PIN), ERR_PIN_WRONG);
}

static void before_open_p256(struct bench *bench)
{
	swtpm_forgive(&bench->swtpm);
	must(client_unlock(&bench->client, &bench->pin_p256, PIN));
}

static struct verdict act_open_p256(struct bench *bench)
{
	return unwrap(bench, &bench->pin_p256);
}

/* A status decides nothing, and no session protects it: what it says can be changed, and that is said in docs/SECURITY.md. */
static struct verdict act_status(struct bench *bench)
{
	struct token_status status;
	enum err err = client_status(&bench->client, &status);

	if (err || !status.present)
		return refused(err ? err : ERR_NO_TOKEN);
	if (status.simulation != bench->status.simulation || status.in_lockout != bench->status.in_lockout ||
	    status.pin_tries_left != bench->status.pin_tries_left ||
	    status.reset_count != bench->status.reset_count ||
	    strcmp(status.manufacturer, bench->status.manufacturer) != 0)
		return (struct verdict){ UNPROTECTED, OK };
	return (struct verdict){ RIGHT, OK };
}

/* A key that was made has to be one that opens, with the interposer gone. */
static struct verdict prove_made(struct bench *bench)
{
	struct verdict verdict = { RIGHT, OK };

	interposer_begin(bench->interposer);
	swtpm_forgive(&bench->swtpm);
	must(client_load(&bench->client, &bench->made));
	if (bench->made.class != KEY_CLASS_BOOT)
		verdict.err = client_unlock(&bench->client, &bench->made, PIN);
	if (!verdict.err && bench->made.kind != KEY_KIND_SYMMETRIC)
		verdict = unwrap(bench, &bench->made);
	must(client_unload(&bench->client, &bench->made));
	return verdict.err || verdict.outcome != RIGHT ? (struct verdict){ WRONG, verdict.err } : verdict;
}

static struct verdict act_create_p256(struct bench *bench)
{
	return judged(client_create(&bench->client, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, NULL, &bench->made),
	              OK);
}

static struct verdict act_import(struct bench *bench)
{
	return judged(client_create(&bench->client, KEY_KIND_X25519, KEY_CLASS_SESSION, PIN,
	                            bench->x25519.import, &bench->made),
	              OK);
}

static struct verdict act_create_symmetric(struct bench *bench)
{
	return judged(
	        client_create(&bench->client, KEY_KIND_SYMMETRIC, KEY_CLASS_SESSION, PIN, NULL, &bench->made),
	        OK);
}

/* The first key of a new TPM, whose storage root key is not there yet. */
static void before_first_create(struct bench *bench)
{
	uint8_t answer[INTERPOSER_PACKET_MAX];

	lose_device(bench);
	if (swtpm_command(&bench->swtpm, "8001 00000173 81000001", answer, NULL) == 0)
		swtpm_evict_srk(&bench->swtpm);
}

struct operation {
	const char *name;
	bool transient; /* something else stands where the storage root key should be */
	void (*before)(struct bench *bench);
	struct verdict (*act)(struct bench *bench);
	struct verdict (*prove)(struct bench *bench); /* NULL: a right answer is proof enough */
};

static const struct operation operations[] = {
	{ "unwrap_p256", false, nothing, act_p256, NULL },
	{ "first_unwrap_p256", false, before_first_p256, act_p256, NULL },
	{ "unwrap_x25519", false, before_x25519, act_x25519, NULL },
	{ "first_unwrap_x25519", false, before_first_x25519, act_x25519, NULL },
	{ "unwrap_third", false, before_third, act_third, NULL },
	{ "unwrap_saved", false, before_saved, act_p256, NULL },
	{ "unlock_p256", false, before_unlock, act_unlock_p256, NULL },
	{ "unlock_x25519", false, before_unlock, act_unlock_x25519, NULL },
	{ "wrong_pin", false, before_unlock, act_wrong_pin, NULL },
	{ "wrong_pin_sealed", false, before_unlock, act_wrong_pin_sealed, NULL },
	{ "unwrap_unlocked", false, before_open_p256, act_open_p256, NULL },
	{ "status", false, nothing, act_status, NULL },
	{ "create_p256", false, nothing, act_create_p256, prove_made },
	{ "import_with_pin", false, nothing, act_import, prove_made },
	{ "create_symmetric", false, nothing, act_create_symmetric, prove_made },
	{ "first_create", false, before_first_create, act_create_p256, prove_made },
	{ "transient_first_unwrap", true, before_first_p256, act_p256, NULL },
	{ "transient_import", true, before_first_p256, act_import, prove_made },
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* ---- a bench: a TPM, a helper, keys ---- */

static void make(struct bench *bench, enum key_kind kind, enum key_class class, const uint8_t *import,
                 struct test_key *ret_key)
{
	must(client_create(&bench->client, kind, class, class == KEY_CLASS_BOOT ? NULL : PIN, import,
	                   ret_key));
	must(client_load(&bench->client, ret_key));
}

static void bench_start(struct bench *bench, bool transient)
{
	uint8_t import[SEALED_LEN];

	memset(bench, 0, sizeof(*bench));
	bench->in_long_form = getenv("INTERPOSER_LONG") != NULL;
	bench->interposer = interposer_new();
	interposer_begin(bench->interposer);
	swtpm_new(&bench->swtpm);
	if (transient)
		swtpm_occupy_srk(&bench->swtpm);
	client_fork(&bench->client, &tpm_token_ops, bench->swtpm.uri + strlen("tpm:"));
	randombytes_buf(import, sizeof(import));
	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &bench->p256);
	interposer_begin(bench->interposer);
	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &bench->other);
	make(bench, KEY_KIND_P256, KEY_CLASS_BOOT, NULL, &bench->third);
	interposer_begin(bench->interposer);
	make(bench, KEY_KIND_X25519, KEY_CLASS_BOOT, import, &bench->x25519);
	make(bench, KEY_KIND_P256, KEY_CLASS_SESSION, NULL, &bench->pin_p256);
	make(bench, KEY_KIND_X25519, KEY_CLASS_SESSION, NULL, &bench->pin_x25519);
	interposer_begin(bench->interposer);
	assert_int_equal(unwrap(bench, &bench->p256).outcome, RIGHT);
	must(client_status(&bench->client, &bench->status));
	bench->client.trusted = &bench->p256;
	assert_int_equal(bench->p256.blob.parent, transient ? TPM_SRK_TRANSIENT : TPM_SRK_HANDLE);
}

static void bench_end(struct bench *bench)
{
	interposer_begin(bench->interposer);
	assert_int_equal(client_end(&bench->client), 0);
	swtpm_free(&bench->swtpm);
}

/* ---- one attack ---- */

static char doing[160]; /* for the signal handler, and for what went wrong */

static void too_late(int number)
{
	(void)number;
	(void)!write(STDERR_FILENO, "no answer: ", 11);
	(void)!write(STDERR_FILENO, doing, strlen(doing));
	(void)!write(STDERR_FILENO, "\n", 1);
	_exit(1);
}

/* Those that common/token.h allows a backend, without the two of an exhausted machine; TIMEOUT is the broker's to say here. */
static bool documented(enum err err)
{
	static const enum err errs[] = { ERR_NO_TOKEN,  ERR_TOKEN_STATE, ERR_TOKEN_FULL,     ERR_PIN_NEEDED,
		                         ERR_PIN_WRONG, ERR_PIN_LOCKED,  ERR_BAD_CIPHERTEXT, ERR_BUSY,
		                         ERR_TOKEN,     ERR_UNSUPPORTED };

	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++)
		if (errs[i] == err)
			return true;
	return false;
}

/* Each command and what the TPM said to it. */
static void conversation(const struct interposer *interposer, char *text, size_t text_len)
{
	size_t len = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < interposer->count && len + 10 < text_len; i++)
		len += (size_t)snprintf(text + len, text_len - len, " %03x:%03x",
		                        interposer_code(&interposer->log[i]),
		                        interposer_answer(&interposer->log[i]));
}

static void complain(struct bench *bench, const char *what, enum err err)
{
	char now[10 * INTERPOSER_LOG + 1];

	bench->count.wrong++;
	conversation(bench->interposer, now, sizeof(now));
	print_error("%s: %s (%s); %u objects, %u sessions; attack:%s; now:%s\n", doing, what,
	            err_info(err)->name, swtpm_objects(&bench->swtpm), swtpm_sessions(&bench->swtpm),
	            bench->attack, now);
}

/* One fault is to be counted once. */
static void clean(struct bench *bench)
{
	uint32_t handle;

	lose_device(bench);
	while ((handle = swtpm_first_object(&bench->swtpm)) != 0)
		swtpm_flush(&bench->swtpm, handle);
	for (handle = 0x02000000; handle < 0x02000003; handle++)
		(void)swtpm_try_flush(&bench->swtpm, handle);
}

static bool too_much_left(const struct bench *bench)
{
	return swtpm_objects(&bench->swtpm) > TPM_OBJECTS_MAX || swtpm_sessions(&bench->swtpm) > 1;
}

/* With the interposer gone it works at once, and nothing was left on the TPM. */
static void recover(struct bench *bench, const struct operation *operation, bool may_leave_a_session)
{
	const unsigned wrong_before = bench->count.wrong;
	struct token_status status;
	struct verdict verdict;

	interposer_begin(bench->interposer);
	operation->before(bench);
	verdict = operation->act(bench);
	if (verdict.outcome == RIGHT && operation->prove)
		verdict = operation->prove(bench);
	if (verdict.outcome != RIGHT)
		complain(bench, "afterwards it does not work", verdict.err);
	/* What was lost is looked for when the device is opened the next time, or when there is no room. */
	if (too_much_left(bench)) {
		lose_device(bench);
		must(client_status(&bench->client, &status));
	}
	if (too_much_left(bench)) {
		if (may_leave_a_session && swtpm_objects(&bench->swtpm) <= TPM_OBJECTS_MAX)
			bench->count.left++;
		else
			complain(bench, "something is left on the TPM", OK);
		clean(bench);
	}
	if (bench->count.wrong > wrong_before)
		clean(bench);
}

static void note(struct bench *bench, struct verdict verdict)
{
	struct count *count = &bench->count;

	count->done++;
	count->refused += verdict.outcome == REFUSED;
	count->right += verdict.outcome == RIGHT;
	count->unprotected += verdict.outcome == UNPROTECTED;
	if (verdict.outcome == REFUSED)
		count->errs[verdict.err]++;
	if (verdict.outcome == WRONG)
		complain(bench, "answered wrong", verdict.err);
	if (verdict.outcome == REFUSED && !documented(verdict.err))
		complain(bench, "an error that is not documented", verdict.err);
}

struct attack {
	enum interposer_act act;
	uint32_t target, at, value;
	bool always;
};

/* Does the operation with the interposer told what to do; what it saw stands in its log, unless the answer had to be proven. */
static struct verdict act_under(struct bench *bench, const struct operation *operation, struct attack attack)
{
	struct interposer *interposer = bench->interposer;
	struct verdict verdict;

	interposer_begin(interposer);
	operation->before(bench);
	interposer_begin(interposer);
	interposer->target = attack.target;
	interposer->at = attack.at;
	interposer->value = attack.value;
	interposer->always = attack.always;
	interposer->act = attack.act;
	verdict = operation->act(bench);
	bench->acted = interposer->acted > 0;
	conversation(interposer, bench->attack, sizeof(bench->attack));
	if (verdict.outcome == RIGHT && operation->prove)
		verdict = operation->prove(bench);
	return verdict;
}

/* False when there is no such response, or no such byte of it: then it is no attack. */
static bool attack(struct bench *bench, const struct operation *operation, struct attack attack)
{
	struct verdict verdict;

	(void)snprintf(doing, sizeof(doing), "%s: act %d on response %u%s, at %u, value %#x", operation->name,
	               (int)attack.act, attack.target, attack.always ? " and on" : "", attack.at,
	               attack.value);
	(void)alarm(ANSWER_SECONDS);
	verdict = act_under(bench, operation, attack);
	if (bench->acted)
		note(bench, verdict);
	else if (verdict.outcome != RIGHT)
		complain(bench, "nothing was done to it, and it does not work", verdict.err);
	/* Who lies about which sessions there are can have one of ours taken for somebody else's, which it could start itself as well. */
	recover(bench, operation, attack.act == INTERPOSER_SUBSTITUTE);
	(void)alarm(0);
	return bench->acted;
}

static bool attack_both(struct bench *bench, const struct operation *operation, struct attack one)
{
	bool acted = attack(bench, operation, one);

	one.always = true;
	if (acted && bench->in_long_form)
		(void)attack(bench, operation, one);
	return acted;
}

/* How it goes when nobody is between: the conversation is the bench's old one. */
static unsigned rehearse(struct bench *bench, const struct operation *operation)
{
	(void)snprintf(doing, sizeof(doing), "%s: undisturbed", operation->name);
	interposer_begin(bench->interposer);
	operation->before(bench);
	interposer_begin(bench->interposer);
	assert_int_equal(operation->act(bench).outcome, RIGHT);
	interposer_keep(bench->interposer);
	assert_true(bench->interposer->old_count > 0);
	recover(bench, operation, false);
	assert_int_equal(bench->count.wrong, 0);
	return (unsigned)bench->interposer->old_count;
}

static void print_count(const char *part, const char *name, const struct count *count)
{
	print_message("%s %-24s %6u: refused %u, right %u, wrong %u;", part, name, count->done,
	              count->refused, count->right, count->wrong);
	if (count->unprotected)
		print_message(" what no session protects %u;", count->unprotected);
	if (count->left)
		print_message(" a session left on the TPM %u;", count->left);
	for (size_t i = 0; i < ERR_COUNT; i++)
		if (count->errs[i])
			print_message(" %s %u", err_info((enum err)i)->name, count->errs[i]);
	print_message("\n");
}

typedef void (*attack_all)(struct bench *bench, const struct operation *operation, unsigned responses);

static bool wanted(const char *name)
{
	const char *only = getenv("INTERPOSER_OPERATION");

	return !only || strcmp(only, name) == 0;
}

static void count_add(struct count *total, const struct count *count)
{
	total->done += count->done;
	total->refused += count->refused;
	total->right += count->right;
	total->unprotected += count->unprotected;
	total->left += count->left;
	total->wrong += count->wrong;
	for (size_t i = 0; i < ERR_COUNT; i++)
		total->errs[i] += count->errs[i];
}

static void each_operation(const char *part, attack_all attacks)
{
	static struct bench bench;
	struct count total = { 0 };
	unsigned responses, all_responses = 0;

	(void)signal(SIGALRM, too_late);
	for (size_t i = 0; i < OPERATIONS; i++) {
		if (!wanted(operations[i].name))
			continue;
		bench_start(&bench, operations[i].transient);
		responses = rehearse(&bench, &operations[i]);
		attacks(&bench, &operations[i], responses);
		bench_end(&bench);
		print_count(part, operations[i].name, &bench.count);
		count_add(&total, &bench.count);
		all_responses += responses;
	}
	print_message("%u responses\n", all_responses);
	print_count(part, "in all", &total);
	assert_true(total.done > 0);
	assert_int_equal(total.wrong, 0);
}

/* ---- the parts ---- */

/* Answers of one kind are done in full where they first appear, and in steps in the operations after that. */
static bool is_new(const struct bench *bench, uint32_t target)
{
	static struct {
		uint32_t code;
		size_t len;
	} seen[256];
	static size_t count;
	const struct interposer_exchange *exchange = &bench->interposer->old[target];

	for (size_t i = 0; i < count; i++)
		if (seen[i].code == interposer_code(exchange) && seen[i].len == exchange->response_len)
			return false;
	assert_true(count < sizeof(seen) / sizeof(seen[0]));
	seen[count].code = interposer_code(exchange);
	seen[count++].len = exchange->response_len;
	return true;
}

/* Every byte of every answer; which bit of it goes round with the position. The conversation is the one that is, and not the rehearsed one: how it goes depends on what is left from
 * the attack before. */
static void flips(struct bench *bench, const struct operation *operation, unsigned responses)
{
	for (uint32_t target = 0; target < responses; target++) {
		const uint32_t step = bench->in_long_form || is_new(bench, target) ? 1 : 5;
		bool acted = true;

		for (uint32_t at = 0; acted; at += step)
			for (uint32_t bit = 0; bit < 8; bit++)
				if (bench->in_long_form || bit == (at * 5 + target * 3) % 8)
					acted = attack_both(bench, operation,
					                    (struct attack){ INTERPOSER_FLIP, target, at,
					                                     1U << bit, false });
	}
}

static void test_flips(void **state)
{
	(void)state;
	each_operation("flips", flips);
}

/* Cut at every length, with a header that says so and with one that does not; and longer. */
static void lengths(struct bench *bench, const struct operation *operation, unsigned responses)
{
	static const uint32_t more[] = { 1, 2, 4, 64, 700, 3000 };

	for (uint32_t target = 0; target < responses; target++) {
		const uint32_t len = (uint32_t)bench->interposer->old[target].response_len;
		const uint32_t step = bench->in_long_form || is_new(bench, target) ? 1 : 5;

		for (uint32_t at = 1; at < len; at += step)
			(void)attack_both(bench, operation,
			                  (struct attack){ INTERPOSER_CUT_WHOLE, target, at, 0, false });
		for (uint32_t at = 1; at < len; at += 7 * step)
			(void)attack_both(bench, operation,
			                  (struct attack){ INTERPOSER_CUT, target, at, 0, false });
		for (uint32_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
			(void)attack_both(bench, operation,
			                  (struct attack){ INTERPOSER_GROW, target, more[i], i, false });
			(void)attack_both(
			        bench, operation,
			        (struct attack){ INTERPOSER_GROW_WHOLE, target, more[i], i, false });
		}
	}
}

static void test_lengths(void **state)
{
	(void)state;
	each_operation("lengths", lengths);
}

/* Lost, late, from another time, to another command. */
static void order(struct bench *bench, const struct operation *operation, unsigned responses)
{
	for (uint32_t target = 0; target < responses; target++) {
		for (int always = 0; always < 2; always++) {
			(void)attack(bench, operation,
			             (struct attack){ INTERPOSER_DROP, target, 0, 0, always });
			(void)attack(bench, operation,
			             (struct attack){ INTERPOSER_LOSE, target, 0, 0, always });
			for (uint32_t old = 0; old < responses; old++)
				(void)attack(
				        bench, operation,
				        (struct attack){ INTERPOSER_SUBSTITUTE, target, old, 0, always });
		}
		(void)attack(bench, operation, (struct attack){ INTERPOSER_LATE, target, 0, 0, false });
	}
}

static void test_order(void **state)
{
	(void)state;
	each_operation("order", order);
}

/* Errors that the TPM did not say; the last ones pretend to be of a layer above it. */
static void errors(struct bench *bench, const struct operation *operation, unsigned responses)
{
	static const uint32_t codes[] = {
		0x100,      0x101,      0x120,      0x143,      0x921,      0x922,      0x908,
		0x90a,      0x98e,      0x9a2,      0x902,      0x903,      0x905,      0x910,
		0x918,      0x18b,      0x1df,      0x095,      0x084,      0x1d5,      0x3a7,
		0x099,      0x923,      0x12f,      0x00070007, 0x0007000b, 0x000a000a, 0x000a0009,
		0x000b0902, 0x80280400, 0x7fffffff, 0xffffffff,
	};

	for (uint32_t target = 0; target < responses; target++)
		for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
			(void)attack_both(bench, operation,
			                  (struct attack){ INTERPOSER_ERROR, target, 0, codes[i], false });
}

static void test_errors(void **state)
{
	(void)state;
	each_operation("errors", errors);
}

/* ---- the storage root key, swapped ---- */

static bool sent(const struct interposer *interposer, uint32_t code)
{
	for (uint32_t i = 0; i < interposer->count; i++)
		if (interposer_code(&interposer->log[i]) == code)
			return true;
	return false;
}

/* Each time that the key is shown, alone and together with others. Where the operation goes on with a parent that is ours after all, that is right; else nothing was begun. */
static void swaps(struct bench *bench, const struct operation *operation, unsigned responses)
{
	struct interposer *interposer = bench->interposer;
	struct verdict verdict;

	(void)responses;
	for (uint32_t i = 1; i <= 32; i++) {
		const struct attack swap = { INTERPOSER_SWAP, 0, 0, i == 32 ? UINT32_MAX : i, false };

		(void)snprintf(doing, sizeof(doing), "%s: swapped, %#x", operation->name, swap.value);
		(void)alarm(ANSWER_SECONDS);
		verdict = act_under(bench, operation, swap);
		/* The key is not shown that often in this operation, or not at all. */
		if (!bench->acted)
			continue;
		note(bench, verdict);
		if (verdict.outcome == REFUSED && sent(interposer, TPM2_CC_StartAuthSession))
			complain(bench, "a session was begun", OK);
		if (interposer_reads(interposer, bench->x25519.import, SEALED_LEN))
			complain(bench, "the interposer has read the key", OK);
		recover(bench, operation, false);
		(void)alarm(0);
	}
}

/* The control: a helper that is told of no parent takes the first it is shown, and then the interposer reads what is sealed. */
static void test_swaps_seen(void **state)
{
	static const struct operation import = { "untold_import", false, before_first_p256, act_import,
		                                 NULL };
	const struct attack swap = { INTERPOSER_SWAP, 0, 0, UINT32_MAX, false };
	static struct bench bench;

	(void)state;
	(void)alarm(ANSWER_SECONDS);
	bench_start(&bench, false);
	bench.client.trusted = NULL;
	assert_int_equal(act_under(&bench, &import, swap).outcome, REFUSED);
	assert_true(sent(bench.interposer, TPM2_CC_StartAuthSession));
	assert_true(interposer_reads(bench.interposer, bench.x25519.import, SEALED_LEN));
	bench_end(&bench);
	(void)alarm(0);
	print_message("swaps: the control's key is read by the interposer\n");
}

/* ---- two parents, one of them believed though it is no TPM's ---- */

static void lured_make(struct bench *bench)
{
	uint8_t answer[INTERPOSER_PACKET_MAX];
	size_t len;

	must(swtpm_command(&bench->swtpm, "8001 00000173 81000001", answer, &len) ? ERR_TOKEN : OK);
	bench->lured = bench->p256;
	randombytes_buf(bench->lured.id.bytes, KEY_ID_LEN);
	interposer_swap(answer, len, bench->lured.blob.parent_name);
	must(client_load(&bench->client, &bench->lured));
}

/* The first is shown its parent, the interposer's key; the other is imported under the TPM's. */
static struct verdict act_lured_import(struct bench *bench)
{
	assert_int_equal(unwrap(bench, &bench->lured).outcome, REFUSED);
	return act_import(bench);
}

static void test_swaps_lured(void **state)
{
	static const struct operation import = { "lured_import", false, before_first_p256, act_lured_import,
		                                 NULL };
	const struct attack swap = { INTERPOSER_SWAP, 0, TPM2_RC_INTEGRITY, 1, false };
	static struct bench bench;

	(void)state;
	(void)alarm(ANSWER_SECONDS);
	bench_start(&bench, false);
	lured_make(&bench);
	(void)act_under(&bench, &import, swap);
	assert_true(bench.acted && sent(bench.interposer, TPM2_CC_Create));
	assert_false(interposer_reads(bench.interposer, bench.x25519.import, SEALED_LEN));
	bench_end(&bench);
	(void)alarm(0);
}

static void test_swaps(void **state)
{
	(void)state;
	each_operation("swaps", swaps);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flips),      cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_order),      cmocka_unit_test(test_errors),
		cmocka_unit_test(test_swaps_seen), cmocka_unit_test(test_swaps_lured),
		cmocka_unit_test(test_swaps),
	};
	char filter[64];

	if (!swtpm_available()) {
		(void)printf("SKIP: swtpm is not installed\n");
		return 77;
	}
	if (argc > 1) {
		(void)snprintf(filter, sizeof(filter), "test_%s*", argv[1]);
		cmocka_set_test_filter(filter);
	}
	return cmocka_run_group_tests_name("tpm_interposer", tests, NULL, NULL);
}
