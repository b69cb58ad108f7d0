/* Paths into a SOPS document: what is one, and what it finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/secret.h"
#include "formats/sops_path.h"

static const char yaml[] = "# first\n"
                           "db:\n"
                           "  pass: one\n"
                           "  hosts: [two, {name: three}, four]\n"
                           "  \"a.b\": five\n"
                           "  \"7\": six\n"
                           "'q\"]x': seven\n"
                           "sops:\n"
                           "  mac: eight\n"
                           "---\n"
                           "other: nine\n";

static void test_paths(void **state)
{
	static const struct {
		const char *path;
		enum err parse, find;
		const char *text; /* "": a map or list */
	} rows[] = {
		{ "[\"db\"][\"pass\"]", OK, OK, "one" },
		{ "['db']['pass']", OK, OK, "one" },
		{ "db.pass", OK, OK, "one" },
		{ "db[\"pass\"]", OK, OK, "one" },
		{ "[\"db\"].pass", OK, OK, "one" },
		{ "db", OK, OK, "" },
		{ "db.hosts.0", OK, OK, "two" },
		{ "db.hosts[0]", OK, OK, "two" },
		{ "[\"db\"][\"hosts\"][1][\"name\"]", OK, OK, "three" },
		{ "db.hosts.1.name", OK, OK, "three" },
		{ "db.hosts[2]", OK, OK, "four" },
		{ "db.hosts[3]", OK, ERR_NO_MATCH, "" },
		{ "db.hosts.x", OK, ERR_NO_MATCH, "" },
		{ "db[\"a.b\"]", OK, OK, "five" },
		{ "db.a.b", OK, ERR_NO_MATCH, "" },
		{ "db[\"7\"]", OK, OK, "six" },
		{ "db.7", OK, OK, "six" },
		{ "db[7]", OK, ERR_NO_MATCH, "" },
		{ "[\"q\"]x\"]", OK, OK, "seven" },
		{ "sops", OK, ERR_NO_MATCH, "" },
		{ "sops.mac", OK, ERR_NO_MATCH, "" },
		{ "other", OK, ERR_NO_MATCH, "" },
		{ "db.pass.x", OK, ERR_NO_MATCH, "" },
		{ "", ERR_USAGE, OK, "" },
		{ ".", ERR_USAGE, OK, "" },
		{ "db.", ERR_USAGE, OK, "" },
		{ "db..pass", ERR_USAGE, OK, "" },
		{ ".db", ERR_USAGE, OK, "" },
		{ "[\"db\"", ERR_USAGE, OK, "" },
		{ "[\"db\"]x", ERR_USAGE, OK, "" },
		{ "[db]", ERR_USAGE, OK, "" },
		{ "[]", ERR_USAGE, OK, "" },
		{ "[-1]", ERR_USAGE, OK, "" },
		{ "[99999999999]", ERR_USAGE, OK, "" },
		{ "[", ERR_USAGE, OK, "" },
		{ "db[0", ERR_USAGE, OK, "" },
	};
	struct sops_document document;
	struct sops_path path;
	uint32_t index;

	(void)state;
	assert_int_equal(sops_document_read(&document, SOPS_YAML, bytes_of_string(yaml)), OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum err err = sops_path_parse(bytes_of_string(rows[i].path), &path);

		if (err != rows[i].parse)
			fail_msg("%s: parsed as %d", rows[i].path, err);
		if (err)
			continue;
		err = sops_path_find(&document, &path, path.count, &index);
		if (err != rows[i].find)
			fail_msg("%s: found as %d", rows[i].path, err);
		if (!err && !bytes_equal(document.nodes[index].text, bytes_of_string(rows[i].text)))
			fail_msg("%s: found another value", rows[i].path);
	}
	assert_int_equal(sops_path_find(&document, &path, 0, &index), OK);
	assert_int_equal(document.nodes[index].kind, SOPS_MAP);
	sops_document_done(&document);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_paths) };

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
