/* What both conversations say in the same way. */
#include "cli/plugin_protocol.h"

#include <stdio.h>

enum err plugin_error(struct plugin_wire *wire, const char *const *words, const char *sentence)
{
	const struct plugin_stanza *reply;

	/* The reply is "ok" and cannot change anything. */
	return plugin_wire_ask(wire, words, bytes_of_string(sentence), &reply);
}

/* Clients print it behind the plugin's name, on one line: "sentence; what to do next". */
enum err plugin_explain(struct plugin_wire *wire, struct plugin_told *told, enum err err,
                        const struct problem *problem)
{
	static const char *const words[] = { "msg", NULL };
	const struct plugin_stanza *reply;
	char text[2 * PROBLEM_TEXT_MAX + 2];

	if (told->told[err])
		return OK;
	told->told[err] = true;
	(void)snprintf(text, sizeof(text), "%s%s%s", problem_text(problem, err), problem->hint[0] ? "; " : "",
	               problem->hint);
	return plugin_wire_ask(wire, words, bytes_of_string(text), &reply);
}
