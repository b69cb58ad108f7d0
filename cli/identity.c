/* tokenctl identity */
#include "cli/facts.h"
#include "cli/verbs.h"
#include "common/encoding.h"
#include "formats/recipient.h"

/* key NULL: the identity that stands for any key. */
static enum err put_identity(const json_t *key, struct problem *problem, struct buf *line)
{
	const char *id_text = json_string_member(key, "id");
	const char *kind_text = json_string_member(key, "kind");
	const char *recipient_text = json_string_member(key, "recipient");
	struct recipient recipient = { 0 };
	struct bytes what;
	struct key_id id;
	enum key_kind kind;
	enum err err;

	if (!key)
		return identity_put_tokend(line, NULL, KEY_KIND_P256, NULL);
	if (!recipient_text)
		return problem_set(problem, ERR_USAGE, "the key is symmetric and opens no age files");
	if (!id_text || !kind_text || hex_decode(bytes_of_string(id_text), id.bytes, KEY_ID_LEN) ||
	    key_kind_from_name(kind_text, &kind) ||
	    recipient_parse(bytes_of_string(recipient_text), &recipient, &what))
		return problem_set(problem, ERR_BAD_MESSAGE,
		                   "tokend described the key in a way that makes no sense");
	err = identity_put_tokend(line, &id, kind, recipient.public_key);
	recipient_done(&recipient);
	return err;
}

static enum err print_identity(const char *name, const char *line, bool as_json)
{
	if (as_json)
		return json_print(json_pack("{s:s?, s:s}", "name", name, "identity", line));
	(void)puts(line);
	return OK;
}

static enum err run(struct invocation *invocation)
{
	const char *name = invocation->options.argument_count ? invocation->options.arguments[0] : NULL;
	CLEANUP(json_decrefp) json_t *keys = NULL;
	CLEANUP(buf_freep) struct buf *line = NULL;
	enum err err = buf_new(BUFSIZ, &line);

	if (!err && name)
		err = keys_get(&invocation->daemon, name, &invocation->problem, &keys);
	if (!err)
		err = put_identity(json_array_get(keys, 0), &invocation->problem, line);
	if (err)
		return err;
	return print_identity(name, buf_string(line), options_given(&invocation->options, "json"));
}

static const struct option_row rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb identity_verb = {
	.name = "identity",
	.arguments = "[KEY]",
	.arguments_max = 1,
	.summary =
	        "Prints the AGE-PLUGIN-TOKEND-1... line for keys.txt: of one key, or of any key you may use",
	.details = "The line holds no secret: it tells age, rage and sops to ask tokend through "
	           "age-plugin-tokend.\n"
	           "Without KEY no daemon is needed.",
	.example = "  tokenctl identity >> ~/.config/sops/age/keys.txt\n"
	           "  age -d -i <(tokenctl identity host) secret.age",
	.options = rows,
	.run = run,
};
