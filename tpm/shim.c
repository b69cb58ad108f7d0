#include "tpm/shim.h"

#include "common/clock.h"
#include "common/log.h"
#include "tpm/bus.h"

#define SHIM_MAGIC 0x746f6b656e647368ULL /* "tokendsh" */
#define HEADER_LEN 10U
#define WAIT_FIRST_MILLISECONDS 5
#define WAIT_LONGEST_MILLISECONDS 160

struct shim {
	/* First, because ESYS knows the shim by it. */
	TSS2_TCTI_CONTEXT_COMMON_V2 common;
	TSS2_TCTI_CONTEXT *inner; /* owned */
	struct shim_command command; /* the last one sent */
	uint32_t commands;
	unsigned wait; /* milliseconds before the same command may go out again; 0: none */
	const struct token_meanwhile *meanwhile; /* borrowed; NULL: nothing */
	struct bus *bus; /* owned; made when it is first needed */
	bool bus_failed;
	bool received;
	bool keeps_next;
	size_t response_len; /* 0: the last command has no answer yet */
	uint8_t response[SHIM_RESPONSE_MAX];
};

/*
 * The answers, one letter for each parameter:
 *	1 2 4 8		so many bytes
 *	n		a name: at most 68 bytes after their length
 *	d		a digest or nonce: 64 bytes
 *	s		what was unsealed: 256 bytes
 *	e		a point: 132 bytes
 *	p		a public area: 612 bytes
 *	k		a private area: 1354 bytes
 *	c		creation data: 1024 bytes
 *	x		a context: 5120 bytes
 *	t		a ticket: tag, hierarchy, digest
 *	g		a capability, of the two kinds that are asked for: properties of 8 bytes, or handles of 4
 * The greatest lengths are those of the structures that the answer is unpacked into.
 */
struct layout {
	uint32_t code;
	uint8_t handle_type; /* first byte of the handle in the answer; 0: there is none */
	const char *parameters;
};

#define ANY_LOADED 0xff /* of an object or a session */

static const struct layout layouts[] = {
	{ TPM2_CC_Startup, 0, "" },         { TPM2_CC_Shutdown, 0, "" },
	{ TPM2_CC_ReadClock, 0, "88441" },  { TPM2_CC_GetCapability, 0, "1g" },
	{ TPM2_CC_ReadPublic, 0, "pnn" },   { TPM2_CC_CreatePrimary, TPM2_HT_TRANSIENT, "pcdtn" },
	{ TPM2_CC_EvictControl, 0, "" },    { TPM2_CC_StartAuthSession, TPM2_HT_HMAC_SESSION, "d" },
	{ TPM2_CC_Create, 0, "kpcdt" },     { TPM2_CC_Load, TPM2_HT_TRANSIENT, "n" },
	{ TPM2_CC_Unseal, 0, "s" },         { TPM2_CC_ECDH_ZGen, 0, "e" },
	{ TPM2_CC_ContextSave, 0, "844x" }, { TPM2_CC_ContextLoad, ANY_LOADED, "" },
	{ TPM2_CC_FlushContext, 0, "" },
};

static const struct layout *layout_find(uint32_t code)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		if (layouts[i].code == code)
			return &layouts[i];
	return NULL;
}

static size_t longest(char letter)
{
	switch (letter) {
	case 'n':
		return 68;
	case 'd':
		return 64;
	case 's':
		return 256;
	case 'e':
		return 132;
	case 'p':
		return 612;
	case 'k':
		return 1354;
	case 'c':
		return 1024;
	case 'x':
		return 5120;
	default:
		return 0;
	}
}

/* Two bytes of length, then as many. */
static void take_sized(struct reader *reader, size_t max)
{
	uint16_t len = reader_u16(reader);

	if (len > max)
		reader->failed = true;
	(void)reader_take(reader, len);
}

static void take_capability(struct reader *reader)
{
	uint32_t capability = reader_u32(reader);
	uint32_t count = reader_u32(reader);
	size_t each = capability == TPM2_CAP_HANDLES ? sizeof(TPM2_HANDLE) : sizeof(TPMS_TAGGED_PROPERTY);
	uint32_t most = capability == TPM2_CAP_HANDLES ? TPM2_MAX_CAP_HANDLES : TPM2_MAX_TPM_PROPERTIES;

	if ((capability != TPM2_CAP_HANDLES && capability != TPM2_CAP_TPM_PROPERTIES) || count > most)
		reader->failed = true;
	(void)reader_take(reader, count * each);
}

static void take_parameter(struct reader *reader, char letter)
{
	if (letter >= '1' && letter <= '8') {
		(void)reader_take(reader, (size_t)(letter - '0'));
	} else if (letter == 't') {
		(void)reader_take(reader, 2 + 4);
		take_sized(reader, longest('d'));
	} else if (letter == 'g') {
		take_capability(reader);
	} else {
		take_sized(reader, longest(letter));
	}
}

