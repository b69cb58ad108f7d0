/* tokend.conf: what is a line and what is not, what stands where nothing is said, and whose files are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tokend/config.h"

#define PATH "/etc/tokend/tokend.conf"
#define AT PATH ":"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *text;
	const char *problem; /* NULL: it is fine */
} texts[] = {
	{ "", NULL },
	{ "# \xc3\xa9\n\n \t \n", NULL },
	{ "token tpm:device:/dev/tpmrm0 # the first\n", NULL },
	{ "token tpm:swtpm:path=/run/x.sock\ntoken tpm:mssim:host=localhost,port=2321\ntoken tpm:tabrmd\n",
	  NULL },
	{ "policy-directory /x\nsession-time 24h\ntoken-deadline 10m\nlog-level debug\nuser "
	  "_a-1\nhelper-user b.c\n",
	  NULL },
	{ "session-time 1", NULL },
	{ "\n\ntokens tpm:tabrmd", AT "3: 'tokens' is not a setting of tokend" },
	{ "Token tpm:tabrmd", AT "1: 'Token' is not a setting of tokend" },
	{ "token=tpm:tabrmd", AT "1: 'token=tpm:tabrmd' is not a setting of tokend" },
	{ "token", AT "1: 'token' needs a value after it" },
	{ "token # tpm:tabrmd", AT "1: 'token' needs a value after it" },
	{ "user a b", AT "1: 'user' takes one value, and 'b' is a second one" },
	{ "user a\nuser b", AT "2: 'user' stands twice" },
	{ "token tpm:tabrmd\ntoken tpm:tabrmd", AT "2: 'tpm:tabrmd' stands twice" },
	{ "token /dev/tpmrm0", AT
	  "1: '/dev/tpmrm0' is not a token, such as tpm:device:/dev/tpmrm0 or tpm:swtpm:path=/run/x.sock" },
	{ "token pkcs11:token=x",
	  AT "1: PKCS#11 tokens are not supported yet; a TPM is tpm:device:/dev/tpmrm0" },
	{ "session-time 0", AT "1: '0' is not a time from 1s to 24h, such as 90, 30s or 15m" },
	{ "session-time 25h", AT "1: '25h' is not a time from 1s to 24h, such as 90, 30s or 15m" },
	{ "session-time soon", AT "1: 'soon' is not a time from 1s to 24h, such as 90, 30s or 15m" },
	{ "token-deadline 11m", AT "1: '11m' is not a time from 1s to 10m, such as 90, 30s or 15m" },
	{ "log-level loud", AT "1: 'loud' is not a level (error, warning, info, debug)" },
	{ "user 0", AT "1: '0' is not the name of a user" },
	{ "user a/b", AT "1: 'a/b' is not the name of a user" },
	{ "helper-user aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", AT
	  "1: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is not the name of a user" },
	{ "user caf\xc3\xa9", AT "1: a character outside of printable ASCII stands in the line" },
	{ "user a\r\n", AT "1: the line ends with CR LF; here LF alone ends one" },
};

static void test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		CLEANUP(buf_freep) struct buf *problem = NULL;
		struct config config = { .session_seconds = 7 };
		enum err err;

		assert_int_equal(buf_new(1024, &problem), OK);
		err = config_parse(bytes_of_string(texts[i].text), PATH, problem, &config);
		if (err != (texts[i].problem ? ERR_BAD_CONFIG : OK))
			fail_msg("%s: %s %s", texts[i].text, err_info(err)->name, buf_string(problem));
		assert_string_equal(buf_string(problem), texts[i].problem ? texts[i].problem : "");
		if (err)
			assert_int_equal(config.session_seconds, 7); /* nothing was given out */
	}
}

