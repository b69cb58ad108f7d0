/*
 * The measure of refusals: a burst, then so many a second; everything beyond is counted, nothing is lost, and no number of uids makes more records than all together may have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tokend/refusals.h"

#define SECOND 1000000ULL
#define BEGIN (1000 * SECOND)

static struct refusals refusals;

static int set_up(void **state)
{
	(void)state;
	memset(&refusals, 0, sizeof(refusals));
	return 0;
}

static unsigned admitted(uid_t uid, unsigned asked, uint64_t now)
{
	unsigned count = 0;

	for (unsigned i = 0; i < asked; i++)
		count += refusals_admit(&refusals, uid, now);
	return count;
}

/* Writes all sums that are due; returns how many refusals they tell of. */
static unsigned long long sum_at(uint64_t now, bool last, unsigned *ret_sums)
{
	unsigned long long counted = 0;
	const struct refusals_user *user;

	*ret_sums = 0;
	while ((user = refusals_next(&refusals, now, last))) {
		counted += user->counted;
		(*ret_sums)++;
		refusals_summed(&refusals, user, now);
	}
	return counted;
}

static unsigned long long sum(uint64_t now, unsigned *ret_sums)
{
	return sum_at(now, false, ret_sums);
}

static void test_measure(void **state)
{
	unsigned sums;

	(void)state;
	assert_int_equal(admitted(1000, 1000, BEGIN), REFUSALS_BURST);
	assert_int_equal(admitted(1001, 10, BEGIN), 10); /* another's is his own */
	assert_int_equal(admitted(1000, 1000, BEGIN + SECOND), REFUSALS_PER_SECOND);
	assert_int_equal(sum(BEGIN + SECOND, &sums), 2000 - REFUSALS_BURST - REFUSALS_PER_SECOND);
	assert_int_equal(sums, 1);
	assert_int_equal(sum(BEGIN + SECOND, &sums), 0);
	/* The sum has cost one of the next second's. */
	assert_int_equal(admitted(1000, 1000, BEGIN + 2 * SECOND), REFUSALS_PER_SECOND - 1);
	assert_int_equal(admitted(1000, 1000, BEGIN + 1000 * SECOND), REFUSALS_BURST);
}

/* An hour of as many as can be: the records are few and every refusal is in one of them. */
static void test_hour(void **state)
{
	unsigned long long records = 0, told = 0;
	unsigned sums;

	(void)state;
	for (unsigned second = 0; second < 3600; second++) {
		unsigned singly = admitted(1000, 100, BEGIN + second * SECOND);

		told += singly + sum(BEGIN + second * SECOND, &sums);
		records += singly + sums;
	}
	assert_int_equal(told, 360000);
	assert_true(records <= REFUSALS_BURST + 3600 * REFUSALS_PER_SECOND + 1);
}

static void test_many_uids(void **state)
{
	unsigned long long singly = 0;
	unsigned sums;

	(void)state;
	for (uid_t uid = 100000; uid < 165536; uid++)
		singly += admitted(uid, 2, BEGIN);
	assert_true(singly <= REFUSALS_ALL_BURST);
	assert_int_equal(singly + sum(BEGIN, &sums), 2 * 65536);
	assert_true(sums <= REFUSALS_UIDS + 1);
}

/* Minutes of more uids than are counted apart, each of which has a sum due every second: the sums are no way past the measure of all, each has its turn, and nothing is lost. */
static void test_sums_of_many_uids(void **state)
{
	enum { UIDS = REFUSALS_UIDS + 8, SECONDS = 600, ASKED = 6 };
	unsigned long long records = 0, told = 0, singly = 0;
	unsigned sums_of[REFUSALS_UIDS + 1] = { 0 };
	const struct refusals_user *user;
	unsigned sums;

	(void)state;
	for (unsigned second = 0; second < SECONDS; second++) {
		uint64_t now = BEGIN + second * SECOND;

		for (uid_t uid = 100000; uid < 100000 + UIDS; uid++)
			singly += admitted(uid, ASKED, now);
		while ((user = refusals_next(&refusals, now, false))) {
			sums_of[user - refusals.users]++;
			told += user->counted;
			records++;
			refusals_summed(&refusals, user, now);
		}
	}
	told += singly + sum_at(BEGIN + SECONDS * SECOND, true, &sums);
	records += singly + sums;
	assert_int_equal(told, SECONDS * ASKED * UIDS);
	assert_true(records <= REFUSALS_SUMS_BURST + SECONDS * REFUSALS_ALL_PER_SECOND + REFUSALS_UIDS + 1);
	for (size_t i = 0; i <= REFUSALS_UIDS; i++)
		assert_true(sums_of[i] > SECONDS * REFUSALS_ALL_PER_SECOND / (2 * (REFUSALS_UIDS + 1)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_measure, set_up),
		cmocka_unit_test_setup(test_hour, set_up),
		cmocka_unit_test_setup(test_many_uids, set_up),
		cmocka_unit_test_setup(test_sums_of_many_uids, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
