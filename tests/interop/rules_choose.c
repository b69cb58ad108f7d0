/* Prints which creation rule tokenctl would go by: usage: rules_choose FILE (the .sops.yaml is found as tokenctl finds it). One line: setting, pattern, what the MAC is over, threshold,
 * and the recipients of each group; "none" without a rule. */
#include <stdio.h>

#include "cli/sops_config.h"

static void print_group(const struct sops_creation_rule *rule, unsigned group)
{
	(void)fputs(" [", stdout);
	for (size_t i = 0; i < rule->recipient_count; i++)
		if (rule->recipients[i].group == group)
			(void)printf(" %s:%.*s", rule->recipients[i].kind, (int)rule->recipients[i].name.len,
			             (const char *)rule->recipients[i].name.data);
	(void)fputs(" ]", stdout);
}

static void print_rule(const struct sops_creation_rule *rule)
{
	static const char *const settings[] = { "unencrypted_suffix",        "encrypted_suffix",
		                                "unencrypted_regex",         "encrypted_regex",
		                                "unencrypted_comment_regex", "encrypted_comment_regex" };

	(void)printf("%s %.*s %d %u", settings[rule->rule], (int)rule->pattern.len,
	             (const char *)rule->pattern.data, rule->mac_only_encrypted, rule->threshold);
	for (unsigned group = 0; group < rule->group_count; group++)
		print_group(rule, group);
	(void)putchar('\n');
}

int main(int argc, char **argv)
{
	CLEANUP(sops_config_freep) struct sops_config *config = NULL;
	struct sops_creation_rule rule;
	struct problem problem = { 0 };
	enum err err = argc == 2 ? sops_config_find(argv[1], &problem, &config) : ERR_USAGE;

	if (!err && config)
		err = sops_config_choose(config, argv[1], &problem, &rule);
	if (!err && config)
		print_rule(&rule);
	else
		(void)puts("none");
	if (err)
		problem_print(&problem, err, "rules_choose");
	return 0;
}
