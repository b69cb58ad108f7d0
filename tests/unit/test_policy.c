/*
 * Policy: what is a rule and what is not, what rules decide, and that the compiled tables decide as a plain reading of the rules would.
 *
 * TOKEND_POLICY_POLICIES and TOKEND_TEST_SEED change how many random policies are read and where they begin; TOKEND_BENCH=1 measures what a question costs for longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "tokend/policy.h"
#include "tokend/text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct policy *policy_of(const char *text)
{
	struct policy *policy;
	struct buf *problem;

	assert_int_equal(buf_new(1024, &problem), OK);
	assert_int_equal(policy_new(&policy), OK);
	if (policy_add(policy, "p", bytes_of_string(text), problem) != OK)
		fail_msg("%s", buf_string(problem));
	buf_free(problem);
	return policy;
}

/* ---- what is a rule ---- */

static const struct {
	const char *text;
	const char *problem; /* NULL: it is one */
} texts[] = {
	{ "", NULL },
	{ "# nothing\n\n  \t# \xc3\xa9 in a comment is fine\n", NULL },
	{ "permit unwrap key host user 0", NULL },
	{ "permit unwrap key host user 0 # why", NULL },
	{ "\tpermit\tunwrap list admin  key repo/* key host user 0 1 group 2 unit a.service b.scope via age "
	  "sops for 15m pin\n",
	  NULL },
	{ "deny list key * user *", NULL },
	{ "permit unwrap user 0 key a", NULL },
	{ "permit unwrap pin key a user 0", NULL },
	{ "permit unwrap key a/*/b user 0", "p:1: 'a/*/b' is not a key's name, NAME/* or *" },
	{ "permit unwrap key a* user 0", "p:1: 'a*' is not a key's name, NAME/* or *" },
	{ "permit unwrap key /* user 0", "p:1: '/*' is not a key's name, NAME/* or *" },
	{ "permit unwrap key / user 0", "p:1: '/' is not a key's name, NAME/* or *" },
	{ "permit unwrap key ** user 0", "p:1: '**' is not a key's name, NAME/* or *" },
	{ "permit unwrap key ../x user 0", "p:1: '../x' is not a key's name, NAME/* or *" },
	{ "permit unwrap key ./* user 0", "p:1: './*' is not a key's name, NAME/* or *" },
	{ "permit unwrap key a//* user 0", "p:1: 'a//*' is not a key's name, NAME/* or *" },
	{ "permit unwrap key {{user}} user 0", "p:1: '{{user}}' is not a key's name, NAME/* or *" },
	{ "# one\n\nallow unwrap key a user 0", "p:3: a rule begins with permit or deny, not with 'allow'" },
	{ "Permit unwrap key a user 0", "p:1: a rule begins with permit or deny, not with 'Permit'" },
	{ "permit", "p:1: the operation is missing: unwrap, list or admin" },
	{ "permit key a user 0", "p:1: the operation is missing: unwrap, list or admin" },
	{ "permit UNWRAP key a user 0",
	  "p:1: 'UNWRAP' is neither an operation (unwrap, list, admin) nor the word key" },
	{ "permit unwrap a user 0",
	  "p:1: 'a' is neither an operation (unwrap, list, admin) nor the word key" },
	{ "permit unwrap", "p:1: the keys are missing: key NAME, key NAME/* or key *" },
	{ "permit unwrap user 0", "p:1: the keys are missing: key NAME, key NAME/* or key *" },
	{ "permit unwrap key", "p:1: 'key' needs a value after it" },
	{ "permit unwrap key user 0", "p:1: 'key' needs a value after it" },
	{ "permit unwrap key a # user 0", "p:1: who is missing: user, group or unit (anybody is 'user *')" },
	{ "permit unwrap key a via age", "p:1: who is missing: user, group or unit (anybody is 'user *')" },
	{ "permit unwrap key a usr 0",
	  "p:1: 'usr' is none of the words key, user, group, unit, via, for and pin" },
	{ "permit unwrap key a b user 0",
	  "p:1: 'b' is none of the words key, user, group, unit, via, for and pin" },
	{ "permit unwrap key a user", "p:1: 'user' needs a value after it" },
	{ "permit unwrap key a user 0 user 1", "p:1: 'user' stands twice" },
	{ "permit unwrap key a user 0 pin pin", "p:1: 'pin' stands twice" },
	{ "permit unwrap key a user 0 pin 4",
	  "p:1: '4' is none of the words key, user, group, unit, via, for and pin" },
	{ "permit unwrap key a user 4294967295", "p:1: '4294967295' is not the number of a user" },
	{ "permit unwrap key a user 18446744073709551616",
	  "p:1: '18446744073709551616' is not the number of a user" },
	{ "permit unwrap key a user 0x1", "p:1: '0x1' is not the number of a user" },
	{ "permit unwrap key a group *", "p:1: '*' is not the name of a group" },
	{ "permit unwrap key a user a*", "p:1: 'a*' is not the name of a user" },
	{ "permit unwrap key a unit *",
	  "p:1: '*' is not the whole name of a unit, such as jellyfin.service" },
	{ "permit unwrap key a unit jellyfin",
	  "p:1: 'jellyfin' is not the whole name of a unit, such as jellyfin.service" },
	{ "permit unwrap key a unit x.slice",
	  "p:1: 'x.slice' is not the whole name of a unit, such as jellyfin.service" },
	{ "permit unwrap key a unit .service",
	  "p:1: '.service' is not the whole name of a unit, such as jellyfin.service" },
	{ "permit unwrap key a user 0 via ssh",
	  "p:1: 'ssh' is not a front-end (age, sops, credential, control)" },
	{ "permit unwrap key a user 0 for 0",
	  "p:1: '0' is not a time from 1s to 24h, such as 90, 30s, 15m or 2h" },
	{ "permit unwrap key a user 0 for 25h",
	  "p:1: '25h' is not a time from 1s to 24h, such as 90, 30s, 15m or 2h" },
	{ "permit unwrap key a user 0 for ever",
	  "p:1: 'ever' is not a time from 1s to 24h, such as 90, 30s, 15m or 2h" },
	{ "deny unwrap key a user 0 pin", "p:1: a deny has no 'for' and no 'pin'" },
	{ "deny unwrap key a user 0 for 1m", "p:1: a deny has no 'for' and no 'pin'" },
	{ "permit unwrap key a user \x01", "p:1: a character outside of printable ASCII stands in the line" },
	{ "permit unwrap key caf\xc3\xa9 user 0",
	  "p:1: a character outside of printable ASCII stands in the line" },
	{ "permit unwrap key a user 0\r\n", "p:1: the line ends with CR LF; here LF alone ends one" },
	{ "\r\n", "p:1: the line ends with CR LF; here LF alone ends one" },
	{ "permit unwrap key caf\xc3\xa9 user 0\r\n",
	  "p:1: a character outside of printable ASCII stands in the line" },
	{ "# a, \xc3\xa9\r\n", NULL },
	{ "permit unwrap,list key a user 0",
	  "p:1: 'unwrap,list': words are separated by blanks, not by commas" },
	{ "deny unwrap key a user 0, 1", "p:1: '0,': words are separated by blanks, not by commas" },
	{ "deny unwrap key a user ci,deploy # a, b",
	  "p:1: 'ci,deploy': words are separated by blanks, not by commas" },
};

