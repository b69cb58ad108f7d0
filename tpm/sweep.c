/*
 * On a TPM that no resource manager stands before, what we lost hold of fills its few slots until it is reset: an answer that did not arrive carried
 * the handle of something that is loaded now. So losses are remembered by what can be recognised again. An object has a Name, and an object with the
 * Name of one of our keys is ours, whatever its handle. A session has nothing; but when one was lost, the sessions before the next is started are
 * listed, and new ones that are found after another loss are ours, if there are no more than were asked for. If there is any doubt they stay.
 *
 * A process that is killed loses hold of its session too. So its handle stands in notes that outlive the process (struct token_notes), and the next process flushes it before it starts a session of
 * its own, unless the TPM was reset in between. Before the handle is known, it is noted that a session was asked for; then it is the one that is there, if there is one and no other. The Names of what is loaded stand there as well, from before it is loaded until it was flushed: the next process knows them as its own losses.
 */
#include "tpm/error.h"
#include "tpm/token.h"

/* As the TPM's own headers have them, but without shifting into a sign. */
#define FIRST_OBJECT 0x80000000U
#define FIRST_SESSION 0x02000000U

static bool name_equal(const TPM2B_NAME *a, const TPM2B_NAME *b)
{
	return a->size > 0 && bytes_equal(bytes_of(a->name, a->size), bytes_of(b->name, b->size));
}

static bool name_known(const struct tpm_sweep *sweep, const TPM2B_NAME *name)
{
	for (size_t i = 0; i < sweep->name_count; i++)
		if (name_equal(&sweep->names[i], name))
			return true;
	return name_equal(&sweep->in_flight, name);
}

/* Of the size that both have room for. */
static void note_name(struct token_parent *note, const TPM2B_NAME *name)
{
	if (name->size == 0 || name->size > sizeof(note->name))
		return;
	note->len = name->size;
	memcpy(note->name, name->name, name->size);
}

void tpm_sweep_write_notes(struct token *token)
{
	const struct tpm_sweep *sweep = &token->sweep;
	struct token_parent objects[TOKEN_NOTES_OBJECTS] = { 0 };
	size_t count = 0;

	if (!token->notes)
		return;
	note_name(&objects[count++], &sweep->in_flight);
	for (const struct tpm_object *object = token->loaded; object && count < TOKEN_NOTES_OBJECTS;
	     object = object->next)
		note_name(&objects[count++], &object->name);
	for (size_t i = 0; i < sweep->name_count && count < TOKEN_NOTES_OBJECTS; i++)
		note_name(&objects[count++], &sweep->names[i]);
	memcpy(token->notes->objects, objects, sizeof(objects));
	token->notes->parent_asked_for = sweep->primary_lost;
}

void tpm_sweep_note(struct token *token, const TPM2B_NAME *name)
{
	struct tpm_sweep *sweep = &token->sweep;

	sweep->wanted = true;
	if (name->size == 0 || name_known(sweep, name) || sweep->name_count == TPM_SWEEP_NAMES)
		return;
	sweep->names[sweep->name_count++] = *name;
	tpm_sweep_write_notes(token);
}

void tpm_sweep_sent(struct token *token, const TPM2B_NAME *name)
{
	if (token->sweep.in_flight.size == 0)
		token->sweep.in_flight = *name;
	tpm_sweep_write_notes(token);
}

void tpm_sweep_arrived(struct token *token, const TPM2B_NAME *name)
{
	if (name_equal(&token->sweep.in_flight, name))
		token->sweep.in_flight.size = 0;
	tpm_sweep_write_notes(token);
}

bool tpm_sweep_primary_sent(struct token *token)
{
	bool lost_before = token->sweep.primary_lost;

	token->sweep.primary_lost = true;
	tpm_sweep_write_notes(token);
	return lost_before;
}

void tpm_sweep_primary_arrived(struct token *token, bool lost_before, const TPM2B_NAME *name)
{
	if (lost_before)
		tpm_sweep_note(token, name);
	token->sweep.primary_lost = false;
	tpm_sweep_write_notes(token);
}

void tpm_sweep_before_close(struct token *token)
{
	struct tpm_sweep *sweep = &token->sweep;
	const TPM2B_NAME in_flight = sweep->in_flight;

	sweep->in_flight.size = 0;
	for (const struct tpm_object *object = token->loaded; object; object = object->next)
		tpm_sweep_note(token, &object->name);
	tpm_sweep_note(token, &in_flight);
	sweep->broken_before = true;
	sweep->reset_count = token->reset_count;
}

/* ---- what there is ---- */

