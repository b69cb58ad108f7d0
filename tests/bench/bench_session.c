/*
 * What it costs that nothing secret crosses the TPM's bus in the clear: bench_session ID TCTI RUNS does the one command of a warm unwrap as tokend-tpm does it, in its salted session with parameters
 * encrypted both ways, beside the same command on the same key without a session. Both in this process, by the same libraries, over the same connection; in turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/figure.h"
#include "tpm/token.h"

#define COMMANDS 20U /* in each run, so that one is long enough to be timed */

struct bench {
	struct token *token;
	struct token_key *key;
	uint8_t point[P256_POINT_LEN];
};

static void need(enum err err, const char *what)
{
	if (!err)
		return;
	(void)fprintf(stderr, "bench_session: %s: %s\n", what, err_info(err)->text);
	exit(1);
}

static void need_rc(TSS2_RC rc, const char *what)
{
	need(rc == TSS2_RC_SUCCESS ? OK : ERR_TOKEN, what);
}

/* ---- one command each ---- */

static void ecdh_in_session(struct bench *bench)
{
	struct secret *x = NULL;

	need(tpm_token_ops.ecdh(bench->token, bench->key, NULL, bench->point, &x), "TPM2_ECDH_ZGen");
	(void)secret_free(x);
}

static void ecdh_bare(struct bench *bench)
{
	TPM2B_ECC_POINT in = { .point = { .x.size = 32, .y.size = 32 } };
	TPM2B_ECC_POINT *out = NULL;

	memcpy(in.point.x.buffer, bench->point + 1, 32);
	memcpy(in.point.y.buffer, bench->point + 33, 32);
	need_rc(Esys_ECDH_ZGen(bench->token->esys, bench->key->object.tr, ESYS_TR_PASSWORD, ESYS_TR_NONE,
	                       ESYS_TR_NONE, &in, &out),
	        "TPM2_ECDH_ZGen");
	Esys_Free(out);
}

static void unseal_in_session(struct bench *bench)
{
	struct secret *sealed = NULL;

	need(tpm_token_ops.unseal(bench->token, bench->key, NULL, &sealed), "TPM2_Unseal");
	(void)secret_free(sealed);
}

static void unseal_bare(struct bench *bench)
{
	TPM2B_SENSITIVE_DATA *data = NULL;

	need_rc(Esys_Unseal(bench->token->esys, bench->key->object.tr, ESYS_TR_PASSWORD, ESYS_TR_NONE,
	                    ESYS_TR_NONE, &data),
	        "TPM2_Unseal");
	Esys_Free(data);
}

/* ---- microseconds of each ---- */

static double time_of(void (*command)(struct bench *bench), struct bench *bench)
{
	double start = figure_now();

	for (unsigned i = 0; i < COMMANDS; i++)
		command(bench);
	return (figure_now() - start) * 1e6 / COMMANDS;
}

static double run_ecdh_in_session(void *context)
{
	return time_of(ecdh_in_session, context);
}

static double run_ecdh_bare(void *context)
{
	return time_of(ecdh_bare, context);
}

static double run_unseal_in_session(void *context)
{
	return time_of(unseal_in_session, context);
}

static double run_unseal_bare(void *context)
{
	return time_of(unseal_bare, context);
}

/* ---- keys ---- */

static void make_key(struct bench *bench, enum key_kind kind)
{
	static const struct key_id id = { { 1 } };
	struct secret *sealed = NULL;
	struct token_blob *blob = calloc(1, sizeof(*blob));
	struct token_create create = { .id = &id, .kind = kind };
	struct token_load load = { .id = &id, .kind = kind, .blob = blob };

	need(blob ? OK : ERR_NOMEM, "memory");
	if (kind != KEY_KIND_P256)
		need(secret_new_from(bytes_of("0123456789abcdef0123456789abcdef", 32), &sealed), "a secret");
	create.sealed = sealed;
	need(tpm_token_ops.create(bench->token, &create, blob, bench->point), "making a key");
	need(tpm_token_ops.load(bench->token, &load, &bench->key), "loading a key");
	free(blob);
	(void)secret_free(sealed);
}

static void measure(struct bench *bench, enum key_kind kind, struct figure *figure)
{
	bool p256 = kind == KEY_KIND_P256;

	make_key(bench, kind);
	figure->what =
	        p256 ? "TPM2_ECDH_ZGen in an encrypted session" : "TPM2_Unseal in an encrypted session";
	figure_compare(figure, p256 ? run_ecdh_in_session : run_unseal_in_session,
	               p256 ? run_ecdh_bare : run_unseal_bare, bench);
	figure_print(figure);
	tpm_token_ops.unload(bench->token, bench->key);
}

int main(int argc, char **argv)
{
	static struct figure figure = { .unit = "us", .floor = "the same without a session" };
	struct token_sandbox sandbox;
	struct bench bench = { 0 };

	if (argc != 4) {
		(void)fprintf(stderr, "usage: bench_session ID TCTI RUNS\n");
		return 2;
	}
	figure.id = argv[1];
	figure.runs = figure_runs(argv[3]);
	need(secret_process_init(), "locking memory");
	need(tpm_token_ops.prepare(argv[2], &sandbox), argv[2]);
	need(tpm_token_ops.open(argv[2], &bench.token), argv[2]);
	measure(&bench, KEY_KIND_P256, &figure);
	measure(&bench, KEY_KIND_SYMMETRIC, &figure);
	tpm_token_ops.close(bench.token);
	return 0;
}
