#include "cli/git.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "tokend/text.h"

#define ARGUMENTS_MAX 16U
#define ANSWER_MAX 4096U /* the first line of an object */
#define NAME_MIN 40U /* of an object: SHA-1 in hex */
#define PIECE_LEN (64U << 10)
#define COMMITS_AT_ONCE 1024U /* of one git: to start one takes longer than most commits */
/* How a repository says where a commit comes from that it never had; a place where nothing can be. */
#define NO_GRAFTS "/dev/null/grafts"

extern char **environ;

struct git_objects {
	pid_t pid;
	int to, from;
	struct buf *input; /* what git said and nobody took yet */
};

/* No monitor, no pager, no lock that a commit which is under way would meet; and what is looked at is what is there, not what somebody has put in its place by a ref below refs/replace, or by .git/info/grafts. A pattern of ours is one, whatever the environment says of patterns. */
static const char *const begin[] = {
	"git", "--no-pager",          "--no-optional-locks", "--no-replace-objects", "--no-literal-pathspecs",
	"-c",  "core.fsmonitor=false"
};
#define BEGIN_COUNT (sizeof(begin) / sizeof(begin[0]))

static enum err start(const char *const *arguments, int input, int output, bool quiet, pid_t *ret_pid)
{
	const char *words[ARGUMENTS_MAX + BEGIN_COUNT + 1];
	posix_spawn_file_actions_t actions;
	size_t count = 0;
	char *const *arguments_of_git;
	int result;

	/* A missing object is missing: to fetch it, git would run what the repository's configuration says. */
	if (setenv("GIT_NO_LAZY_FETCH", "1", 1) || setenv("GIT_GRAFT_FILE", NO_GRAFTS, 1))
		return ERR_NOMEM;
	memcpy(words, begin, sizeof(begin));
	while (count < ARGUMENTS_MAX && arguments[count]) {
		words[BEGIN_COUNT + count] = arguments[count];
		count++;
	}
	words[BEGIN_COUNT + count] = NULL;
	/* Whom it is handed to does not write to it. */
	memcpy(&arguments_of_git, &(const char **){ words }, sizeof(arguments_of_git));
	if (posix_spawn_file_actions_init(&actions))
		return ERR_NOMEM;
	result = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	if (!result)
		result = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	if (!result && quiet)
		result = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (!result)
		result = posix_spawnp(ret_pid, "git", &actions, NULL, arguments_of_git, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	return result == 0 ? OK : result == ENOENT ? ERR_UNSUPPORTED : err_from_errno(result);
}

static enum err explain_start(enum err err, struct problem *problem)
{
	if (err != ERR_UNSUPPORTED)
		return err;
	(void)problem_set(problem, err, "there is no git");
	problem_hint(problem, "sudo apt install git");
	return err;
}

static enum err collect(int fd, struct buf *output)
{
	size_t len = 1;
	enum err err = OK;

	while (!err && len > 0)
		err = buf_read_fd(output, fd, PIECE_LEN, &len);
	return err;
}

/* Its exit status; -1 when it did not end by itself. */
static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs git to its end; what it wrote, and its status. */
static enum err run_on(int input, const char *const *arguments, bool quiet, struct problem *problem,
                       struct buf *output, int *ret_status)
{
	CLEANUP(close_fdp) int from = -1;
	int ends[2];
	pid_t pid;
	enum err err;

	if (pipe2(ends, O_CLOEXEC))
		return err_from_errno(errno);
	from = ends[0];
	err = start(arguments, input, ends[1], quiet, &pid);
	(void)close(ends[1]);
	if (err)
		return explain_start(err, problem);
	err = collect(from, output);
	close_fdp(&from);
	from = -1;
	*ret_status = wait_for(pid);
	return err;
}

static enum err run(const char *const *arguments, bool quiet, struct problem *problem, struct buf *output,
                    int *ret_status)
{
	CLEANUP(close_fdp) int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (nothing < 0)
		return err_from_errno(errno);
	return run_on(nothing, arguments, quiet, problem, output, ret_status);
}

static enum err conclude(enum err err, int status, const char *name, bool quiet, struct problem *problem)
{
	if (!err && status != 0)
		return quiet ? ERR_NO_MATCH : problem_set(problem, ERR_SYSTEM, "git %s failed", name);
	return err;
}

enum err git_run(const char *const *arguments, bool quiet, struct problem *problem, struct buf **ret_output)
{
	CLEANUP(buf_freep) struct buf *output = NULL;
	enum err err = buf_new(GIT_LIST_MAX, &output);
	int status = -1;

