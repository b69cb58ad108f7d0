/* Up to the first NUL byte: a path; the rest: a .sops.yaml. Whatever is chosen is well-formed, and chosen again gives the same. */
#include <stdlib.h>

#include "formats/sops_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void check_rule(const struct sops_creation_rule *rule)
{
	check(rule->recipient_count <= SOPS_RULE_RECIPIENTS_MAX && rule->group_count <= SOPS_GROUPS_MAX);
	check(rule->threshold <= SOPS_GROUPS_MAX && rule->line >= 1 && rule->pattern.len);
	for (size_t i = 0; i < rule->recipient_count; i++) {
		const struct sops_rule_recipient *recipient = &rule->recipients[i];

		check(recipient->kind && recipient->name.len && recipient->group < rule->group_count);
		check(recipient->first_field + recipient->field_count <= SOPS_RULE_FIELDS_MAX);
		for (size_t j = 0; j < recipient->field_count; j++)
			check(rule->fields[recipient->first_field + j].value.len > 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end = len ? memchr(data, '\0', len) : NULL;
	size_t path_len = end ? (size_t)(end - data) : 0;
	size_t skipped = end ? path_len + 1 : 0;
	struct sops_creation_rule rule, again;
	struct sops_rules rules;

	if (len > 65536)
		return 0;
	if (sops_rules_read(&rules, bytes_of(data + skipped, len - skipped)) == OK &&
	    sops_rules_choose(&rules, bytes_of(data, path_len), &rule) == OK) {
		check_rule(&rule);
		check(sops_rules_choose(&rules, bytes_of(data, path_len), &again) == OK);
		check(again.line == rule.line && again.recipient_count == rule.recipient_count);
	}
	sops_rules_done(&rules);
	return 0;
}
