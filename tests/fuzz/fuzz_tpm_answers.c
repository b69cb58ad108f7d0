/*
 * The TPM backend, with ESYS and the shim, over a TPM that answers what the input says. An input is a number of operations (1 byte), the operations (1 byte each), and changes: how many commands are answered
 * honestly before it (1 byte), what is changed (1 byte), its length (2), the bytes. Some changes are those of somebody on the bus, who has no key; others are the TPM's own, under a right HMAC.
 * Nothing may crash, leak or hang; and unless the TPM itself lied, what is opened is right or refused.
 */
#include <sodium.h>
#include <stdlib.h>
#include <time.h>
#include <tss2/tss2_tpm2_types.h>

#include "common/cleanup.h"
#include "tests/fake/p256.h"
#include "tests/fake/soft_tpm.h"
#include "tpm/token.h"

const char *__lsan_default_suppressions(void);

/* Not ours: Esys_TR_FromTPMPublic_Finish (tpm2-tss 3.2.1 and later) forgets what it has when a TPM names one object differently twice. */
const char *__lsan_default_suppressions(void)
{
	return "leak:Esys_ReadPublic_Finish\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
enum err __wrap_tcti_connect(const struct tcti_driver *driver, const char *configuration,
                             TSS2_TCTI_CONTEXT **ret_tcti);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

#define OPERATIONS_MAX 24U
#define KEYS 4U
#define COMMANDS_MAX 400U /* of one input: more would be a loop */

enum {
	CHANGE_ERROR, /* 4 bytes: the code that is answered */
	CHANGE_RAW, /* the whole answer */
	CHANGE_BITS, /* offset (2) and mask (1), repeated, over the whole answer */
	CHANGE_CUT, /* 2 bytes: as long as the answer is, its size made right */
	CHANGE_TCTI, /* 4 bytes: the error of the connection */
	CHANGE_RESET, /* the TPM loses its power before it */
	CHANGE_REPLAY, /* the answer before it again */
	CHANGE_OWN, /* from here on by the TPM itself: the parameters */
	CHANGE_OWN_BITS,
	CHANGE_OWN_MORE, /* behind the parameters */
	CHANGE_WAYS
};

static void check(bool good)
{
	if (!good)
		abort();
}

/* ---- the connection ---- */

struct connection {
	TSS2_TCTI_CONTEXT_COMMON_V2 common;
};

static struct soft_tpm tpm;
static struct reader changes;
static uint8_t countdown; /* honest answers left before the next change */
static bool change_read; /* countdown is the next one's */
static unsigned way; /* of the answer being made; CHANGE_WAYS: honest */
static struct bytes change;
static bool lied; /* the TPM itself has */
static unsigned commands;
static uint8_t command[SOFT_TPM_ANSWER_MAX], answer[SOFT_TPM_ANSWER_MAX], before[SOFT_TPM_ANSWER_MAX];
static size_t command_len, answer_len, before_len;
static bool answered;

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)time;
	(void)left;
	return 0;
}

static void next_change(void)
{
	way = CHANGE_WAYS;
	if (!change_read && changes.rest.len > 0) {
		countdown = reader_u8(&changes);
		change_read = true;
	}
	if (!change_read || countdown-- > 0)
		return;
	change_read = false;
	way = reader_u8(&changes) % CHANGE_WAYS;
	change = reader_take(&changes, reader_u16(&changes));
	if (changes.failed)
		way = CHANGE_WAYS;
}

static void flip(struct reader bits, uint8_t *data, size_t len)
{
	while (bits.rest.len >= 3) {
		size_t offset = reader_u16(&bits);
		uint8_t mask = reader_u8(&bits);

		if (len > 0)
			data[offset % len] ^= mask;
	}
}

static void change_own(void *context, uint32_t code, uint8_t *parameters, size_t *len, size_t size)
{
	(void)context;
	(void)code;
	if (way < CHANGE_OWN || way == CHANGE_WAYS)
		return;
	lied = true;
	if (way == CHANGE_OWN_BITS) {
		flip(reader_of(change), parameters, *len);
		return;
	}
	if (way == CHANGE_OWN)
		*len = 0;
	if (change.len <= size - *len) {
		memcpy(parameters + *len, change.data, change.len);
		*len += change.len;
	}
}

static void size_set(void)
{
	if (answer_len < 6)
		return;
	memset(answer + 2, 0, 2);
	answer[4] = (uint8_t)(answer_len >> 8);
	answer[5] = (uint8_t)answer_len;
}