static void test_values(void **state)
{
	static const char text[] =
	        "token tpm:swtpm:path=/a\ntoken tpm:tabrmd\npolicy-directory rules\nsession-time 2h\n"
	        "token-deadline 5\nlog-level error\nuser u\nhelper-user h\n";
	struct config config;

	(void)state;
	assert_int_equal(config_parse(bytes_of_string(text), PATH, NULL, &config), OK);
	assert_int_equal(config.token_count, 2); /* and not the default one beside them */
	assert_string_equal(config.tokens[0], "tpm:swtpm:path=/a");
	assert_string_equal(config.tokens[1], "tpm:tabrmd");
	assert_string_equal(config.policy_directory, "/etc/tokend/rules");
	assert_int_equal(config.session_seconds, 7200);
	assert_int_equal(config.token_deadline_ms, 5000);
	assert_int_equal(config.log_level, LOG_LEVEL_ERROR);
	assert_string_equal(config.user, "u");
	assert_string_equal(config.helper_user, "h");
	assert_int_equal(config_parse(bytes_of_string("policy-directory /x/y"), PATH, NULL, &config), OK);
	assert_string_equal(config.policy_directory, "/x/y");
}

static void test_defaults(void **state)
{
	struct config config;

	(void)state;
	config_defaults(&config, PATH);
	assert_string_equal(config.policy_directory, "/etc/tokend/policy.d");
	assert_int_equal(config.session_seconds, 900);
	assert_int_equal(config.token_deadline_ms, 30000);
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
	assert_string_equal(config.user, "tokend");
	assert_string_equal(config.helper_user, "tokend-tpm");
	assert_int_equal(config.token_count, access("/dev/tpmrm0", F_OK) == 0);
	config_expect_device(&config);
	assert_int_equal(config.token_count, 1);
	assert_string_equal(config.tokens[0], "tpm:device:/dev/tpmrm0");
	config_defaults(&config, "tokend.conf");
	assert_string_equal(config.policy_directory, "policy.d");
}

static void test_too_many_tokens(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct config config;

	(void)state;
	assert_int_equal(buf_new(4096, &text), OK);
	for (unsigned i = 0; i < CONFIG_TOKENS_MAX; i++)
		assert_int_equal(buf_printf(text, "token tpm:swtpm:path=/%u\n", i), OK);
	assert_int_equal(config_parse(buf_bytes(text), PATH, NULL, &config), OK);
	assert_int_equal(config.token_count, CONFIG_TOKENS_MAX);
	assert_int_equal(buf_put_string(text, "token tpm:tabrmd"), OK);
	assert_int_equal(config_parse(buf_bytes(text), PATH, NULL, &config), ERR_BAD_CONFIG);
}

