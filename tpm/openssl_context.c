/*
 * One OpenSSL library context for all of ESYS
 *
 * libtss2-esys 3.2 makes a new OpenSSL library context for every hash and every HMAC it computes, and frees it again: OSSL_LIB_CTX_new(), fetch
 * SHA-256 by its name, use it once. A new context begins without providers, without fetched algorithms and with a random generator to be seeded,
 * so each costs a third of a millisecond. A command in an HMAC session computes half a dozen of them: two milliseconds in which the TPM, whose own
 * work takes 15 microseconds when it is a software one, waits for us. The library offers no call to change that before version 4.
 *
 * So this program defines the two functions itself. A program's own symbols come before those of the libraries it loads, and libtss2-esys's calls
 * end here: the first makes a context by OpenSSL's function, every later one gets the same, and it is never freed. That is safe because a context is
 * nothing but a cache that OpenSSL itself locks; the default one is shared by all users of a program in the same way.
 *
 * Where the libraries no longer do this, these functions are simply not called. tests/unit/test_tpm_openssl_context.c measures that they work.
 */
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <stddef.h>

static OSSL_LIB_CTX *shared;

OSSL_LIB_CTX *OSSL_LIB_CTX_new(void)
{
	OSSL_LIB_CTX *(*make)(void);

	if (shared)
		return shared;
	*(void **)(&make) = dlsym(RTLD_NEXT, "OSSL_LIB_CTX_new");
	if (make)
		shared = make();
	return shared;
}

void OSSL_LIB_CTX_free(OSSL_LIB_CTX *context)
{
	void (*release)(OSSL_LIB_CTX *);

	if (!context || context == shared)
		return;
	*(void **)(&release) = dlsym(RTLD_NEXT, "OSSL_LIB_CTX_free");
	if (release)
		release(context);
}
