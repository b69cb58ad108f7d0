/*
 * Rotate: the audit log is closed and another begun. The record of the request is the last of the closed one, or as near to its end as what others ask at the same time lets it be; so who did it stands on the disk
 * before it is done. It is the log of all keys, so it takes the permission to administer every key.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tokend/audit_rotation.h"
#include "tokend/request_stages.h"

static void refuse_denied(struct request *request)
{
	request_refuse(
	        request, ERR_DENIED,
	        "man 5 tokend-policy; root may, unless a rule says otherwise: sudo tokenctl audit rotate",
	        "not permitted: to close the audit log takes the permission admin for every key (key *)");
}

void request_rotate(struct request *request)
{
	enum err err = request_authorise_admin(request, NULL);

	if (err == ERR_DENIED) {
		refuse_denied(request);
		return;
	}
	if (err == ERR_PIN_NEEDED) {
		request_refuse_without_pin(request);
		return;
	}
	if (!err) {
		request->rotated = calloc(1, sizeof(*request->rotated));
		err = request->rotated ? OK : ERR_NOMEM;
	}
	request_finish(request, err);
}

enum err request_rotate_commit(struct request *request, audit_done done)
{
	return audit_rotate(request->daemon->audit, done, request);
}

static const char *reason(enum err err)
{
	switch ((int)err) {
	case ERR_TIMEOUT:
		return "the disk takes longer than that may, and the new audit log may be begun still";
	case ERR_EXISTS:
		return "no new audit log was begun: a file of the name that the old one would get is there "
		       "already";
	default:
		return "no new audit log was begun, the old one goes on";
	}
}

/* What of it clients know (io.tokend): that a key is there already, that nothing was released or that a file is not theirs would be the wrong words. */
static enum err told(enum err err)
{
	return err == ERR_DISK_FULL || err == ERR_TIMEOUT || err == ERR_NOMEM || err == ERR_SYSTEM
	               ? err
	               : ERR_STATE_DIR;
}

enum err request_rotate_done(struct request *request, enum err err)
{
	struct rotated_fact *rotated = request->rotated;
	char name[AUDIT_ROTATED_MAX];

	if (err) {
		(void)snprintf(request->message, sizeof(request->message), "%s%s%s", reason(err),
		               err == ERR_EXISTS ? "" : ": ", err == ERR_EXISTS ? "" : err_info(err)->text);
		(void)snprintf(request->hint, sizeof(request->hint), "tokenctl doctor");
		return told(err);
	}
	rotated->last = audit_goes_on_from(request->daemon->audit);
	audit_rotation_name(rotated->last, name);
	(void)snprintf(rotated->file, sizeof(rotated->file), "%s/%s",
	               request->daemon->options->state_directory, name);
	return OK;
}
