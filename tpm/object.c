#include <tss2/tss2_mu.h>

#include "tpm/error.h"
#include "tpm/token.h"

static size_t loaded_count(const struct token *token)
{
	size_t count = 0;

	for (const struct tpm_object *object = token->loaded; object; object = object->next)
		count++;
	return count;
}

static void list_remove(struct token *token, struct tpm_object *object)
{
	struct tpm_object **at = &token->loaded;

	while (*at && *at != object)
		at = &(*at)->next;
	if (*at)
		*at = object->next;
	object->next = NULL;
}

void tpm_object_loaded(struct token *token, struct tpm_object *object, ESYS_TR tr)
{
	TPM2B_NAME *name = NULL;

	object->tr = tr;
	object->handle = 0;
	object->used = ++token->clock;
	object->next = token->loaded;
	token->loaded = object;
	if (tpm_check(token, Esys_TR_GetName(token->esys, tr, &name)) == OK)
		object->name = *name;
	Esys_Free(name);
	tpm_sweep_arrived(token, &object->name);
	(void)tpm_check(token, Esys_TR_GetTpmHandle(token->esys, tr, &object->handle));
}

/* ESYS's own structure has room for the longest context there could be; most are a tenth of it. */
static enum err context_keep(struct tpm_object *object, const TPMS_CONTEXT *context)
{
	uint8_t marshalled[sizeof(TPMS_CONTEXT)];
	size_t len = 0;

	if (Tss2_MU_TPMS_CONTEXT_Marshal(context, marshalled, sizeof(marshalled), &len) != TSS2_RC_SUCCESS)
		return ERR_TOKEN;
	object->context = malloc(len);
	if (!object->context)
		return ERR_NOMEM;
	memcpy(object->context, marshalled, len);
	object->context_len = len;
	return OK;
}

/* A context can be loaded any number of times, so it is saved once. */
static enum err object_save(struct token *token, struct tpm_object *object)
{
	TPMS_CONTEXT *context = NULL;
	enum err err;

	if (object->context)
		return OK;
	err = tpm_check(token, Esys_ContextSave(token->esys, object->tr, &context));
	if (!err)
		err = context_keep(object, context);
	Esys_Free(context);
	return err;
}

static enum err object_flush(struct token *token, struct tpm_object *object)
{
	ESYS_TR tr = object->tr;
	enum err err;

	list_remove(token, object);
	object->tr = ESYS_TR_NONE;
	err = tpm_check(token, Esys_FlushContext(token->esys, tr));
	if (err)
		tpm_sweep_note(token, &object->name);
	else
		tpm_sweep_write_notes(token);
	return err;
}

static struct tpm_object *longest_unused(const struct token *token)
{
	struct tpm_object *oldest = NULL;

	for (struct tpm_object *object = token->loaded; object; object = object->next)
		if (!object->pinned && (!oldest || object->used < oldest->used))
			oldest = object;
	return oldest;
}

static enum err evict(struct token *token, struct tpm_object *object)
{
	enum err err = object_save(token, object);

	return err ? err : object_flush(token, object);
}

enum err tpm_objects_shrink(struct token *token, size_t keep)
{
	enum err err = OK;

	while (!err && loaded_count(token) > keep) {
		struct tpm_object *oldest = longest_unused(token);

		if (!oldest)
			return OK;
		err = evict(token, oldest);
	}
	return err;
}

static bool has_slot_error(TSS2_RC rc)
{
	return tpm_error_is(rc, TPM2_RC_OBJECT_MEMORY) || tpm_error_is(rc, TPM2_RC_OBJECT_HANDLES);
}

enum err tpm_with_slot(struct token *token, tpm_command command, void *context)
{
	TSS2_RC rc;
	bool swept = false;

	/* Whatever a command on a broken context brought would be lost to whoever asked for it. */
	if (token->broken)
		return ERR_NO_TOKEN;
	rc = command(token, context);
	while (tpm_error(rc) == ERR_TOKEN_FULL && !token->broken) {
		struct tpm_object *oldest = has_slot_error(rc) ? longest_unused(token) : NULL;
		enum err err = oldest ? evict(token, oldest) : OK;

		if (err)
			return err;
		if (!oldest && swept)
			break;
		/* The last resort: something of ours that we lost hold of, or that a helper before us left when it was killed. */
		if (!oldest)
			tpm_sweep(token);
		swept = swept || !oldest;
		if (token->broken)
			return ERR_NO_TOKEN;
		rc = command(token, context);
	}
	return token->broken ? ERR_NO_TOKEN : tpm_check(token, rc);
}

struct reload {
	const struct tpm_object *object;
	ESYS_TR tr;
};

static TSS2_RC reload(struct token *token, void *context)
{
	struct reload *request = context;
	TPMS_CONTEXT saved;
	size_t offset = 0;
	TSS2_RC rc = Tss2_MU_TPMS_CONTEXT_Unmarshal(request->object->context, request->object->context_len,
	                                            &offset, &saved);

	return rc ? rc : Esys_ContextLoad(token->esys, &saved, &request->tr);
}

/* Keys are numbered by what was done last; ERR_TOKEN_STATE is how a TPM says that the context is from before its reset. */
static enum err object_reload(struct token *token, struct tpm_object *object)
{
	struct reload request = { object, ESYS_TR_NONE };
	enum err err = tpm_objects_shrink(token, TPM_OBJECTS_MAX - 1);

	tpm_sweep_sent(token, &object->name);
	if (!err)
		err = tpm_with_slot(token, reload, &request);
	if (err)
		return err == ERR_TOKEN_STATE ? ERR_NO_TOKEN : err;
	tpm_object_loaded(token, object, request.tr);
	return OK;
}

enum err tpm_object_ready(struct token *token, struct tpm_object *object)
{
	if (token->broken)
		return ERR_NO_TOKEN;
	if (object->tr == ESYS_TR_NONE)
		return object->context ? object_reload(token, object) : ERR_NO_TOKEN;
	object->used = ++token->clock;
	return OK;
}

void tpm_object_drop(struct token *token, struct tpm_object *object)
{
	if (object->tr != ESYS_TR_NONE && token->broken)
		tpm_sweep_note(token, &object->name);
	else if (object->tr != ESYS_TR_NONE)
		(void)object_flush(token, object);
	list_remove(token, object);
	object->tr = ESYS_TR_NONE;
	free(object->context);
	object->context = NULL;
}

void tpm_objects_forget(struct token *token)
{
	while (token->loaded) {
		struct tpm_object *object = token->loaded;

		list_remove(token, object);
		object->tr = ESYS_TR_NONE;
	}
}