static void test_token_uris(void **state)
{
	static const struct {
		const char *uri;
		bool good;
	} uris[] = {
		{ "tpm:device:/dev/tpmrm0", true },
		{ "tpm:swtpm:path=/run/x.sock", true },
		{ "tpm:swtpm:host=127.0.0.1,port=2321", true },
		{ "tpm:swtpm", true },
		{ "tpm:mssim", true },
		{ "tpm:tabrmd:bus_name=com.x,bus_type=system", true },
		{ "", false },
		{ "tpm", false },
		{ "tpm:", false },
		{ "tpm:device", false },
		{ "tpm:device:", false },
		{ "tpm:device:/", false },
		{ "tpm:device:dev/tpmrm0", false },
		{ "tpm:devices:/dev/tpm0", false },
		{ "tpm:swtpm:", false },
		{ "tpm:swtpmx", false },
		{ "tpm:cmd:rm -rf /", false },
		{ "tpm:cmd:/bin/sh", false },
		{ "tpm:pcap:swtpm:path=/x", false },
		{ "tpm:libtss2-tcti-device.so.0", false },
		{ "tpm:/tmp/evil.so", false },
		{ "TPM:tabrmd", false },
		{ "pkcs11:token=x", false },
		{ "tpm:swtpm:path=/a b", false },
		{ "tpm:swtpm:path=/a;b", false },
		{ "tpm:swtpm:path=/a\n", false },
		{ "tpm:swtpm:path=/\xc3\xa9", false },
	};
	char uri[TOKEN_URI_MAX + 1] = "tpm:swtpm:path=/";

	(void)state;
	for (size_t i = 0; i < COUNT(uris); i++)
		if ((token_uri_check(bytes_of_string(uris[i].uri)) == OK) != uris[i].good)
			fail_msg("%s", uris[i].uri);
	assert_int_equal(token_uri_check(bytes_of("tpm:swtpm:path=/\0x", 18)), ERR_USAGE);
	memset(uri + strlen(uri), 'a', sizeof(uri) - 1 - strlen(uri));
	uri[TOKEN_URI_MAX] = '\0';
	assert_int_equal(token_uri_check(bytes_of(uri, TOKEN_URI_MAX - 1)), OK);
	assert_int_equal(token_uri_check(bytes_of(uri, TOKEN_URI_MAX)), ERR_USAGE);
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		long seconds; /* -1: none */
	} durations[] = {
		{ "90", 90 },
		{ "30s", 30 },
		{ "15m", 900 },
		{ "2h", 7200 },
		{ "0", 0 },
		{ "007m", 420 },
		{ "8760h", 31536000 },
		{ "31536000", 31536000 },
		{ "", -1 },
		{ "s", -1 },
		{ "1d", -1 },
		{ "1M", -1 },
		{ "1hh", -1 },
		{ "1h30m", -1 },
		{ "-1", -1 },
		{ "+1", -1 },
		{ "1.5h", -1 },
		{ " 1", -1 },
		{ "8761h", -1 },
		{ "31536001", -1 },
		{ "18446744073709551617", -1 },
		{ "5124095576030432h", -1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(durations); i++) {
		unsigned seconds = 12345;
		enum err err = duration_parse(bytes_of_string(durations[i].text), &seconds);

		if (err != (durations[i].seconds < 0 ? ERR_USAGE : OK))
			fail_msg("%s", durations[i].text);
		assert_int_equal(seconds, durations[i].seconds < 0 ? 12345 : durations[i].seconds);
	}
}

/* ---- from disk ---- */

static char directory[64];
static char path[128];

static void write_file(const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

static int make_directory(void **state)
{
	(void)state;
	(void)strcpy(directory, "/tmp/test_config.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/tokend.conf", directory);
	return 0;
}

static int remove_directory(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static bool is_needed;

static enum err load(struct config *config)
{
	CLEANUP(buf_freep) struct buf *problem = NULL;
	enum err err;

	assert_int_equal(buf_new(1024, &problem), OK);
	err = config_load(path, is_needed, problem, config);
	assert_int_equal(buf_len(problem) > 0, err != OK);
	if (err)
		assert_memory_equal(buf_string(problem), path, strlen(path));
	return err;
}

static void test_load(void **state)
{
	struct config config;

	(void)state;
	assert_int_equal(load(&config), OK); /* there is none */
	assert_int_equal(config.session_seconds, 900);
	is_needed = true;
	assert_int_equal(load(&config), ERR_NO_FILE);
	write_file("session-time 5\n", 0644);
	assert_int_equal(load(&config), OK);
	is_needed = false;
	write_file("session-time 5\n", 0644);
	assert_int_equal(load(&config), OK);
	assert_int_equal(config.session_seconds, 5);
	write_file("nonsense\n", 0644);
	assert_int_equal(load(&config), ERR_BAD_CONFIG);
	write_file("session-time 5\n", 0664);
	assert_int_equal(load(&config), ERR_STATE_DIR);
	write_file("session-time 5\n", 0646);
	assert_int_equal(load(&config), ERR_STATE_DIR);
	write_file("session-time 5\n", 0644);
	assert_int_equal(chmod(directory, 0777), 0);
	assert_int_equal(load(&config), ERR_STATE_DIR);
	assert_int_equal(chmod(directory, 0700), 0);
	assert_int_equal(load(&config), OK);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	assert_int_equal(load(&config), ERR_STATE_DIR);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(load(&config), ERR_STATE_DIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_too_many_tokens),
		cmocka_unit_test(test_token_uris),
		cmocka_unit_test(test_durations),
		cmocka_unit_test_setup_teardown(test_load, make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
