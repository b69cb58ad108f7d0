/*
 * SOPS files: values, numbers, types, rules, shares and whole files. The files of tests/data/sops and the values here were made by another implementation of the format (Python's, with
 * the data key 00 01 02 ... 1f); what decrypting them has to give stands beside them.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/encoding.h"
#include "formats/regex_library.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_metadata.h"
#include "formats/sops_number.h"
#include "formats/sops_shamir.h"
#include "formats/sops_text.h"
#include "formats/sops_value.h"
#include "tests/fake/sops_data.h"

#define V_STRING                                                                                \
	"ENC[AES256_GCM,data:haXAGA==,iv:TjM1AEoagLdQwlLg/w2XLekUAJt86phveopyllhcT+U=,tag:orL/" \
	"SGUKrMp51m+bu0Ueyg==,type:str]"
#define V_INTEGER                       \
	"ENC[AES256_GCM,data:Ll2Z,iv:/" \
	"uhl2O7JJll7CLfL9bnzFv2lcUWIxAlAUyQ9R9gsHGQ=,tag:LrwEeCXvLWU9Ftrfw2ZNlA==,type:int]"
#define V_FLOAT                                                                                            \
	"ENC[AES256_GCM,data:oMz7vw==,iv:HkrkwuqDRO0qLhVqx1T/pyFIGuhyxwlNfZZ8DSlpGbg=,tag:x4blTezTexQ5MM/" \
	"IcrQI0Q==,type:float]"
#define V_BOOLEAN                                                                            \
	"ENC[AES256_GCM,data:iyNSPA==,iv:i9wkfc08icWR0tdvYFwIeCdvKBNl4hEFLQ+aaUaymIk=,tag:+" \
	"2OkX6wxQ5PsoWoBMnYZcg==,type:bool]"
#define V_SHORT_IV "ENC[AES256_GCM,data:/ZA2QZw=,iv:vwVN3oCokB70hWxE,tag:sQKE7m9WYP2qKAt6qb39Uw==,type:str]"
#define V_TINY_IV "ENC[AES256_GCM,data:Odht,iv:JA==,tag:z+7DHKWp8IqAGSTFXSLyMA==,type:bytes]"
#define V_NO_BOOLEAN                                                                    \
	"ENC[AES256_GCM,data:uKJN,iv:tCUJ1L9nK0L3QOR3sVqd5hubfH4bTbybsPSTHgo4h04=,tag:" \
	"7ncE5H86aSbWQAa79LGhoQ==,type:bool]"
#define V_NO_INTEGER                                                                                       \
	"ENC[AES256_GCM,data:64k=,iv:Irs2ItLzX+s8uBdu6CuIjMWqu67ywMJprWpSM/BCMEs=,tag:FUe1iGkk1zh8JW8hu2/" \
	"bXA==,type:int]"
#define V_NO_FLOAT                                                                      \
	"ENC[AES256_GCM,data:TA==,iv:IszWpUYjicwFzVmSYzfN1mMuIQ+IgaYcxXS1WDYpR8U=,tag:" \
	"Mp7QxpJlTVqIYdrkW89AXg==,type:float]"

static struct secret *key;

static void test_values(void **state)
{
	CLEANUP(gcm_freep) struct gcm *cipher = NULL;
	static const struct {
		const char *text;
		const char *path;
		enum err parse, open;
		const char *plain;
	} rows[] = {
		{ V_STRING, "a:b:", OK, OK, "text" },
		{ V_STRING " anything", "a:b:", OK, OK, "text" },
		{ V_INTEGER, "a:b:", OK, OK, "-12" },
		{ V_FLOAT, "a:b:", OK, OK, "1.5" },
		{ V_BOOLEAN, "a:b:", OK, OK, "True" },
		{ V_SHORT_IV, "a:b:", OK, OK, "short" },
		{ V_TINY_IV, "a:b:", OK, OK, "one" },
		{ V_STRING, "a:c:", OK, ERR_BAD_CIPHERTEXT, "" },
		{ V_STRING, "a:b", OK, ERR_BAD_CIPHERTEXT, "" },
		{ V_NO_BOOLEAN, "a:b:", OK, ERR_BAD_CIPHERTEXT, "" },
		{ V_NO_INTEGER, "a:b:", OK, ERR_BAD_CIPHERTEXT, "" },
		{ V_NO_FLOAT, "a:b:", OK, ERR_BAD_CIPHERTEXT, "" },
		{ V_STRING "]", "a:b:", ERR_BAD_FILE, OK, "" },
		{ " " V_STRING, "a:b:", ERR_BAD_FILE, OK, "" },
		{ "ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]", "a:b:", OK, ERR_BAD_FILE, "" },
		{ "ENC[AES256_GCM,data:,iv:eA==,tag:eA==,type:str]", "a:b:", ERR_BAD_FILE, OK, "" },
		{ "ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:text]", "a:b:", ERR_BAD_FILE, OK, "" },
		{ "ENC[AES256_GCM,data:eA==,iv:eA==,type:str]", "a:b:", ERR_BAD_FILE, OK, "" },
		{ "ENC[AES256_GCM,data:", "a:b:", ERR_BAD_FILE, OK, "" },
		{ "", "a:b:", ERR_BAD_FILE, OK, "" },
	};

	(void)state;
	assert_int_equal(gcm_new(key, &cipher), OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_freep) struct buf *out = NULL;
		struct sops_value value;

		assert_int_equal(buf_new(1000, &out), OK);
		if (sops_value_parse(bytes_of_string(rows[i].text), &value) != rows[i].parse)
			fail_msg("row %zu does not parse as it should", i);
		if (rows[i].parse)
			continue;
		if (sops_value_open(&value, cipher, bytes_of_string(rows[i].path), out) != rows[i].open)
			fail_msg("row %zu does not open as it should", i);
		assert_string_equal(buf_string(out), rows[i].plain);
	}
}

/* What Go 1.22 prints: strconv.FormatFloat 'f' and 'g' with precision -1, and encoding/json. */
static void test_numbers(void **state)
{
	static const struct {
		const char *text, *plain, *yaml, *json;
	} rows[] = {
		{ "1", "1", "1", "1" },
		{ "-0", "-0", "-0", "-0" },
		{ "0.1", "0.1", "0.1", "0.1" },
		{ "1e6", "1000000", "1e+06", "1000000" },
		{ "123456", "123456", "123456", "123456" },
		{ "1234567.5", "1234567.5", "1.2345675e+06", "1234567.5" },
		{ "1e21", "1000000000000000000000", "1e+21", "1e+21" },
		{ "1e20", "100000000000000000000", "1e+20", "100000000000000000000" },
		{ "0.00001", "0.00001", "1e-05", "0.00001" },
		{ "1.5e-7", "0.00000015", "1.5e-07", "1.5e-7" },
		{ "9007199254740993", "9007199254740992", "9.007199254740992e+15", "9007199254740992" },
		{ "5e-324", NULL, "5e-324", "5e-324" },
		{ "1.7976931348623157e308", NULL, "1.7976931348623157e+308", "1.7976931348623157e+308" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *const expected[] = { rows[i].plain, rows[i].yaml, rows[i].json };
		char out[SOPS_NUMBER_MAX];
		double number;

		assert_int_equal(sops_number_read(bytes_of_string(rows[i].text), &number), OK);
		for (unsigned form = 0; form < 3; form++) {
			size_t len = sops_number_write(number, (enum sops_number_form)form, out);

			if (expected[form] &&
			    !bytes_equal(bytes_of(out, len), bytes_of_string(expected[form])))
				fail_msg("%s in form %u is %.*s", rows[i].text, form, (int)len, out);
		}
	}
}

static void test_types(void **state)
{
	static const struct {
		const char *plain;
		enum sops_kind kind;
		const char *text;
	} rows[] = {
		{ "text", SOPS_STRING, "text" },
		{ "yes", SOPS_STRING, "yes" },
		{ "True", SOPS_BOOLEAN, "True" },
		{ "tRue", SOPS_STRING, "tRue" },
		{ "~", SOPS_NULL, "" },
		{ "-7", SOPS_INTEGER, "-7" },
		{ "+12", SOPS_INTEGER, "12" },
		{ "0x1F", SOPS_INTEGER, "31" },
		{ "-0x1", SOPS_INTEGER, "-1" },
		{ "0o17", SOPS_INTEGER, "15" },
		{ "017", SOPS_INTEGER, "15" },
		{ "08", SOPS_FLOAT, "8" },
		{ "0b11", SOPS_INTEGER, "3" },
		{ "1_000", SOPS_INTEGER, "1000" },
		{ "9223372036854775807", SOPS_INTEGER, "9223372036854775807" },
		{ "-9223372036854775808", SOPS_INTEGER, "-9223372036854775808" },
		{ "18446744073709551616", SOPS_FLOAT, "18446744073709552000" },
		{ "1.50", SOPS_FLOAT, "1.5" },
		{ "1e3", SOPS_FLOAT, "1000" },
		{ "1e400", SOPS_STRING, "1e400" },
		{ ".5", SOPS_FLOAT, "0.5" },
		{ ".", SOPS_STRING, "." },
		{ "-", SOPS_STRING, "-" },
		{ "1.2.3", SOPS_STRING, "1.2.3" },
		{ ".inf", SOPS_FLOAT, "+Inf" },
		{ "12:30:45", SOPS_STRING, "12:30:45" },
		{ "0x", SOPS_STRING, "0x" },
		{ "2001-01-01", SOPS_TIME, "2001-01-01T00:00:00Z" },
		{ "2001-1-2T3:4:5.50+02:00", SOPS_TIME, "2001-01-02T03:04:05.5+02:00" },
		{ "2001-01-02 03:04:05", SOPS_TIME, "2001-01-02T03:04:05Z" },
		{ "2001-02-30", SOPS_STRING, "2001-02-30" },
		{ "2001-13-01", SOPS_STRING, "2001-13-01" },
	};
	struct sops_document document = { .count = 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sops_node node = { .kind = SOPS_STRING };

		assert_int_equal(sops_text_resolve(&document, bytes_of_string(rows[i].plain), &node), OK);
		if (node.kind != rows[i].kind || !bytes_equal(node.text, bytes_of_string(rows[i].text)))
			fail_msg("%s is kind %d, %.*s", rows[i].plain, (int)node.kind, (int)node.text.len,
			         (const char *)node.text.data);
	}
	sops_document_done(&document);
}

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *text;
		enum err err;
		bool match;
	} rows[] = {
		{ "^(pass|tok.n)", "password", OK, true },
		{ "^pass$", "passw", OK, false },
		{ "word$", "password\n", OK, false },
		{ "(?i)PASS", "my_pass", OK, true },
		{ "(?P<a>x)", "x", OK, true },
		{ "[(?=]", "(", OK, true },
		{ "\\.a", "x.a", OK, true },
		{ "", "anything", OK, true },
		{ "(?=x)", "", ERR_BAD_FILE, false },
		{ "(?!x)", "", ERR_BAD_FILE, false },
		{ "(?<=x)", "", ERR_BAD_FILE, false },
		{ "(?<!x)", "", ERR_BAD_FILE, false },
		{ "(a)\\1", "", ERR_BAD_FILE, false },
		{ "(?>a)", "", ERR_BAD_FILE, false },
		{ "a++", "", ERR_BAD_FILE, false },
		{ "(*UTF)a", "", ERR_BAD_FILE, false },
		{ "\\K", "", ERR_BAD_FILE, false },
		{ "(?R)", "", ERR_BAD_FILE, false },
		{ "(", "", ERR_BAD_FILE, false },
		{ "(a*)*(a*)*c", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", OK, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(regex_freep) struct regex *regex = NULL;
		bool match = false;
		enum err err;

		if (regex_new(bytes_of_string(rows[i].pattern), &regex) != rows[i].err)
			fail_msg("the pattern %s is not taken as it should be", rows[i].pattern);
		if (rows[i].err)
			continue;
		err = regex_match(regex, bytes_of_string(rows[i].text), &match);
		assert_true(err == OK || err == ERR_BUSY);
		assert_int_equal(match, rows[i].match);
	}
}