static void test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		CLEANUP(policy_freep) struct policy *policy = NULL;
		CLEANUP(buf_freep) struct buf *problem = NULL;
		enum err err;

		assert_int_equal(buf_new(1024, &problem), OK);
		assert_int_equal(policy_new(&policy), OK);
		err = policy_add(policy, "p", bytes_of_string(texts[i].text), problem);
		if (err != (texts[i].problem ? ERR_BAD_CONFIG : OK))
			fail_msg("%s: %s %s", texts[i].text, err_info(err)->name, buf_string(problem));
		assert_string_equal(buf_string(problem), texts[i].problem ? texts[i].problem : "");
	}
}

/* One line each, and the good lines between them do not hide them. */
static void test_all_problems(void **state)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL, *little = NULL;
	static const char text[] = "allow\npermit unwrap key a user 0\n\npermit unwrap\ndeny\n";
	char first[256];

	(void)state;
	assert_int_equal(buf_new(1024, &problem), OK);
	assert_int_equal(policy_new(&policy), OK);
	assert_int_equal(policy_add(policy, "p", bytes_of_string(text), problem), ERR_BAD_CONFIG);
	assert_string_equal(buf_string(problem), "p:1: a rule begins with permit or deny, not with 'allow'\n"
	                                         "p:4: the keys are missing: key NAME, key NAME/* or key *\n"
	                                         "p:5: the operation is missing: unwrap, list or admin");
	text_first_problem(problem, first, sizeof(first));
	assert_string_equal(first, "p:1: a rule begins with permit or deny, not with 'allow' (and 2 more)");
	/* What does not fit is left out, and is an error all the same. */
	policy_free(TAKE(policy));
	assert_int_equal(policy_new(&policy), OK);
	assert_int_equal(buf_new(60, &little), OK);
	assert_int_equal(policy_add(policy, "p", bytes_of_string(text), little), ERR_BAD_CONFIG);
	text_first_problem(little, first, sizeof(first));
	assert_string_equal(first, "p:1: a rule begins with permit or deny, not with 'allow'");
}

/* Each further rule would have the same complaint: one is enough. */
static void test_full_says_so_once(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	CLEANUP(policy_freep) struct policy *policy = NULL;

	(void)state;
	assert_int_equal(buf_new(POLICY_TEXT_MAX, &text), OK);
	assert_int_equal(buf_new(4096, &problem), OK);
	assert_int_equal(policy_new(&policy), OK);
	for (unsigned i = 0; i < POLICY_RULES_MAX + 3; i++)
		assert_int_equal(buf_printf(text, "permit unwrap key k user 1\n"), OK);
	assert_int_equal(policy_add(policy, "p", buf_bytes(text), problem), ERR_BAD_CONFIG);
	assert_string_equal(buf_string(problem), "p:20001: there are more than 20000 rules");
}

static void test_limits(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	CLEANUP(policy_freep) struct policy *policy = NULL;

	(void)state;
	assert_int_equal(buf_new(POLICY_TEXT_MAX, &text), OK);
	assert_int_equal(buf_new(1024, &problem), OK);
	assert_int_equal(policy_new(&policy), OK);
	for (unsigned i = 0; i < POLICY_RULES_MAX; i++)
		assert_int_equal(buf_printf(text, "permit unwrap key k%u user %u\n", i, i), OK);
	assert_int_equal(policy_add(policy, "p", buf_bytes(text), problem), OK);
	assert_int_equal(policy_rule_count(policy), POLICY_RULES_MAX);
	assert_int_equal(policy_add(policy, "q", bytes_of_string("permit unwrap key a user 0"), problem),
	                 ERR_BAD_CONFIG);
	assert_string_equal(buf_string(problem), "q:1: there are more than 20000 rules");

	buf_clear(text);
	buf_clear(problem);
	assert_int_equal(buf_put_string(text, "permit unwrap key a user"), OK);
	while (buf_len(text) < POLICY_RULE_MAX)
		assert_int_equal(buf_put_string(text, buf_len(text) % 2 ? " " : " 0"), OK);
	assert_int_equal(buf_len(text), POLICY_RULE_MAX);
	policy_free(TAKE(policy));
	assert_int_equal(policy_new(&policy), OK);
	assert_int_equal(policy_add(policy, "p", buf_bytes(text), problem), OK);
	assert_int_equal(buf_put_string(text, " "), OK);
	assert_int_equal(policy_add(policy, "p", buf_bytes(text), problem), ERR_BAD_CONFIG);
	assert_string_equal(buf_string(problem), "p:1: the line is longer than 4096 bytes");
}