	if (!err)
		err = run(arguments, quiet, problem, output, &status);
	err = conclude(err, status, arguments[0], quiet, problem);
	if (!err)
		*ret_output = TAKE(output);
	return err;
}

/* A file, so that neither waits for the other. */
static enum err input_file(struct bytes input, int *ret_fd)
{
	CLEANUP(close_fdp) int fd = memfd_create("tokenctl", MFD_CLOEXEC);
	enum err err = fd < 0 ? err_from_errno(errno) : file_write_all(fd, input);

	if (!err && lseek(fd, 0, SEEK_SET) < 0)
		err = err_from_errno(errno);
	if (!err) {
		*ret_fd = fd;
		fd = -1;
	}
	return err;
}

enum err git_run_with(const char *const *arguments, struct bytes input, struct problem *problem,
                      struct buf **ret_output)
{
	CLEANUP(buf_freep) struct buf *output = NULL;
	CLEANUP(close_fdp) int file = -1;
	enum err err = buf_new(GIT_LIST_MAX, &output);
	int status = -1;

	if (!err)
		err = input_file(input, &file);
	if (!err)
		err = run_on(file, arguments, false, problem, output, &status);
	err = conclude(err, status, arguments[0], false, problem);
	if (!err)
		*ret_output = TAKE(output);
	return err;
}

/* Its status is the number of conflicts, or 255. */
enum err git_merge_file(const struct git_merge_input *input, struct problem *problem, struct buf **ret_text,
                        bool *ret_clean)
{
	const char *const arguments[] = { "merge-file", "-p",        "-L",          input->our_name,
		                          "-L",         "base",      "-L",          input->their_name,
		                          input->ours,  input->base, input->theirs, NULL };
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = buf_new(GIT_LIST_MAX, &text);
	int status = -1;

	if (!err)
		err = run(arguments, false, problem, text, &status);
	if (!err && (status < 0 || status > 127))
		err = problem_set(problem, ERR_SYSTEM, "git merge-file failed");
	if (err)
		return err;
	*ret_clean = status == 0;
	*ret_text = TAKE(text);
	return OK;
}

enum err git_line(const char *const *arguments, bool quiet, struct problem *problem, struct buf **ret_line)
{
	CLEANUP(buf_freep) struct buf *output = NULL;
	CLEANUP(buf_freep) struct buf *line = NULL;
	enum err err = git_run(arguments, quiet, problem, &output);
	struct bytes text;

	if (!err)
		err = buf_new(GIT_LIST_MAX, &line);
	if (err)
		return err;
	text = buf_bytes(output);
	if (text.len && text.data[text.len - 1] == '\n')
		text.len--;
	err = buf_put(line, text);
	if (!err)
		*ret_line = TAKE(line);
	return err;
}

enum err git_top(struct problem *problem, struct buf **ret_top)
{
	static const char *const arguments[] = { "rev-parse", "--show-toplevel", NULL };
	enum err err = git_line(arguments, true, problem, ret_top);

	if (err != ERR_NO_MATCH)
		return err;
	(void)problem_set(problem, ERR_NO_FILE, "this is no working tree of git");
	problem_hint(problem, "cd REPOSITORY   or git init   which makes one here");
	return ERR_NO_FILE;
}

enum err git_object_of(const char *name, struct problem *problem, char object[static GIT_NAME_MAX])
{
	const char *const arguments[] = { "rev-parse", "--verify", "-q", name, NULL };
	CLEANUP(buf_freep) struct buf *line = NULL;
	enum err err = git_line(arguments, true, problem, &line);