static bool parameters_valid(const char *parameters, struct bytes area)
{
	struct reader reader = reader_of(area);

	for (; *parameters; parameters++)
		take_parameter(&reader, *parameters);
	return reader_done(&reader);
}

/* Nonce, attributes and HMAC of the one session that our commands have, and nothing after them. */
static bool session_valid(struct bytes area)
{
	struct reader reader = reader_of(area);

	take_sized(&reader, longest('d'));
	(void)reader_take(&reader, 1);
	take_sized(&reader, longest('d'));
	return reader_done(&reader);
}

static bool handle_valid(const struct layout *layout, uint32_t handle)
{
	uint8_t type = (uint8_t)(handle >> TPM2_HR_SHIFT);

	if (layout->handle_type == ANY_LOADED)
		return type == TPM2_HT_TRANSIENT || type == TPM2_HT_HMAC_SESSION ||
		       type == TPM2_HT_POLICY_SESSION;
	return type == layout->handle_type;
}

static bool body_valid(const struct layout *layout, uint16_t tag, struct reader *reader)
{
	struct bytes parameters;

	if (layout->handle_type && !handle_valid(layout, reader_u32(reader)))
		return false;
	if (tag == TPM2_ST_NO_SESSIONS)
		return !reader->failed && parameters_valid(layout->parameters, reader->rest);
	parameters = reader_take(reader, reader_u32(reader));
	return !reader->failed && parameters_valid(layout->parameters, parameters) &&
	       session_valid(reader->rest);
}

enum err shim_read_command(struct bytes command, struct shim_command *ret_command)
{
	struct reader reader = reader_of(command);
	uint16_t tag = reader_u16(&reader);
	uint32_t len = reader_u32(&reader);
	uint32_t code = reader_u32(&reader);

	if (reader.failed || len != command.len || (tag != TPM2_ST_SESSIONS && tag != TPM2_ST_NO_SESSIONS))
		return ERR_BAD_MESSAGE;
	if (!layout_find(code))
		return ERR_BAD_MESSAGE;
	*ret_command = (struct shim_command){ code, tag };
	return OK;
}

enum err shim_check_response(const struct shim_command *command, struct bytes response)
{
	const struct layout *layout = layout_find(command->code);
	struct reader reader = reader_of(response);
	uint16_t tag = reader_u16(&reader);
	uint32_t len = reader_u32(&reader);
	uint32_t rc = reader_u32(&reader);

	if (reader.failed || !layout || len != response.len || response.len > SHIM_RESPONSE_MAX)
		return ERR_BAD_MESSAGE;
	/* An error is a header and nothing else, and carries no session (part 1, 16.10). */
	if (rc != TPM2_RC_SUCCESS)
		return tag == TPM2_ST_NO_SESSIONS && response.len == HEADER_LEN ? OK : ERR_BAD_MESSAGE;
	if (tag != command->tag)
		return ERR_BAD_MESSAGE;
	return body_valid(layout, tag, &reader) ? OK : ERR_BAD_MESSAGE;
}

/* ---- as a TCTI ---- */

static struct shim *shim_of(TSS2_TCTI_CONTEXT *tcti)
{
	return (struct shim *)(void *)tcti;
}

/* ESYS sends a command again at once, up to five times, when the TPM says RETRY, YIELDED or TESTING. A TPM that is busy deserves a pause. */
static void wait_before(struct shim *shim, const struct shim_command *next)
{
	if (shim->wait && next->code == shim->command.code)
		clock_pause(shim->wait);
	else
		shim->wait = 0;
}

static void wait_note(struct shim *shim, uint32_t rc)
{
	if (rc != TPM2_RC_RETRY && rc != TPM2_RC_YIELDED && rc != TPM2_RC_TESTING)
		shim->wait = 0;
	else
		shim->wait = shim->wait ? shim->wait * 2 : WAIT_FIRST_MILLISECONDS;
	if (shim->wait > WAIT_LONGEST_MILLISECONDS)
		shim->wait = WAIT_LONGEST_MILLISECONDS;
}