/* Memory is bounded by pairs of key and peer, not by what a text of four megabytes could multiply. */
static void test_too_many_pairs(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	CLEANUP(policy_freep) struct policy *policy = NULL;

	(void)state;
	assert_int_equal(buf_new(POLICY_TEXT_MAX, &text), OK);
	assert_int_equal(buf_new(1024, &problem), OK);
	assert_int_equal(policy_new(&policy), OK);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(buf_put_string(text, "permit unwrap user"), OK);
		for (unsigned n = 0; n < 400; n++)
			assert_int_equal(buf_printf(text, " %u", n), OK);
		for (unsigned n = 0; n < 300; n++)
			assert_int_equal(buf_printf(text, " key %c", 'a' + (int)(n % 26)), OK);
		assert_int_equal(buf_put_string(text, "\n"), OK);
	}
	assert_int_equal(policy_add(policy, "p", buf_bytes(text), problem), ERR_BAD_CONFIG);
	assert_non_null(strstr(buf_string(problem), "too many pairs"));
}

/* ---- what rules decide ---- */

#define RULES                                                                                          \
	"permit unwrap      key host            unit jellyfin.service  via credential\n" /* 1 */       \
	"permit unwrap list key repo/*          group 100              via age sops for 15m\n" /* 2 */ \
	"permit admin       key *               user 0                 pin\n" /* 3 */                  \
	"deny   unwrap      key repo/prod       user 7\n" /* 4 */                                      \
	"permit unwrap      key open            user *\n" /* 5 */                                      \
	"permit unwrap      key both            user 7 8 group 200\n" /* 6 */                          \
	"permit unwrap      key repo/a key x    user 9                 for 1m\n" /* 7 */               \
	"permit unwrap      key repo/a          user 9                 for 30s\n" /* 8 */              \
	"permit unwrap      key repo/a          user 9\n" /* 9 */                                      \
	"permit unwrap      key pinned          user 9\n" /* 10 */                                     \
	"permit unwrap      key pinned          user 9                 pin\n" /* 11 */                 \
	"permit list        key *               user 10\n" /* 12 */                                    \
	"permit list        key *               user 11\n" /* 13 */                                    \
	"deny   list        key repo/prod       user 11\n" /* 14 */                                    \
	"permit list        key repo/*          user 12\n" /* 15 */                                    \
	"permit unwrap      key *               user * group 300\n" /* 16 */                           \
	"deny   unwrap      key closed          user *\n" /* 17 */                                     \
	"permit unwrap      key units           unit a@b.service user@5.service\n" /* 18 */            \
	"deny   unwrap      key open            unit bad.service\n" /* 19 */

#define NOBODY 99U