static enum err handles(struct token *token, TPM2_HANDLE first, TPM2_HANDLE *ret_handles, size_t max,
                        size_t *ret_count)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	TPMI_YES_NO more;
	enum err err =
	        tpm_check(token, Esys_GetCapability(token->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
	                                            TPM2_CAP_HANDLES, first, (uint32_t)max, &more, &data));

	if (err)
		return err;
	if (data->capability != TPM2_CAP_HANDLES || data->data.handles.count > max) {
		Esys_Free(data);
		return ERR_TOKEN;
	}
	*ret_count = data->data.handles.count;
	memcpy(ret_handles, data->data.handles.handle, *ret_count * sizeof(*ret_handles));
	Esys_Free(data);
	return OK;
}

/* ---- objects ---- */

static bool held(const struct token *token, TPM2_HANDLE handle)
{
	for (const struct tpm_object *object = token->loaded; object; object = object->next)
		if (object->handle == handle)
			return true;
	return false;
}

/* ESYS reads the object's public area to make its own handle of it, and computes the Name from that. */
static enum err object_sweep(struct token *token, TPM2_HANDLE handle)
{
	TPM2B_NAME *name = NULL;
	ESYS_TR tr = ESYS_TR_NONE;
	TSS2_RC rc =
	        Esys_TR_FromTPMPublic(token->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &tr);
	enum err err;

	/* A sequence of somebody's, which has no public area, or gone by now. */
	if (rc != TSS2_RC_SUCCESS && tpm_error_is_answer(rc))
		return OK;
	err = tpm_check(token, rc);
	if (!err)
		err = tpm_check(token, Esys_TR_GetName(token->esys, tr, &name));
	if (!err && name_known(&token->sweep, name))
		err = tpm_check(token, Esys_FlushContext(token->esys, tr));
	else if (tr != ESYS_TR_NONE)
		(void)Esys_TR_Close(token->esys, &tr);
	Esys_Free(name);
	return err;
}

static enum err objects_sweep(struct token *token)
{
	TPM2_HANDLE found[TPM_SWEEP_SESSIONS];
	size_t count = 0;
	enum err err = handles(token, FIRST_OBJECT, found, TPM_SWEEP_SESSIONS, &count);

	for (size_t i = 0; !err && i < count; i++)
		if (!held(token, found[i]))
			err = object_sweep(token, found[i]);
	return err;
}

/* ---- the session ---- */

static bool listed(const struct tpm_sweep *sweep, TPM2_HANDLE handle)
{
	for (size_t i = 0; i < sweep->session_count; i++)
		if (sweep->sessions[i] == handle)
			return true;
	return false;
}

/* Those that came since the others were listed; where they were not listed, the one that the TPM named. Not the one that is in use. */
static size_t sessions_lost(const struct token *token, TPM2_HANDLE *handles, size_t count)
{
	const struct tpm_sweep *sweep = &token->sweep;
	size_t lost = 0;

	for (size_t i = 0; i < count; i++) {
		bool named = handles[i] == sweep->session;

		if (named && token->session != ESYS_TR_NONE)
			continue;
		if (sweep->sessions_listed ? !listed(sweep, handles[i]) : named)
			handles[lost++] = handles[i];
	}
	return lost;
}

static TSS2_RC session_flush(const struct token *token, TPM2_HANDLE handle)
{
	ESYS_TR tr = ESYS_TR_NONE;
	TSS2_RC rc =
	        Esys_TR_FromTPMPublic(token->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &tr);

	if (rc == TSS2_RC_SUCCESS)
		rc = Esys_FlushContext(token->esys, tr);
	if (rc != TSS2_RC_SUCCESS && tr != ESYS_TR_NONE)
		(void)Esys_TR_Close(token->esys, &tr);
	return rc;
}

/* More than were asked for cannot all be ours, and nobody knows which are: then they stay. */
static enum err sessions_sweep(struct token *token)
{
	struct tpm_sweep *sweep = &token->sweep;
	TPM2_HANDLE found[TPM_SWEEP_SESSIONS];
	const uint32_t in_use = token->session != ESYS_TR_NONE;
	size_t count = 0;
	enum err err;

	if (sweep->sessions_sent <= in_use)
		return OK;
	err = handles(token, FIRST_SESSION, found, TPM_SWEEP_SESSIONS, &count);
	if (err)
		return err;
	count = sessions_lost(token, found, count);
	for (size_t i = 0; !err && count <= sweep->sessions_sent - in_use && i < count; i++)
		err = tpm_check(token, session_flush(token, found[i]));
	if (!err)
		sweep->sessions_sent = in_use;
	return err;
}

/* ---- over the end of a process ---- */

static void inherit_object(struct token *token, const struct token_parent *note)
{
	TPM2B_NAME name = { .size = (uint16_t)note->len };

	if (note->len == 0 || note->len > sizeof(note->name))
		return;
	memcpy(name.name, note->name, note->len);
	tpm_sweep_note(token, &name);
}