/* A polynomial of degree 1 with the secret at 0: y = s + 3x, in the field. */
static void test_shares(void **state)
{
	static const uint8_t bytes[][3] = { { 's' ^ 3, 't' ^ 3, 1 },
		                            { 's' ^ 6, 't' ^ 6, 2 },
		                            { 's' ^ 5, 't' ^ 5, 3 } };
	struct secret *shares[3] = { NULL }, *twice[2], *combined = NULL;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(secret_new_from(bytes_of(bytes[i], 3), &shares[i]), OK);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(sops_shamir_combine(shares + i, 2, &combined), OK);
		assert_true(bytes_equal(secret_reveal(combined), bytes_of_string("st")));
		combined = secret_free(combined);
	}
	assert_int_equal(sops_shamir_combine(shares, 1, &combined), ERR_BAD_CIPHERTEXT);
	twice[0] = twice[1] = shares[0];
	assert_int_equal(sops_shamir_combine(twice, 2, &combined), ERR_BAD_CIPHERTEXT);
	for (size_t i = 0; i < 3; i++)
		(void)secret_free(shares[i]);
}

static enum err decrypt(const char *name, struct bytes text, struct buf *out, char reason[static 256])
{
	struct sops_document document;
	struct sops_metadata *metadata = calloc(1, sizeof(*metadata));
	enum err err = sops_document_read(&document, sops_format_guess(name, text), text);

