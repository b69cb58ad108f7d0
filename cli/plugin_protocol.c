/* What both conversations say in the same way. */
#include "cli/plugin_protocol.h"

#include <stdio.h>

enum err plugin_error(struct plugin_wire *wire, const char *const *words, const char *sentence)
{
	const struct plugin_stanza *reply;

	/* The reply is "ok" and cannot change anything. */
	return plugin_wire_ask(wire, words, bytes_of_string(sentence), &reply);
}

void plugin_sentence(const struct problem *problem, enum err err,
                     char ret_sentence[static PLUGIN_SENTENCE_MAX])
{
	(void)snprintf(ret_sentence, PLUGIN_SENTENCE_MAX, "%s%s%s", problem_text(problem, err),
	               problem->hint[0] ? "; hint: " : "", problem->hint);
}

enum err plugin_read_phase(struct plugin_wire *wire, plugin_take take, void *context)
{
	const struct plugin_stanza *stanza;
	enum err err;

	for (;;) {
		err = plugin_wire_next(wire, &stanza);
		if (err)
			return err;
		if (plugin_stanza_is(stanza, "done"))
			return stanza->argument_count == 1 && stanza->body.len == 0 ? OK : ERR_BAD_MESSAGE;
		err = take(context, stanza);
		if (err)
			return err;
	}
}

enum err plugin_explain(struct plugin_wire *wire, struct plugin_told *told, enum err err,
                        const struct problem *problem)
{
	static const char *const message[] = { "msg", NULL };
	static const char *const error[] = { "error", "internal", NULL };
	const struct plugin_stanza *reply;
	char sentence[PLUGIN_SENTENCE_MAX];

	if (told->told[err])
		return OK;
	told->told[err] = true;
	plugin_sentence(problem, err, sentence);
	/* Without the daemon there is nothing this plugin could do for any identity, so the error that ends all of them costs little there. */
	if (err == ERR_NO_DAEMON && plugin_wire_hides_messages(wire))
		return plugin_error(wire, error, sentence);
	return plugin_wire_ask(wire, message, bytes_of_string(sentence), &reply);
}
