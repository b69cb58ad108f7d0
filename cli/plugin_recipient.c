/*
 * recipient-v1: the client names recipients (and identities to encrypt to) and hands over file keys; the plugin gives back stanzas, one for each
 * recipient of each file. Nothing here needs a token, and a daemon only for the identity that names no key.
 *
 * All stanzas are made before the first is sent: after an error there must be none.
 */
#include "cli/plugin_protocol.h"

#include <stdio.h>
#include <stdlib.h>

#define RECIPIENTS_MAX PLUGIN_IDENTITIES_MAX /* both kinds together */
#define STANZA_TEXT_MAX 1024U /* of X25519 and p256tag */
#define STANZAS_TEXT_MAX (64U << 20)

/* One who shall be able to open the files, and what to say when that is not possible. */
struct target {
	struct recipient recipient;
	bool from_identity;
	size_t index; /* among its kind */
	bool any_key; /* an identity that names no key */
	struct problem *problem; /* owned; NULL: it is good */
};

struct conversation {
	struct plugin_wire *wire; /* borrowed */
	const struct plugin_ops *ops;
	void *context;
	struct target *targets;
	size_t target_count;
	size_t recipient_count;
	size_t identity_count;
	struct secret *file_keys[PLUGIN_FILES_MAX];
	size_t file_count;
	struct buf *stanzas; /* of all files: u32 file, u32 length, text */
};

static void conversation_done(struct conversation *talk)
{
	for (size_t i = 0; i < talk->target_count; i++) {
		recipient_done(&talk->targets[i].recipient);
		free(talk->targets[i].problem);
	}
	for (size_t i = 0; i < talk->file_count; i++)
		(void)secret_free(talk->file_keys[i]);
	free(talk->targets);
	(void)buf_free(talk->stanzas);
}

static enum err set_problem(struct target *target, enum err err, const char *sentence)
{
	if (!target->problem)
		target->problem = calloc(1, sizeof(*target->problem));
	if (!target->problem)
		return ERR_NOMEM;
	(void)problem_set(target->problem, err, "%s", sentence);
	return OK;
}

/* ---- phase 1: what the client wants ---- */

static enum err read_recipient(struct bytes text, struct target *target)
{
	struct bytes what;
	enum err err = recipient_parse(text, &target->recipient, &what);

	if (err == ERR_UNSUPPORTED)
		return set_problem(
		        target, err,
		        "recipients of this kind are not supported yet; age1... and age1tag1... are");
	if (err == ERR_USAGE)
		return set_problem(target, err,
		                   "this is not a recipient; type tokenctl recipient to get an age1... or "
		                   "age1tag1... line");
	return err;
}

static void recipient_of(const struct identity *identity, struct recipient *recipient)
{
	recipient->kind = identity->key_kind == KEY_KIND_P256 ? RECIPIENT_P256TAG : RECIPIENT_X25519;
	memcpy(recipient->public_key, identity->public_key, sizeof(recipient->public_key));
}

static enum err read_identity(struct bytes text, struct target *target)
{
	struct identity identity = { 0 };
	struct bytes what;
	enum err err = identity_parse(text, &identity, &what);

	if (err == ERR_NOMEM || err == ERR_MEMORY_LOCKED)
		return err;
	if (err || identity.kind != IDENTITY_TOKEND) {
		err = set_problem(target, ERR_USAGE,
		                  "this is not an identity of tokend; type tokenctl identity to get one");
	} else {
		target->any_key = identity.any_key;
		if (!identity.any_key)
			recipient_of(&identity, &target->recipient);
	}
	identity_done(&identity);
	return err;
}

static enum err add_target(struct conversation *talk, const struct plugin_stanza *stanza, bool from_identity)
{
	struct target *target = &talk->targets[talk->target_count];

	if (stanza->argument_count != 2 || stanza->body.len != 0)
		return ERR_BAD_MESSAGE;
	if (talk->target_count == RECIPIENTS_MAX)
		return ERR_BUSY;
	talk->target_count++;
	target->from_identity = from_identity;
	target->index = from_identity ? talk->identity_count++ : talk->recipient_count++;
	return from_identity ? read_identity(stanza->arguments[1], target)
	                     : read_recipient(stanza->arguments[1], target);
}

static enum err add_file_key(struct conversation *talk, const struct plugin_stanza *stanza)
{
	enum err err;

	if (stanza->argument_count != 1 || stanza->body.len != FILE_KEY_LEN)
		return ERR_BAD_MESSAGE;
	if (talk->file_count == PLUGIN_FILES_MAX)
		return ERR_BUSY;
	err = secret_new_from(stanza->body, &talk->file_keys[talk->file_count]);
	if (err)
		return err;
	talk->file_count++;
	return OK;
}

