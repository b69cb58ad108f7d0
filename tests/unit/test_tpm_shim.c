/* What the shim lets through: every answer recorded from a TPM, and none that was cut, lengthened, or has a size, tag or handle that is another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <tss2/tss2_tpm2_types.h>

#include "tpm/shim.h"

/* A file of the corpus: the command's code and tag, then the answer. */
#define PREFIX_LEN 6U
#define HEADER_LEN 10U

struct recorded {
	char name[64];
	struct shim_command command;
	uint8_t answer[SHIM_RESPONSE_MAX + 16];
	size_t len;
};

static void read_recorded(const char *directory, const char *name, struct recorded *ret)
{
	char path[4096];
	FILE *file;
	uint8_t prefix[PREFIX_LEN] = { 0 };
	struct reader reader = reader_of(bytes_of(prefix, PREFIX_LEN));

	assert_true(snprintf(path, sizeof(path), "%s/%s", directory, name) < (int)sizeof(path));
	file = fopen(path, "rbe");
	assert_non_null(file);
	assert_int_equal(fread(prefix, 1, PREFIX_LEN, file), PREFIX_LEN);
	(void)snprintf(ret->name, sizeof(ret->name), "%.60s", name);
	ret->command.code = reader_u32(&reader);
	ret->command.tag = reader_u16(&reader);
	ret->len = fread(ret->answer, 1, SHIM_RESPONSE_MAX, file);
	(void)fclose(file);
}

static void each(void (*check)(const struct recorded *recorded))
{
	const char *source = getenv("TOKEND_SOURCE_DIR");
	char directory[2048];
	int count = 0;
	DIR *files;

	(void)snprintf(directory, sizeof(directory), "%s/tests/fuzz/corpus/fuzz_tpm_shim",
	               source ? source : ".");
	files = opendir(directory);
	assert_non_null(files);
	for (struct dirent *entry; (entry = readdir(files));)
		if (strncmp(entry->d_name, "good-", 5) == 0) {
			static struct recorded recorded;

			read_recorded(directory, entry->d_name, &recorded);
			check(&recorded);
			count++;
		}
	(void)closedir(files);
	assert_true(count >= 20);
}

static bool passes(const struct recorded *recorded)
{
	return shim_check_response(&recorded->command, bytes_of(recorded->answer, recorded->len)) == OK;
}

static void size_set(struct recorded *recorded)
{
	recorded->answer[2] = recorded->answer[3] = 0;
	recorded->answer[4] = (uint8_t)(recorded->len >> 8);
	recorded->answer[5] = (uint8_t)recorded->len;
}

static void check_good(const struct recorded *recorded)
{
	if (!passes(recorded))
		fail_msg("%s is refused", recorded->name);
}

static void test_recorded(void **state)
{
	(void)state;
	each(check_good);
}

static void check_cut(const struct recorded *recorded)
{
	struct recorded cut = *recorded;

	for (cut.len = 0; cut.len < recorded->len; cut.len++) {
		memcpy(cut.answer, recorded->answer, sizeof(cut.answer));
		assert_false(passes(&cut));
		if (cut.len < HEADER_LEN)
			continue;
		size_set(&cut);
		if (passes(&cut))
			fail_msg("%s passes when cut to %zu", recorded->name, cut.len);
	}
}

static void test_cut(void **state)
{
	(void)state;
	each(check_cut);
}

static void check_longer(const struct recorded *recorded)
{
	struct recorded longer = *recorded;

	for (size_t more = 1; more <= 8; more++) {
		longer.len = recorded->len + more;
		memcpy(longer.answer, recorded->answer, sizeof(longer.answer));
		assert_false(passes(&longer));
		size_set(&longer);
		if (passes(&longer))
			fail_msg("%s passes with %zu bytes more", recorded->name, more);
	}
}

static void test_longer(void **state)
{
	(void)state;
	each(check_longer);
}

/* Any other tag or length, and, in an answer that is not an error, any other response code. */
static void check_header(const struct recorded *recorded)
{
	for (size_t bit = 0; bit < HEADER_LEN * 8; bit++) {
		struct recorded flipped = *recorded;
		bool is_error = recorded->len == HEADER_LEN && recorded->answer[0] == 0x80;

		flipped.answer[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (is_error && bit >= 48)
			continue;
		if (passes(&flipped))
			fail_msg("%s passes with bit %zu of its header flipped", recorded->name, bit);
	}
}

static void test_header(void **state)
{
	(void)state;
	each(check_header);
}

/* The answer of one command to the question of another. (Where both are one secret with its length, the session's HMAC tells them apart.) */
static void check_other_command(const struct recorded *recorded)
{
	static const uint32_t codes[] = { TPM2_CC_ReadClock, TPM2_CC_ReadPublic,  TPM2_CC_Load,
		                          TPM2_CC_Create,    TPM2_CC_ContextSave, TPM2_CC_CreatePrimary };

	/* Two properties happen to have the length of a clock. */
	if (recorded->len == HEADER_LEN || recorded->command.code == TPM2_CC_GetCapability)
		return;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct recorded other = *recorded;

		other.command.code = codes[i];
		if (codes[i] != recorded->command.code && passes(&other))
			fail_msg("%s passes as the answer to %x", recorded->name, codes[i]);
	}
}

