#include "cli/guard_push.h"

#include <stdlib.h>
#include <string.h>

#include "cli/input.h"
#include "tokend/text.h"

#define PUSH_MAX (64U << 20) /* bytes of the list */

/* "OLD NEW REF"; what is no object's name must not become an option or a range of git's. */
static bool parse_line(struct bytes line, char name[GIT_NAME_MAX], struct bytes *ret_ref)
{
	const uint8_t *first = line.len ? memchr(line.data, ' ', line.len) : NULL;
	size_t left = first ? line.len - (size_t)(first + 1 - line.data) : 0;
	const uint8_t *second = left ? memchr(first + 1, ' ', left) : NULL;

	if (!second || !text_copy(bytes_of(first + 1, (size_t)(second - first - 1)), name, GIT_NAME_MAX))
		return false;
	*ret_ref = bytes_of(second + 1, line.len - (size_t)(second + 1 - line.data));
	return ret_ref->len && git_is_object_name(name);
}

static enum err bad_list(struct problem *problem)
{
	(void)problem_set(problem, ERR_USAGE, "standard input is no list of what is pushed");
	problem_hint(problem,
	             "tokenctl guard --install   in a bare repository writes the hook that gives it; "
	             "tokenctl guard --range A..B   looks at commits");
	return ERR_USAGE;
}

/* The names of what is there after the push, each in a line with the end that git is to understand. */
static enum err list_names(struct bytes rest, const char *end, struct problem *problem,
                           struct buf **ret_names)
{
	CLEANUP(buf_freep) struct buf *names = NULL;
	char name[GIT_NAME_MAX];
	struct bytes line, ref;
	enum err err = buf_new(2 * PUSH_MAX, &names);

	while (!err && text_next_line(&rest, &line)) {
		if (!parse_line(line, name, &ref))
			err = bad_list(problem);
		else if (!git_is_nothing(name))
			err = buf_printf(names, "%s%s\n", name, end);
	}
	if (!err)
		*ret_names = TAKE(names);
	return err;
}

static enum err find_commits(struct guard_push *push, struct bytes list, struct problem *problem)
{
	static const char *const arguments[] = { "rev-list", "--reverse", "--stdin", "--not", "--all", NULL };
	CLEANUP(buf_freep) struct buf *names = NULL;
	enum err err = list_names(list, "", problem, &names);

	return err ? err : git_run_with(arguments, buf_bytes(names), problem, &push->commits);
}

/* The next line of the list that names something. */
static bool next_pushed(struct bytes *list, struct bytes *ret_ref)
{
	char name[GIT_NAME_MAX];
	struct bytes line;

	while (text_next_line(list, &line))
		if (parse_line(line, name, ret_ref) && !git_is_nothing(name))
			return true;
	return false;
}

static enum err add_object(struct guard_push *push, struct bytes name, struct bytes ref, bool tree)
{
	struct guard_push_object *objects =
	        reallocarray(push->objects, push->object_count + 1, sizeof(*objects));
	struct guard_push_object *object;

	if (!objects)
		return ERR_NOMEM;
	push->objects = objects;
	object = &objects[push->object_count];
	object->tree = tree;
	object->ref = strndup((const char *)ref.data, ref.len);
	if (!object->ref)
		return ERR_NOMEM;
	push->object_count++;
	return text_copy(name, object->name, sizeof(object->name)) ? OK : ERR_SYSTEM;
}

/* "NAME TYPE" for each line of the list, in its order. */
static enum err take_types(struct guard_push *push, struct bytes types, struct bytes list)
{
	struct bytes line, ref;
	enum err err = OK;

	while (!err && text_next_line(&types, &line) && next_pushed(&list, &ref)) {
		const uint8_t *space = line.len ? memchr(line.data, ' ', line.len) : NULL;
		size_t len = space ? (size_t)(space - line.data) : 0;
		struct bytes type = bytes_of(space ? space + 1 : NULL, space ? line.len - len - 1 : 0);
		bool tree = bytes_equal(type, bytes_of_string("tree"));

		if (tree || bytes_equal(type, bytes_of_string("blob")))
			err = add_object(push, bytes_of(line.data, len), ref, tree);
		else if (!bytes_equal(type, bytes_of_string("commit")))
			err = ERR_SYSTEM;
	}
	return err;
}

/* A list of commits does not name them. */
static enum err find_objects(struct guard_push *push, struct bytes list, struct problem *problem)
{
	static const char *const arguments[] = { "cat-file", "--batch-check=%(objectname) %(objecttype)",
		                                 NULL };
	CLEANUP(buf_freep) struct buf *names = NULL;
	CLEANUP(buf_freep) struct buf *types = NULL;
	enum err err = list_names(list, "^{}", problem, &names);

	if (!err)
		err = git_run_with(arguments, buf_bytes(names), problem, &types);
	if (!err)
		err = take_types(push, buf_bytes(types), list);
	return err == ERR_SYSTEM && !problem->message[0]
	               ? problem_set(problem, err, "git does not have what is pushed")
	               : err;
}

enum err guard_push_read(struct guard_push *push, int fd, struct problem *problem)
{
	CLEANUP(buf_freep) struct buf *list = NULL;
	enum err err = buf_new(PUSH_MAX, &list);

	if (!err)
		err = input_read(fd, NULL, list, problem);
	if (err == ERR_BUSY)
		return problem_set(problem, err, "more is pushed at once than is looked at");
	if (!err)
		err = find_commits(push, buf_bytes(list), problem);
	return err ? err : find_objects(push, buf_bytes(list), problem);
}

void guard_push_done(struct guard_push *push)
{
	push->commits = buf_free(push->commits);
	for (size_t i = 0; i < push->object_count; i++)
		free(push->objects[i].ref);
	free(push->objects);
	push->objects = NULL;
	push->object_count = 0;
}
