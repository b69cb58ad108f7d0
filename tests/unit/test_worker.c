/*
 * Whose call goes to a helper when: the helper is this file, and answers when it is told to. A row is who asks, in what order and at what cost, and what goes out first. And what becomes of calls
 * when helpers die.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "tokend/worker.h"

#define CALLS_MAX 32U

struct lab;

struct asked {
	struct worker_call call;
	struct lab *lab;
	uint8_t letter; /* goes along, as the message's one field */
	bool done;
};

struct lab {
	sd_event *event;
	struct worker *worker;
	int helper;
	uint32_t answered; /* id of the last answer, after HELLO's */
	size_t starts; /* asked for */
	enum err expected; /* what calls are done with */
	size_t count;
	struct asked asked[CALLS_MAX];
};

static bool count_start(void *context, size_t index)
{
	(void)index;
	((struct lab *)context)->starts++;
	return true;
}

static void nothing_ended(void *context, size_t index)
{
	(void)context;
	(void)index;
}

static void nothing_lost(void *context, struct worker *worker)
{
	(void)context;
	(void)worker;
}

static enum err build(struct worker_call *call, struct buf *packet)
{
	uint8_t id[KEY_ID_LEN] = { ((struct asked *)call)->letter };

	return token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(id, sizeof(id)));
}

static void done(struct worker_call *call, enum err err, const struct token_message *message)
{
	struct asked *asked = (struct asked *)call;

	(void)message;
	assert_int_equal(err, asked->lab->expected);
	assert_false(asked->done);
	asked->done = true;
}

static void answer_to(struct lab *lab, uint32_t id, enum token_op op, enum err err)
{
	CLEANUP(buf_freep) struct buf *packet = NULL;
	static const uint8_t box_key[TOKEN_BOX_KEY_LEN] = "box";
	struct bytes bytes;

	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &packet), OK);
	assert_int_equal(token_message_begin(packet, op, err, id), OK);
	if (op == TOKEN_OP_HELLO)
		assert_int_equal(
		        token_message_put(packet, TOKEN_FIELD_BOX_KEY, bytes_of(box_key, sizeof(box_key))),
		        OK);
	assert_int_equal(token_message_end(packet), OK);
	bytes = buf_bytes(packet);
	assert_int_equal(send(lab->helper, bytes.data, bytes.len, 0), bytes.len);
	while (sd_event_run(lab->event, 1000) > 0)
		;
}

/* To the question that came next after the last one. */
static void give_answer(struct lab *lab, enum token_op op, enum err err)
{
	answer_to(lab, ++lab->answered, op, err);
}

/* The letters of what came to the helper since the last look. */
static void look(struct lab *lab, char letters[static CALLS_MAX + 1])
{
	static uint8_t packet[TOKEN_MESSAGE_MAX];
	struct token_message message;
	struct key_id id;
	size_t count = 0;
	ssize_t len;

	while ((len = recv(lab->helper, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
		assert_int_equal(token_message_parse(bytes_of(packet, (size_t)len), &message), OK);
		if (message.op == TOKEN_OP_HELLO)
			continue;
		assert_int_equal(token_message_key_id(&message, &id), OK);
		letters[count++] = (char)id.bytes[0];
	}
	letters[count] = '\0';
}

/* The helper that was asked for is there, and says hello unless it is mute. */
static void helper_begin(struct lab *lab, bool mute)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	lab->helper = pair[0];
	worker_started(lab->worker, pair[1]);
	if (!mute)
		give_answer(lab, TOKEN_OP_HELLO, OK);
}

static void helper_dies(struct lab *lab)
{
	(void)close(lab->helper);
	lab->helper = -1;
	while (sd_event_run(lab->event, 1000) > 0)
		;
}

static void lab_begin(struct lab *lab)
{
	struct worker_settings settings = { .uri = "test",
		                            .deadline_ms = 30000,
		                            .start = count_start,
		                            .end = nothing_ended,
		                            .lost = nothing_lost,
		                            .context = lab };

	*lab = (struct lab){ .expected = ERR_NO_MATCH };
	assert_true(sd_event_new(&lab->event) >= 0);
	assert_int_equal(worker_new(lab->event, &settings, &lab->worker), OK);
	worker_start(lab->worker);
	helper_begin(lab, false);
}

static void lab_end(struct lab *lab)
{
	for (size_t i = 0; i < lab->count; i++)
		assert_true(lab->asked[i].done);
	worker_free(lab->worker);
	(void)close(lab->helper);
	sd_event_unref(lab->event);
}

/* Eight small ones fill a helper, capitals cost more than it ever has room for. Who asks is the letter, whatever its case; x to z need no device. */
static struct worker_call call_of(char letter, uint64_t order)
{
	return (struct worker_call){ .build = build,
		                     .done = done,
		                     .op = TOKEN_OP_UNWRAP,
		                     .order = order,
		                     .owner = (uint64_t)(letter | 0x20),
		                     .without_device = (letter | 0x20) >= 'x',
		                     .cost = letter < 'a' ? 2 * WORKER_SENT_MAX : WORKER_SENT_MAX / 8 };
}

/* One call for each letter. */
static void submit(struct lab *lab, const char *letters, uint64_t order)
{
	for (; *letters; letters++) {
		struct asked *asked = &lab->asked[lab->count++];

		asked->lab = lab;
		asked->letter = (uint8_t)*letters;
		asked->call = call_of(*letters, order);
		worker_submit(lab->worker, &asked->call);
	}
}

static const struct row {
	const char *first, *then; /* what is asked, and what when the helper is busy with it */
	uint64_t then_order; /* first's is 5 */
	const char *sent[6]; /* at first, then after each answer */
} rows[] = {
	{ "aaaaaaaaaa", "", 0, { "aaaaaaaa", "a", "a", "" } },
	/* What costs much goes alone, and a newcomer is next, though its turn came later. */
	{ "AAAA", "b", 9, { "A", "b", "A", "A", "A" } },
	{ "AAAA", "bB", 9, { "A", "b", "A", "B", "A", "A" } },
	{ "AAAA", "BBcc", 9, { "A", "B", "c", "A", "B", "c" } },
	{ "aaaaaaaaaa", "bb", 9, { "aaaaaaaa", "b", "a", "b", "a", "" } },
	{ "aA", "b", 9, { "ab", "", "A" } },
	{ "aaaaaaaaaa", "b", 1, { "aaaaaaaa", "b", "a", "a" } },
};

static void test_turns(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		char letters[CALLS_MAX + 1];
		struct lab lab;

		lab_begin(&lab);
		submit(&lab, row->first, 5);
		submit(&lab, row->then, row->then_order);
		for (size_t n = 0; n < lab.count; n++) {
			look(&lab, letters);
			if (n < 6 && row->sent[n] && strcmp(letters, row->sent[n]) != 0)
				fail_msg("row %zu: \"%s\" after %zu answers", i, letters, n);
			give_answer(&lab, TOKEN_OP_UNWRAP, ERR_NO_MATCH);
		}
		lab_end(&lab);
	}
}