static const struct {
	const char *name;
	unsigned uid, gid, group; /* group: another one */
	const char *unit;
	const char *frontend;
	enum operation operation;
	const char *key;
	enum verdict verdict;
	unsigned line, for_seconds;
} questions[] = {
	{ "unit", 5, 5, 5, "jellyfin.service", "credential", OPERATION_UNWRAP, "host", VERDICT_PERMIT, 1, 0 },
	{ "unit of another name", 5, 5, 5, "jellyfin.servic", "credential", OPERATION_UNWRAP, "host",
	  VERDICT_DENY, 0, 0 },
	{ "unit in other letters", 5, 5, 5, "Jellyfin.service", "credential", OPERATION_UNWRAP, "host",
	  VERDICT_DENY, 0, 0 },
	{ "unit by another way", 5, 5, 5, "jellyfin.service", "age", OPERATION_UNWRAP, "host", VERDICT_DENY,
	  0, 0 },
	{ "unit by no way", 5, 5, 5, "jellyfin.service", NULL, OPERATION_UNWRAP, "host", VERDICT_DENY, 0, 0 },
	{ "unit by an unknown way", 5, 5, 5, "jellyfin.service", "vault", OPERATION_UNWRAP, "host",
	  VERDICT_DENY, 0, 0 },
	{ "no unit", 5, 5, 5, "", "credential", OPERATION_UNWRAP, "host", VERDICT_DENY, 0, 0 },
	{ "unit, another operation", 5, 5, 5, "jellyfin.service", "credential", OPERATION_LIST, "host",
	  VERDICT_DENY, 0, 0 },
	{ "unit, key in other letters", 5, 5, 5, "jellyfin.service", "credential", OPERATION_UNWRAP, "Host",
	  VERDICT_DENY, 0, 0 },
	{ "unit, key below", 5, 5, 5, "jellyfin.service", "credential", OPERATION_UNWRAP, "host/a",
	  VERDICT_DENY, 0, 0 },
	{ "second of two units", 5, 5, 5, "user@5.service", "age", OPERATION_UNWRAP, "units", VERDICT_PERMIT,
	  18, 0 },
	{ "denied to its unit", 5, 5, 5, "bad.service", "age", OPERATION_UNWRAP, "open", VERDICT_DENY, 19,
	  0 },
	{ "denied to a unit, in none", 5, 5, 5, "", "age", OPERATION_UNWRAP, "open", VERDICT_PERMIT, 5, 0 },
	{ "denied to a unit, in one that is not known", 5, 5, 5, UNIT_UNKNOWN, "age", OPERATION_UNWRAP,
	  "open", VERDICT_DENY, 19, 0 },
	{ "permitted to a unit, in one that is not known", 5, 5, 5, UNIT_UNKNOWN, "age", OPERATION_UNWRAP,
	  "units", VERDICT_DENY, 0, 0 },
	{ "first group", 6, 100, 6, "", "age", OPERATION_UNWRAP, "repo/x", VERDICT_PERMIT, 2, 900 },
	{ "other group", 6, 6, 100, "", "sops", OPERATION_LIST, "repo/x", VERDICT_PERMIT, 2, 900 },
	{ "group, deep below", 6, 6, 100, "", "sops", OPERATION_UNWRAP, "repo/x/y/z", VERDICT_PERMIT, 2,
	  900 },
	{ "group, not below but it", 6, 6, 100, "", "sops", OPERATION_UNWRAP, "repo", VERDICT_DENY, 0, 0 },
	{ "group, not below but beside", 6, 6, 100, "", "sops", OPERATION_UNWRAP, "repository/x",
	  VERDICT_DENY, 0, 0 },
	{ "uid of that number", 100, 6, 6, "", "age", OPERATION_UNWRAP, "repo/x", VERDICT_DENY, 0, 0 },
	{ "deny wins", 7, 100, 7, "", "age", OPERATION_UNWRAP, "repo/prod", VERDICT_DENY, 4, 0 },
	{ "deny of another key", 7, 100, 7, "", "age", OPERATION_UNWRAP, "repo/prod2", VERDICT_PERMIT, 2,
	  900 },
	{ "deny of another operation", 7, 100, 7, "", "age", OPERATION_LIST, "repo/prod", VERDICT_PERMIT, 2,
	  900 },
	{ "pin", 0, 0, 0, "", "control", OPERATION_ADMIN, "anything/at/all", VERDICT_PERMIT_WITH_PIN, 3, 0 },
	{ "pin, not root", 1, 0, 0, "", "control", OPERATION_ADMIN, "anything", VERDICT_DENY, 0, 0 },
	{ "root has no more than it was given", 0, 0, 0, "", "age", OPERATION_UNWRAP, "host", VERDICT_DENY, 0,
	  0 },
	{ "anybody", NOBODY, NOBODY, NOBODY, "", "age", OPERATION_UNWRAP, "open", VERDICT_PERMIT, 5, 0 },
	{ "anybody, denied", 0, 300, 0, "", "age", OPERATION_UNWRAP, "closed", VERDICT_DENY, 17, 0 },
	{ "user and group", 8, 8, 200, "", "age", OPERATION_UNWRAP, "both", VERDICT_PERMIT, 6, 0 },
	{ "user without the group", 8, 8, 8, "", "age", OPERATION_UNWRAP, "both", VERDICT_DENY, 0, 0 },
	{ "group without the user", 9, 9, 200, "", "age", OPERATION_UNWRAP, "both", VERDICT_DENY, 0, 0 },
	{ "anybody of a group", 9, 9, 300, "", "age", OPERATION_UNWRAP, "whatever", VERDICT_PERMIT, 16, 0 },
	{ "the shortest time", 9, 9, 9, "", "age", OPERATION_UNWRAP, "repo/a", VERDICT_PERMIT, 8, 30 },
	{ "second key of a rule", 9, 9, 9, "", "age", OPERATION_UNWRAP, "x", VERDICT_PERMIT, 7, 60 },
	{ "pin goes before none", 9, 9, 9, "", "age", OPERATION_UNWRAP, "pinned", VERDICT_PERMIT_WITH_PIN, 11,
	  0 },
	{ "every key", 10, 10, 10, "", "control", OPERATION_LIST, NULL, VERDICT_PERMIT, 12, 0 },
	{ "every key but one", 11, 11, 11, "", "control", OPERATION_LIST, NULL, VERDICT_DENY, 14, 0 },
	{ "every key below", 12, 12, 12, "", "control", OPERATION_LIST, NULL, VERDICT_DENY, 0, 0 },
	{ "every key, some with pin", 0, 0, 0, "", "control", OPERATION_ADMIN, NULL, VERDICT_PERMIT_WITH_PIN,
	  3, 0 },
	{ "not a name: the pattern itself", 10, 10, 10, "", "control", OPERATION_LIST, "*", VERDICT_DENY, 0,
	  0 },
	{ "not a name: below", 12, 12, 12, "", "control", OPERATION_LIST, "repo/*", VERDICT_DENY, 0, 0 },
	{ "not a name: a slash after", 12, 12, 12, "", "control", OPERATION_LIST, "repo/", VERDICT_DENY, 0,
	  0 },
	{ "not a name: a slash", 10, 10, 10, "", "control", OPERATION_LIST, "/", VERDICT_DENY, 0, 0 },
	{ "not a name: empty", 10, 10, 10, "", "control", OPERATION_LIST, "", VERDICT_DENY, 0, 0 },
	{ "not a name: out of the directory", 12, 12, 12, "", "control", OPERATION_LIST, "repo/../host",
	  VERDICT_DENY, 0, 0 },
};

static void test_questions(void **state)
{
	CLEANUP(policy_freep) struct policy *policy = policy_of(RULES);

	(void)state;
	assert_int_equal(policy_rule_count(policy), 19);
	assert_string_equal(policy_warnings(policy),
	                    "p:2: with this 'via', which is without 'control', the rule never decides about "
	                    "'list'\n");
	for (size_t i = 0; i < COUNT(questions); i++) {
		struct peer peer = { .uid = questions[i].uid,
			             .gid = questions[i].gid,
			             .group_count = 1,
			             .groups = { questions[i].group } };
		struct policy_decision decision;

		(void)snprintf(peer.unit, sizeof(peer.unit), "%s", questions[i].unit);
		policy_check(policy, &peer, questions[i].frontend, questions[i].operation, questions[i].key,
		             &decision);
		if (decision.verdict != questions[i].verdict || decision.line != questions[i].line ||
		    decision.for_seconds != questions[i].for_seconds)
			fail_msg("%s: verdict %d, line %u, for %u", questions[i].name, (int)decision.verdict,
			         decision.line, decision.for_seconds);
		assert_true(!decision.file == !decision.line && !decision.text == !decision.line);
	}
}

static void test_decision(void **state)
{
	CLEANUP(policy_freep) struct policy *policy = policy_of("#\n  permit unwrap  key a user 1 # why\n");
	struct peer peer = { .uid = 1 };
	struct policy_decision decision;

	(void)state;
	policy_check(policy, &peer, "age", OPERATION_UNWRAP, "a", &decision);
	assert_string_equal(decision.file, "p");
	assert_int_equal(decision.line, 2);
	assert_string_equal(decision.text, "permit unwrap  key a user 1");
}