static void test_other_command(void **state)
{
	(void)state;
	each(check_other_command);
}

static void check_handle(const struct recorded *recorded)
{
	static const uint8_t types[] = { 0x00, 0x01, 0x02, 0x03, 0x40, 0x80, 0x81, 0xff };
	bool session = recorded->command.code == TPM2_CC_StartAuthSession;
	bool object =
	        recorded->command.code == TPM2_CC_Load || recorded->command.code == TPM2_CC_CreatePrimary;

	if (recorded->len == HEADER_LEN || (!session && !object))
		return;
	for (size_t i = 0; i < sizeof(types); i++) {
		struct recorded other = *recorded;

		other.answer[HEADER_LEN] = types[i];
		assert_true(passes(&other) == (types[i] == (session ? 0x02 : 0x80)));
	}
}

static void test_handle(void **state)
{
	(void)state;
	each(check_handle);
}

/* Whatever single byte is another: nothing is read out of bounds (the sanitizers watch), and lengths that do not fit are refused. */
static void check_every_byte(const struct recorded *recorded)
{
	struct recorded changed = *recorded;

	for (size_t at = 0; at < recorded->len; at++) {
		static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };

		for (size_t i = 0; i < sizeof(values); i++) {
			changed.answer[at] = values[i];
			(void)passes(&changed);
		}
		changed.answer[at] = recorded->answer[at];
	}
}

static void test_every_byte(void **state)
{
	(void)state;
	each(check_every_byte);
}

static void test_commands(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool good;
	} commands[] = {
		{ "\x80\x01\0\0\0\x0a\0\0\x01\x81", 10, true }, /* ReadClock */
		{ "\x80\x02\0\0\0\x0a\0\0\x01\x81", 10, true },
		{ "\x80\x03\0\0\0\x0a\0\0\x01\x81", 10, false }, /* no such tag */
		{ "\x80\x01\0\0\0\x0b\0\0\x01\x81", 10, false }, /* wrong length */
		{ "\x80\x01\0\0\0\x09\0\0\x01", 9, false },
		{ "\x80\x01\0\0\0\x0a\0\0\x01\x4e", 10, false }, /* NV_Read: never sent */
		{ "\x80\x01\0\0\0\x0a\0\0\x01\x26", 10, false }, /* Clear */
		{ "", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct shim_command command;

		assert_int_equal(shim_read_command(bytes_of(commands[i].bytes, commands[i].len), &command),
		                 commands[i].good ? OK : ERR_BAD_MESSAGE);
	}
}

/* ---- as ESYS sees it: a TCTI over one that answers what the test wants ---- */

struct inner {
	TSS2_TCTI_CONTEXT_COMMON_V1 common;
	struct bytes answer;
};

static unsigned finalized;

static TSS2_RC inner_transmit(TSS2_TCTI_CONTEXT *tcti, size_t len, const uint8_t *data)
{
	(void)tcti;
	(void)len;
	(void)data;
	return 0;
}

static TSS2_RC inner_receive(TSS2_TCTI_CONTEXT *tcti, size_t *len, uint8_t *data, int32_t timeout)
{
	const struct inner *inner = (struct inner *)(void *)tcti;

	(void)timeout;
	if (!inner->answer.data)
		return TSS2_TCTI_RC_IO_ERROR;
	assert_true(*len >= inner->answer.len);
	memcpy(data, inner->answer.data, inner->answer.len);
	*len = inner->answer.len;
	return 0;
}

static void inner_finalize(TSS2_TCTI_CONTEXT *tcti)
{
	(void)tcti;
	finalized++;
}

static struct inner *inner_new(void)
{
	struct inner *inner = calloc(1, sizeof(*inner));

	assert_non_null(inner);
	inner->common.magic = 1;
	inner->common.version = 1;
	inner->common.transmit = inner_transmit;
	inner->common.receive = inner_receive;
	inner->common.finalize = inner_finalize;
	return inner;
}

