/* Unlocks and guesses, over a clock that the rows set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tokend/unlock.h"

static const struct key_id key_a = { { 1 } };
static const struct key_id key_b = { { 2 } };
static unsigned closed_a, closed_b;

static void count_closed(void *context, const struct key_id *key)
{
	assert_null(context);
	if (key_id_equal(key, &key_a))
		closed_a++;
	else
		closed_b++;
}

static struct unlocks *begin(void)
{
	struct unlocks *unlocks = NULL;

	closed_a = closed_b = 0;
	assert_int_equal(unlocks_new(count_closed, NULL, &unlocks), OK);
	return unlocks;
}

static void test_belongs_to_one_uid(void **state)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();

	(void)state;
	assert_int_equal(unlock_open(unlocks, 1000, &key_a, 100, 60), OK);
	assert_int_equal(unlock_left(unlocks, 1000, &key_a, 100), 60);
	assert_int_equal(unlock_left(unlocks, 1000, &key_a, 159), 1);
	assert_int_equal(unlock_left(unlocks, 1000, &key_a, 160), 0);
	assert_int_equal(unlock_left(unlocks, 1001, &key_a, 100), 0);
	assert_int_equal(unlock_left(unlocks, 1000, &key_b, 100), 0);
}

static void test_closed_when_the_last_one_goes(void **state)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();

	(void)state;
	assert_int_equal(unlock_open(unlocks, 1000, &key_a, 0, 60), OK);
	assert_int_equal(unlock_open(unlocks, 1001, &key_a, 0, 90), OK);
	assert_int_equal(unlock_open(unlocks, 1001, &key_b, 0, 30), OK);
	assert_int_equal(unlock_expire(unlocks, 29), 30);
	assert_int_equal(unlock_expire(unlocks, 30), 60);
	assert_int_equal(closed_b, 1);
	assert_int_equal(unlock_expire(unlocks, 60), 90);
	assert_int_equal(closed_a, 0);
	assert_int_equal(unlock_close(unlocks, 1001, NULL), 1);
	assert_int_equal(closed_a, 1);
	assert_int_equal(unlock_expire(unlocks, 61), 0);
}

static void test_one_use(void **state)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();

	(void)state;
	assert_int_equal(unlock_open(unlocks, 1000, &key_a, 0, 60), OK);
	assert_int_equal(unlock_open(unlocks, 1000, &key_b, 0, 60), OK);
	assert_false(unlock_reserve(unlocks, 1001, &key_a, 1));
	assert_false(unlock_reserve(unlocks, 1000, &key_a, 60));
	assert_true(unlock_reserve(unlocks, 1000, &key_a, 1));
	assert_true(unlock_reserved(unlocks, 1000, &key_a));
	assert_false(unlock_reserve(unlocks, 1000, &key_a, 1));
	assert_false(unlock_reserved(unlocks, 1000, &key_b));
	unlock_give_back(unlocks, 1000, &key_a);
	assert_int_equal(closed_a, 0);
	assert_true(unlock_reserve(unlocks, 1000, &key_a, 1));
	unlock_spend(unlocks, 1000, &key_a);
	assert_int_equal(closed_a, 1);
	assert_int_equal(unlock_left(unlocks, 1000, &key_a, 1), 0);
	assert_int_equal(unlock_left(unlocks, 1000, &key_b, 1), 59);
	assert_false(unlock_reserve(unlocks, 1000, &key_a, 1));
}

/* Its time runs out while the use is on its way: giving it back opens nothing, and a new unlock's use is not had twice. */
static void test_closed_under_a_use(void **state)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();

	(void)state;
	assert_int_equal(unlock_open(unlocks, 1000, &key_a, 0, 60), OK);
	assert_true(unlock_reserve(unlocks, 1000, &key_a, 1));
	assert_int_equal(unlock_expire(unlocks, 60), 0);
	assert_int_equal(unlock_open(unlocks, 1000, &key_a, 61, 60), OK);
	assert_false(unlock_reserve(unlocks, 1000, &key_a, 62));
	unlock_spend(unlocks, 1000, &key_a);
	assert_int_equal(unlock_left(unlocks, 1000, &key_a, 62), 0);
	unlock_give_back(unlocks, 1000, &key_a);
	assert_false(unlock_reserve(unlocks, 1000, &key_a, 62));
}