static void test_nothing(void **state)
{
	CLEANUP(policy_freep) struct policy *policy = policy_of("");
	struct peer peer = { .uid = 0 };
	struct policy_decision decision;

	(void)state;
	policy_check(policy, &peer, "age", OPERATION_UNWRAP, "a", &decision);
	assert_int_equal(decision.verdict, VERDICT_DENY);
	policy_check(policy, &peer, "age", OPERATION_UNWRAP, NULL, &decision);
	assert_int_equal(decision.verdict, VERDICT_DENY);
	assert_null(decision.file);
}

static void test_warnings(void **state)
{
	static const char text[] = "permit unwrap key a user no-such-user root\n"
	                           "permit unwrap key b group no-such-group\n"
	                           "deny unwrap key a user no-such-user\n"
	                           "permit list key c user 1 for 5m\n"
	                           "permit unwrap list key d user 1 via age sops\n"
	                           "deny list admin key d user 1 via credential\n"
	                           "permit unwrap list admin key d user 1 via age control\n"
	                           "permit unwrap key d user 1 via age\n";
	CLEANUP(policy_freep) struct policy *policy = policy_of(text);
	struct peer peer = { .uid = 0 };
	struct policy_decision decision;

	(void)state;
	assert_string_equal(
	        policy_warnings(policy),
	        "p:1: there is no user 'no-such-user'\n"
	        "p:2: there is no group 'no-such-group'\n"
	        "p:3: there is no user 'no-such-user'\n"
	        "p:4: nothing is unlocked by this rule, so it needs no 'for'\n"
	        "p:5: with this 'via', which is without 'control', the rule never decides about 'list'\n"
	        "p:6: with this 'via', which is without 'control', the rule never decides about 'list'\n"
	        "p:6: with this 'via', which is without 'control', the rule never decides about 'admin'\n");
	policy_check(policy, &peer, "age", OPERATION_UNWRAP, "a", &decision);
	assert_int_equal(decision.verdict, VERDICT_PERMIT);
	policy_check(policy, &peer, "age", OPERATION_UNWRAP, "b", &decision);
	assert_int_equal(decision.verdict, VERDICT_DENY);
}

/* ---- the reference: rules as they were drawn, read one after the other ---- */

#define MODEL_RULES 24U
#define MODEL_VALUES 3U

struct model_rule {
	bool deny, pin, anybody, named_user, named_group, named_unit;
	unsigned operations, frontends, for_seconds;
	unsigned key_count, user_count, group_count, unit_count;
	const char *keys[MODEL_VALUES];
	unsigned users[MODEL_VALUES], groups[MODEL_VALUES];
	const char *units[MODEL_VALUES];
};

static const char *const model_keys[] = { "a", "b", "a/b", "a/b/c", "a/c", "ab", "b/a", "a/b/c/d" };
static const char *const model_patterns[] = { "a",     "b", "a/b",  "a/b/c", "a/*",
	                                      "a/b/*", "*", "ab/*", "b/*",   "ab" };
static const char *const model_units[] = { "a.service", "b.service", "user@1.service" };
static const char *const model_peer_units[] = { "a.service", "b.service", "user@1.service", UNIT_UNKNOWN };
static const char *const model_frontends[] = { "age", "sops", "credential", "control" };

static bool reference_key(const struct model_rule *rule, const char *key)
{
	for (unsigned i = 0; i < rule->key_count; i++) {
		size_t len = strlen(rule->keys[i]);

		if (strcmp(rule->keys[i], "*") == 0 || strcmp(rule->keys[i], key) == 0)
			return true;
		if (rule->keys[i][len - 1] == '*' && strncmp(rule->keys[i], key, len - 1) == 0)
			return true;
	}
	return false;
}

static bool reference_peer(const struct model_rule *rule, const struct peer *peer)
{
	bool user = !rule->named_user || rule->anybody, group = !rule->named_group, unit = !rule->named_unit;

	for (unsigned i = 0; i < rule->user_count; i++)
		user |= rule->users[i] == peer->uid;
	for (unsigned i = 0; i < rule->group_count; i++) {
		group |= rule->groups[i] == peer->gid;
		for (size_t n = 0; n < peer->group_count; n++)
			group |= rule->groups[i] == peer->groups[n];
	}
	for (unsigned i = 0; i < rule->unit_count; i++)
		unit |= strcmp(rule->units[i], peer->unit) == 0;
	unit |= rule->deny && strcmp(peer->unit, UNIT_UNKNOWN) == 0;
	return user && group && unit;
}

/* The line that decides, 0 for none. */
static unsigned reference(const struct model_rule *rules, unsigned count, const struct peer *peer,
                          unsigned frontend, enum operation operation, const char *key)
{
	unsigned best = 0, best_rank = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct model_rule *rule = &rules[i];
		unsigned rank = rule->deny ? 3000000 : rule->pin ? 2000000 : 1000000;

		if (!(rule->operations & 1U << operation) || !reference_peer(rule, peer) ||
		    !reference_key(rule, key) || (rule->frontends && !(rule->frontends & 1U << frontend)))
			continue;
		if (rule->for_seconds)
			rank += 500000 - rule->for_seconds;
		if (rank > best_rank) {
			best = i + 1;
			best_rank = rank;
		}
	}
	return best;
}

static uint64_t random_state;

static unsigned draw(unsigned below)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(random_state >> 33) % below;
}

static void draw_values(struct model_rule *rule)
{
	rule->key_count = 1 + draw(MODEL_VALUES);
	rule->user_count = rule->named_user ? 1 + draw(MODEL_VALUES) : 0;
	rule->group_count = rule->named_group ? 1 + draw(MODEL_VALUES) : 0;
	rule->unit_count = rule->named_unit ? 1 + draw(MODEL_VALUES) : 0;
	for (unsigned i = 0; i < MODEL_VALUES; i++) {
		rule->keys[i] = model_patterns[draw(COUNT(model_patterns))];
		rule->users[i] = draw(4);
		rule->groups[i] = draw(4);
		rule->units[i] = model_units[draw(COUNT(model_units))];
	}
}