static void test_tcti(void **state)
{
	static const uint8_t read_clock[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81 };
	static const uint8_t clear[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x26 };
	static const uint8_t retry[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x22 };
	static const uint8_t cut[] = { 0x80, 1, 0, 0, 0, 11, 0, 0, 9, 0x22 };
	struct inner *inner = inner_new();
	struct shim *shim = NULL;
	TSS2_TCTI_CONTEXT *tcti;
	uint8_t out[64];
	size_t len;

	(void)state;
	finalized = 0;
	assert_int_equal(shim_new((TSS2_TCTI_CONTEXT *)(void *)inner, &shim), OK);
	tcti = shim_tcti(shim);
	assert_int_equal(Tss2_Tcti_Transmit(tcti, sizeof(clear), clear), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(shim_commands(shim), 0);
	for (uint32_t i = 1; i <= 3; i++) {
		assert_int_equal(Tss2_Tcti_Transmit(tcti, sizeof(read_clock), read_clock), 0);
		assert_int_equal(shim_commands(shim), i);
		assert_int_equal(shim_last_command(shim), TPM2_CC_ReadClock);
		inner->answer = bytes_of(retry, sizeof(retry));
		len = sizeof(out);
		assert_int_equal(Tss2_Tcti_Receive(tcti, &len, NULL, -1), 0);
		assert_int_equal(len, sizeof(retry));
		assert_int_equal(Tss2_Tcti_Receive(tcti, &len, out, -1), 0);
		assert_memory_equal(out, retry, sizeof(retry));
	}
	assert_int_equal(Tss2_Tcti_Transmit(tcti, sizeof(read_clock), read_clock), 0);
	inner->answer = bytes_of(cut, sizeof(cut));
	len = sizeof(out);
	assert_int_equal(Tss2_Tcti_Receive(tcti, &len, out, -1), TSS2_TCTI_RC_MALFORMED_RESPONSE);
	inner->answer = bytes_of(retry, sizeof(retry));
	len = 4;
	assert_int_equal(Tss2_Tcti_Receive(tcti, &len, out, -1), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
	inner->answer.data = NULL;
	assert_int_equal(Tss2_Tcti_Transmit(tcti, sizeof(read_clock), read_clock), 0);
	assert_int_equal(Tss2_Tcti_Receive(tcti, &len, out, -1), TSS2_TCTI_RC_IO_ERROR);
	shim_free(shim);
	assert_int_equal(finalized, 1);
}

/* What started is known from the answer itself, whatever ESYS makes of it; neither an error, nor the answer of before, nor another command's says that something started. */
static void test_session(void **state)
{
	static const uint8_t start[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x76 };
	static const uint8_t read_clock[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81 };
	static const uint8_t started[] = { 0x80, 1, 0, 0, 0, 18, 0, 0, 0, 0, 2, 0, 0, 7, 0, 2, 0xaa, 0xbb };
	static const uint8_t full[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x05 };
	const struct {
		struct bytes command, answer;
		bool arrived;
	} steps[] = {
		{ bytes_of(start, sizeof(start)), bytes_of(full, sizeof(full)), false },
		{ bytes_of(start, sizeof(start)), bytes_of(started, sizeof(started)), true },
		{ bytes_of(start, sizeof(start)), bytes_of(NULL, 0), false },
		{ bytes_of(start, sizeof(start)), bytes_of(started, sizeof(started)), true },
		{ bytes_of(read_clock, sizeof(read_clock)), bytes_of(full, sizeof(full)), false },
	};
	struct inner *inner = inner_new();
	struct shim *shim = NULL;

	(void)state;
	assert_int_equal(shim_new((TSS2_TCTI_CONTEXT *)(void *)inner, &shim), OK);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		TPM2_HANDLE handle = 0;
		uint8_t out[64];
		size_t len = sizeof(out);

		inner->answer = steps[i].answer;
		assert_int_equal(
		        Tss2_Tcti_Transmit(shim_tcti(shim), steps[i].command.len, steps[i].command.data), 0);
		assert_false(shim_session_arrived(shim, &handle));
		assert_int_equal(Tss2_Tcti_Receive(shim_tcti(shim), &len, out, -1) == 0,
		                 inner->answer.data != NULL);
		assert_int_equal(shim_session_arrived(shim, &handle), steps[i].arrived);
		if (steps[i].arrived)
			assert_int_equal(handle, 0x02000007);
	}
	shim_free(shim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),      cmocka_unit_test(test_cut),
		cmocka_unit_test(test_longer),        cmocka_unit_test(test_header),
		cmocka_unit_test(test_other_command), cmocka_unit_test(test_handle),
		cmocka_unit_test(test_every_byte),    cmocka_unit_test(test_commands),
		cmocka_unit_test(test_tcti),          cmocka_unit_test(test_session),
	};

	return cmocka_run_group_tests_name("tpm_shim", tests, NULL, NULL);
}