static void change_answer(void)
{
	struct reader reader = reader_of(change);
	size_t len;

	switch (way) {
	case CHANGE_ERROR:
		memcpy(answer, (const uint8_t[]){ 0x80, 1, 0, 0, 0, 10 }, 6);
		reader_copy(&reader, answer + 6, 4);
		answer_len = 10;
		break;
	case CHANGE_RAW:
		answer_len = change.len < sizeof(answer) ? change.len : sizeof(answer);
		memcpy(answer, change.data, answer_len);
		break;
	case CHANGE_BITS:
		flip(reader, answer, answer_len);
		break;
	case CHANGE_CUT:
		len = reader_u16(&reader);
		answer_len = len < answer_len ? len : answer_len;
		size_set();
		break;
	case CHANGE_REPLAY:
		memcpy(answer, before, before_len);
		answer_len = before_len;
		break;
	default:
		break;
	}
}

/* Any but success. */
static TSS2_RC tcti_error(struct reader *reader)
{
	uint32_t code = reader_u32(reader) & 0xffff;

	return code ? code : TSS2_BASE_RC_IO_ERROR;
}

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *tcti, size_t len, const uint8_t *data)
{
	(void)tcti;
	check(len <= sizeof(command) && ++commands < COMMANDS_MAX);
	memcpy(command, data, len);
	command_len = len;
	answered = false;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC receive(TSS2_TCTI_CONTEXT *tcti, size_t *len, uint8_t *data, int32_t timeout)
{
	(void)tcti;
	(void)timeout;
	if (!answered) {
		struct reader reader;

		next_change();
		reader = reader_of(change);
		if (way == CHANGE_RESET)
			soft_tpm_reset(&tpm);
		if (way == CHANGE_TCTI)
			return TSS2_TCTI_RC_LAYER | (tcti_error(&reader));
		memcpy(before, answer, answer_len);
		before_len = answer_len;
		answer_len = soft_tpm_answer(&tpm, bytes_of(command, command_len), answer);
		change_answer();
		answered = true;
	}
	if (*len < answer_len)
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	*len = answer_len;
	if (data)
		memcpy(data, answer, answer_len);
	return TSS2_RC_SUCCESS;
}

static void finalize(TSS2_TCTI_CONTEXT *tcti)
{
	(void)tcti;
}

enum err __wrap_tcti_connect(const struct tcti_driver *driver, const char *configuration,
                             TSS2_TCTI_CONTEXT **ret_tcti)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	check(driver->simulation && configuration[0] && connection);
	connection->common.v1.version = 2;
	connection->common.v1.transmit = transmit;
	connection->common.v1.receive = receive;
	connection->common.v1.finalize = finalize;
	*ret_tcti = (TSS2_TCTI_CONTEXT *)(void *)connection;
	return OK;
}

/* ---- what tokend does ---- */

static const uint8_t sealed_secret[SEALED_LEN] = "thirty-two bytes that are sealed";
static const struct key_id id = { { 7 } };

struct key {
	bool made;
	enum key_kind kind;
	bool has_pin;
	struct token_blob blob;
	uint8_t point[P256_POINT_LEN];
	struct token_key *device; /* NULL: not loaded */
};

static struct key keys[KEYS];

static struct secret *secret_of(const char *text)
{
	struct secret *secret = NULL;

	check(secret_new_from(bytes_of_string(text), &secret) == OK);
	return secret;
}

static void create(struct token *token, struct key *key, enum key_kind kind, bool has_pin)
{
	CLEANUP(secret_freep) struct secret *pin = has_pin ? secret_of("1234") : NULL;
	CLEANUP(secret_freep) struct secret *sealed = NULL;
	struct token_create request = { .id = &id, .kind = kind, .pin = pin };

	if (key->device)
		return;
	if (kind != KEY_KIND_P256)
		check(secret_new_from(bytes_of(sealed_secret, SEALED_LEN), &sealed) == OK);
	request.sealed = sealed;
	if (tpm_token_ops.create(token, &request, &key->blob, key->point) != OK)
		return;
	key->made = !lied;
	key->kind = kind;
	key->has_pin = has_pin;
}

static void load(struct token *token, struct key *key)
{
	const struct token_load request = { &id, key->kind, &key->blob, key->has_pin };

	if (key->made && !key->device)
		(void)!tpm_token_ops.load(token, &request, &key->device);
}

static void unload(struct token *token, struct key *key)
{
	if (key->device)
		tpm_token_ops.unload(token, key->device);
	key->device = NULL;
}

static void use_p256(struct token *token, struct key *key, const struct secret *pin)
{
	CLEANUP(secret_freep) struct secret *x = NULL;
	uint8_t scalar[P256_SCALAR_LEN], point[P256_POINT_LEN], expected[32];
	enum err err;

	p256_make(scalar, point);
	err = tpm_token_ops.ecdh(token, key->device, pin, point, &x);
	check((err == OK) == (x != NULL));
	if (err || lied)
		return;
	check(p256_ecdh(scalar, key->point, expected));
	check(secret_len(x) == 32 && memcmp(secret_reveal(x).data, expected, 32) == 0);
}