static void test_lost_with_the_helper(void **state)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();

	(void)state;
	assert_int_equal(unlock_open(unlocks, 1000, &key_a, 0, 60), OK);
	assert_int_equal(unlock_open(unlocks, 1001, &key_a, 0, 60), OK);
	unlock_lost(unlocks, &key_a);
	assert_int_equal(unlock_left(unlocks, 1000, &key_a, 1), 0);
	assert_int_equal(unlock_left(unlocks, 1001, &key_a, 1), 0);
	assert_int_equal(closed_a, 0);
}

struct guess {
	int64_t at;
	enum err answer; /* of unlock_try */
	int64_t wait;
	enum err outcome; /* told to unlock_tried, when the try was allowed */
};

static void run_guesses(const struct guess *guesses, size_t count)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();

	for (size_t i = 0; i < count; i++) {
		int64_t wait = 0;
		enum err err = unlock_try(unlocks, 1000, &key_a, guesses[i].at, &wait);

		if (err != guesses[i].answer || wait != guesses[i].wait)
			fail_msg("guess %zu: %s, wait %lld", i, err_info(err)->name, (long long)wait);
		if (!err)
			unlock_tried(unlocks, 1000, &key_a, guesses[i].at, guesses[i].outcome);
	}
}

static void test_guessing_is_slowed_down(void **state)
{
	static const struct guess guesses[] = {
		{ 0, OK, 0, ERR_PIN_WRONG },
		{ 1, OK, 0, ERR_PIN_WRONG },
		{ 2, OK, 0, ERR_PIN_WRONG },
		{ 3, ERR_PIN_LOCKED, 29, OK },
		{ 31, ERR_PIN_LOCKED, 1, OK },
		{ 32, OK, 0, ERR_PIN_WRONG },
		{ 33, ERR_PIN_LOCKED, 59, OK },
		{ 92, OK, 0, ERR_PIN_WRONG },
		{ 92, ERR_PIN_LOCKED, 120, OK },
		{ 212, OK, 0, OK }, /* the right one: all is forgotten */
		{ 213, OK, 0, ERR_PIN_WRONG },
		{ 214, OK, 0, ERR_PIN_WRONG },
		{ 214 + UNLOCK_WINDOW + 1, OK, 0, ERR_PIN_WRONG }, /* and so it is after a while */
		{ 214 + UNLOCK_WINDOW + 2, OK, 0, ERR_PIN_WRONG },
		{ 214 + UNLOCK_WINDOW + 3, OK, 0, ERR_PIN_WRONG },
		{ 214 + UNLOCK_WINDOW + 4, ERR_PIN_LOCKED, 29, OK },
	};

	(void)state;
	run_guesses(guesses, sizeof(guesses) / sizeof(guesses[0]));
}

/* The number that is said is the number that can be tried. */
static void test_tries_left(void **state)
{
	static const struct {
		int64_t at;
		enum err outcome; /* of a try made then */
		unsigned left; /* after it */
	} rows[] = {
		{ 0, ERR_PIN_WRONG, 2 },
		{ 1, ERR_NO_TOKEN, 2 },
		{ 2, ERR_PIN_WRONG, 1 },
		{ 3, OK, 3 },
		{ 4, ERR_PIN_WRONG, 2 },
		{ 5, ERR_PIN_WRONG, 1 },
		{ 6, ERR_PIN_WRONG, 0 },
		{ 6 + 30, ERR_PIN_WRONG, 0 }, /* after a pause one, and then the next pause */
		{ 36 + 60, ERR_NO_TOKEN, 1 },
		{ 96 + UNLOCK_WINDOW + 1, ERR_NO_TOKEN, 3 },
	};
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();
	int64_t wait;

	(void)state;
	assert_int_equal(unlock_tries_left(unlocks, 1000, &key_a, 0), UNLOCK_TRIES);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned before;

		assert_int_equal(unlock_try(unlocks, 1000, &key_a, rows[i].at, &wait), OK);
		before = unlock_tries_left(unlocks, 1000, &key_a, rows[i].at);
		unlock_tried(unlocks, 1000, &key_a, rows[i].at, rows[i].outcome);
		assert_int_equal(unlock_tries_left(unlocks, 1000, &key_a, rows[i].at), rows[i].left);
		assert_true(before < UNLOCK_TRIES); /* one on its way is spent until it is judged */
	}
	assert_int_equal(unlock_tries_left(unlocks, 1001, &key_a, 0), UNLOCK_TRIES);
}