	object[0] = '\0';
	if (err)
		return err == ERR_NO_MATCH ? OK : err;
	return text_copy(buf_bytes(line), object, GIT_NAME_MAX) ? OK : ERR_SYSTEM;
}

enum err git_is_bare(struct problem *problem, bool *ret_bare)
{
	static const char *const arguments[] = { "rev-parse", "--is-bare-repository", NULL };
	CLEANUP(buf_freep) struct buf *line = NULL;
	enum err err = git_line(arguments, true, problem, &line);

	*ret_bare = !err && strcmp(buf_string(line), "true") == 0;
	return err == ERR_NO_MATCH ? OK : err;
}

enum err git_is_shallow(struct problem *problem, bool *ret_shallow)
{
	static const char *const arguments[] = { "rev-parse", "--is-shallow-repository", NULL };
	CLEANUP(buf_freep) struct buf *line = NULL;
	enum err err = git_line(arguments, false, problem, &line);

	*ret_shallow = !err && strcmp(buf_string(line), "true") == 0;
	return err;
}

/* ---- what changed ---- */

bool git_is_object_name(const char *text)
{
	size_t len = strspn(text, "0123456789abcdef");

	return len >= NAME_MIN && len < GIT_NAME_MAX && text[len] == '\0';
}

bool git_is_nothing(const char *object)
{
	return object[strspn(object, "0")] == '\0';
}

/* The next word of a line; false when it is missing or longer than there is room. */
static bool take_word(const char **line, char word[GIT_NAME_MAX])
{
	size_t len = strcspn(*line, " ");

	if (len == 0 || len >= GIT_NAME_MAX)
		return false;
	memcpy(word, *line, len);
	word[len] = '\0';
	*line += len + ((*line)[len] == ' ');
	return true;
}

/* What one of the parents has. */
struct raw_old {
	char object[GIT_NAME_MAX]; /* "": no parent has it */
	size_t parent;
	unsigned alike; /* of 100 */
};

struct raw_line {
	char mode[GIT_NAME_MAX], object[GIT_NAME_MAX];
	char status; /* for the first parent */
	struct raw_old old, other; /* of the first parents that have it */
	size_t parents;
};

static bool is_repository(const char *mode)
{
	return strcmp(mode, "160000") == 0;
}

/* A commit of another repository is nothing that a file was before. */
static void take_old(struct raw_line *line, size_t parent, const char *mode)
{
	struct raw_old *old = !line->old.object[0] ? &line->old : &line->other;

	if (is_repository(mode) || git_is_nothing(line->object) || old->object[0])
		return;
	memcpy(old->object, line->object, sizeof(old->object));
	old->parent = parent;
}

/* "R090": a new name, or a copy, and how much is alike; of a merge there is a letter for each parent and no number, so that nothing is known of it. */
static unsigned read_alike(const char *statuses, const struct raw_line *line, size_t parent)
{
	char status = strlen(statuses) > parent ? statuses[parent] : '\0';

	if (status != 'R' && status != 'C')
		return 100;
	return line->parents > 1 ? 0 : (unsigned)strtoul(statuses + 1, NULL, 10);
}

/* ":" for each parent; a mode for each and the new one; an object for each and the new one; a status for each, which is a letter, and with one parent maybe a number. */
static bool parse_line(const char *line, struct raw_line *ret_line)
{
	char mode[GIT_NAME_MAX];
	const char *modes;

	*ret_line = (struct raw_line){ .parents = strspn(line, ":") };
	line += ret_line->parents;
	modes = line;
	if (ret_line->parents == 0)
		return false;
	for (size_t i = 0; i <= ret_line->parents; i++)
		if (!take_word(&line, ret_line->mode))
			return false;
	for (size_t i = 0; i <= ret_line->parents; i++) {
		if (!take_word(&line, ret_line->object) || !take_word(&modes, mode))
			return false;
		if (i < ret_line->parents)
			take_old(ret_line, i, mode);
	}
	ret_line->status = *line;
	ret_line->old.alike = read_alike(line, ret_line, ret_line->old.parent);
	ret_line->other.alike = read_alike(line, ret_line, ret_line->other.parent);
	return *line != '\0';
}

/* One change, whose line is text, and whose path comes next. */
static enum err take_change(const char *text, struct bytes *raw, git_change_taken take, void *context)
{
	struct git_change change = { .path = NULL };
	struct raw_line line;

