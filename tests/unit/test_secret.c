#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "common/secret.h"

#define MANY 10000U

static void test_sizes(void **state)
{
	static const size_t good[] = { 1, 16, 31, 32, 33, 64, 65, 256, 257, 2048, 2049, 65536, 1U << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct secret *secret = NULL;

		assert_int_equal(secret_new(good[i], &secret), OK);
		assert_int_equal(secret_len(secret), good[i]);
		for (size_t j = 0; j < good[i]; j++)
			assert_int_equal(secret_reveal(secret).data[j], 0);
		memset(secret_fill(secret), 0xaa, good[i]);
		assert_null(secret_free(secret));
	}
	assert_int_equal(secret_stats().live, 0);
}

static void test_refused_sizes(void **state)
{
	struct secret *secret = NULL;

	(void)state;
	assert_int_equal(secret_new(0, &secret), ERR_USAGE);
	assert_int_equal(secret_new((1U << 20) + 1, &secret), ERR_USAGE);
	assert_null(secret);
	assert_null(secret_free(NULL));
}

/* Ten thousand live ones fit under the usual limit for locked memory. */
static void test_many(void **state)
{
	static struct secret *secrets[MANY];

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(secret_new(32, &secrets[i]), OK);
		memset(secret_fill(secrets[i]), (int)(i & 0xff), 32);
	}
	assert_int_equal(secret_stats().live, MANY);
	assert_true(secret_stats().locked_bytes <= 8U << 20);
	for (size_t i = 0; i < MANY; i++) {
		for (size_t j = 0; j < 32; j++)
			assert_int_equal(secret_reveal(secrets[i]).data[j], i & 0xff);
		secret_free(secrets[i]);
	}
	assert_int_equal(secret_stats().live, 0);
}

/* A freed slot is used again, and holds nothing of what it held. */
static void test_wiped(void **state)
{
	struct secret *secret = NULL;
	const uint8_t *bytes;

	(void)state;
	assert_int_equal(secret_new_from(bytes_of("0123456789abcdef", 16), &secret), OK);
	bytes = secret_reveal(secret).data;
	assert_memory_equal(bytes, "0123456789abcdef", 16);
	secret_free(secret);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(((const volatile uint8_t *)bytes)[i], 0);
}

static void test_truncate_and_equal(void **state)
{
	struct secret *a = NULL, *b = NULL;

	(void)state;
	assert_int_equal(secret_new_from(bytes_of("secret", 6), &a), OK);
	assert_int_equal(secret_new_from(bytes_of("secrex", 6), &b), OK);
	assert_false(secret_equal(a, b));
	secret_truncate(a, 5);
	assert_false(secret_equal(a, b));
	secret_truncate(b, 5);
	assert_true(secret_equal(a, b));
	secret_free(a);
	secret_free(b);
}

enum child_act { READ_IN_CHILD, WRITE_PAST_END, WRITE_BEFORE, CONTROL };

/* What becomes of a child that does act; 1000 + signal, or its exit status. */
static int child_result(enum child_act act)
{
	struct secret *secret = NULL;
	int status;
	pid_t pid;

	assert_int_equal(secret_new_from(bytes_of("0123456789abcdef0123456789abcdef", 32), &secret), OK);
	pid = fork();
	if (pid == 0) {
		volatile uint8_t *bytes = secret_fill(secret);
		int different = 0;

		/* cmocka catches these; here they are what is wanted. */
		(void)signal(SIGABRT, SIG_DFL);
		(void)signal(SIGSEGV, SIG_DFL);
		switch (act) {
		case READ_IN_CHILD:
			for (int i = 0; i < 32; i++)
				different |= bytes[i];
			_exit(different ? 1 : 0);
		case WRITE_PAST_END:
			for (size_t i = 0; i < (128U << 10); i++)
				bytes[32 + i] = 1;
			_exit(2);
		case WRITE_BEFORE:
			memcpy((void *)(uintptr_t)(bytes - 16), "xxxxxxxxxxxxxxxx", 16);
			secret_free(secret);
			_exit(3);
		case CONTROL:
			_exit(4);
		}
	}
	secret_free(secret);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_guards(void **state)
{
	int past_end;

	(void)state;
	assert_int_equal(child_result(CONTROL), 4);
	assert_int_equal(child_result(READ_IN_CHILD), 0); /* zeros: wiped on fork */
	past_end = child_result(WRITE_PAST_END);
	assert_true(past_end == 1000 + SIGSEGV || past_end == 1); /* 1: the sanitizer's own report */
	assert_int_equal(child_result(WRITE_BEFORE), 1000 + SIGABRT);
}

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define MLOCK_IS_REAL 0 /* AddressSanitizer makes mlock a no-operation */
#else
#define MLOCK_IS_REAL 1
#endif

/* Memory that cannot be locked is refused, and nothing is handed out. */
static void test_refuses_unlocked(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (!MLOCK_IS_REAL) {
		print_message("not checked under AddressSanitizer, which makes mlock a no-operation; the "
		              "release build checks it\n");
		return;
	}
	pid = fork();
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };
		struct secret *secret = NULL;

		if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(geteuid() == 0 ? 10 : 0);
		_exit(secret_new(4096, &secret) == ERR_MEMORY_LOCKED && !secret ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refused_sizes),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_truncate_and_equal),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_refuses_unlocked),
	};

	if (secret_client_init())
		return 1;
	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
