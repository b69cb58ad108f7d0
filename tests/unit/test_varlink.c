/* The wire of the control socket: what is a call, and what is not; and that what is written can be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "common/control.h"
#include "tokend/frontend/interface_text.h"
#include "tokend/wire/varlink.h"

static const struct {
	const char *text;
	const char *method; /* NULL: refused */
	bool oneway, more, upgrade;
} call_rows[] = {
	{ "{\"method\":\"a.b\"}", "a.b", false, false, false },
	{ "{\"method\":\"a.b\",\"parameters\":{}}", "a.b", false, false, false },
	{ "{\"method\":\"a.b\",\"parameters\":null}", "a.b", false, false, false },
	{ "{\"method\":\"a.b\",\"oneway\":true,\"more\":false,\"upgrade\":null}", "a.b", true, false, false },
	{ " {\"method\" : \"a.b\",\"more\":true,\"upgrade\":true} ", "a.b", false, true, true },
	{ "{\"method\":\"a.b\",\"extra\":[1,2]}", "a.b", false, false, false },
	{ "", NULL, false, false, false },
	{ "{}", NULL, false, false, false },
	{ "[]", NULL, false, false, false },
	{ "\"a.b\"", NULL, false, false, false },
	{ "{\"method\":1}", NULL, false, false, false },
	{ "{\"method\":\"\"}", NULL, false, false, false },
	{ "{\"method\":\"a b\"}", NULL, false, false, false },
	{ "{\"method\":\"a\\u0000b\"}", NULL, false, false, false },
	{ "{\"method\":\"a.b\",\"method\":\"a.c\"}", NULL, false, false, false },
	{ "{\"method\":\"a.b\",\"parameters\":[]}", NULL, false, false, false },
	{ "{\"method\":\"a.b\",\"oneway\":1}", NULL, false, false, false },
	{ "{\"method\":\"a.b\"}{}", NULL, false, false, false },
	{ "{\"method\":\"a.b\"", NULL, false, false, false },
	{ "GET / HTTP/1.1", NULL, false, false, false },
	{ "{\"method\":\"\xff\"}", NULL, false, false, false },
};

static void test_calls(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(call_rows) / sizeof(call_rows[0]); i++) {
		struct varlink_call call;
		enum err err = varlink_parse(bytes_of_string(call_rows[i].text), &call);

		if ((err == OK) != (call_rows[i].method != NULL))
			fail_msg("%s: %s", call_rows[i].text, err_info(err)->name);
		if (err)
			continue;
		assert_string_equal(call.method, call_rows[i].method);
		assert_int_equal(call.oneway, call_rows[i].oneway);
		assert_int_equal(call.more, call_rows[i].more);
		assert_int_equal(call.upgrade, call_rows[i].upgrade);
		varlink_call_done(&call);
	}
}

static void test_method_too_long(void **state)
{
	char text[300] = "{\"method\":\"";
	struct varlink_call call;
	size_t start = strlen(text);

	(void)state;
	memset(text + start, 'a', VARLINK_METHOD_MAX);
	memcpy(text + start + VARLINK_METHOD_MAX, "\"}", 3);
	assert_int_equal(varlink_parse(bytes_of_string(text), &call), OK);
	varlink_call_done(&call);
	memcpy(text + start + VARLINK_METHOD_MAX, "a\"}", 4);
	assert_int_equal(varlink_parse(bytes_of_string(text), &call), ERR_BAD_MESSAGE);
}

static enum err parse_nested(unsigned depth)
{
	char text[200] = "{\"method\":\"a\",\"parameters\":{\"x\":\"[[[[\",\"y\":";
	struct varlink_call call;
	size_t len = strlen(text);
	enum err err;

	/* Two levels are there already. */
	memset(text + len, '[', depth - 2);
	memset(text + len + depth - 2, ']', depth - 2);
	memcpy(text + len + 2 * (depth - 2), "}}", 3);
	err = varlink_parse(bytes_of_string(text), &call);
	if (!err)
		varlink_call_done(&call);
	return err;
}

static void test_depth(void **state)
{
	(void)state;
	assert_int_equal(parse_nested(VARLINK_DEPTH_MAX), OK);
	assert_int_equal(parse_nested(VARLINK_DEPTH_MAX + 1), ERR_BAD_MESSAGE);
}