	if (!parse_line(text, &line))
		return ERR_BAD_MESSAGE;
	change.path = text_next_string(raw);
	/* A change of name has the old one first. */
	if (line.parents == 1 && (line.status == 'R' || line.status == 'C'))
		change.path = text_next_string(raw);
	if (!change.path)
		return ERR_BAD_MESSAGE;
	change.repository = is_repository(line.mode);
	if ((strncmp(line.mode, "100", 3) != 0 && !change.repository) || git_is_nothing(line.object))
		return OK; /* gone, or a link */
	memcpy(change.object, line.object, sizeof(change.object));
	memcpy(change.old_object, line.old.object, sizeof(change.old_object));
	memcpy(change.other_object, line.other.object, sizeof(change.other_object));
	change.old_alike = line.old.alike;
	change.other_alike = line.other.alike;
	return take(context, &change);
}

enum err git_changes_each(struct bytes raw, git_commit_begun begun, git_change_taken take, void *context)
{
	enum err err = OK;

	while (!err && raw.len) {
		const char *text = text_next_string(&raw);

		if (!text)
			return ERR_BAD_MESSAGE;
		if (begun && git_is_object_name(text))
			err = begun(context, text);
		else
			err = take_change(text, &raw, take, context);
	}
	return err;
}

static enum err explain_list(enum err err, struct problem *problem)
{
	if (problem->message[0])
		return err;
	if (err == ERR_BAD_MESSAGE)
		return problem_set(problem, err, "git's list of changes is not understood");
	if (err != ERR_BUSY)
		return err;
	(void)problem_set(problem, err, "more files are changed at once than are looked at");
	problem_hint(problem, "commit them in several parts");
	return err;
}

enum err git_changes_of(const char *const *arguments, struct problem *problem, git_change_taken take,
                        void *context)
{
	CLEANUP(buf_freep) struct buf *raw = NULL;
	enum err err = git_run(arguments, false, problem, &raw);

	if (!err)
		err = git_changes_each(buf_bytes(raw), NULL, take, context);
	return explain_list(err, problem);
}

/* At most *count lines; and how many there are. */
static struct bytes first_lines(struct bytes text, size_t *count)
{
	struct bytes rest = text, line;
	size_t taken = 0;

	while (taken < *count && text_next_line(&rest, &line))
		taken++;
	*count = taken;
	return bytes_of(text.data, text.len - rest.len);
}

/* The commits whose changes git is to give, and that it has not begun yet. */
struct asked {
	struct bytes left;
	struct problem *problem; /* borrowed */
	git_commit_begun begun;
	git_change_taken take;
	void *context;
};

/* What git cannot read it passes over, and ends well: nobody would have looked at that commit. */
static enum err check_given(struct asked *asked, const char *commit)
{
	struct bytes expected;

	if (!text_next_line(&asked->left, &expected) || text_equals(expected, commit))
		return OK;
	return problem_set(asked->problem, ERR_SYSTEM, "git does not give the commit %.*s", (int)expected.len,
	                   (const char *)expected.data);
}

static enum err begin_asked(void *context, const char *commit)
{
	struct asked *asked = context;
	enum err err = asked->left.len ? check_given(asked, commit) : ERR_BAD_MESSAGE;

	return err ? err : asked->begun(asked->context, commit);
}

static enum err take_asked(void *context, const struct git_change *change)
{
	const struct asked *asked = context;

	return asked->take(asked->context, change);
}

static enum err take_all(struct bytes raw, struct asked *asked)
{
	enum err err = git_changes_each(raw, begin_asked, take_asked, asked);

