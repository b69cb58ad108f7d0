#include "cli/text_merge.h"

#include <string.h>

#include "cli/git.h"
#include "cli/memory_file.h"
#include "common/cleanup.h"

enum { BASE, OURS, THEIRS, TEXTS };

bool text_merge_has_lines(struct bytes text)
{
	return text.len == 0 || !memchr(text.data, '\0', text.len);
}

enum err text_merge(const struct text_merge *merge, struct problem *problem, struct buf **ret_text,
                    bool *ret_clean)
{
	const struct bytes texts[TEXTS] = { merge->base, merge->ours, merge->theirs };
	char paths[TEXTS][MEMORY_FILE_PATH_MAX];
	int fds[TEXTS] = { -1, -1, -1 };
	enum err err = OK;

	for (size_t i = 0; !err && i < TEXTS; i++)
		if (!text_merge_has_lines(texts[i]))
			err = problem_set(problem, ERR_BAD_FILE,
			                  "what has NUL bytes cannot be merged line by line");
	for (size_t i = 0; !err && i < TEXTS; i++)
		err = memory_file_of(texts[i], &fds[i]);
	for (size_t i = 0; i < TEXTS; i++)
		memory_file_path(fds[i], paths[i]);
	if (!err) {
		const struct git_merge_input input = { .base = paths[BASE],
			                               .ours = paths[OURS],
			                               .theirs = paths[THEIRS],
			                               .our_name = merge->our_name,
			                               .their_name = merge->their_name };

		err = git_merge_file(&input, problem, ret_text, ret_clean);
	}
	for (size_t i = 0; i < TEXTS; i++)
		close_fdp(&fds[i]);
	return err;
}
