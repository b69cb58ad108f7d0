/* Policies from anybody: what is accepted answers questions, and a deny for anybody, added behind it, wins over all of it. */
#include <stdlib.h>

#include "tokend/policy.h"
#include "tokend/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const keys[] = { "host", "repo/prod", "repo/a/b", "a", NULL };

static bool any_permitted(const struct policy *policy)
{
	static const struct peer peers[] = {
		{ .uid = 0, .unit = "jellyfin.service" },
		{ .uid = 1000, .gid = 1000, .group_count = 2, .groups = { 100, 4 } },
	};
	bool permitted = false;

	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
		for (size_t n = 0; n < sizeof(keys) / sizeof(keys[0]); n++)
			for (unsigned operation = OPERATION_UNWRAP; operation <= OPERATION_ADMIN;
			     operation++) {
				struct policy_decision decision;

				policy_check(policy, &peers[i], "age", (enum operation)operation, keys[n],
				             &decision);
				permitted |= decision.verdict != VERDICT_DENY;
				if (decision.verdict != VERDICT_DENY && !decision.line)
					abort();
			}
	return permitted;
}

/* What is shown of the problems is one line, and says something. */
static void check_sentence(const struct buf *problem)
{
	char sentence[512];

	text_first_problem(problem, sentence, sizeof(sentence));
	if (!sentence[0] || strchr(sentence, '\n'))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char deny[] = "deny unwrap list admin key * user *\n";
	CLEANUP(policy_freep) struct policy *policy = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	enum err err;

	if (policy_new(&policy) || buf_new(1024, &problem))
		abort();
	err = policy_add(policy, "fuzz", bytes_of(data, len), problem);
	if (err != OK && err != ERR_BAD_CONFIG)
		abort();
	if ((err == OK) != (buf_len(problem) == 0))
		abort();
	if (err) {
		check_sentence(problem);
		return 0;
	}
	(void)any_permitted(policy);
	if (policy_rule_count(policy) < POLICY_RULES_MAX &&
	    (policy_add(policy, "deny", bytes_of_string(deny), NULL) || any_permitted(policy)))
		abort();
	return 0;
}