	return err ? err : check_given(asked, "");
}

enum err git_changes_in(struct bytes commits, struct problem *problem, git_commit_begun begun,
                        git_change_taken take, void *context)
{
	/* The name also of a commit that changes nothing, for those that are missing to be known. */
	static const char *const arguments[] = {
		"diff-tree",       "--stdin", "-r", "-c",          "--root",
		"--always",        "--raw",   "-z", "--no-abbrev", GIT_RENAMES_ALIKE,
		GIT_RENAMES_LIMIT, NULL
	};
	size_t at_once = COMMITS_AT_ONCE;
	enum err err = OK;

	while (!err && commits.len) {
		CLEANUP(buf_freep) struct buf *raw = NULL;
		struct bytes some = first_lines(commits, &at_once);
		struct asked asked = { some, problem, begun, take, context };

		err = git_run_with(arguments, some, problem, &raw);
		if (err == ERR_BUSY && at_once > 1) { /* the list of so many is too long */
			at_once /= 2;
			err = OK;
			continue;
		}
		if (!err)
			err = take_all(buf_bytes(raw), &asked);
		commits = bytes_of(commits.data + some.len, commits.len - some.len);
	}
	return explain_list(err, problem);
}

/* ---- a tree ---- */

/* "MODE NAME", its end, and the object. */
enum err git_tree_find(struct bytes tree, size_t object_len, const char *name, bool *ret_found)
{
	*ret_found = false;
	while (tree.len) {
		const char *entry = text_next_string(&tree);
		const char *space = entry ? strchr(entry, ' ') : NULL;

		if (!space || tree.len < object_len)
			return ERR_BAD_MESSAGE;
		*ret_found |= strcmp(space + 1, name) == 0;
		tree = bytes_of(tree.data + object_len, tree.len - object_len);
	}
	return OK;
}

/* ---- what was in conflict ---- */

/* "MODE OBJECT STAGE\tPATH": 1 is what both began with, 2 is ours and 3 theirs. */
static bool parse_stage(const char *line, char object[GIT_NAME_MAX], char *ret_stage, const char **ret_path)
{
	char mode[GIT_NAME_MAX];

	if (!take_word(&line, mode) || !take_word(&line, object) || *line < '1' || *line > '3' ||
	    line[1] != '\t')
		return false;
	*ret_stage = *line;
	*ret_path = line + 2;
	return true;
}

enum err git_resolved_each(struct bytes record, git_resolved_taken take, void *context)
{
	struct git_resolved resolved = { .path = NULL };
	enum err err = OK;

	while (!err && record.len) {
		const char *line = text_next_string(&record), *path;
		char object[GIT_NAME_MAX], stage;

		if (!line || !parse_stage(line, object, &stage, &path))
			return ERR_BAD_MESSAGE;
		if (!resolved.path || strcmp(resolved.path, path) != 0)
			resolved = (struct git_resolved){ .path = path };
		if (stage != '1')
			memcpy(stage == '2' ? resolved.ours : resolved.theirs, object, sizeof(object));
		/* Theirs comes last. */
		if (stage == '3' && resolved.ours[0])
			err = take(context, &resolved);
	}
	return err;
}

/* ---- what is in an object ---- */

enum err git_objects_new(struct problem *problem, struct git_objects **ret_objects)
{
	static const char *const arguments[] = { "cat-file", "--batch", NULL };
	CLEANUP(git_objects_freep) struct git_objects *objects = calloc(1, sizeof(*objects));
	int in[2], out[2];
	enum err err;

	if (!objects)
		return ERR_NOMEM;
	objects->to = objects->from = -1;
	err = buf_new(ANSWER_MAX + PIECE_LEN, &objects->input);
	if (err)
		return err;
	if (pipe2(in, O_CLOEXEC))
		return err_from_errno(errno);
	objects->to = in[1];
	if (pipe2(out, O_CLOEXEC)) {
		(void)close(in[0]);
		return err_from_errno(errno);
	}
	objects->from = out[0];
	err = start(arguments, in[0], out[1], false, &objects->pid);
	(void)close(in[0]);
	(void)close(out[1]);
	if (err)
		return explain_start(err, problem);
	*ret_objects = TAKE(objects);
	return OK;
}

struct git_objects *git_objects_free(struct git_objects *objects)
{
	if (!objects)
		return NULL;
	close_fdp(&objects->to);
	close_fdp(&objects->from);
	if (objects->pid > 0)
		(void)wait_for(objects->pid);
	(void)buf_free(objects->input);
	free(objects);
	return NULL;
}

/* git may write, and end, whenever it likes; a byte more than there is ends the wait. */
static enum err read_more(struct git_objects *objects)
{
	size_t len = 0;
	enum err err = buf_read_fd(objects->input, objects->from, PIECE_LEN, &len);

