/* OpenSSL made ready while memory is short: of its allocations each STEPth fails in turn (TOKEND_TEST_POINTS=all: each), each time in a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tpm/crypto_ready.h"

#define STEP 11U

/* How a process ends. CRASHED: OpenSSL 3.0 itself does not check all it allocates; a helper that ends so has not touched the device, and is started anew. */
enum end { READY, REFUSED, CRASHED, NEVER_AGAIN, NOT_OURS, ENDS };

static size_t *allocations; /* how many there were; shared with the processes */
static size_t failing; /* which one; 0: none */
static bool counting = true;

static bool fails(void)
{
	return counting && ++*allocations == failing;
}

static void *allocate(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : malloc(size);
}

static void *allocate_again(void *memory, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : realloc(memory, size);
}

static void release(void *memory, const char *file, int line)
{
	(void)file;
	(void)line;
	free(memory);
}

static enum end try_once(void)
{
	enum err err;

	if (CRYPTO_set_mem_functions(allocate, allocate_again, release) != 1)
		return NOT_OURS;
	err = tpm_crypto_ready();
	if (err)
		return err == ERR_NOMEM ? REFUSED : NOT_OURS;
	counting = false;
	return tpm_crypto_ready() == OK ? READY : NEVER_AGAIN;
}

static enum end end_of_process(size_t failing_one)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		(void)signal(SIGSEGV, SIG_DFL); /* cmocka's */
		*allocations = 0;
		failing = failing_one;
		_exit((int)try_once());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) < ENDS ? (enum end)WEXITSTATUS(status) : CRASHED;
}

/* What said that it is ready is, and what was refused was refused by our own error. */
static void test_each_allocation(void **state)
{
	const char *points = getenv("TOKEND_TEST_POINTS");
	size_t step = points && strcmp(points, "all") == 0 ? 1 : STEP;
	size_t ends[ENDS] = { 0 }, count;

	(void)state;
	(void)alarm(250);
	assert_int_equal(end_of_process(0), READY);
	count = *allocations;
	for (size_t i = 1; i <= count; i += step) {
		enum end end = end_of_process(i);

		if (end >= NEVER_AGAIN)
			fail_msg("with allocation %zu of %zu failing: %d", i, count, (int)end);
		ends[end]++;
	}
	print_message(
	        "%zu allocations, each of %zu: %zu refused, %zu went without it, %zu crashed in OpenSSL\n",
	        count, (count + step - 1) / step, ends[REFUSED], ends[READY], ends[CRASHED]);
	assert_true(ends[REFUSED] > 10);
	assert_true(ends[CRASHED] < ends[REFUSED]);
}

static int share_counter(void **state)
{
	(void)state;
	allocations =
	        mmap(NULL, sizeof(*allocations), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return allocations == MAP_FAILED ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_allocation) };

	return cmocka_run_group_tests_name("tpm_crypto_ready", tests, share_counter, NULL);
}
