#include "cli/sops_source.h"

#include <stdlib.h>

#include "cli/input.h"
#include "formats/sops_expand.h"
#include "formats/sops_metadata.h"

static enum err read_whole(int fd, struct sops_source *source)
{
	enum err err = buf_new(SOPS_FILE_MAX, &source->text);

	if (!err)
		err = input_read(fd, source->request.path, source->text, source->request.problem);
	return err == ERR_BUSY ? problem_set(source->request.problem, ERR_BAD_FILE,
	                                     "%s is too large for a SOPS file", source->request.name)
	                       : err;
}

static enum err read_document(struct sops_source *source)
{
	struct bytes text = buf_bytes(source->text);
	enum sops_format format;
	enum err err = sops_file_format(&source->request, text, &format);

	if (!err)
		err = sops_sealed_read(&source->document, format, text, &source->written);
	if (err)
		return sops_file_explain_marks(&source->request, text, err);
	source->metadata = malloc(sizeof(*source->metadata));
	return source->metadata ? sops_metadata_read(&source->document, source->metadata) : ERR_NOMEM;
}

enum err sops_source_open(struct file_opener *opener, const char *path, const char *input_type,
                          struct sops_source *source)
{
	CLEANUP(input_closep) int fd = -1;
	enum err err;

	*source = (struct sops_source){
		.request = { .name = input_name(path),
		             .path = input_name(path) == path ? path : NULL,
		             .input_type = input_type,
		             .opener = opener,
		             .problem = &opener->invocation->problem },
	};
	opener->name = source->request.name;
	err = input_open(path, source->request.problem, &fd);
	if (!err)
		err = read_whole(fd, source);
	if (!err)
		err = sops_file_check(&source->request, buf_bytes(source->text));
	if (!err)
		err = read_document(source);
	if (!err)
		err = sops_file_open_key(&source->request, source->metadata, &source->data_key);
	return sops_source_explain(source, err);
}

void sops_source_close(struct sops_source *source)
{
	source->data_key = secret_free(source->data_key);
	free(source->metadata);
	source->metadata = NULL;
	sops_document_done(&source->document);
	source->written = buf_free(source->written);
	source->text = buf_free(source->text);
}

enum err sops_source_explain(const struct sops_source *source, enum err err)
{
	return sops_file_explain(&source->request, &source->document, err);
}
