#include "tokend/config.h"

#include "common/file.h"
#include "tokend/text.h"

/* The directory is checked as well: who can write to it can put another file in this one's place. */
static enum err read_file(const char *path, struct buf **ret_text)
{
	const char *slash = strrchr(path, '/');
	CLEANUP(freep) char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	CLEANUP(close_fdp) int fd = -1;
	enum err err;

	if (!directory)
		return ERR_NOMEM;
	err = file_open_directory(directory, false, 0022, &fd);
	return err ? err : file_read(fd, slash ? slash + 1 : path, CONFIG_TEXT_MAX, 0022, ret_text);
}

static enum err file_problem(const char *path, struct buf *problem, enum err err)
{
	const struct text_place place = { path, 0, problem };
	const char *sentence = err == ERR_STATE_DIR ? "it must be a regular file of root's or ours, and "
	                                              "neither it nor its directory writable by others"
	                       : err == ERR_BUSY    ? "it is too long"
	                                            : err_info(err)->text;

	if (text_problem(&place, "%s", sentence) == ERR_NOMEM)
		return ERR_NOMEM;
	return err == ERR_BUSY ? ERR_BAD_CONFIG : err;
}

enum err config_load(const char *path, bool needed, struct buf *problem, struct config *ret_config)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = read_file(path, &text);

	if (err == ERR_NO_FILE && !needed) {
		config_defaults(ret_config, path);
		return OK;
	}
	return err ? file_problem(path, problem, err)
	           : config_parse(buf_bytes(text), path, problem, ret_config);
}