static enum err take_command(void *context, const struct plugin_stanza *stanza)
{
	struct conversation *talk = context;

	if (plugin_stanza_is(stanza, "add-recipient"))
		return add_target(talk, stanza, false);
	if (plugin_stanza_is(stanza, "add-identity"))
		return add_target(talk, stanza, true);
	if (plugin_stanza_is(stanza, "wrap-file-key"))
		return add_file_key(talk, stanza);
	/* Says that the client understands "labels"; ours is the empty set, which is what it assumes when none are sent. */
	if (plugin_stanza_is(stanza, "extension-labels"))
		return stanza->argument_count == 1 && stanza->body.len == 0 ? OK : ERR_BAD_MESSAGE;
	return OK;
}

/* ---- phase 2: stanzas ---- */

/* "-j tokend" names no key, so the daemon is asked whether it has just one. */
static enum err find_key(struct conversation *talk, struct target *target)
{
	struct plugin_problem problem = { 0 };
	char sentence[PLUGIN_SENTENCE_MAX];
	enum err err;

	err = talk->ops->only_recipient(talk->context, &target->recipient, &problem);
	if (!err || err == ERR_NOMEM || err == ERR_MEMORY_LOCKED)
		return err;
	plugin_sentence(&problem.text, err, sentence);
	return set_problem(target, err, sentence);
}

static enum err put_stanza(struct conversation *talk, size_t file, struct bytes text)
{
	enum err err;

	err = buf_put_u32(talk->stanzas, (uint32_t)file);
	if (!err)
		err = buf_put_u32(talk->stanzas, (uint32_t)text.len);
	if (!err)
		err = buf_put(talk->stanzas, text);
	return err;
}

static enum err wrap(struct conversation *talk, size_t file, struct target *target)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err;

	err = buf_new(STANZA_TEXT_MAX, &text);
	if (!err)
		err = recipient_wrap(&target->recipient, talk->file_keys[file], text);
	if (err == ERR_USAGE || err == ERR_BAD_FILE)
		return set_problem(target, err, "this recipient is not a valid public key");
	if (!err)
		err = put_stanza(talk, file, buf_bytes(text));
	return err;
}

static enum err make_stanzas(struct conversation *talk)
{
	enum err err = OK;

	for (size_t i = 0; i < talk->target_count && !err; i++)
		if (talk->targets[i].any_key)
			err = find_key(talk, &talk->targets[i]);
	for (size_t file = 0; file < talk->file_count && !err; file++)
		for (size_t i = 0; i < talk->target_count && !err; i++)
			if (!talk->targets[i].problem)
				err = wrap(talk, file, &talk->targets[i]);
	return err;
}

static enum err report_problems(struct conversation *talk, bool *ret_bad)
{
	enum err err = OK;

	*ret_bad = false;
	for (size_t i = 0; i < talk->target_count && !err; i++) {
		const struct target *target = &talk->targets[i];
		char number[24];
		const char *const words[] = { "error", target->from_identity ? "identity" : "recipient",
			                      number, NULL };

		if (!target->problem)
			continue;
		*ret_bad = true;
		(void)snprintf(number, sizeof(number), "%zu", target->index);
		err = plugin_error(talk->wire, words, target->problem->message);
	}
	return err;
}

static enum err send_stanzas(struct conversation *talk)
{
	struct reader reader = reader_of(buf_bytes(talk->stanzas));

	while (!reader_done(&reader)) {
		const struct plugin_stanza *reply;
		char words[48];
		struct bytes text;
		enum err err;

		(void)snprintf(words, sizeof(words), "recipient-stanza %u", reader_u32(&reader));
		text = reader_take(&reader, reader_u32(&reader));
		err = plugin_wire_ask_stanza(talk->wire, words, text, &reply);
		if (err)
			return err;
	}
	return OK;
}

static enum err answer_phase(struct conversation *talk)
{
	static const char *const internal[] = { "error", "internal", NULL };
	bool bad;
	enum err err;

	err = make_stanzas(talk);
	if (err)
		return plugin_error(talk->wire, internal, err_info(err)->text);
	err = report_problems(talk, &bad);
	if (err || bad)
		return err;
	return send_stanzas(talk);
}

enum err plugin_recipient_v1(struct plugin_wire *wire, const struct plugin_ops *ops, void *context)
{
	CLEANUP(conversation_done)
	struct conversation talk = { .wire = wire, .ops = ops, .context = context };
	enum err err;

	talk.targets = calloc(RECIPIENTS_MAX, sizeof(*talk.targets));
	if (!talk.targets)
		return ERR_NOMEM;
	err = buf_new(STANZAS_TEXT_MAX, &talk.stanzas);
	if (!err)
		err = plugin_read_phase(talk.wire, take_command, &talk);
	if (err)
		return err;
	return answer_phase(&talk);
}