/* A helper that is full of what needs the device has room for what does not, and answers that first; and what it has answered is not asked again of the next one. */
static void test_lanes(void **state)
{
	char letters[CALLS_MAX + 1];
	struct lab lab;

	(void)state;
	lab_begin(&lab);
	submit(&lab, "aaaaaaaaaXxy", 5);
	look(&lab, letters);
	assert_string_equal(letters, "aaaaaaaaX"); /* ids 2 to 10; X alone in its lane */
	answer_to(&lab, 10, TOKEN_OP_UNWRAP, ERR_NO_MATCH);
	assert_true(lab.asked[9].done);
	look(&lab, letters);
	assert_string_equal(letters, "yx");
	answer_to(&lab, 12, TOKEN_OP_UNWRAP, ERR_NO_MATCH);
	assert_true(lab.asked[10].done && !lab.asked[11].done);
	helper_dies(&lab);
	lab.answered = 12;
	helper_begin(&lab, false);
	look(&lab, letters);
	assert_string_equal(letters, "aaaayaaaa"); /* HELLO is work as well */
	for (size_t i = 0; i < 10; i++)
		give_answer(&lab, TOKEN_OP_UNWRAP, ERR_NO_MATCH);
	lab_end(&lab);
}

/* An answer to nothing that was asked, or to something else: the helper is given up. */
static void test_senseless_answers(void **state)
{
	static const struct {
		uint32_t id;
		enum token_op op;
	} answers[] = { { 3, TOKEN_OP_UNWRAP }, { 1, TOKEN_OP_UNWRAP }, { 2, TOKEN_OP_LOCK } };

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct lab lab;

		lab_begin(&lab);
		lab.expected = ERR_TOKEN;
		submit(&lab, "a", 5);
		answer_to(&lab, answers[i].id, answers[i].op, ERR_NO_MATCH);
		assert_true(lab.asked[0].done);
		lab_end(&lab);
	}
}

/* ---- helpers that die ---- */

/* For at most so long, until another start was asked for. Returns the milliseconds it took. */
static unsigned wait_for_start(struct lab *lab, size_t starts, unsigned milliseconds)
{
	uint64_t begin, now;

	assert_true(sd_event_now(lab->event, CLOCK_MONOTONIC, &begin) >= 0);
	do {
		assert_true(sd_event_run(lab->event, 10000) >= 0);
		assert_true(sd_event_now(lab->event, CLOCK_MONOTONIC, &now) >= 0);
	} while (lab->starts < starts && now - begin < milliseconds * 1000ULL);
	assert_int_equal(lab->starts, starts);
	return (unsigned)((now - begin) / 1000);
}