	assert_non_null(metadata);
	if (!err)
		err = sops_metadata_read(&document, metadata);
	if (!err)
		err = sops_decrypt(&document, metadata, key, out);
	memcpy(reason, document.reason, 256);
	sops_document_done(&document);
	free(metadata);
	return err;
}

static const char *const names[] = { "all.yaml",    "two.yaml",    "only.yaml", "comment_rule.yaml",
	                             "groups.yaml", "suffix.yaml", "flow.yaml", "all.json",
	                             "old.json",    "first.json",  "raw.bin",   "all.env",
	                             "all.ini" };

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		CLEANUP(buf_freep) struct buf *text = sops_data_read(names[i], 100000);
		CLEANUP(buf_freep) struct buf *expected = NULL;
		CLEANUP(buf_freep) struct buf *out = NULL;
		char plain[64], reason[256];
		enum err err;

		(void)snprintf(plain, sizeof(plain), "%s.plain", names[i]);
		expected = sops_data_read(plain, 100000);
		assert_int_equal(buf_new(100000, &out), OK);
		err = decrypt(names[i], buf_bytes(text), out, reason);
		if (err)
			fail_msg("%s: %s: %s", names[i], err_info(err)->name, reason);
		if (!bytes_equal(buf_bytes(out), buf_bytes(expected)))
			fail_msg("%s gave\n%s", names[i], buf_string(out));
	}
}

