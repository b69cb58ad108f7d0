/*
 * A warm p256 unwrap through tokend beside the bare device command: bench_device ID RECIPIENT TCTI BLOCKS. RECIPIENT is a key's age1tag1... line; TCTI
 * another TPM of the same make, on which a key of the same kind is made and TPM2_ECDH_ZGen called with nothing around it: no session, no encryption of
 * what crosses the bus, no policy, no audit. Blocks of both take turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#include "tests/bench/figure.h"
#include "tests/bench/socket_client.h"

#define BLOCK_SECONDS 0.05

struct device {
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	ESYS_TR key;
	TPM2B_ECC_POINT point;
};

static void need(TSS2_RC rc, const char *what)
{
	if (rc != TSS2_RC_SUCCESS)
		bench_die(what, ERR_TOKEN);
}

static void make_key(struct device *device)
{
	static const TPM2B_SENSITIVE_CREATE no_auth = { 0 };
	static const TPM2B_DATA no_data = { 0 };
	static const TPML_PCR_SELECTION no_pcrs = { 0 };
	TPM2B_PUBLIC template = {
		.publicArea = {
			.type = TPM2_ALG_ECC,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
			                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
			                    TPMA_OBJECT_DECRYPT | TPMA_OBJECT_NODA,
			.parameters.eccDetail = { .symmetric.algorithm = TPM2_ALG_NULL,
			                          .scheme = { .scheme = TPM2_ALG_ECDH,
			                                      .details.ecdh.hashAlg = TPM2_ALG_SHA256 },
			                          .curveID = TPM2_ECC_NIST_P256,
			                          .kdf.scheme = TPM2_ALG_NULL },
		},
	};

	/* A primary key serves as well as a loaded one: the command is the same. */
	need(Esys_CreatePrimary(device->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
	                        &no_auth, &template, &no_data, &no_pcrs, &device->key, NULL, NULL, NULL,
	                        NULL),
	     "TPM2_CreatePrimary");
}

static void open_device(struct device *device, const char *tcti)
{
	TPM2B_ECC_POINT *z = NULL;
	TPM2B_ECC_POINT *point = NULL;

	need(Tss2_TctiLdr_Initialize(tcti, &device->tcti), "the TPM");
	need(Esys_Initialize(&device->esys, device->tcti, NULL), "ESYS");
	make_key(device);
	need(Esys_ECDH_KeyGen(device->esys, device->key, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &z,
	                      &point),
	     "TPM2_ECDH_KeyGen");
	device->point = *point;
	Esys_Free(z);
	Esys_Free(point);
}

static void close_device(struct device *device)
{
	(void)Esys_FlushContext(device->esys, device->key);
	Esys_Finalize(&device->esys);
	Tss2_TctiLdr_Finalize(&device->tcti);
}

/* Commands a second. */
static double run_device(struct device *device)
{
	double start = figure_now();
	size_t done = 0;

	do {
		TPM2B_ECC_POINT *z = NULL;

		need(Esys_ECDH_ZGen(device->esys, device->key, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
		                    &device->point, &z),
		     "TPM2_ECDH_ZGen");
		Esys_Free(z);
		done++;
	} while (figure_now() < start + BLOCK_SECONDS);
	return (double)done / (figure_now() - start);
}

struct bench {
	struct socket_client *client;
	struct device device;
};

static double run_subject(void *context)
{
	return socket_client_run(((struct bench *)context)->client, BLOCK_SECONDS);
}

static double run_floor(void *context)
{
	return run_device(&((struct bench *)context)->device);
}

int main(int argc, char **argv)
{
	static struct figure figure = { .what = "warm p256 unwrap through the socket, 1 client",
		                        .unit = "unwraps/s",
		                        .floor = "bare TPM2_ECDH_ZGen" };
	struct recipient recipient;
	struct token_stanza stanza;
	struct bench bench;
	struct bytes what;

	if (argc != 5) {
		(void)fprintf(stderr, "usage: bench_device ID RECIPIENT TCTI BLOCKS\n");
		return 2;
	}
	figure.id = argv[1];
	figure.runs = figure_runs(argv[4]);
	if (secret_client_init() || recipient_parse(bytes_of_string(argv[2]), &recipient, &what))
		bench_die("the command line", ERR_USAGE);
	bench_stanza(&recipient, &stanza);
	bench.client = socket_client_new(1, &stanza);
	open_device(&bench.device, argv[3]);
	figure_compare(&figure, run_subject, run_floor, &bench);
	figure_print(&figure);
	close_device(&bench.device);
	(void)socket_client_free(bench.client);
	return 0;
}