/* The call that was on its way to a helper that died is asked again, of the next. */
static void test_call_survives_a_death(void **state)
{
	char letters[CALLS_MAX + 1];
	struct lab lab;

	(void)state;
	lab_begin(&lab);
	for (size_t deaths = 1; deaths <= 3; deaths++) {
		submit(&lab, "a", 5);
		look(&lab, letters);
		assert_string_equal(letters, "a");
		helper_dies(&lab);
		/* At once, then after 250 and 500 ms. */
		assert_true(wait_for_start(&lab, deaths + 1, 5000) >= (deaths - 1) * 200);
		lab.answered++; /* nobody answered it */
		helper_begin(&lab, false);
		look(&lab, letters);
		assert_string_equal(letters, "a");
		give_answer(&lab, TOKEN_OP_UNWRAP, ERR_NO_MATCH);
		assert_true(lab.asked[lab.count - 1].done);
	}
	lab_end(&lab);
}

/* After many deaths a call that comes waits for the next helper, and for no longer than a second. */
static void test_call_waits_for_the_next(void **state)
{
	char letters[CALLS_MAX + 1];
	struct lab lab;

	(void)state;
	lab_begin(&lab);
	for (size_t deaths = 1; deaths <= 6; deaths++) {
		helper_dies(&lab);
		/* Nobody asks for anything, so that nothing more happens than the first start. */
		assert_int_equal(lab.starts, deaths == 1 ? 2 : deaths);
		if (deaths > 1) {
			submit(&lab, "a", 5);
			assert_false(lab.asked[lab.count - 1].done);
			assert_true(wait_for_start(&lab, deaths + 1, 5000) <= 4000);
		}
		helper_begin(&lab, false);
		if (deaths > 1) {
			look(&lab, letters);
			assert_string_equal(letters, "a");
			give_answer(&lab, TOKEN_OP_UNWRAP, ERR_NO_MATCH);
		}
	}
	lab_end(&lab);
}

/* One that cannot even start: who waits is told at once, and whoever comes later soon. */
static void test_helper_that_cannot_start(void **state)
{
	struct lab lab;

	(void)state;
	lab_begin(&lab);
	helper_dies(&lab);
	submit(&lab, "a", 5);
	lab.expected = ERR_NO_TOKEN;
	worker_started(lab.worker, -1);
	assert_true(lab.asked[0].done);
	submit(&lab, "b", 5);
	(void)wait_for_start(&lab, 3, 5000);
	assert_false(lab.asked[1].done);
	helper_begin(&lab, true);
	helper_dies(&lab);
	assert_true(lab.asked[1].done);
	lab_end(&lab);
}

/* Where no more may wait, what the broker itself has to say, such as that a key is locked, still does; and it goes out first. */
static void test_own_calls_always_wait(void **state)
{
	static struct asked others[WORKER_WAITING_MAX + WORKER_SENT_MAX];
	struct asked own = { .letter = '!' };
	char letters[CALLS_MAX + 1];
	struct lab lab;

	(void)state;
	lab_begin(&lab);
	for (size_t i = 0; i < WORKER_WAITING_MAX + 8; i++) {
		others[i] = (struct asked){ .lab = &lab, .letter = 'a' };
		others[i].call = call_of('a', 5);
		worker_submit(lab.worker, &others[i].call);
	}
	lab.expected = ERR_BUSY;
	submit(&lab, "a", 5);
	assert_true(lab.asked[0].done);
	own.lab = &lab;
	own.call = (struct worker_call){ .build = build, .done = done, .op = TOKEN_OP_LOCK, .once = true };
	worker_submit(lab.worker, &own.call);
	assert_false(own.done);
	look(&lab, letters);
	lab.expected = ERR_NO_MATCH;
	give_answer(&lab, TOKEN_OP_UNWRAP, ERR_NO_MATCH);
	for (size_t i = 0; i < 7; i++)
		give_answer(&lab, TOKEN_OP_UNWRAP, ERR_NO_MATCH);
	look(&lab, letters);
	assert_int_equal(letters[0], '!');
	lab.expected = ERR_NO_DAEMON;
	lab.worker = worker_free(lab.worker);
	assert_true(own.done);
	lab_end(&lab);
}

/* Whoever waits when all ends is told. */
static void test_end_while_waiting(void **state)
{
	struct lab lab;

	(void)state;
	lab_begin(&lab);
	helper_dies(&lab);
	helper_begin(&lab, false);
	helper_dies(&lab);
	submit(&lab, "ab", 5);
	lab.expected = ERR_NO_DAEMON;
	lab.worker = worker_free(lab.worker);
	assert_true(lab.asked[0].done && lab.asked[1].done);
	lab_end(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lanes),
		cmocka_unit_test(test_senseless_answers),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_own_calls_always_wait),
		cmocka_unit_test(test_call_survives_a_death),
		cmocka_unit_test(test_call_waits_for_the_next),
		cmocka_unit_test(test_helper_that_cannot_start),
		cmocka_unit_test(test_end_while_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