static void draw_rule(struct model_rule *rule)
{
	unsigned who = 1 + draw(7);

	*rule = (struct model_rule){ .deny = draw(4) == 0, .operations = (1 + draw(7)) << 1 };
	rule->named_user = who & 1;
	rule->named_group = who & 2;
	rule->named_unit = who & 4;
	rule->anybody = rule->named_user && draw(4) == 0;
	rule->frontends = draw(2) ? draw(16) : 0;
	rule->pin = !rule->deny && draw(4) == 0;
	rule->for_seconds = !rule->deny && draw(3) == 0 ? 1 + draw(4) : 0;
	draw_values(rule);
}

static void write_rule(struct buf *text, const struct model_rule *rule)
{
	enum err err = buf_put_string(text, rule->deny ? "deny" : "permit");

	for (unsigned i = OPERATION_UNWRAP; i <= OPERATION_ADMIN; i++)
		if (!err && rule->operations & 1U << i)
			err = buf_printf(text, " %s", operation_name((enum operation)i));
	for (unsigned i = 0; i < rule->key_count; i++)
		err = err ? err : buf_printf(text, " key %s", rule->keys[i]);
	if (!err && rule->named_user)
		err = buf_put_string(text, rule->anybody ? " user *" : " user");
	for (unsigned i = 0; i < rule->user_count; i++)
		err = err ? err : buf_printf(text, " %u", rule->users[i]);
	if (!err && rule->named_group)
		err = buf_put_string(text, " group");
	for (unsigned i = 0; i < rule->group_count; i++)
		err = err ? err : buf_printf(text, " %u", rule->groups[i]);
	if (!err && rule->named_unit)
		err = buf_put_string(text, " unit");
	for (unsigned i = 0; i < rule->unit_count; i++)
		err = err ? err : buf_printf(text, " %s", rule->units[i]);
	if (!err && rule->frontends)
		err = buf_put_string(text, " via");
	for (unsigned i = 0; i < COUNT(model_frontends); i++)
		if (!err && rule->frontends & 1U << i)
			err = buf_printf(text, " %s", model_frontends[i]);
	if (!err && rule->for_seconds)
		err = buf_printf(text, " for %u", rule->for_seconds);
	if (!err)
		err = buf_put_string(text, rule->pin ? " pin\n" : "\n");
	assert_int_equal(err, OK);
}

static void draw_peer(struct peer *peer)
{
	*peer = (struct peer){ .uid = draw(5), .gid = draw(5), .group_count = draw(3) };
	for (size_t i = 0; i < peer->group_count; i++)
		peer->groups[i] = draw(5);
	if (draw(2))
		(void)snprintf(peer->unit, sizeof(peer->unit), "%s",
		               model_peer_units[draw(COUNT(model_peer_units))]);
}

static const struct {
	const char *text;
	bool some;
} some_rows[] = {
	{ "", false },
	{ "permit admin key mine/* user 1", true },
	{ "permit admin key mine group 5", true },
	{ "permit admin key * user *", true },
	{ "permit list unwrap key mine user 1", false },
	{ "permit admin key mine user 2", false },
	{ "permit admin key mine user 1 via age", false },
	{ "permit admin key mine user 1 unit x.service", false },
	{ "permit admin key mine user 1\ndeny admin key * user 1", false },
	{ "permit admin key mine user 1\ndeny admin key * user *", false },
	{ "permit admin key mine user 1\ndeny admin key mine user 1",
	  true }, /* one that is left is not looked for */
	{ "permit admin key mine user 1\ndeny admin key * user 2", true },
	{ "permit admin key mine user 1\ndeny unwrap key * user 1", true },
	{ "permit admin key mine user 1 pin", true },
};

static void test_permits_some(void **state)
{
	const struct peer peer = { .uid = 1, .gid = 1, .group_count = 1, .groups = { 5 } };

	(void)state;
	for (size_t i = 0; i < COUNT(some_rows); i++) {
		CLEANUP(policy_freep) struct policy *policy = policy_of(some_rows[i].text);

		if (policy_permits_some(policy, &peer, "control", OPERATION_ADMIN) != some_rows[i].some)
			fail_msg("%s", some_rows[i].text);
	}
}

/* One policy, every key: the compiled policy names the line that the reference names; what it says of "every key" agrees with the keys that there are. wrong: a seeded
 * defect of the reference, to see that this test sees. Returns how many answers differed. */
static unsigned compare_once(struct buf *text, bool wrong, uint64_t seed)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;
	struct model_rule rules[MODEL_RULES];
	unsigned count = draw(MODEL_RULES + 1), frontend = draw(COUNT(model_frontends)), different = 0;
	enum operation operation = (enum operation)(1 + draw(3));
	struct policy_decision every, decision;
	struct peer peer;

	buf_clear(text);
	for (unsigned i = 0; i < count; i++) {
		draw_rule(&rules[i]);
		write_rule(text, &rules[i]);
	}
	policy = policy_of(buf_string(text));
	draw_peer(&peer);
	policy_check(policy, &peer, model_frontends[frontend], operation, NULL, &every);
	if (wrong && count)
		rules[0].deny = !rules[0].deny;
	for (size_t i = 0; i < COUNT(model_keys); i++) {
		unsigned line = reference(rules, count, &peer, frontend, operation, model_keys[i]);

		policy_check(policy, &peer, model_frontends[frontend], operation, model_keys[i], &decision);
		different += decision.line != line;
		if (line && !wrong) {
			assert_int_equal(decision.verdict == VERDICT_DENY, rules[line - 1].deny);
			assert_int_equal(decision.verdict == VERDICT_PERMIT_WITH_PIN, rules[line - 1].pin);
			assert_int_equal(decision.for_seconds, rules[line - 1].for_seconds);
		}
		if (decision.verdict == VERDICT_DENY)
			assert_int_equal(every.verdict, VERDICT_DENY);
		if (decision.line != line && !wrong)
			fail_msg("TOKEND_TEST_SEED=%llu TOKEND_POLICY_POLICIES=1: key %s: line %u, should be "
			         "%u of\n%s",
			         (unsigned long long)seed, model_keys[i], decision.line, line,
			         buf_string(text));
	}
	return different;
}