/* Each byte of each ciphertext, its IV, its tag and the MAC is covered: a changed one is refused. Comments are not: sops takes one that does not open for a clear one. */
static void test_changes(void **state)
{
	size_t tried = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		CLEANUP(buf_freep) struct buf *text = sops_data_read(names[i], 100000);
		uint8_t *bytes;
		struct bytes whole = buf_bytes(text);
		const uint8_t *at = whole.data;

		bytes = malloc(whole.len);
		assert_non_null(bytes);
		while ((at = memmem(at, whole.len - (size_t)(at - whole.data), SOPS_VALUE_BEGIN,
		                    strlen(SOPS_VALUE_BEGIN)))) {
			const uint8_t *end = memchr(at, ']', whole.len - (size_t)(at - whole.data));
			bool comment = memcmp(end - 7, "comment", 7) == 0;

			for (const uint8_t *place = at + strlen(SOPS_VALUE_BEGIN); !comment && place < end;
			     place += 7) {
				CLEANUP(buf_freep) struct buf *out = NULL;
				char reason[256];

				memcpy(bytes, whole.data, whole.len);
				bytes[place - whole.data] = *place == 'A' ? 'B' : 'A';
				assert_int_equal(buf_new(100000, &out), OK);
				/* The second document's metadata is not read, and is the second MAC of that file. */
				if (decrypt(names[i], bytes_of(bytes, whole.len), out, reason) == OK &&
				    strcmp(names[i], "two.yaml") != 0)
					fail_msg("%s: a change at %zu is not noticed", names[i],
					         (size_t)(place - whole.data));
				tried++;
			}
			at = end;
		}
		free(bytes);
	}
	assert_true(tried > 500);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *name, *text;
		enum err err;
		const char *reason;
	} rows[] = {
		{ "x.yaml", "a: &x 1\nb: *x\n", ERR_BAD_FILE, "line 2: aliases are not read" },
		{ "x.yaml", "a: 'x''''\n  y'\n", ERR_BAD_FILE,
		  "line 2: two apostrophes in a row are not read here; write it in double quotes" },
		{ "x.yaml", "a: 1\n\na: 2\n", ERR_BAD_FILE, "line 3: this key is there twice" },
		{ "x.yaml", "1: a\n", ERR_BAD_FILE, "line 1: a key is no string" },
		{ "x.yaml", "- a\n", ERR_BAD_FILE, "line 1: a document is no map" },
		{ "x.yaml", "a: [1\n", ERR_BAD_FILE, "this is no YAML" },
		{ "x.yaml", "a: 1\n", ERR_NO_MATCH, "" },
		{ "x.json", "{\"a\": 1,}", ERR_BAD_FILE, "line 1: a key is missing" },
		{ "x.json", "{\"a\": [1", ERR_BAD_FILE, "line 1: the file ends too early" },
		{ "x.json", "{\"a\": 1, \"a\": 2}", ERR_BAD_FILE, "line 1: this key is there twice" },
		{ "x.env", "A=1\nB\n", ERR_BAD_FILE, "line 2: there is no = in this line" },
		{ "x.env", "A=1\nsops_lastmodified=2025-08-06T18:55:05Z\n", ERR_BAD_FILE,
		  "no recipient stands in it" },
		{ "x.env", "A=1\nsops_version=1\n", ERR_BAD_FILE, "its lastmodified is no time" },
		{ "x.env", "A=1\nsops_age__list_0__map_enc=x\nsops_lastmodified=2025-08-06T18:55:05Z\n",
		  ERR_BAD_FILE, "line 1: this value ought to be encrypted and is not" },
		{ "x.env", "A=\nsops_age__list_0__map_enc=x\nsops_lastmodified=2025-08-06T18:55:05Z\n",
		  ERR_BAD_CIPHERTEXT, "it has no MAC" },
		{ "x.env",
		  "A=\nsops_age__list_0__map_enc=x\nsops_encrypted_regex=(?=a)\nsops_lastmodified=2025-08-"
		  "06T18:55:05Z\n",
		  ERR_BAD_FILE, "its rule is no pattern that sops would take" },
		{ "x.env", "sops_encrypted_regex=a\nsops_encrypted_suffix=b\n", ERR_BAD_FILE,
		  "line 2: there is more than one rule of what is encrypted" },
		/* Metadata of other types. */
		{ "x.yaml", "sops: text\n", ERR_BAD_FILE, "its lastmodified is no time" },
		{ "x.yaml", "sops: []\n", ERR_BAD_FILE, "its lastmodified is no time" },
		{ "x.yaml", "sops:\n  lastmodified: [2025-08-06T18:55:05Z]\n", ERR_BAD_FILE,
		  "its lastmodified is no time" },
		{ "x.yaml", "sops:\n  age: [5]\n", ERR_BAD_FILE,
		  "line 2: the list of recipients is malformed" },
		{ "x.yaml", "sops:\n  age: {a: b}\n  lastmodified: 2025-08-06T18:55:05Z\n", ERR_BAD_FILE,
		  "no recipient stands in it" },
		{ "x.yaml", "sops:\n  age: text\n  lastmodified: 2025-08-06T18:55:05Z\n", ERR_BAD_FILE,
		  "no recipient stands in it" },
		{ "x.yaml", "sops:\n  key_groups: [5]\n", ERR_BAD_FILE, "line 2: key_groups is malformed" },
		{ "x.yaml", "sops:\n  shamir_threshold: two\n", ERR_BAD_FILE,
		  "line 2: shamir_threshold is no sensible number" },
		{ "x.yaml", "sops:\n  shamir_threshold: -1\n", ERR_BAD_FILE,
		  "line 2: shamir_threshold is no sensible number" },
		{ "x.json",
		  "{\"sops\": {\"age\": [{\"enc\": \"x\"}], \"lastmodified\": \"2025-08-06T18:55:05Z\", "
		  "\"mac\": 5}}",
		  ERR_BAD_CIPHERTEXT, "its MAC is wrong" },
		{ "x.json",
		  "{\"sops\": {\"age\": [{\"enc\": \"x\"}], \"lastmodified\": \"2025-08-06T18:55:05Z\", "
		  "\"mac\": {}}}",
		  ERR_BAD_CIPHERTEXT, "it has no MAC" },
		/* As sops has it, which keeps two of them. */
		{ "x.ini", "a = 1\n[DEFAULT]\nb = 1\n", ERR_BAD_FILE, "line 2: this key is there twice" },
		/* No metadata but a value, which ought to be encrypted. */
		{ "x.env",
		  "sops=v\nsops_age__list_0__map_enc=x\nsops_lastmodified=2025-08-06T18:55:05Z\nsops_mac=x\n",
		  ERR_BAD_FILE, "line 1: this value ought to be encrypted and is not" },
		{ "x.ini", "[a\n", ERR_BAD_FILE, "line 1: this section's name does not end" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_freep) struct buf *out = NULL;
		char reason[256];

		assert_int_equal(buf_new(1000, &out), OK);
		if (decrypt(rows[i].name, bytes_of_string(rows[i].text), out, reason) != rows[i].err ||
		    !strstr(reason, rows[i].reason))
			fail_msg("row %zu says '%s'", i, reason);
	}
}