static TSS2_RC answer_here(struct shim *shim)
{
	static const uint8_t canceled[HEADER_LEN] = { 0x80, 0x01, 0, 0, 0, HEADER_LEN, 0, 0, 0x09, 0x09 };

	_Static_assert(TPM2_ST_NO_SESSIONS == 0x8001 && TPM2_RC_CANCELED == 0x909,
	               "as they stand in the answer");
	memcpy(shim->response, canceled, sizeof(canceled));
	shim->response_len = sizeof(canceled);
	shim->received = true;
	shim->keeps_next = false;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC shim_transmit(TSS2_TCTI_CONTEXT *tcti, size_t len, const uint8_t *data)
{
	struct shim *shim = shim_of(tcti);
	struct shim_command command;

	if (shim_read_command(bytes_of(data, len), &command))
		return TSS2_TCTI_RC_BAD_VALUE;
	if (shim->keeps_next)
		return answer_here(shim);
	wait_before(shim, &command);
	shim->command = command;
	shim->commands++;
	shim->received = false;
	shim->response_len = 0;
	return Tss2_Tcti_Transmit(shim->inner, len, data);
}

/* Where no thread can be made, everything else waits for the answer too, and it works all the same. */
static TSS2_RC receive_inner(struct shim *shim, size_t *len, int32_t timeout)
{
	if (shim->meanwhile && !shim->bus && !shim->bus_failed &&
	    bus_new(shim->inner, shim->meanwhile, &shim->bus)) {
		log_warning("what needs no device has to wait for the device: there is no thread to be had");
		shim->bus_failed = true;
	}
	if (shim->bus)
		return bus_receive(shim->bus, len, shim->response);
	return Tss2_Tcti_Receive(shim->inner, len, shim->response, timeout);
}

/* The whole answer, checked, into the shim's own memory. */
static TSS2_RC receive_whole(struct shim *shim, int32_t timeout)
{
	size_t len = sizeof(shim->response);
	TSS2_RC rc = receive_inner(shim, &len, timeout);
	struct reader reader;

	if (rc)
		return rc;
	if (len > sizeof(shim->response) ||
	    shim_check_response(&shim->command, bytes_of(shim->response, len)))
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	reader = reader_of(bytes_of(shim->response, len));
	(void)reader_take(&reader, 6);
	wait_note(shim, reader_u32(&reader));
	shim->response_len = len;
	shim->received = true;
	return TSS2_RC_SUCCESS;
}

/* ESYS asks for the length first (no buffer), then for the bytes. */
static TSS2_RC shim_receive(TSS2_TCTI_CONTEXT *tcti, size_t *len, uint8_t *data, int32_t timeout)
{
	struct shim *shim = shim_of(tcti);
	size_t room = *len;

	if (!shim->received) {
		TSS2_RC rc = receive_whole(shim, timeout);

		if (rc)
			return rc;
	}
	*len = shim->response_len;
	if (!data)
		return TSS2_RC_SUCCESS;
	if (room < shim->response_len)
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	memcpy(data, shim->response, shim->response_len);
	shim->received = false;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC shim_cancel(TSS2_TCTI_CONTEXT *tcti)
{
	(void)tcti;
	return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC shim_poll_handles(TSS2_TCTI_CONTEXT *tcti, TSS2_TCTI_POLL_HANDLE *handles, size_t *count)
{
	(void)tcti;
	(void)handles;
	(void)count;
	return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC shim_locality(TSS2_TCTI_CONTEXT *tcti, uint8_t locality)
{
	(void)tcti;
	(void)locality;
	return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC shim_sticky(TSS2_TCTI_CONTEXT *tcti, TPM2_HANDLE *handle, uint8_t sticky)
{
	(void)tcti;
	(void)handle;
	(void)sticky;
	return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

/* ESYS does not own it; shim_free does the work. */
static void shim_finalize(TSS2_TCTI_CONTEXT *tcti)
{
	(void)tcti;
}

static void inner_free(TSS2_TCTI_CONTEXT *inner)
{
	Tss2_Tcti_Finalize(inner);
	free(inner);
}

enum err shim_new(TSS2_TCTI_CONTEXT *inner, struct shim **ret_shim)
{
	struct shim *shim = calloc(1, sizeof(*shim));

	if (!shim) {
		inner_free(inner);
		return ERR_NOMEM;
	}
	shim->common.v1.magic = SHIM_MAGIC;
	shim->common.v1.version = 2;
	shim->common.v1.transmit = shim_transmit;
	shim->common.v1.receive = shim_receive;
	shim->common.v1.finalize = shim_finalize;
	shim->common.v1.cancel = shim_cancel;
	shim->common.v1.getPollHandles = shim_poll_handles;
	shim->common.v1.setLocality = shim_locality;
	shim->common.makeSticky = shim_sticky;
	shim->inner = inner;
	*ret_shim = shim;
	return OK;
}

struct shim *shim_free(struct shim *shim)
{
	if (!shim)
		return NULL;
	bus_free(shim->bus);
	inner_free(shim->inner);
	free(shim);
	return NULL;
}

TSS2_TCTI_CONTEXT *shim_tcti(struct shim *shim)
{
	return (TSS2_TCTI_CONTEXT *)(void *)shim;
}

void shim_meanwhile(struct shim *shim, const struct token_meanwhile *meanwhile)
{
	shim->meanwhile = meanwhile;
}

uint32_t shim_commands(const struct shim *shim)
{
	return shim->commands;
}

void shim_keep_next(struct shim *shim)
{
	shim->keeps_next = true;
}

uint32_t shim_last_command(const struct shim *shim)
{
	return shim->command.code;
}

bool shim_session_arrived(const struct shim *shim, TPM2_HANDLE *ret_handle)
{
	struct reader reader = reader_of(bytes_of(shim->response, shim->response_len));

	/* An error has no handle; the rest was checked when it came. */
	(void)reader_take(&reader, HEADER_LEN);
	*ret_handle = reader_u32(&reader);
	return !reader.failed && shim->command.code == TPM2_CC_StartAuthSession;
}
