#include "cli/sops_examine.h"

#include <stdlib.h>

#include "cli/sops_file.h"
#include "common/cleanup.h"
#include "formats/sops_expand.h"

/* What no plain file has: the reader may refuse a file whose metadata it never came to. */
static bool has_traces(struct bytes text)
{
	static const char value[] = "ENC[AES256_GCM,data:", mac[] = "mac";

	return sops_file_is_likely(text) && memmem(text.data, text.len, value, sizeof(value) - 1) &&
	       memmem(text.data, text.len, mac, sizeof(mac) - 1);
}

static enum err check(struct sops_document *document, sops_check_found found, void *context,
                      enum sops_verdict *ret_verdict)
{
	CLEANUP(freep) struct sops_metadata *metadata = malloc(sizeof(*metadata));
	enum err err = metadata ? sops_metadata_read(document, metadata) : ERR_NOMEM;

	if (err == ERR_NO_MATCH)
		return OK;
	if (!err)
		err = sops_check(document, metadata, found, context);
	if (err && (err != ERR_BAD_FILE || !document->reason[0]))
		return err;
	*ret_verdict = err ? SOPS_IS_BROKEN : SOPS_IS_CHECKED;
	return OK;
}

static enum err judge(struct sops_document *document, enum sops_format format, struct bytes text,
                      sops_check_found found, void *context, struct buf **ret_written,
                      enum sops_verdict *ret_verdict)
{
	enum err err = sops_sealed_read(document, format, text, ret_written);

	if (!err)
		return check(document, found, context, ret_verdict);
	if (!document->reason[0])
		return err;
	if (has_traces(text))
		*ret_verdict = SOPS_IS_BROKEN;
	return OK;
}

enum err sops_examine(const char *name, const enum sops_format *format, struct bytes text,
                      sops_check_found found, void *context, struct sops_examination *ret_examination)
{
	struct sops_examination examination = { .format = format ? *format : sops_format_guess(name, text) };
	CLEANUP(buf_freep) struct buf *written = NULL;
	struct sops_document document = { .count = 0 };
	enum err err = OK;

	if (sops_file_is_likely(text))
		err = judge(&document, examination.format, text, found, context, &written,
		            &examination.verdict);
	(void)snprintf(examination.reason, sizeof(examination.reason), "%s", document.reason);
	if (sops_file_is_likely(text))
		examination.format = document.format;
	sops_document_done(&document);
	if (!err)
		*ret_examination = examination;
	return err;
}