static void check_truncated(const char *name, struct bytes text, struct bytes expected)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	char reason[256] = "";
	enum err err;

	assert_int_equal(buf_new(100000, &out), OK);
	err = decrypt(name, text, out, reason);
	/* White space at the end is nobody's. */
	if (!err &&
	    (buf_len(out) < expected.len || memcmp(buf_bytes(out).data, expected.data, expected.len) != 0 ||
	     strspn(buf_string(out) + expected.len, " ") != buf_len(out) - expected.len))
		fail_msg("%s is taken with %zu bytes, and gives another text: %s", name, text.len,
		         buf_string(out));
	if (err && !reason[0] && err != ERR_NO_MATCH)
		fail_msg("%s with %zu bytes: no reason is given", name, text.len);
}

/* A file that ends anywhere is refused with a reason, or nothing that is missing was a value. */
static void test_truncated(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		CLEANUP(buf_freep) struct buf *text = sops_data_read(names[i], 100000);
		CLEANUP(buf_freep) struct buf *expected = NULL;
		char plain[64];

		if (strcmp(names[i], "two.yaml") == 0)
			continue; /* the end of the first document's metadata is the end of what sops reads of it */
		(void)snprintf(plain, sizeof(plain), "%s.plain", names[i]);
		expected = sops_data_read(plain, 100000);
		for (size_t len = 0; len < buf_len(text); len += 5) {
			uint8_t *copy = malloc(len + 1);

			assert_non_null(copy);
			memcpy(copy, buf_bytes(text).data, len);
			check_truncated(names[i], bytes_of(copy, len), buf_bytes(expected));
			free(copy);
		}
	}
}

