/* What guard sees in a file, in git's list of changes, and in a dotenv file's name; what verify sees without a key. Git itself is in tests/integration/guard.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/git.h"
#include "cli/guard_look.h"
#include "cli/guard_scan.h"
#include "cli/sops_config.h"
#include "common/secret.h"

/* Nobody's: made for this file. */
#define AGE_KEY "AGE-SECRET-KEY-1Y73JL0LH0XPHJZCEF3KXVT8RD4VMTV6VMS83LSPXTF0GTHM7R58SLGM0DT"
#define BODY "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"
#define BEGIN(label) "-----BEGIN " label "-----\n"
#define SSH_CLEAR "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"
#define SSH_LOCKED "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBvkfS7PT"

static void test_keys(void **state)
{
	static const struct {
		const char *text;
		const char *what; /* NULL: nothing */
		size_t start;
	} rows[] = {
		{ "", NULL, 0 },
		{ "x " AGE_KEY "\n", "an age private key", 2 },
		{ "\"" AGE_KEY "\"", "an age private key", 1 },
		{ AGE_KEY "X", NULL, 0 }, /* another checksum */
		{ "AGE-SECRET-KEY-1...", NULL, 0 },
		{ "AGE-PLUGIN-TOKEND-1QQQQQQQQQQQQQQQQQQQQQQ", NULL, 0 },
		{ BEGIN("PRIVATE KEY") BODY, "a private key", 0 },
		{ "  k: |\n    " BEGIN("PRIVATE KEY") "    " BODY, "a private key", 11 },
		{ "{\"k\": \"-----BEGIN PRIVATE KEY-----\\n" BODY "\"}", "a private key", 7 },
		{ "-----BEGIN EC PRIVATE KEY-----\r\n" BODY, "an EC private key", 0 },
		{ BEGIN("RSA PRIVATE KEY") BODY, "an RSA private key", 0 },
		{ BEGIN("RSA PRIVATE KEY") "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n" BODY, NULL,
		  0 },
		{ BEGIN("ENCRYPTED PRIVATE KEY") BODY, NULL, 0 },
		{ BEGIN("TSS2 PRIVATE KEY") BODY, NULL, 0 },
		{ BEGIN("PUBLIC KEY") BODY, NULL, 0 },
		{ BEGIN("CERTIFICATE") BODY, NULL, 0 },
		{ "look for \"-----BEGIN PRIVATE KEY-----\" in it", NULL, 0 },
		{ BEGIN("OPENSSH PRIVATE KEY") SSH_CLEAR, "an OpenSSH private key without a passphrase", 0 },
		{ BEGIN("OPENSSH PRIVATE KEY") SSH_LOCKED, NULL, 0 },
		{ BEGIN("PGP PRIVATE KEY BLOCK") "Version: x\n\n" BODY, "a PGP private key", 0 },
		{ BEGIN("PGP PRIVATE KEY BLOCK") "Version: x", NULL, 0 },
		{ "-----BEGIN PRIVATE KEY", NULL, 0 },
		{ BEGIN("CERTIFICATE") BODY BEGIN("PRIVATE KEY") BODY, "a private key", 92 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct guard_key key = { 0, NULL };
		struct guard_cursor cursor = { .at = 0 };
		enum err err;
		bool found = guard_scan_next(bytes_of_string(rows[i].text), &cursor, &key, &err);

		assert_int_equal(err, OK);
		if (found != (rows[i].what != NULL) ||
		    (found && (strcmp(key.what, rows[i].what) != 0 || key.start != rows[i].start)))
			fail_msg("row %zu: %s at %zu", i, found ? key.what : "nothing", key.start);
	}
}

#define VALUE "ENC[AES256_GCM,data:ZGF0YQ==,iv:aXY=,tag:dGFn,type:str]"
#define WHOLE "ENC[AES256_GCM,data:ZGF0YQ==,iv:aXY=,tag:Y/wwP4mlUZQLO53hGeDI+g==,type:str]"
#define OTHER "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa"
#define ENTRY(who)                                                                     \
	"  age:\n  - recipient: " who "\n    enc: |\n"                                 \
	"      -----BEGIN AGE ENCRYPTED FILE-----\n"                                   \
	"      YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBYWFhYWFhYWFhYWFhYWFhYWFhY\n" \
	"      -----END AGE ENCRYPTED FILE-----\n"
#define SOPS_WITH(more) \
	"sops:\n" more "  lastmodified: \"2026-01-01T00:00:00Z\"\n  mac: " VALUE "\n  version: 3.13.3\n"
#define PGP(who) "  pgp:\n  - fp: " who "\n    enc: x\n"
#define SOPS SOPS_WITH(PGP("AAAA"))

struct row {
	const char *path;
	const char *text;
	const char *old_text;
	bool covered;
	const char *expected; /* "LINE KIND,..."; notes in brackets */
};

static void describe(const struct findings *findings, char *out, size_t size)
{
	size_t len = 0;

	*out = '\0';
	for (size_t i = 0; i < findings->count && len < size; i++)
		len += (size_t)snprintf(out + len, size - len,
		                        findings->items[i].note ? "%s(%zu %s)" : "%s%zu %s", i ? "," : "",
		                        findings->items[i].line, findings->items[i].kind);
}

static void check_row(const struct row *row)
{
	static const char *const allowed[] = { "CCCC" };
	const struct sops_creation_rule rule = { .line = 2 };
	struct guard_file file = { .path = row->path,
		                   .place = row->path,
		                   .text = bytes_of_string(row->text),
		                   .rules = ".sops.yaml",
		                   .rule = row->covered ? &rule : NULL,
		                   .allowed = allowed,
		                   .allowed_count = 1 };
	struct findings findings = { .count = 0 };
	char found[1024];

	if (row->old_text)
		file.old_text = bytes_of_string(row->old_text);
	assert_int_equal(guard_look(&file, &findings), OK);
	describe(&findings, found, sizeof(found));
	if (strcmp(found, row->expected) != 0)
		fail_msg("%s\n%s\nfound: %s", row->path, row->text, found);
	findings_done(&findings);
}

static void test_look(void **state)
{
	static const struct row rows[] = {
		{ "a.yaml", "a: 1\n", NULL, false, "" },
		{ "a.yaml", "a: 1\n", NULL, true, "0 not-encrypted" },
		{ "a.yaml", "", NULL, true, "" },
		{ "a.txt", "-----BEGIN AGE ENCRYPTED FILE-----\nYQ==\n", NULL, true, "" },
		{ "a.bin", "age-encryption.org/v1\n", NULL, true, "" },
		{ "a.yaml", "a: " VALUE "\n" SOPS, NULL, true, "" },
		{ "a.yaml", "a: 1\nb: " VALUE "\n" SOPS, NULL, true, "1 clear-value" },
		{ "a.yaml", "a: 1\nb: " VALUE "\n" SOPS, NULL, false, "1 clear-value" },
		{ "a.yaml", "a: \"\"\nb:\nc_unencrypted: x\nd: {}\n" SOPS, NULL, false, "" },
		{ "a.yaml", "a_unencrypted: " VALUE "\n" SOPS, NULL, false, "1 malformed-value" },
		{ "a.yaml", "a:\n  - " VALUE "\n  - x\n  - true\n" SOPS, NULL, false,
		  "3 clear-value,4 clear-value" },
		{ "a.yaml", "a: ENC[AES256_GCM,data:x]\n" SOPS, NULL, false, "1 malformed-value" },
		{ "a.yaml", "# c\na: " VALUE "\n" SOPS, NULL, false, "(1 clear-comment)" },
		{ "a.yaml", "# c\na: " VALUE "\nb: 1\n" SOPS_WITH(PGP("A") "  encrypted_regex: ^a$\n"), NULL,
		  false, "" },
		{ "a.yaml", "a: 1\nb: 1\n" SOPS_WITH(PGP("A") "  encrypted_regex: ^a$\n"), NULL, false,
		  "1 clear-value" },
		{ "a.yaml", "a: 1\n" SOPS_WITH(PGP("A") "  encrypted_regex: '('\n"), NULL, false,
		  "0 broken" },
		/* Rules about comments: certain only where a comment stands right above, or none stands before. */
		{ "a.yaml",
		  "# secret\na: 1\nb: 2\n" SOPS_WITH(PGP("A") "  encrypted_comment_regex: secret\n"), NULL,
		  false, "2 clear-value" },
		{ "a.yaml",
		  "# secret\n\na: 1\nb: 2\n" SOPS_WITH(PGP("A") "  encrypted_comment_regex: secret\n"), NULL,
		  false, "" },
		{ "a.yaml",
		  "# secret\na:\n  b: 2\n" SOPS_WITH(PGP("A") "  encrypted_comment_regex: secret\n"), NULL,
		  false, "3 clear-value" },
		{ "a.yaml",
		  "a: 1\n# public\nb: 2\n" SOPS_WITH(PGP("A") "  unencrypted_comment_regex: public\n"), NULL,
		  false, "1 clear-value" },
		{ "a.yaml", "a: " VALUE "\na: " VALUE "\n" SOPS, NULL, false, "0 broken" },
		/* Without its metadata; an abridged value in a manual is none, nor is a whole one where nothing is to be encrypted. */
		{ "a.yaml", "a: " WHOLE "\n", NULL, true, "0 broken" },
		{ "a.yaml", "# sops\na: " WHOLE "\n", NULL, true, "0 broken" },
		{ "a.yaml", "a: " WHOLE "\n", "a: " WHOLE "\n" SOPS, false, "0 broken" },
		{ "a.yaml", "a: " WHOLE "\n", NULL, false, "" },
		{ "a.yaml", "a: " VALUE "\n", NULL, true, "0 not-encrypted" },
		{ "a.yaml", "<<<<<<< HEAD\na: " VALUE "\n" SOPS, NULL, false, "0 broken" },
		{ "a.yaml", "a: " VALUE "\nsops:\n  mac: x\n  lastmodified: y\n", NULL, false, "0 broken" },
		{ "a.yaml", "a: " VALUE "\n" SOPS_WITH(ENTRY(OTHER)), NULL, false, "0 metadata" },
		{ "a.yaml", "a: " VALUE "\n" SOPS_WITH(PGP("A") "  shamir_threshold: 3\n"), NULL, false,
		  "0 metadata" },
		{ "a.json",
		  "{\"a\": \"" VALUE
		  "\", \"b\": 1, \"sops\": {\"pgp\": [{\"fp\": \"A\", \"enc\": \"x\"}], \"lastmodified\": "
		  "\"2026-01-01T00:00:00Z\", \"mac\": \"" VALUE "\"}}",
		  NULL, false, "1 clear-value" },
		{ "a.env",
		  "A=" VALUE "\nB=1\nsops_pgp__list_0__map_fp=A\nsops_pgp__list_0__map_enc=x\nsops_mac=" VALUE
		  "\nsops_lastmodified=2026-01-01T00:00:00Z\nsops_version=3.13.3\n",
		  NULL, false, "2 clear-value" },
		/* Who can read it. */
		{ "a.yaml", "a: " VALUE "\n" SOPS, "a: " VALUE "\n" SOPS, false, "" },
		{ "a.yaml", "a: " VALUE "\n" SOPS_WITH(PGP("BBBB")), "a: " VALUE "\n" SOPS, false,
		  "4 recipient" },
		{ "a.yaml", "a: " VALUE "\n" SOPS_WITH(PGP("CCCC")), "a: " VALUE "\n" SOPS, false, "" },
		{ "a.yaml", "a: " VALUE "\n" SOPS_WITH(PGP("BBBB")), "a: 1\n", false, "" },
		{ "a.yaml", "a: " VALUE "\n" SOPS,
		  "a: " VALUE "\n" SOPS_WITH(PGP("AAAA") "  kms:\n  - {arn: b, enc: x}\n"), false, "" },
		/* Variables. */
		{ ".env", "# c\nA=1\n", NULL, false, "2 dotenv" },
		{ "x/.env.local", "export A = b\n", NULL, false,
		  "1 dotenv" }, /* no shell takes it, but other programs */
		{ "x/.env.local", "export A=b\n", NULL, false, "1 dotenv" },
		{ "prod.env", "A=\nB=''\nC=\"\" # c\n", NULL, false, "" },
		{ ".env.sample", "A=1\n", NULL, false, "" },
		{ ".envrc", "A=1\n", NULL, false, "" },
		{ "a.yaml", "k: " AGE_KEY "\n", NULL, false, "1 private-key" },
		{ ".env", "\nK=" AGE_KEY "\n", NULL, false, "2 dotenv,2 private-key" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
}

/* A file with thousands of values in the clear says so briefly, and the count is right. */
static void test_many(void **state)
{
	struct findings findings = { .count = 0 };
	size_t len = 0, size = 1U << 20;
	char *text = malloc(size);
	struct guard_file file = { .path = "a.yaml", .place = "a.yaml" };

	(void)state;
	assert_non_null(text);
	for (unsigned i = 0; i < 5000; i++)
		len += (size_t)snprintf(text + len, size - len, "k%u: 1\n", i);
	len += (size_t)snprintf(text + len, size - len, "z: " VALUE "\n" SOPS);
	file.text = bytes_of(text, len);
	assert_int_equal(guard_look(&file, &findings), OK);
	assert_int_equal(findings.refused, 5000);
	assert_int_equal(findings.count, FINDINGS_PER_FILE_MAX + 1);
	findings_done(&findings);
	free(text);
}

static enum err take_change(void *context, const struct git_change *change)
{
	char *out = context;
	size_t len = strlen(out);

	(void)snprintf(out + len, 512 - len, "%s%s=%s<%s%s%s%s%s;", change->path,
	               change->repository ? "/" : "", change->object, change->old_object,
	               *change->other_object ? "," : "", change->other_object,
	               change->old_alike < GIT_RENAMED_SURELY ? "?" : "",
	               *change->other_object && change->other_alike < GIT_RENAMED_SURELY ? "!" : "");
	return OK;
}

static enum err begin_commit(void *context, const char *commit)
{
	char *out = context;
	size_t len = strlen(out);

	(void)snprintf(out + len, 512 - len, "%s:", commit);
	return OK;
}

#define RAW(text) text, sizeof(text) - 1
#define TEN(letter) letter letter letter letter letter letter letter letter letter letter
#define FORTY(letter) TEN(letter letter letter letter)
#define HUNDRED(text) TEN(TEN(text))

static void test_changes(void **state)
{
	static const struct {
		const char *raw;
		size_t len;
		enum err err;
		const char *expected;
	} rows[] = {
		{ RAW(""), OK, "" },
		{ RAW(":100644 100755 aa bb M\0x y\nz\0"), OK, "x y\nz=bb<aa;" },
		{ RAW(":000000 100644 00 bb A\0x\0:100644 000000 aa 00 D\0y\0"), OK, "x=bb<;" },
		{ RAW(":100644 100644 aa bb R090\0old\0new\0:000000 120000 00 cc A\0link\0"), OK,
		  "new=bb<aa;" },
		{ RAW(":100644 100644 aa bb R049\0old\0new\0:100644 100644 aa bb R050\0old\0new\0"), OK,
		  "new=bb<aa?;new=bb<aa;" },
		{ RAW("::100644 100644 100644 aa bb cc MM\0x\0"), OK, "x=cc<aa,bb;" },
		/* Under another name in a parent, which of a merge has no number. */
		{ RAW("::100644 100644 100644 aa bb cc RM\0x\0::100644 100644 100644 aa bb cc MR\0x\0"), OK,
		  "x=cc<aa,bb?;x=cc<aa,bb!;" },
		{ RAW("::100644 100644 100644 aa bb cc RR\0x\0::000000 100644 100644 00 bb cc AR\0x\0"), OK,
		  "x=cc<aa,bb?!;x=cc<bb?;" },
		{ RAW("::000000 100644 100644 00 bb cc AM\0x\0"), OK, "x=cc<bb;" },
		{ RAW("::::000000 100644 100644 100644 100644 00 aa bb dd cc AMMM\0x\0"), OK, "x=cc<aa,bb;" },
		{ RAW(FORTY("a") "\0:100644 100644 aa bb M\0x\0" FORTY("c") "\0" FORTY(
		          "b") "\0::100644 100644 100644 aa bb cc MM\0bb\0"),
		  OK, FORTY("a") ":x=bb<aa;" FORTY("c") ":" FORTY("b") ":bb=cc<aa,bb;" },
		{ RAW("aa\0:100644 100644 aa bb M\0x\0"), ERR_BAD_MESSAGE, "" },
		/* Of a merge of a hundred parents. */
		{ RAW(HUNDRED(":") HUNDRED("100644 ") "100644 " HUNDRED("aa ") "bb " HUNDRED("M") "\0x\0"),
		  OK, "x=bb<aa,aa;" },
		{ RAW(":000000 160000 00 cc A\0module\0:160000 000000 cc 00 D\0gone\0"), OK, "module/=cc<;" },
		/* What a submodule was is a commit of another repository, and no file's beginning. */
		{ RAW(":160000 100644 cc bb T\0x\0:100644 160000 aa cc T\0y\0"), OK, "x=bb<;y/=cc<aa;" },
		{ RAW("::160000 100644 100644 cc aa bb TM\0x\0::100644 160000 100644 aa cc bb MT\0y\0"), OK,
		  "x=bb<aa;y=bb<aa;" },
		{ RAW("100644 100644 aa bb M\0x\0"), ERR_BAD_MESSAGE, "" },
		{ RAW(":100644 100644 aa bb M\0x"), ERR_BAD_MESSAGE, "" },
		{ RAW(":100644 100644 aa M\0x\0"), ERR_BAD_MESSAGE, "" },
		{ RAW(":100644 100644 aa bb R\0x\0"), ERR_BAD_MESSAGE, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char out[512] = "";

		assert_int_equal(
		        git_changes_each(bytes_of(rows[i].raw, rows[i].len), begin_commit, take_change, out),
		        rows[i].err);
		assert_string_equal(out, rows[i].expected);
	}
}

static void test_trees(void **state)
{
	static const struct {
		const char *tree;
		size_t len;
		enum err err;
		bool found; /* x y */
	} rows[] = {
		{ RAW(""), OK, false },
		{ RAW("100644 x y\0aa"), OK, true },
		{ RAW("40000 a\0aa120000 x y\0\0 100644 z\0bb"), OK, true },
		{ RAW("100644 a x y\0aa100644 x y z\0bb"), OK, false },
		{ RAW("100644 a\0x 100644 y\0bb"), OK, false },
		{ RAW("100644 x y\0a"), ERR_BAD_MESSAGE, false },
		{ RAW("100644 x y"), ERR_BAD_MESSAGE, false },
		{ RAW("100644\0aa"), ERR_BAD_MESSAGE, false },
		{ RAW("100644 a\0aa\n"), ERR_BAD_MESSAGE, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool found;

		assert_int_equal(git_tree_find(bytes_of(rows[i].tree, rows[i].len), 2, "x y", &found),
		                 rows[i].err);
		assert_int_equal(found, rows[i].found);
	}
}

static void test_names(void **state)
{
	(void)state;
	assert_true(git_is_object_name(FORTY("a")));
	assert_true(git_is_object_name(FORTY("0") TEN("ff") "0123"));
	assert_false(git_is_object_name(""));
	assert_false(git_is_object_name(TEN("abc") TEN("9") "^"));
	assert_false(git_is_object_name(TEN("abc") "123456789"));
	assert_false(git_is_object_name(TEN("abc") TEN("A")));
	assert_false(git_is_object_name(FORTY("ab")));
	assert_true(git_is_nothing(FORTY("0")));
	assert_false(git_is_nothing(TEN("000") "0000000001"));
}

static enum err take_resolved(void *context, const struct git_resolved *resolved)
{
	char *out = context;
	size_t len = strlen(out);

	(void)snprintf(out + len, 512 - len, "%s=%s|%s;", resolved->path, resolved->ours, resolved->theirs);
	return OK;
}

static void test_resolved(void **state)
{
	static const struct {
		const char *record;
		size_t len;
		enum err err;
		const char *expected;
	} rows[] = {
		{ RAW(""), OK, "" },
		{ RAW("m aa 1\tx y\nz\0m bb 2\tx y\nz\0m cc 3\tx y\nz\0"), OK, "x y\nz=bb|cc;" },
		{ RAW("m bb 2\tmade\0m cc 3\tmade\0"), OK, "made=bb|cc;" },
		{ RAW("m aa 1\tx\0m bb 2\tx\0m aa 1\ty\0m cc 3\ty\0"), OK, "" },
		{ RAW("m bb 2\tx\0m cc 3\tx2\0"), OK, "" },
		{ RAW("m bb 2 x\0"), ERR_BAD_MESSAGE, "" },
		{ RAW("m bb 4\tx\0"), ERR_BAD_MESSAGE, "" },
		{ RAW("m bb 2\tx"), ERR_BAD_MESSAGE, "" },
		{ RAW("m\0"), ERR_BAD_MESSAGE, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char out[512] = "";

		assert_int_equal(git_resolved_each(bytes_of(rows[i].record, rows[i].len), take_resolved, out),
		                 rows[i].err);
		assert_string_equal(out, rows[i].expected);
	}
}

static void test_paths(void **state)
{
	static const struct {
		const char *path, *absolute;
	} rows[] = { { "/", "/" },   { "/a/./b//c/", "/a/b/c" }, { "/a/../../b", "/b" },
		     { "/..", "/" }, { "/a/...", "/a/..." },     { "/.a/..b", "/.a/..b" } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(freep) char *absolute = NULL;

		assert_int_equal(sops_config_absolute(rows[i].path, &absolute), OK);
		assert_string_equal(absolute, rows[i].absolute);
	}
	assert_string_equal(sops_config_relative("/a/.sops.yaml", "/a/b/c"), "b/c");
	assert_string_equal(sops_config_relative("/a/.sops.yaml", "/ab/c"), "/ab/c");
	assert_string_equal(sops_config_relative("/.sops.yaml", "/ab/c"), "ab/c");
}

/* A name that says variables, and what a line gives away. */
static void test_dotenv(void **state)
{
	static const struct {
		const char *path, *text;
		bool found;
	} rows[] = {
		{ ".env", "A=1\n", true },
		{ "x/.ENV", "A=1\n", true },
		{ ".env-prod", "A=1\n", true },
		{ ".env_prod", "A=1\n", true },
		{ "district.env", "A=1\n", true },
		{ ".env.redistributed", "A=1\n", true },
		{ ".env.local", "\n# A=1\n\texport \t A = 1\n", true },
		{ ".env",
		  "\xef\xbb\xbf"
		  "A=1\n",
		  true },
		{ ".env",
		  "\xff\xfe"
		  "A\0=\0"
		  "1",
		  true },
		{ ".env", "A=\nexport B = \"\"\nexport\n", false },
		{ ".env", "exportA 1\n", false },
		{ ".environment", "A=1\n", false },
		{ ".envrc", "A=1\n", false },
		{ ".env.Sample", "A=1\n", false },
		{ ".env.prod-dist", "A=1\n", false },
		{ "examples.env", "A=1\n", false },
		{ ".env.defaults", "A=1\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool wide = rows[i].text[0] == '\xff';
		struct guard_file file = { .path = rows[i].path,
			                   .place = rows[i].path,
			                   .text = wide ? bytes_of(rows[i].text, 8)
			                                : bytes_of_string(rows[i].text) };
		struct findings findings = { .count = 0 };

		assert_int_equal(guard_look(&file, &findings), OK);
		if ((findings.refused > 0) != rows[i].found)
			fail_msg("row %zu: %zu", i, findings.refused);
		findings_done(&findings);
	}
}

static void test_versions(void **state)
{
	static const char other[] = "ENC[AES256_GCM,data:ZGF0YQ==,iv:aXI=,tag:dGFn,type:str]";
	struct bytes old = bytes_of_string("a: " VALUE "\nb: " WHOLE "\n");

	(void)state;
	assert_true(guard_has_value_of(bytes_of_string("x: " WHOLE), old));
	assert_true(guard_has_value_of(old, old));
	assert_false(guard_has_value_of(bytes_of_string(other), old));
	assert_false(guard_has_value_of(bytes_of_string("ENC[AES256_GCM,data:"), old));
	assert_false(guard_has_value_of(old, bytes_of_string("ENC[AES256_GCM,data:")));
	assert_false(guard_has_value_of(bytes_of(NULL, 0), old));
	assert_false(guard_has_value_of(old, bytes_of(NULL, 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),     cmocka_unit_test(test_look),  cmocka_unit_test(test_many),
		cmocka_unit_test(test_changes),  cmocka_unit_test(test_trees), cmocka_unit_test(test_names),
		cmocka_unit_test(test_resolved), cmocka_unit_test(test_paths), cmocka_unit_test(test_dotenv),
		cmocka_unit_test(test_versions),
	};

	if (secret_client_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