	return !err && len == 0 ? ERR_SYSTEM : err;
}

static enum err read_line(struct git_objects *objects, char line[ANSWER_MAX])
{
	for (;;) {
		struct bytes text = buf_bytes(objects->input);
		const uint8_t *end = text.len ? memchr(text.data, '\n', text.len) : NULL;
		size_t len = end ? (size_t)(end - text.data) : text.len;
		enum err err;

		if (len >= ANSWER_MAX)
			return ERR_SYSTEM;
		if (end) {
			memcpy(line, text.data, len);
			line[len] = '\0';
			buf_consume(objects->input, len + 1);
			return OK;
		}
		err = read_more(objects);
		if (err)
			return err;
	}
}

/* len bytes into content; NULL: nowhere. */
static enum err read_content(struct git_objects *objects, unsigned long long len, struct buf *content)
{
	enum err err = OK;

	while (!err && len) {
		struct bytes text = buf_bytes(objects->input);

		if (text.len > len)
			text.len = (size_t)len;
		if (content)
			err = buf_put(content, text);
		len -= text.len;
		buf_consume(objects->input, text.len);
		if (!err && len)
			err = read_more(objects);
	}
	return err;
}

static enum err ask(struct git_objects *objects, const char *name)
{
	enum err err = OK;

	if (strchr(name, '\n'))
		return ERR_USAGE;
	err = file_write_all(objects->to, bytes_of_string(name));
	return err ? err : file_write_all(objects->to, bytes_of_string("\n"));
}

/* "NAME TYPE SIZE", or "NAME missing". */
static bool parse_answer(const char *line, unsigned long long *ret_len)
{
	const char *size = strrchr(line, ' ');
	char *end;

	if (!size || size[1] < '0' || size[1] > '9')
		return false;
	errno = 0;
	*ret_len = strtoull(size + 1, &end, 10);
	return errno == 0 && *end == '\0';
}

enum err git_objects_get(struct git_objects *objects, const char *name, size_t limit,
                         struct buf **ret_content)
{
	CLEANUP(buf_freep) struct buf *content = NULL;
	char line[ANSWER_MAX];
	unsigned long long len;
	bool fits;
	enum err err = ask(objects, name);

	if (!err)
		err = read_line(objects, line);
	if (err)
		return err;
	if (!parse_answer(line, &len))
		return ERR_NO_FILE;
	fits = len <= limit;
	err = buf_new(limit, &content);
	if (!err)
		err = read_content(objects, len, fits ? content : NULL);
	if (!err)
		err = read_content(objects, 1, NULL); /* the line end behind it */
	if (!err && !fits)
		return ERR_BUSY;
	if (!err)
		*ret_content = TAKE(content);
	return err;
}

enum err git_objects_find(struct git_objects *objects, const char *name, size_t limit,
                          struct buf **ret_content)
{
	enum err err = git_objects_get(objects, name, limit, ret_content);

	return err == ERR_NO_FILE || err == ERR_BUSY || err == ERR_USAGE ? OK : err;
}

enum err git_objects_get_named(struct git_objects *objects, const char *name, size_t limit,
                               struct problem *problem, struct buf **ret_content)
{
	enum err err = git_objects_get(objects, name, limit, ret_content);
	char object[GIT_NAME_MAX];

	if (err != ERR_NO_FILE && err != ERR_USAGE)
		return err;
	err = git_object_of(name, problem, object);
	return err || !object[0] ? err : git_objects_get(objects, object, limit, ret_content);
}

enum err git_lacks(const char *path, struct problem *problem)
{
	(void)problem_set(problem, ERR_SYSTEM, "git does not give what it has of %s", path);
	git_hint_lack(problem);
	return ERR_SYSTEM;
}

void git_hint_lack(struct problem *problem)
{
	problem_hint(problem, "git fsck   says what is missing; git fetch --refetch --no-filter   "
	                      "gets all that a partial clone has left out");
}

void git_hint_key_file(struct problem *problem)
{
	const struct problem said = *problem;

	problem_hint(problem, "%s; who has a key file: tokenctl git --install -i FILE", said.hint);
}