static unsigned compare_many(bool wrong, unsigned policies)
{
	const char *seed = getenv("TOKEND_TEST_SEED");
	CLEANUP(buf_freep) struct buf *text = NULL;
	unsigned different = 0;
	/* Not the time itself: the policies of two runs would be the same ones but for as many as there are seconds between. */
	uint64_t first = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 1000003;

	assert_int_equal(buf_new(POLICY_TEXT_MAX, &text), OK);
	print_message("TOKEND_TEST_SEED=%llu, %u policies\n", (unsigned long long)first, policies);
	for (unsigned i = 0; i < policies; i++) {
		random_state = (first + i) * 0x9e3779b97f4a7c15ULL;
		different += compare_once(text, wrong, first + i);
	}
	return different;
}

static void test_reference(void **state)
{
	const char *policies = getenv("TOKEND_POLICY_POLICIES");

	(void)state;
	assert_int_equal(compare_many(false, policies ? (unsigned)strtoul(policies, NULL, 0) : 20000), 0);
}

static void test_reference_control(void **state)
{
	(void)state;
	assert_true(compare_many(true, 500) > 0);
}

/* ---- from disk ---- */

static char directory[64];

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

static int make_directory(void **state)
{
	(void)state;
	(void)strcpy(directory, "/tmp/test_policy.XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static enum err load(bool system_mode, struct policy **ret_policy, char problem[256])
{
	struct buf *text;
	enum err err;

	assert_int_equal(buf_new(255, &text), OK);
	err = policy_load(directory, system_mode, text, ret_policy);
	(void)snprintf(problem, 256, "%s", buf_string(text));
	buf_free(text);
	return err;
}

static void assert_problem(enum err expected, const char *name, const char *sentence)
{
	char problem[256], wanted[256];
	struct policy *policy;

	assert_int_equal(load(true, &policy, problem), expected);
	(void)snprintf(wanted, sizeof(wanted), "%s%s%s", directory, name, sentence);
	assert_string_equal(problem, wanted);
}

static void test_load_order(void **state)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;
	struct peer peer = { .uid = 1 };
	struct policy_decision decision;
	char problem[256];

	(void)state;
	write_file("20-b.conf", "permit unwrap key a user 1\n", 0644);
	write_file("10-a.conf", "# first\npermit unwrap key a user 1\n", 0600);
	write_file("00-not.txt", "nonsense", 0644);
	write_file(".hidden.conf", "nonsense", 0644);
	assert_int_equal(load(true, &policy, problem), OK);
	assert_int_equal(policy_rule_count(policy), 2);
	policy_check(policy, &peer, "age", OPERATION_UNWRAP, "a", &decision);
	assert_string_equal(decision.file, "10-a.conf");
	assert_int_equal(decision.line, 2);
}

static void test_load_bad(void **state)
{
	(void)state;
	write_file("a.conf", "permit unwrap key a user 0\nnonsense\n", 0644);
	assert_problem(ERR_BAD_CONFIG, "/a.conf",
	               ":2: a rule begins with permit or deny, not with 'nonsense'");
	write_file("a.conf", "permit unwrap key a user 0\n", 0664);
	assert_problem(ERR_STATE_DIR, "/a.conf",
	               ": it must be a regular file of root's or ours that others cannot write to");
	write_file("a.conf", "permit unwrap key a user 0\n", 0646);
	assert_problem(ERR_STATE_DIR, "/a.conf",
	               ": it must be a regular file of root's or ours that others cannot write to");
	write_file("a.conf", "permit unwrap key a user 0\n", 0644);
	assert_int_equal(chmod(directory, 0757), 0);
	assert_problem(ERR_STATE_DIR, "",
	               ": it must be a directory of root's or ours that others cannot write to");
}

static void assert_warned(const char *text, bool system_mode, const char *wanted)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;
	char problem[256], whole[512] = "";

	write_file("a.conf", text, 0644);
	assert_int_equal(load(system_mode, &policy, problem), OK);
	if (wanted)
		(void)snprintf(whole, sizeof(whole), "%s%s\n", directory, wanted);
	assert_string_equal(policy_warnings(policy), whole);
}

/* The first rule of somebody's own takes the place of the built-in policy, and with it perhaps everybody's way to go on. */
static void test_load_warnings(void **state)
{
	char wanted[512];

	(void)state;
	assert_warned("permit unwrap list admin key * user 0\n", true, NULL);
	assert_warned("permit admin key a user 1\npermit list key b user 2\n", true, NULL);
	assert_warned("# none\n", false, NULL);
	assert_warned("permit unwrap key a user 1\n", true,
	              ": no rule permits admin or list, so nobody can enroll a key or see which there are; a "
	              "rule of your own takes the place of the built-in policy: add permit unwrap list admin "
	              "key * user root");
	assert_warned("permit unwrap list key a user 1\ndeny admin key * user 2\n", true,
	              ": no rule permits admin, so nobody can enroll a key; a rule of your own takes the "
	              "place of the built-in policy: add permit unwrap list admin key * user root");
	(void)snprintf(wanted, sizeof(wanted),
	               ": no rule permits list, so nobody can see which keys there are; a rule of your own "
	               "takes the place of the built-in policy: add permit unwrap list admin key * user %u",
	               (unsigned)geteuid());
	assert_warned("permit admin key a user 1\n", false, wanted);
	write_file("b", "permit unwrap key a user 1\n", 0644);
	write_file(".c", "permit unwrap key a user 1\n", 0644);
	assert_warned("permit admin list key a user 1\n", true,
	              "/b: not read, since its name does not end in .conf");
}

