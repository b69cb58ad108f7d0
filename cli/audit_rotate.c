/* tokenctl audit rotate */
#include <stdio.h>

#include "cli/facts.h"
#include "cli/shown.h"
#include "cli/verbs.h"

static enum err run(struct invocation *invocation)
{
	CLEANUP(json_decrefp) json_t *reply = NULL, *parameters = json_object();
	enum err err = parameters ? OK : ERR_NOMEM;

	if (!err)
		err = daemon_call(&invocation->daemon, "RotateAudit", TAKE(parameters),
		                  DAEMON_TOKEN_DEADLINE_MS, &invocation->problem, &reply);
	if (err)
		return err;
	if (options_given(&invocation->options, "json"))
		return json_print(TAKE(reply));
	(void)fprintf(stderr, "a new audit log was begun; the old one, up to record %lld, is %s\n",
	              (long long)json_integer_member(reply, "lastRecord", 0),
	              json_string_member(reply, "file"));
	return OK;
}

static const struct option_row rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb audit_rotate_verb = {
	.name = "audit rotate",
	.arguments = "",
	.summary = "Closes the audit log and begins a new one, which goes on from it",
	.details = "The closed log stays in the state directory, named for its last record: "
	           "audit.log.000000001234.\n"
	           "Nothing is lost in between, and nothing has to be restarted. The first record of the new "
	           "log\n"
	           "carries the number and the hash of the closed one's last, so that audit verify goes over "
	           "both.\n"
	           "Takes the permission admin for every key.",
	.example = "  tokenctl audit rotate",
	.options = rows,
	.run = run,
};