void tpm_sweep_remember(struct token *token, struct token_notes *notes)
{
	if (!tcti_keeps_sessions(token->driver, token->configuration))
		return;
	token->sweep.inherited = *notes;
	token->sweep.primary_lost = token->sweep.inherited.parent_asked_for;
	for (size_t i = 0; i < TOKEN_NOTES_OBJECTS; i++)
		inherit_object(token, &token->sweep.inherited.objects[i]);
	token->notes = notes;
}

/* handle: 0 when it was only asked for. */
static void note_session(struct token *token, TPM2_HANDLE handle)
{
	if (!token->notes || !token->reset_count_known)
		return;
	token->notes->reset_count = token->reset_count;
	token->notes->restart_count = token->restart_count;
	token->notes->session = handle;
	token->notes->session_asked_for = handle == 0;
}

void tpm_sweep_session_sent(struct token *token)
{
	note_session(token, 0);
}

void tpm_sweep_session_gone(struct token *token)
{
	if (token->notes)
		token->notes->session = 0;
	token->sweep.session = 0;
	token->sweep.sessions_sent -= token->sweep.sessions_sent > 0;
}

/* It is gone, one way or the other: whoever has its handle now is somebody else. */
static void inherited_forget(struct token *token)
{
	token->sweep.inherited.session = 0;
	token->sweep.inherited.session_asked_for = false;
	if (token->notes) {
		token->notes->session = 0;
		token->notes->session_asked_for = false;
	}
}

static bool inherited_stands(const struct token *token)
{
	const struct token_notes *left = &token->sweep.inherited;

	return token->reset_count_known && left->reset_count == token->reset_count &&
	       left->restart_count == token->restart_count;
}

/* The one that a process asked for and did not live to hear of is the one that is there; of two, nobody knows which. 0: that is not known, or there is none. */
static enum err find_asked_for(struct token *token, TPM2_HANDLE *ret_handle)
{
	TPM2_HANDLE found[TPM_SWEEP_SESSIONS];
	size_t count = 0;
	enum err err = handles(token, FIRST_SESSION, found, TPM_SWEEP_SESSIONS, &count);

	*ret_handle = !err && count == 1 ? found[0] : 0;
	return err;
}

/* That it is not there any more is an answer like any other, and says nothing about what we have there: not for tpm_check. */
static enum err inherited_sweep(struct token *token)
{
	TPM2_HANDLE handle = token->sweep.inherited.session;
	TSS2_RC rc = TSS2_RC_SUCCESS;
	enum err err = OK;

	if (handle == 0 && !token->sweep.inherited.session_asked_for)
		return OK;
	if (handle == 0 && inherited_stands(token))
		err = find_asked_for(token, &handle);
	if (err)
		return err;
	if (handle >> 24 == TPM2_HT_HMAC_SESSION && inherited_stands(token))
		rc = session_flush(token, handle);
	if (rc != TSS2_RC_SUCCESS && (!tpm_error_is_answer(rc) || tpm_error(rc) == ERR_BUSY))
		return tpm_check(token, rc);
	inherited_forget(token);
	return OK;
}

/* One that was lost and could not be swept yet must not be taken for somebody else's from now on: that is tried once more first. */
enum err tpm_sweep_before_session(struct token *token)
{
	struct tpm_sweep *sweep = &token->sweep;
	enum err err = inherited_sweep(token);

	if (err || (!sweep->broken_before && sweep->sessions_sent == 0))
		return err;
	err = sessions_sweep(token);
	if (err)
		return err;
	sweep->sessions_listed = false;
	sweep->session = 0;
	err = handles(token, FIRST_SESSION, sweep->sessions, TPM_SWEEP_SESSIONS, &sweep->session_count);
	sweep->sessions_listed = !err;
	return err;
}

/* What is ours now was nobody's before, whatever the list said. When it was asked for more than once, there may be more than one. */
void tpm_sweep_session_arrived(struct token *token, TPM2_HANDLE handle)
{
	struct tpm_sweep *sweep = &token->sweep;

	sweep->session = handle;
	note_session(token, handle);
	for (size_t i = 0; i < sweep->session_count; i++)
		if (sweep->sessions[i] == handle)
			sweep->sessions[i] = 0;
	sweep->wanted = sweep->wanted || sweep->sessions_sent > 1;
}

void tpm_sweep(struct token *token)
{
	struct tpm_sweep *sweep = &token->sweep;
	bool reset = sweep->broken_before && sweep->reset_count != token->reset_count;
	enum err err = OK;

	/* A reset has swept already, and sessions that are there now are others'. */
	if (reset)
		sweep->sessions_sent = 0;
	else
		err = sessions_sweep(token);
	if (!err)
		err = objects_sweep(token);
	/* What could not be done is done when the connection has been opened once more. */
	if (!err) {
		sweep->wanted = false;
		sweep->name_count = 0;
		sweep->reset_count = token->reset_count;
		tpm_sweep_write_notes(token);
	}
}