/* A device that did not judge the PIN has not spent a guess. */
static void test_only_wrong_counts(void **state)
{
	static const struct guess guesses[] = {
		{ 0, OK, 0, ERR_NO_TOKEN },  { 1, OK, 0, ERR_TIMEOUT },     { 2, OK, 0, ERR_TOKEN_STATE },
		{ 3, OK, 0, ERR_PIN_WRONG }, { 4, OK, 0, ERR_PIN_LOCKED },  { 5, OK, 0, ERR_PIN_WRONG },
		{ 6, OK, 0, ERR_PIN_WRONG }, { 7, ERR_PIN_LOCKED, 29, OK },
	};

	(void)state;
	run_guesses(guesses, sizeof(guesses) / sizeof(guesses[0]));
}

/* Many at once are not more guesses than one after another. */
static void test_guesses_in_parallel(void **state)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();
	int64_t wait;

	(void)state;
	for (unsigned i = 0; i < UNLOCK_TRIES; i++)
		assert_int_equal(unlock_try(unlocks, 1000, &key_a, 0, &wait), OK);
	assert_int_equal(unlock_try(unlocks, 1000, &key_a, 0, &wait), ERR_BUSY);
	assert_int_equal(wait, 1);
	assert_int_equal(unlock_try(unlocks, 1001, &key_a, 0, &wait), OK);
	assert_int_equal(unlock_try(unlocks, 1000, &key_b, 0, &wait), OK);
}

static void test_the_longest_pause(void **state)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();
	int64_t now = 0, wait = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		while (unlock_try(unlocks, 1000, &key_a, now, &wait) == ERR_PIN_LOCKED)
			now += wait;
		unlock_tried(unlocks, 1000, &key_a, now, ERR_PIN_WRONG);
	}
	assert_int_equal(unlock_try(unlocks, 1000, &key_a, now, &wait), ERR_PIN_LOCKED);
	assert_int_equal(wait, UNLOCK_PAUSE_MAX);
}

/* Strangers fill the table only until their guesses are old. */
static void test_ceiling(void **state)
{
	CLEANUP(unlocks_freep) struct unlocks *unlocks = begin();
	int64_t wait;

	(void)state;
	for (uid_t uid = 0; uid < UNLOCKS_MAX; uid++) {
		assert_int_equal(unlock_try(unlocks, uid, &key_a, 0, &wait), OK);
		unlock_tried(unlocks, uid, &key_a, 0, ERR_PIN_WRONG);
	}
	assert_int_equal(unlock_try(unlocks, UNLOCKS_MAX, &key_a, 0, &wait), ERR_BUSY);
	assert_int_equal(unlock_try(unlocks, UNLOCKS_MAX, &key_a, UNLOCK_WINDOW + 1, &wait), OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_belongs_to_one_uid),
		cmocka_unit_test(test_closed_when_the_last_one_goes),
		cmocka_unit_test(test_one_use),
		cmocka_unit_test(test_closed_under_a_use),
		cmocka_unit_test(test_lost_with_the_helper),
		cmocka_unit_test(test_guessing_is_slowed_down),
		cmocka_unit_test(test_tries_left),
		cmocka_unit_test(test_only_wrong_counts),
		cmocka_unit_test(test_guesses_in_parallel),
		cmocka_unit_test(test_the_longest_pause),
		cmocka_unit_test(test_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