static void test_messages(void **state)
{
	CLEANUP(freep) uint8_t *large = malloc(VARLINK_MESSAGE_MAX + 1);
	size_t len = 0;

	(void)state;
	assert_int_equal(varlink_find_message(bytes_of(NULL, 0), &len), ERR_AGAIN);
	assert_int_equal(varlink_find_message(bytes_of("{}", 2), &len), ERR_AGAIN);
	assert_int_equal(varlink_find_message(bytes_of("{}\0{", 4), &len), OK);
	assert_int_equal(len, 3);
	assert_int_equal(varlink_find_message(bytes_of("\0", 1), &len), OK);
	assert_int_equal(len, 1);
	memset(large, ' ', VARLINK_MESSAGE_MAX + 1);
	assert_int_equal(varlink_find_message(bytes_of(large, VARLINK_MESSAGE_MAX - 1), &len), ERR_AGAIN);
	assert_int_equal(varlink_find_message(bytes_of(large, VARLINK_MESSAGE_MAX), &len), ERR_BAD_MESSAGE);
	large[VARLINK_MESSAGE_MAX - 1] = 0;
	assert_int_equal(varlink_find_message(bytes_of(large, VARLINK_MESSAGE_MAX), &len), OK);
	assert_int_equal(len, VARLINK_MESSAGE_MAX);
	large[VARLINK_MESSAGE_MAX - 1] = ' ';
	large[VARLINK_MESSAGE_MAX] = 0;
	assert_int_equal(varlink_find_message(bytes_of(large, VARLINK_MESSAGE_MAX + 1), &len),
	                 ERR_BAD_MESSAGE);
}

static void test_reply(void **state)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	const json_t *parameters;
	struct json_writer writer;

	(void)state;
	assert_int_equal(buf_new(4096, &out), OK);
	varlink_reply_begin(&writer, out, "a.Error");
	json_put_string(&writer, "text", "a\"b\\c\n\x7f\xc3\xa9\xff");
	json_put_string(&writer, "missing", NULL);
	json_put_integer(&writer, "number", -5);
	json_begin_array(&writer, "list");
	json_put_boolean(&writer, NULL, true);
	json_begin_object(&writer, NULL);
	json_end_object(&writer);
	json_end_array(&writer);
	json_put_base64(&writer, "bytes", bytes_of("Man!", 4));
	assert_int_equal(varlink_reply_end(&writer), OK);
	assert_int_equal(buf_bytes(out).data[buf_len(out) - 1], 0);
	assert_string_equal(buf_string(out),
	                    "{\"error\":\"a.Error\",\"parameters\":{\"text\":\"a\\u0022b\\u005cc\\u000a"
	                    "\\u007f\xc3\xa9\\u00ff\",\"number\":-5,\"list\":[true,{}],"
	                    "\"bytes\":\"TWFuIQ==\"}}");
	reply = json_loads(buf_string(out), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(reply);
	parameters = json_object_get(reply, "parameters");
	assert_string_equal(json_string_member(parameters, "text"), "a\"b\\c\n\x7f\xc3\xa9\xc3\xbf");
	assert_int_equal(json_integer_member(parameters, "number", 0), -5);
}

static void test_reply_too_long(void **state)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	struct json_writer writer;

	(void)state;
	assert_int_equal(buf_new(30, &out), OK);
	varlink_reply_begin(&writer, out, NULL);
	json_put_string(&writer, "text", "much too long for thirty bytes");
	assert_int_equal(varlink_reply_end(&writer), ERR_BUSY);
}

/* What is served is the file that people read. */
static void test_interface_text(void **state)
{
	const char *source = getenv("TOKEND_SOURCE_DIR");
	CLEANUP(freep) char *text = calloc(1, 1U << 20);
	CLEANUP(fclosep) FILE *file = NULL;
	char path[4096];

	(void)state;
	assert_non_null(source); /* ctest says where the sources are */
	(void)snprintf(path, sizeof(path), "%s/tokend/io.tokend.varlink", source);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_true(fread(text, 1, (1U << 20) - 1, file) > 1000);
	assert_string_equal(text, interface_text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),          cmocka_unit_test(test_method_too_long),
		cmocka_unit_test(test_depth),          cmocka_unit_test(test_messages),
		cmocka_unit_test(test_reply),          cmocka_unit_test(test_reply_too_long),
		cmocka_unit_test(test_interface_text),
	};

	json_wiping_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
