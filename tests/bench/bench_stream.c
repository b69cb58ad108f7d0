/*
 * Bulk: age's payload through age_stream, as tokenctl does it (threads and all), beside ChaCha20-Poly1305 of OpenSSL on one thread over the same chunks in
 * memory. Both in this process, in turn (A B B A), so that what disturbs one disturbs the other. Prints one line of JSON for opening, and one
 * for sealing.
 */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats/age_stream.h"
#include "tests/bench/figure.h"

#define TOTAL_LEN (256UL << 20)
#define SEALED_CHUNK_LEN (AGE_CHUNK_LEN + AGE_CHUNK_TAG_LEN)
#define CHUNKS (TOTAL_LEN / AGE_CHUNK_LEN)
#define SEALED_LEN (AGE_NONCE_LEN + CHUNKS * SEALED_CHUNK_LEN)

static struct {
	struct secret *file_key;
	uint8_t *plain;
	uint8_t *sealed;
	uint64_t checksum; /* of what came out, so that nothing is optimised away */
} bench;

static void die(const char *what)
{
	(void)fprintf(stderr, "bench_stream: %s failed\n", what);
	exit(1);
}

static enum err count(void *context, struct bytes bytes)
{
	(void)context;
	bench.checksum += bytes.data[bytes.len / 2];
	return OK;
}

static enum err keep(void *context, struct bytes bytes)
{
	size_t *at = context;

	memcpy(bench.sealed + *at, bytes.data, bytes.len);
	*at += bytes.len;
	return OK;
}

static void run_stream(bool encrypting, age_stream_sink sink, void *context)
{
	struct bytes input =
	        encrypting ? bytes_of(bench.plain, TOTAL_LEN) : bytes_of(bench.sealed, SEALED_LEN);
	struct age_stream *stream;

	if (age_stream_new(encrypting, bench.file_key, sink, context, &stream))
		die("age_stream_new");
	/* Copied in, as read() would. */
	if (age_stream_push(stream, input) || age_stream_finish(stream))
		die("age_stream");
	age_stream_free(stream);
}

static void run_openssl(bool encrypting)
{
	static uint8_t in[SEALED_CHUNK_LEN], out[SEALED_CHUNK_LEN];
	static const uint8_t key[32] = { 1 };
	EVP_CIPHER_CTX *state = EVP_CIPHER_CTX_new();
	uint8_t nonce[12] = { 0 };
	int written;

	if (EVP_CipherInit_ex(state, EVP_chacha20_poly1305(), NULL, key, NULL, encrypting) != 1)
		die("EVP_CipherInit_ex");
	for (size_t i = 0; i < CHUNKS; i++) {
		memcpy(nonce, &i, sizeof(i));
		if (EVP_CipherInit_ex(state, NULL, NULL, NULL, nonce, encrypting) != 1 ||
		    EVP_CipherUpdate(state, out, &written, in, (int)AGE_CHUNK_LEN) != 1)
			die("EVP_CipherUpdate");
		/* The tag is computed and compared; that it is a wrong one costs nothing more. */
		if (!encrypting &&
		    EVP_CIPHER_CTX_ctrl(state, EVP_CTRL_AEAD_SET_TAG, AGE_CHUNK_TAG_LEN, in) != 1)
			die("EVP_CTRL_AEAD_SET_TAG");
		(void)EVP_CipherFinal_ex(state, out + written, &written);
		bench.checksum += out[i % AGE_CHUNK_LEN];
	}
	EVP_CIPHER_CTX_free(state);
}

static double seconds_of(bool subject, bool encrypting)
{
	double start = figure_now();

	if (subject)
		run_stream(encrypting, count, NULL);
	else
		run_openssl(encrypting);
	return figure_now() - start;
}

static double gigabytes_a_second(bool subject, bool encrypting)
{
	return (double)TOTAL_LEN / 1e9 / seconds_of(subject, encrypting);
}

static double run_subject(void *context)
{
	return gigabytes_a_second(true, *(const bool *)context);
}

static double run_floor(void *context)
{
	return gigabytes_a_second(false, *(const bool *)context);
}

static void compare(bool encrypting, size_t runs)
{
	static struct figure figure = { .id = "P7",
		                        .unit = "GB/s",
		                        .floor = "OpenSSL ChaCha20-Poly1305, one thread" };

	figure.what = encrypting ? "seal 256 MiB in memory: age_stream / OpenSSL on one thread"
	                         : "open 256 MiB in memory: age_stream / OpenSSL on one thread";
	figure.runs = runs;
	figure_compare(&figure, run_subject, run_floor, &encrypting);
	figure_print(&figure);
}

int main(int argc, char **argv)
{
	size_t runs = figure_runs(argc > 1 ? argv[1] : "20"), at = 0;

	if (secret_client_init() || secret_new(16, &bench.file_key))
		die("start");
	bench.plain = calloc(1, TOTAL_LEN);
	bench.sealed = malloc(SEALED_LEN);
	if (!bench.plain || !bench.sealed)
		die("memory");
	run_stream(true, keep, &at);
	if (at != SEALED_LEN)
		die("sealing");
	compare(false, runs);
	compare(true, runs);
	free(bench.plain);
	free(bench.sealed);
	secret_free(bench.file_key);
	return bench.checksum == 42; /* it has to be used */
}