/* Brackets in a text are none of the document's, unless there are more than any text has. */
static void test_brackets(void **state)
{
	(void)state;
	for (size_t count = 40000; count <= 60000; count += 20000) {
		CLEANUP(buf_freep) struct buf *text = NULL;
		CLEANUP(buf_freep) struct buf *out = NULL;
		char reason[256] = "";
		enum err err;

		assert_int_equal(buf_new(100000, &text), OK);
		assert_int_equal(buf_new(1000, &out), OK);
		assert_int_equal(buf_put_string(text, "a: \""), OK);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(buf_put_u8(text, '['), OK);
		assert_int_equal(buf_put_string(text, "\"\n"), OK);
		err = decrypt("x.yaml", buf_bytes(text), out, reason);
		assert_int_equal(err, count == 40000 ? ERR_NO_MATCH : ERR_BAD_FILE);
		assert_string_equal(reason, count == 40000 ? "" : "line 1: it is nested too deeply");
	}
}

/* Texts of YAML scalars, those that are taken as they stand beside those that are put together, and where they stand. */
static void test_scalars(void **state)
{
	static const struct {
		const char *yaml;
		const char *text;
	} rows[] = {
		{ "a: one line\n", "one line" },
		{ "a: one line   # and a comment\n", "one line" },
		{ "a: tab\tin it\t\n", "tab\tin it" },
		{ "a: !!str 12\nb: 3\n", "12" },
		{ "a: !!str   word \n", "word" },
		{ "a: two\n  lines\n", "two lines" },
		{ "a: two\n\n  lines, one empty\n", "two\nlines, one empty" },
		{ "a: two\r\n  lines\r\n", "two lines" },
		{ "a: one line\r\nb: 1\r\n", "one line" },
		{ "a: gr\303\274n\n", "gr\303\274n" },
		{ "a: x\302\205y\n", "x\302\205y" },
		{ "a: it's 'quoted'\n", "it's 'quoted'" },
		{ "a: 'it''s'\n", "it's" },
		{ "a: 'x''''y'' '\nb: 1\n", "x''y' " },
		{ "a: ''''''\n", "''" },
		{ "a: !!str '1'''''\n", "1''" },
		{ "a: 'x''''\303\274'\n", "x''\303\274" },
		{ "{a: 'x'''' ', b: 1}\n", "x'' " },
		{ "{a: in brackets , b: 1}\n", "in brackets" },
		{ "a: |\n  block\n", "block\n" },
		{ "? a\n: complex\n", "complex" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sops_document document;

		if (sops_document_read(&document, SOPS_YAML, bytes_of_string(rows[i].yaml)))
			fail_msg("%s: %s", rows[i].yaml, document.reason);
		assert_true(document.count >= 2);
		if (!bytes_equal(document.nodes[1].text, bytes_of_string(rows[i].text)))
			fail_msg("%s is %.*s", rows[i].yaml, (int)document.nodes[1].text.len,
			         (const char *)document.nodes[1].text.data);
		sops_document_done(&document);
	}
}

/* What stands behind a NUL byte is not passed on unread. */
static void test_nul(void **state)
{
	static const uint8_t text[] = "a: 1\n\0b: 2\n";
	CLEANUP(buf_freep) struct buf *out = NULL;
	char reason[256];

	(void)state;
	assert_int_equal(buf_new(1000, &out), OK);
	assert_int_equal(decrypt("x.yaml", bytes_of(text, sizeof(text) - 1), out, reason), ERR_BAD_FILE);
	assert_string_equal(reason, "line 1: there is a NUL byte in it");
}

/* As many brackets as a file may have bytes are refused at the 65th. */
static void test_bombs(void **state)
{
	static const struct {
		const char *name;
		const char *piece;
	} rows[] = { { "x.yaml", "[" }, { "x.yaml", "{a: " }, { "x.json", "{\"a\":" }, { "x.yaml", "- " } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_freep) struct buf *text = NULL;
		CLEANUP(buf_freep) struct buf *out = NULL;
		char reason[256];

		assert_int_equal(buf_new(1U << 20, &text), OK);
		assert_int_equal(buf_new(1000, &out), OK);
		assert_int_equal(buf_put_string(text, rows[i].name[2] == 'y' && i == 0 ? "a: " : ""), OK);
		while (buf_put_string(text, rows[i].piece) == OK)
			continue;
		assert_int_equal(decrypt(rows[i].name, buf_bytes(text), out, reason), ERR_BAD_FILE);
	}
}

static void test_guesses(void **state)
{
	static const struct {
		const char *name, *text;
		enum sops_format format;
	} rows[] = {
		{ "a.yml", "{", SOPS_YAML },
		{ "a.json", "", SOPS_JSON },
		{ ".env", "", SOPS_DOTENV },
		{ "a.ini", "", SOPS_INI },
		{ ".env.encrypted", "A=b\nsops_mac=x\n", SOPS_DOTENV },
		{ "a.txt", " {\"data\": \"\"}", SOPS_BINARY },
		{ NULL, "a=b\n[sops]\n", SOPS_INI },
		{ NULL, "a: b\nsops:\n", SOPS_YAML },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(sops_format_guess(rows[i].name, bytes_of_string(rows[i].text)),
		                 rows[i].format);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),   cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_types),    cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_shares),   cmocka_unit_test(test_files),
		cmocka_unit_test(test_changes),  cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bombs),    cmocka_unit_test(test_guesses),
		cmocka_unit_test(test_nul),      cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_brackets), cmocka_unit_test(test_scalars),
	};

	key = sops_data_key();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
