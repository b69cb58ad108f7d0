/* .sops.yaml: which rule is chosen for a path, and what stands in it. What sops makes of the same files is compared in tests/interop/sops_rules.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "formats/sops_rules.h"

struct row {
	const char *rules;
	const char *path;
	enum err read, choose;
	const char *expected; /* the rule as text, or the reason */
};

/* line; setting "pattern"; m: mac_only_encrypted; threshold/groups; group:kind=name{field=value} ... */
static void describe(const struct sops_creation_rule *rule, char *out, size_t size)
{
	static const char *const settings[] = { "us", "es", "ur", "er", "uc", "ec" };
	size_t len =
	        (size_t)snprintf(out, size, "%zu %s \"%.*s\" %s%u/%u", rule->line, settings[rule->rule],
	                         (int)rule->pattern.len, (const char *)rule->pattern.data,
	                         rule->mac_only_encrypted ? "m " : "", rule->threshold, rule->group_count);

	for (size_t i = 0; i < rule->recipient_count && len < size; i++) {
		const struct sops_rule_recipient *recipient = &rule->recipients[i];

		len += (size_t)snprintf(out + len, size - len, " %u:%s=%.*s", recipient->group,
		                        recipient->kind, (int)recipient->name.len,
		                        (const char *)recipient->name.data);
		for (size_t j = 0; j < recipient->field_count && len < size; j++) {
			const struct sops_rule_field *field = &rule->fields[recipient->first_field + j];

			len += (size_t)snprintf(out + len, size - len, "{%.*s=%.*s}", (int)field->name.len,
			                        (const char *)field->name.data, (int)field->value.len,
			                        (const char *)field->value.data);
		}
	}
}

static void check_row(const struct row *row)
{
	struct sops_creation_rule rule;
	struct sops_rules rules;
	char text[1024] = "";
	enum err read = sops_rules_read(&rules, bytes_of_string(row->rules)), choose = OK;

	if (!read)
		choose = sops_rules_choose(&rules, bytes_of_string(row->path), &rule);
	if (!read && !choose)
		describe(&rule, text, sizeof(text));
	else
		(void)snprintf(text, sizeof(text), "%s", rules.document.reason);
	if ((read ? read : choose) != (row->read ? row->read : row->choose) ||
	    strcmp(text, row->expected) != 0)
		fail_msg("%s\nfor %s: %s %s: %s", row->rules, row->path, err_info(read)->name,
		         err_info(choose)->name, text);
	sops_rules_done(&rules);
}

#define TWO                                          \
	"creation_rules:\n"                          \
	"  - path_regex: \\.prod\\.yaml$\n"          \
	"    age: age1a\n"                           \
	"  - path_regex: secrets/\n"                 \
	"    encrypted_regex: ^(data|stringData)$\n" \
	"    mac_only_encrypted: true\n"             \
	"    age: >-\n"                              \
	"      age1b,\n"                             \
	"      age1c,\n"                             \
	"    pgp: AB CD, EF\n"

