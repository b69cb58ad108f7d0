/* The one OpenSSL context: that ESYS's calls end here, and what that saves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <time.h>

static double microseconds_each(OSSL_LIB_CTX *(*make)(void), void (*release)(OSSL_LIB_CTX *))
{
	struct timespec start, end;

	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < 50; i++)
		release(make());
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - start.tv_sec) * 1e6 + (double)(end.tv_nsec - start.tv_nsec) / 1e3) / 50;
}

/* The search that the dynamic linker does for libtss2-esys finds the program's functions first. */
static void test_ours(void **state)
{
	OSSL_LIB_CTX *(*seen)(void);
	OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();

	(void)state;
	*(void **)(&seen) = dlsym(RTLD_DEFAULT, "OSSL_LIB_CTX_new");
	assert_non_null(context);
	assert_true(seen == OSSL_LIB_CTX_new);
	OSSL_LIB_CTX_free(context);
	assert_ptr_equal(OSSL_LIB_CTX_new(), context);
	assert_true(OpenSSL_version_num() >=
	            0x30000000UL); /* and keeps the library among those that are loaded */
	OSSL_LIB_CTX_free(NULL);
}

static void test_cheaper(void **state)
{
	OSSL_LIB_CTX *(*make)(void);
	void (*release)(OSSL_LIB_CTX *);
	double ours = microseconds_each(OSSL_LIB_CTX_new, OSSL_LIB_CTX_free), theirs;

	(void)state;
	*(void **)(&make) = dlsym(RTLD_NEXT, "OSSL_LIB_CTX_new");
	*(void **)(&release) = dlsym(RTLD_NEXT, "OSSL_LIB_CTX_free");
	assert_non_null(make);
	assert_non_null(release);
	theirs = microseconds_each(make, release);
	print_message("a context: %.2f us, where OpenSSL takes %.0f us to make and free a new one\n", ours,
	              theirs);
	assert_true(ours * 5 < theirs);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ours), cmocka_unit_test(test_cheaper) };

	return cmocka_run_group_tests_name("tpm_openssl_context", tests, NULL, NULL);
}