static void use_sealed(struct token *token, struct key *key, const struct secret *pin)
{
	CLEANUP(secret_freep) struct secret *sealed = NULL;
	enum err err = tpm_token_ops.unseal(token, key->device, pin, &sealed);

	check((err == OK) == (sealed != NULL));
	if (!err)
		check(secret_len(sealed) == SEALED_LEN);
	if (!err && !lied)
		check(memcmp(secret_reveal(sealed).data, sealed_secret, SEALED_LEN) == 0);
}

static void use(struct token *token, struct key *key, const char *with)
{
	CLEANUP(secret_freep) struct secret *pin = key->has_pin ? secret_of(with) : NULL;

	if (!key->device)
		return;
	if (key->kind == KEY_KIND_P256)
		use_p256(token, key, pin);
	else
		use_sealed(token, key, pin);
}

/* What ESYS never calls is refused. */
static void check_refusals(struct token *token)
{
	TSS2_TCTI_CONTEXT *tcti = shim_tcti(token->shim);
	TPM2_HANDLE handle = 0;
	size_t count = 0;

	check(Tss2_Tcti_Cancel(tcti) != 0 && Tss2_Tcti_GetPollHandles(tcti, NULL, &count) != 0);
	check(Tss2_Tcti_SetLocality(tcti, 0) != 0 && Tss2_Tcti_MakeSticky(tcti, &handle, 1) != 0);
	check(Tss2_Tcti_Transmit(tcti, 1, (const uint8_t *)"x") != 0);
	(void)shim_last_command(token->shim);
}

/* As the helper does it when the device was lost. */
static bool reopen(struct token *token)
{
	for (size_t i = 0; i < KEYS; i++)
		unload(token, &keys[i]);
	return tpm_token_ops.reopen(token) == OK;
}

enum { CREATE, LOAD, USE, USE_WRONG, UNLOAD, STATUS, RESET_COUNT, MAY_TRY, REOPEN, OPERATIONS };

/* operation: what (low 4 bits), with which key (next 2), of which kind (last 2). */
static bool operate(struct token *token, uint8_t operation)
{
	struct key *key = &keys[operation >> 4 & 3];
	struct token_status status;
	uint32_t count;

	switch ((operation & 0xf) % OPERATIONS) {
	case CREATE:
		create(token, key, operation & 0x80 ? KEY_KIND_X25519 : KEY_KIND_P256, operation & 0x40);
		break;
	case LOAD:
		load(token, key);
		break;
	case USE:
		use(token, key, "1234");
		break;
	case USE_WRONG:
		use(token, key, "4321");
		break;
	case UNLOAD:
		unload(token, key);
		break;
	case STATUS:
		if (tpm_token_ops.status(token, &status) == OK)
			check(memchr(status.manufacturer, 0, sizeof(status.manufacturer)) != NULL);
		break;
	case RESET_COUNT:
		(void)!tpm_token_ops.reset_count(token, &count);
		break;
	case MAY_TRY:
		(void)!tpm_token_ops.may_try_pin(token);
		break;
	default:
		return reopen(token);
	}
	return true;
}

static void begin(struct reader *input)
{
	tpm = (struct soft_tpm){ .max_auth_fail = 32, .change = change_own };
	memset(keys, 0, sizeof(keys));
	changes = *input;
	change_read = lied = answered = false;
	commands = 0;
	answer_len = before_len = command_len = 0;
	way = CHANGE_WAYS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader input = reader_of(bytes_of(data, len));
	struct bytes operations = reader_take(&input, reader_u8(&input) % (OPERATIONS_MAX + 1));
	struct token_notes notes = { .session = len % 2 ? 0x02000001 : 0, .session_asked_for = len % 2 == 0 };
	struct token *token = NULL;
	struct token_sandbox sandbox;
	bool good = true;
	size_t live;

	if (input.failed)
		return 0;
	/* What the library says of each refusal is not read. */
	check(setenv("TSS2_LOG", "all+none", 1) == 0 && secret_client_init() == OK);
	live = secret_stats().live;
	begin(&input);
	check(tpm_token_ops.prepare("none:", &sandbox) != OK && tpm_token_ops.open("none:", &token) != OK);
	if (tpm_token_ops.open("swtpm:path=/tpm", &token) != OK)
		return 0;
	check_refusals(token);
	/* A process before this one was killed, and left a session that it knew, or that it had asked for. */
	tpm_token_ops.remember(token, &notes);
	for (size_t i = 0; good && i < operations.len; i++)
		good = operate(token, operations.data[i]);
	for (size_t i = 0; i < KEYS; i++)
		unload(token, &keys[i]);
	tpm_token_ops.close(token);
	check(secret_stats().live == live);
	return 0;
}