static void test_choice(void **state)
{
	static const struct row rows[] = {
		{ TWO, "secrets/x.prod.yaml", OK, OK, "2 us \"_unencrypted\" 0/1 0:age=age1a" },
		{ TWO, "a/secrets/x.yaml", OK, OK,
		  "4 er \"^(data|stringData)$\" m 0/1 0:age=age1b 0:age=age1c 0:pgp=ABCD 0:pgp=EF" },
		{ TWO, "x.yaml", OK, ERR_NO_MATCH, "none of its creation rules matches" },
		{ "creation_rules:\n- age: age1a\n- path_regex: x\n  age: age1b\n", "x", OK, OK,
		  "2 us \"_unencrypted\" 0/1 0:age=age1a" },
		{ "creation_rules: []\n", "x", OK, ERR_NO_MATCH, "none of its creation rules matches" },
		{ "creation_rules:\n", "x", OK, ERR_NO_MATCH, "it has no creation rules" },
		{ "stores: {yaml: {indent: 2}}\n", "x", OK, ERR_NO_MATCH, "it has no creation rules" },
		{ "", "x", OK, ERR_NO_MATCH, "it has no creation rules" },
		{ "creation_rules: [{path_regex: 12, age: a}]\n", "x12y", OK, OK,
		  "1 us \"_unencrypted\" 0/1 0:age=a" },
		/* A pattern is looked at when its turn comes, as sops does. */
		{ "creation_rules: [{path_regex: x, age: a}, {path_regex: '(', age: b}]\n", "x", OK, OK,
		  "1 us \"_unencrypted\" 0/1 0:age=a" },
		{ "creation_rules: [{path_regex: x, age: a}, {path_regex: '(', age: b}]\n", "y", OK,
		  ERR_BAD_FILE, "line 1: its path_regex is no pattern that sops would take" },
		{ "creation_rules: [{path_regex: '(?=x)', age: a}]\n", "y", OK, ERR_BAD_FILE,
		  "line 1: its path_regex is no pattern that sops would take" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
}

/* What git has of an empty file has no address. */
static void test_nothing(void **state)
{
	struct sops_creation_rule rule;
	struct sops_rules rules;

	(void)state;
	assert_int_equal(sops_rules_read(&rules, (struct bytes){ NULL, 0 }), OK);
	assert_int_equal(sops_rules_choose(&rules, bytes_of_string("x"), &rule), ERR_NO_MATCH);
	sops_rules_done(&rules);
}

static void test_recipients(void **state)
{
	static const struct row rows[] = {
		/* As people who use sops-nix write it. */
		{ "keys:\n  - &me age1me\n  - &host age1host\ncreation_rules:\n"
		  "  - path_regex: secrets/[^/]+\\.yaml$\n    key_groups:\n    - age:\n      - *me\n      - "
		  "*host\n"
		  "      pgp:\n      - AB CD\n",
		  "secrets/a.yaml", OK, OK,
		  "5 us \"_unencrypted\" 0/1 0:age=age1me 0:age=age1host 0:pgp=ABCD" },
		{ "creation_rules:\n- shamir_threshold: 2\n  key_groups:\n  - age: [a, b, a]\n  - age: [a]\n"
		  "    kms: [{arn: arn:x, role: r, aws_profile: p, context: {c: d}}]\n"
		  "  - gcp_kms: [{resource_id: g}]\n    hckms: [{key_id: h}]\n    hc_vault: ['https://v']\n"
		  "    azure_keyvault: [{vaultUrl: 'https://u', key: k, version: 7}]\n",
		  "x", OK, OK,
		  "2 us \"_unencrypted\" 2/3 0:age=a 0:age=b 1:age=a "
		  "1:kms=arn:x{role=r}{aws_profile=p}{context.c=d} 2:gcp_kms=g 2:hckms=h "
		  "2:azure_kv=https://u{key=k}{version=7} 2:hc_vault=https://v" },
		{ "groups:\n- &a {age: [x]}\n- &b {merge: [*a], age: [y, x]}\ncreation_rules:\n"
		  "- key_groups: [{merge: [*b, *a], pgp: [z]}]\n",
		  "x", OK, OK, "5 us \"_unencrypted\" 0/1 0:age=x 0:age=y 0:pgp=z" },
		{ "base: &base {age: x, encrypted_suffix: _s}\ncreation_rules:\n- {<<: *base, age: y}\n", "x",
		  OK, OK, "3 es \"_s\" 0/1 0:age=y" },
		{ "base: &base {age: x, encrypted_suffix: _s}\ncreation_rules:\n- {<<: [{age: z}, *base]}\n",
		  "x", OK, OK, "3 es \"_s\" 0/1 0:age=z" },
		/* Key groups win over what stands beside them; an empty list of them does not. */
		{ "creation_rules: [{age: x, key_groups: [{age: [y]}]}]", "x", OK, OK,
		  "1 us \"_unencrypted\" 0/1 0:age=y" },
		{ "creation_rules: [{age: x, key_groups: []}]", "x", OK, OK,
		  "1 us \"_unencrypted\" 0/1 0:age=x" },
		{ "creation_rules: [{age: [x, 'y, z'], kms: 'arn:a,arn:b+arn:r', aws_profile: p, "
		  "hc_vault_transit_uri: [u], azure_keyvault: v, gcp_kms: [g], hckms: [h]}]",
		  "x", OK, OK,
		  "1 us \"_unencrypted\" 0/1 0:age=x 0:age=y 0:age=z 0:kms=arn:a{aws_profile=p} "
		  "0:kms=arn:b+arn:r{aws_profile=p} 0:gcp_kms=g 0:hckms=h 0:azure_kv=v 0:hc_vault=u" },
		{ "creation_rules: [{}]", "x", OK, OK, "1 us \"_unencrypted\" 0/1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
}

#define SETTING(text, expected)                                                   \
	{                                                                         \
		"creation_rules: [{" text "}]", "x", OK, OK, "1 " expected " 0/1" \
	}
#define WRONG(text, reason)                                                              \
	{                                                                                \
		"creation_rules: [{" text "}]", "x", OK, ERR_BAD_FILE, "line 1: " reason \
	}

static void test_settings(void **state)
{
	static const struct row rows[] = {
		SETTING("unencrypted_suffix: a", "us \"a\""),
		SETTING("encrypted_suffix: a", "es \"a\""),
		SETTING("unencrypted_regex: a", "ur \"a\""),
		SETTING("encrypted_regex: a", "er \"a\""),
		SETTING("unencrypted_comment_regex: a", "uc \"a\""),
		SETTING("encrypted_comment_regex: a", "ec \"a\""),
		SETTING("encrypted_regex: '', unencrypted_suffix: null", "us \"_unencrypted\""),
		SETTING("mac_only_encrypted: yes", "us \"_unencrypted\" m"),
		SETTING("mac_only_encrypted: false", "us \"_unencrypted\""),
		WRONG("encrypted_regex: a, encrypted_suffix: b",
		      "this rule has more than one setting of what is encrypted"),
		WRONG("mac_only_encrypted: 'true'", "here ought to be true or false"),
		WRONG("mac_only_encrypted: 1", "here ought to be true or false"),
		WRONG("shamir_threshold: two", "shamir_threshold is no sensible number"),
		WRONG("shamir_threshold: -1", "shamir_threshold is no sensible number"),
		WRONG("shamir_threshold: 99", "shamir_threshold is too large"),
		WRONG("encrypted_regex: [a]", "here ought to be a text"),
		WRONG("age: 12", "here ought to be recipients: texts in a list"),
		WRONG("age: [12]", "a recipient is no text"),
		WRONG("key_groups: {}", "key_groups is no list"),
		WRONG("key_groups: [a]", "a key group is no map"),
		WRONG("key_groups: [{age: a}]", "here ought to be recipients: texts in a list"),
		WRONG("key_groups: [{kms: [{role: a}]}]", "a recipient has no name"),
		{ "creation_rules: {}", "x", ERR_BAD_FILE, OK, "line 1: creation_rules is no list" },
		{ "\ncreation_rules:\n- x\n", "x", ERR_BAD_FILE, OK, "line 3: a creation rule is no map" },
		{ "creation_rules:\n- path_regex: [x]\n", "x", ERR_BAD_FILE, OK,
		  "line 2: here ought to be a text" },
		{ "creation_rules:\n- age: x\n  age: y\n", "x", ERR_BAD_FILE, OK,
		  "line 3: this key is there twice" },
		{ "a: *b\n", "x", ERR_BAD_FILE, OK, "line 1: this alias stands for nothing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
}

/* Twenty anchors of which each stands for two of the one before: a million groups, were they copied. */
static void test_bomb(void **state)
{
	char text[4096] = "a:\n- &g0 {pgp: []}\n";
	size_t len = strlen(text);
	struct sops_rules rules;

	(void)state;
	for (unsigned i = 1; i <= 15; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		                        "- &g%u {merge: [*g%u, *g%u, *g%u, *g%u]}\n", i, i - 1, i - 1, i - 1,
		                        i - 1);
	(void)snprintf(text + len, sizeof(text) - len, "creation_rules: [{key_groups: [*g15]}]\n");
	assert_int_equal(sops_rules_read(&rules, bytes_of_string(text)), ERR_BAD_FILE);
	assert_non_null(strstr(rules.document.reason, "its aliases stand for too much"));
	sops_rules_done(&rules);
}

static void test_too_large(void **state)
{
	char *text = malloc(SOPS_RULES_FILE_MAX + 1);
	struct sops_rules rules;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', SOPS_RULES_FILE_MAX + 1);
	assert_int_equal(sops_rules_read(&rules, bytes_of(text, SOPS_RULES_FILE_MAX + 1)), ERR_BUSY);
	sops_rules_done(&rules);
	free(text);
}

/* One that stays below the limit of a single match costs milliseconds each time. */
static void test_slow_patterns(void **state)
{
	const char *text = "creation_rules:\n"
	                   "  - {path_regex: '^(a|aa|a+)+[cd]$', age: x}\n"
	                   "  - {path_regex: '\\.yaml$', age: x}\n";
	struct sops_creation_rule rule;
	struct sops_rules rules;

	(void)state;
	assert_int_equal(sops_rules_read(&rules, bytes_of_string(text)), OK);
	assert_int_equal(sops_rules_choose(&rules, bytes_of_string("secrets/a.yaml"), &rule), OK);
	assert_int_equal(rules.work, 0);
	assert_int_equal(sops_rules_choose(&rules, bytes_of_string("aaaaaaaaa"), &rule), ERR_NO_MATCH);
	assert_true(rules.work > 10000);
	rules.work *= 1000000;
	assert_int_equal(sops_rules_choose(&rules, bytes_of_string("aaaaaaaaa"), &rule), ERR_BUSY);
	assert_non_null(strstr(rules.document.reason, "takes too long"));
	sops_rules_done(&rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),        cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_recipients),    cmocka_unit_test(test_settings),
		cmocka_unit_test(test_bomb),          cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_slow_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