/* Of all files, not of the first that has one; a file that may not be used is one of them. */
static void test_load_all_problems(void **state)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	char wanted[1024];

	(void)state;
	write_file("a.conf", "permit unwrap\n\ndeny\n", 0644);
	write_file("b.conf", "permit unwrap key a user 0\n", 0666);
	write_file("c.conf", "nonsense\n", 0644);
	assert_int_equal(buf_new(1024, &problem), OK);
	assert_int_equal(policy_load(directory, true, problem, &policy), ERR_BAD_CONFIG);
	(void)snprintf(wanted, sizeof(wanted),
	               "%s/a.conf:1: the keys are missing: key NAME, key NAME/* or key *\n"
	               "%s/a.conf:3: the operation is missing: unwrap, list or admin\n"
	               "%s/b.conf: it must be a regular file of root's or ours that others cannot write to\n"
	               "%s/c.conf:1: a rule begins with permit or deny, not with 'nonsense'",
	               directory, directory, directory, directory);
	assert_string_equal(buf_string(problem), wanted);
}

static void test_load_not_a_file(void **state)
{
	char path[256];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/a.conf", directory);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_problem(ERR_STATE_DIR, "/a.conf",
	               ": it must be a regular file of root's or ours that others cannot write to");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_problem(ERR_STATE_DIR, "/a.conf",
	               ": it must be a regular file of root's or ours that others cannot write to");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_problem(ERR_STATE_DIR, "/a.conf",
	               ": it must be a regular file of root's or ours that others cannot write to");
}

static enum verdict ask(const struct policy *policy, uid_t uid, enum operation operation)
{
	struct peer peer = { .uid = uid, .gid = uid };
	struct policy_decision decision;

	policy_check(policy, &peer, "control", operation, "some/key", &decision);
	if (decision.file)
		assert_string_equal(decision.file, "built-in");
	return decision.verdict;
}

static void test_built_in(void **state)
{
	CLEANUP(policy_freep) struct policy *system_policy = NULL;
	CLEANUP(policy_freep) struct policy *user_policy = NULL;
	char problem[256];

	(void)state;
	assert_int_equal(load(true, &system_policy, problem), OK);
	assert_int_equal(ask(system_policy, 0, OPERATION_ADMIN), VERDICT_PERMIT);
	assert_int_equal(ask(system_policy, 0, OPERATION_UNWRAP), VERDICT_PERMIT);
	assert_int_equal(ask(system_policy, 54321, OPERATION_UNWRAP), VERDICT_DENY);
	write_file("a.conf", "# no rule\n", 0644);
	assert_int_equal(load(false, &user_policy, problem), OK);
	assert_int_equal(ask(user_policy, geteuid(), OPERATION_ADMIN), VERDICT_PERMIT);
	assert_int_equal(ask(user_policy, geteuid() + 1, OPERATION_LIST), VERDICT_DENY);
	policy_free(TAKE(user_policy));
	(void)strcat(directory, "/missing");
	assert_int_equal(load(false, &user_policy, problem), OK);
	*strrchr(directory, '/') = '\0';
	assert_int_equal(ask(user_policy, geteuid(), OPERATION_ADMIN), VERDICT_PERMIT);
}

/* The digest is of the names and the contents, and where one ends and the other begins matters. */
static void test_digest(void **state)
{
	static const struct {
		const char *file, *text;
	} parts[] = { { "a", "#bc" }, { "a#", "bc" }, { "a", "#bd" }, { "b", "#bc" }, { "a", "#bc\n" } };
	char digests[COUNT(parts)][65];

	(void)state;
	for (size_t i = 0; i < COUNT(parts); i++) {
		CLEANUP(policy_freep) struct policy *policy = NULL;

		assert_int_equal(policy_new(&policy), OK);
		(void)!policy_add(policy, parts[i].file, bytes_of_string(parts[i].text), NULL);
		(void)snprintf(digests[i], sizeof(digests[i]), "%s", policy_digest(policy));
		assert_int_equal(strlen(digests[i]), 64);
		for (size_t n = 0; n < i; n++)
			assert_string_not_equal(digests[n], digests[i]);
	}
}

/* ---- what it costs ---- */

static double seconds_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void measure(bool every_key, unsigned rules, size_t group_count)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(policy_freep) struct policy *policy = NULL;
	struct peer peer = { .uid = 5, .gid = 5, .group_count = group_count };
	struct policy_decision decision;
	const unsigned rounds = getenv("TOKEND_BENCH") ? 1000000 : 1000;
	double start = seconds_now(), load_time;

	assert_int_equal(buf_new(POLICY_TEXT_MAX, &text), OK);
	for (unsigned i = 0; i < rules; i++)
		assert_int_equal(
		        every_key ? buf_printf(text, "permit unwrap key * user %u via age\n", i)
		                  : buf_printf(text, "permit unwrap key repo/%u/* user %u\n", i, i % 1000),
		        OK);
	policy = policy_of(buf_string(text));
	load_time = seconds_now() - start;
	for (size_t i = 0; i < group_count; i++)
		peer.groups[i] = (gid_t)(100000 + i);
	start = seconds_now();
	for (unsigned i = 0; i < rounds; i++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "repo/%u/x", i % 100000);
		policy_check(policy, &peer, "age", OPERATION_UNWRAP, key, &decision);
	}
	print_message("%s, %u rules, %zu groups: read in %.1f ms, %.0f ns a question\n",
	              every_key ? "every key for one user each" : "a key and a user each", rules, group_count,
	              load_time * 1e3, (seconds_now() - start) / rounds * 1e9);
}

static void test_cost(void **state)
{
	(void)state;
	measure(false, 10, 2);
	measure(false, 10000, 2);
	measure(false, 10000, PEER_GROUPS_MAX);
	measure(true, 10, 2);
	measure(true, 10000, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_all_problems),
		cmocka_unit_test(test_full_says_so_once),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_too_many_pairs),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_decision),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_permits_some),
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_reference_control),
		cmocka_unit_test_setup_teardown(test_load_order, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(test_load_bad, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(test_load_all_problems, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(test_load_warnings, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(test_load_not_a_file, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(test_built_in, make_directory, remove_directory),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
