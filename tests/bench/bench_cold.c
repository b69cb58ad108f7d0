/*
 * The first p256 unwrap after tokend's start beside the bare cold sequence: bench_cold ID RECIPIENT TCTI RUNS RESTART... RECIPIENT is a key's
 * age1tag1... line; TCTI another TPM of the same make, whose state is the bench's own; RESTART a command that ends tokend orderly and returns when the
 * next one is ready. Of tokend one Unwrap is timed, its socket connected before. Bare is what the device cannot do without: a connection and an ESYS
 * context, the public half of a persistent parent, TPM2_Load of a key that was made before, TPM2_ECDH_ZGen and TPM2_FlushContext; no session, no
 * encryption of what crosses the bus, no policy, no audit. Both take turns.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#include "tests/bench/figure.h"
#include "tests/bench/socket_client.h"

#define PARENT_HANDLE 0x81000001U
#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define PASSWORD ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE

extern char **environ;

struct device {
	const char *name; /* borrowed; the TCTI */
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	TPM2B_PUBLIC public_area;
	TPM2B_PRIVATE private_area;
	TPM2B_ECC_POINT point;
};

/* As tokend makes both: a storage root key, and an ECDH key under it. */
static const TPM2B_PUBLIC parent_template = {
	.publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
		                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
		                    TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_NODA,
		.parameters.eccDetail = {
			.symmetric = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB },
			.scheme.scheme = TPM2_ALG_NULL,
			.curveID = TPM2_ECC_NIST_P256,
			.kdf.scheme = TPM2_ALG_NULL,
		},
	},
};

static const TPM2B_PUBLIC key_template = {
	.publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
		                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
		                    TPMA_OBJECT_DECRYPT | TPMA_OBJECT_NODA,
		.parameters.eccDetail = {
			.symmetric.algorithm = TPM2_ALG_NULL,
			.scheme = { .scheme = TPM2_ALG_ECDH, .details.ecdh.hashAlg = TPM2_ALG_SHA256 },
			.curveID = TPM2_ECC_NIST_P256,
			.kdf.scheme = TPM2_ALG_NULL,
		},
	},
};

static void need(TSS2_RC rc, const char *what)
{
	if (rc != TSS2_RC_SUCCESS)
		bench_die(what, ERR_TOKEN);
}

static void connect_device(struct device *device)
{
	need(Tss2_TctiLdr_Initialize(device->name, &device->tcti), "the TPM");
	need(Esys_Initialize(&device->esys, device->tcti, NULL), "ESYS");
}

static void disconnect_device(struct device *device)
{
	Esys_Finalize(&device->esys);
	Tss2_TctiLdr_Finalize(&device->tcti);
}

/* ---- what is there before: a persistent parent, a key's two halves, a point to multiply ---- */

static ESYS_TR make_parent(struct device *device)
{
	static const TPM2B_SENSITIVE_CREATE no_auth = { 0 };
	static const TPM2B_DATA no_data = { 0 };
	static const TPML_PCR_SELECTION no_pcrs = { 0 };
	ESYS_TR primary;
	ESYS_TR parent;

	need(Esys_CreatePrimary(device->esys, ESYS_TR_RH_OWNER, PASSWORD, &no_auth, &parent_template,
	                        &no_data, &no_pcrs, &primary, NULL, NULL, NULL, NULL),
	     "TPM2_CreatePrimary");
	need(Esys_EvictControl(device->esys, ESYS_TR_RH_OWNER, primary, PASSWORD, PARENT_HANDLE, &parent),
	     "TPM2_EvictControl");
	need(Esys_FlushContext(device->esys, primary), "TPM2_FlushContext");
	return parent;
}

static void make_key(struct device *device, ESYS_TR parent)
{
	static const TPM2B_SENSITIVE_CREATE no_auth = { 0 };
	static const TPM2B_DATA no_data = { 0 };
	static const TPML_PCR_SELECTION no_pcrs = { 0 };
	TPM2B_PRIVATE *private_area = NULL;
	TPM2B_PUBLIC *public_area = NULL;

	need(Esys_Create(device->esys, parent, PASSWORD, &no_auth, &key_template, &no_data, &no_pcrs,
	                 &private_area, &public_area, NULL, NULL, NULL),
	     "TPM2_Create");
	device->private_area = *private_area;
	device->public_area = *public_area;
	Esys_Free(private_area);
	Esys_Free(public_area);
}

/* The key's own point is as good as any. */
static void prepare_device(struct device *device)
{
	connect_device(device);
	make_key(device, make_parent(device));
	device->point.point = device->public_area.publicArea.unique.ecc;
	disconnect_device(device);
}

/* ---- both, in milliseconds ---- */

static double run_device(struct device *device)
{
	double start = figure_now();
	TPM2B_ECC_POINT *z = NULL;
	ESYS_TR parent;
	ESYS_TR key;
	double time;

	connect_device(device);
	need(Esys_TR_FromTPMPublic(device->esys, PARENT_HANDLE, NO_SESSIONS, &parent), "TPM2_ReadPublic");
	need(Esys_Load(device->esys, parent, PASSWORD, &device->private_area, &device->public_area, &key),
	     "TPM2_Load");
	need(Esys_ECDH_ZGen(device->esys, key, PASSWORD, &device->point, &z), "TPM2_ECDH_ZGen");
	need(Esys_FlushContext(device->esys, key), "TPM2_FlushContext");
	time = (figure_now() - start) * 1e3;
	Esys_Free(z);
	disconnect_device(device);
	return time;
}

static void run_command(char **command)
{
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, command[0], NULL, NULL, command, environ))
		bench_die(command[0], ERR_SYSTEM);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			bench_die("waitpid", ERR_SYSTEM);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		bench_die("tokend could not be restarted", OK);
}

/* A run of no time is one call. */
static double run_tokend(char **restart, const struct token_stanza *stanza)
{
	struct socket_client *client;
	double time;

	run_command(restart);
	client = socket_client_new(1, stanza);
	time = 1e3 / socket_client_run(client, 0);
	(void)socket_client_free(client);
	return time;
}

struct bench {
	char **restart;
	struct token_stanza stanza;
	struct device device;
};

static double run_subject(void *context)
{
	const struct bench *bench = context;

	return run_tokend(bench->restart, &bench->stanza);
}

static double run_floor(void *context)
{
	return run_device(&((struct bench *)context)->device);
}

int main(int argc, char **argv)
{
	static struct figure figure = { .what = "first p256 unwrap after the start, through the socket",
		                        .unit = "ms",
		                        .floor = "bare ReadPublic, Load, ZGen, Flush" };
	static struct bench bench;
	struct recipient recipient;
	struct bytes what;

	if (argc < 6) {
		(void)fprintf(stderr, "usage: bench_cold ID RECIPIENT TCTI RUNS RESTART...\n");
		return 2;
	}
	figure.id = argv[1];
	figure.runs = figure_runs(argv[4]);
	if (secret_client_init() || recipient_parse(bytes_of_string(argv[2]), &recipient, &what))
		bench_die("the command line", ERR_USAGE);
	bench_stanza(&recipient, &bench.stanza);
	bench.restart = argv + 5;
	bench.device.name = argv[3];
	prepare_device(&bench.device);
	figure_compare(&figure, run_subject, run_floor, &bench);
	figure_print(&figure);
	return 0;
}
