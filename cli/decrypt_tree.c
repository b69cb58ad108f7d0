#include "cli/decrypt_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cli/file_decrypt.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/tree.h"
#include "common/path.h"
#include "formats/sops_decrypt.h"

#define PROCESSES_MAX 16U
#define FILES_ALONE 4U /* so few are not worth a second process */
#define SENTENCES_MAX 4096U /* that are kept for the end; of further failures only the kind is told */
#define PROGRESS_MS 200
#define RESTART_MS 5000 /* that a tokend which is started anew may take */

enum state {
	STATE_WAITING,
	STATE_TAKEN,
	STATE_DONE,
	STATE_FOREIGN, /* neither an age file nor a SOPS file */
	STATE_FAILED,
};

struct outcome {
	_Atomic uint8_t state;
	uint8_t err;
	uint16_t sentence; /* 1 + its number; 0: none */
};

/* What the processes have in common: memory that all of them see. Each outcome is written by the one process that took the file. */
struct shared {
	_Atomic size_t next; /* file */
	_Atomic size_t finished;
	_Atomic size_t sentences;
	struct problem problems[SENTENCES_MAX];
	struct outcome outcomes[];
};

struct tree_decryption {
	struct invocation *invocation; /* borrowed */
	struct tree tree;
	int output; /* the directory; -1: --check */
	const char *output_path;
	struct shared *shared; /* mapped */
	size_t shared_len;
	struct file_opener opener;
};

/* The descriptor may be -1: everything is thrown away. */
static enum err sink(void *context, struct bytes chunk)
{
	return context ? output_write(context, chunk) : OK;
}

/* file.age becomes file. */
static size_t output_name_len(const char *relative)
{
	size_t len = strlen(relative);

	return strlen(path_name(relative)) > 4 && strcmp(relative + len - 4, ".age") == 0 ? len - 4 : len;
}

/* Of file and file.age the one goes where the other goes. False: there is no such other. */
static bool find_rival(const struct tree_decryption *decryption, const char *relative,
                       const char *output_name, char rival[static PATH_MAX])
{
	bool renamed = strcmp(relative, output_name) != 0;
	size_t len = strlen(output_name);

	return (size_t)snprintf(rival, PATH_MAX, "%s%s", output_name, renamed ? "" : ".age") < PATH_MAX &&
	       output_name_len(rival) == len && tree_has(&decryption->tree, rival);
}

/* One that cannot be read is taken for encrypted: then neither is written. */
static bool is_encrypted(const struct tree *tree, const char *relative)
{
	CLEANUP(close_fdp) int fd = -1;

	return tree_open_file(tree->root, relative, &fd) || file_decrypt_is_encrypted(relative, fd);
}

/* Each of the two is refused, whichever comes first: what stands there afterwards would depend on which process was faster. */
static enum err check_place(const struct tree_decryption *decryption, const char *relative,
                            const char *output_name)
{
	struct problem *problem = &decryption->invocation->problem;
	char rival[PATH_MAX], path[2 * PATH_MAX], quoted[SHOWN_QUOTED_MAX];

	if (!find_rival(decryption, relative, output_name, rival) || !is_encrypted(&decryption->tree, rival))
		return OK;
	(void)problem_set(problem, ERR_EXISTS, "%s/%s and %s beside it would be written to the same file",
	                  decryption->tree.path, relative, rival);
	(void)snprintf(path, sizeof(path), "%s/%s", decryption->tree.path, relative);
	shown_quote(path, quoted);
	problem_hint(problem, "give one of them another name, or take it alone: tokenctl decrypt -o FILE %s",
	             quoted);
	return ERR_EXISTS;
}

static enum err open_output(const struct tree_decryption *decryption, const char *relative,
                            struct output **ret_output)
{
	struct problem *problem = &decryption->invocation->problem;
	char output_name[PATH_MAX], shown[2 * PATH_MAX];
	CLEANUP(close_fdp) int directory = -1;
	const char *name;
	enum err err;

	(void)snprintf(output_name, sizeof(output_name), "%.*s", (int)output_name_len(relative), relative);
	(void)snprintf(shown, sizeof(shown), "%s/%s", decryption->output_path, output_name);
	err = check_place(decryption, relative, output_name);
	if (err)
		return err;
	if (tree_open_parent(decryption->output, output_name, true, &directory, &name))
		return problem_errno(problem, errno, "cannot make the directory of", shown);
	return output_open_at(directory, name, shown, problem, ret_output);
}

/* The place of the output is made when the first bytes come: most files of most trees have none. */
struct late_output {
	const struct tree_decryption *decryption;
	const char *relative;
	struct output *output;
};

static enum err late_write(void *context, struct bytes chunk)
{
	struct late_output *late = context;
	enum err err = OK;

	if (late->decryption->output >= 0 && !late->output)
		err = open_output(late->decryption, late->relative, &late->output);
	return err ? err : sink(late->output, chunk);
}

static enum err decrypt_opened(struct tree_decryption *decryption, const char *relative, const char *shown,
                               int fd, bool *ret_foreign)
{
	const struct options *options = &decryption->invocation->options;
	struct late_output late = { .decryption = decryption, .relative = relative };
	struct file_decryption file = { .opener = &decryption->opener,
		                        .path = shown,
		                        .input_type = options_value(options, "input-type"),
		                        .output_type = options_value(options, "output-type"),
		                        .quotes = options_given(options, "quotes"),
		                        .sink = late_write,
		                        .sink_context = &late };
	enum err err;

	decryption->opener.name = shown;
	err = file_decrypt(&file, fd);
	*ret_foreign = file.foreign;
	if (!err) /* also when there was nothing in it */
		err = late_write(&late, bytes_of(NULL, 0));
	if (!err && late.output)
		err = output_commit(late.output);
	(void)output_free(late.output);
	return err;
}

static enum err decrypt_file(struct tree_decryption *decryption, const char *relative, bool *ret_foreign)
{
	struct problem *problem = &decryption->invocation->problem;
	CLEANUP(close_fdp) int fd = -1;
	char shown[2 * PATH_MAX];
	struct stat status;

	*problem = (struct problem){ 0 };
	(void)snprintf(shown, sizeof(shown), "%s/%s", decryption->tree.path, relative);
	if (tree_open_file(decryption->tree.root, relative, &fd) || fstat(fd, &status) < 0)
		return problem_errno(problem, errno, "cannot open", shown);
	if (!S_ISREG(status.st_mode))
		return problem_set(problem, ERR_FILE_ACCESS, "%s is no file any more", shown);
	return decrypt_opened(decryption, relative, shown, fd, ret_foreign);
}

static void keep_sentence(struct shared *shared, struct outcome *outcome, const struct problem *problem)
{
	size_t place = outcome->sentence ? outcome->sentence - 1U : atomic_fetch_add(&shared->sentences, 1);

	if (place >= SENTENCES_MAX)
		return;
	shared->problems[place] = *problem;
	outcome->sentence = (uint16_t)(place + 1);
}

static void do_file(struct tree_decryption *decryption, size_t index)
{
	struct shared *shared = decryption->shared;
	struct outcome *outcome = &shared->outcomes[index];
	const char *relative = decryption->tree.files[index];
	bool foreign = false;
	enum err err;

	atomic_store(&outcome->state, STATE_TAKEN);
	err = decrypt_file(decryption, relative, &foreign);
	foreign = foreign && output_name_len(relative) == strlen(relative); /* file.age is meant to be one */
	if (err && !foreign)
		keep_sentence(shared, outcome, &decryption->invocation->problem);
	outcome->err = (uint8_t)err;
	atomic_store(&outcome->state, foreign ? STATE_FOREIGN : err ? STATE_FAILED : STATE_DONE);
	(void)atomic_fetch_add(&shared->finished, 1);
}

static void do_files(struct tree_decryption *decryption)
{
	size_t index;

	while ((index = atomic_fetch_add(&decryption->shared->next, 1)) < decryption->tree.count)
		do_file(decryption, index);
}

static size_t process_count(size_t files)
{
	cpu_set_t set;
	size_t wanted = sched_getaffinity(0, sizeof(set), &set) < 0 ? 4 : 2U * (size_t)CPU_COUNT(&set) + 2U;

	if (wanted > PROCESSES_MAX)
		wanted = PROCESSES_MAX;
	return wanted < files ? wanted : files;
}

/* ends: a pipe; it is at its end when every process is. */
static pid_t start_process(struct tree_decryption *decryption, const int ends[static 2])
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)close(ends[0]);
	decryption->opener.asks = false;
	do_files(decryption);
	_exit(0);
}

static void show_progress(const struct tree_decryption *decryption)
{
	(void)fprintf(stderr, "\r%zu of %zu files", atomic_load(&decryption->shared->finished),
	              decryption->tree.count);
}

static void wait_for_processes(const struct tree_decryption *decryption, int end)
{
	struct pollfd poll_end = { .fd = end, .events = POLLIN };
	bool shows = isatty(STDERR_FILENO);
	int ready;

	while ((ready = poll(&poll_end, 1, shows ? PROGRESS_MS : -1)) == 0 || (ready < 0 && errno == EINTR))
		if (shows)
			show_progress(decryption);
	if (shows)
		(void)fputs("\r\033[K", stderr);
}

static void share_out(struct tree_decryption *decryption)
{
	pid_t pids[PROCESSES_MAX];
	size_t count = process_count(decryption->tree.count), started = 0;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	sops_decrypt_prepare(); /* once, and not in every process */
	while (started < count && (pids[started] = start_process(decryption, ends)) > 0)
		started++;
	(void)close(ends[1]);
	wait_for_processes(decryption, ends[0]);
	(void)close(ends[0]);
	for (size_t i = 0; i < started; i++)
		while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
			;
}

/* A person is asked now, and what was too much at once is one thing alone. */
static bool is_tried_again(enum err err)
{
	return err == ERR_PIN_NEEDED || err == ERR_AUDIT || err == ERR_BUSY || err == ERR_TIMEOUT;
}

/* What nobody took, and what may go better now. A file at which a process ended is not tried again. */
static void finish_here(struct tree_decryption *decryption)
{
	struct problem ended = { .message = "the process that decrypted this file ended",
		                 .hint = "tokenctl decrypt FILE   tries it alone" };

	for (size_t i = 0; i < decryption->tree.count; i++) {
		struct outcome *outcome = &decryption->shared->outcomes[i];
		uint8_t state = atomic_load(&outcome->state);

		if (state == STATE_WAITING ||
		    (state == STATE_FAILED && is_tried_again((enum err)outcome->err))) {
			do_file(decryption, i);
		} else if (state == STATE_TAKEN) {
			(void)snprintf(ended.message, sizeof(ended.message),
			               "the process that decrypted %s ended", decryption->tree.files[i]);
			keep_sentence(decryption->shared, outcome, &ended);
			outcome->err = ERR_BUG;
			atomic_store(&outcome->state, STATE_FAILED);
		}
	}
}

struct count {
	size_t done, failed, foreign;
	enum err first;
};

static struct problem kept_problem(const struct tree_decryption *decryption, size_t index)
{
	const uint16_t sentence = decryption->shared->outcomes[index].sentence;

	return sentence ? decryption->shared->problems[sentence - 1] : (struct problem){ 0 };
}

/* Without tokend, or its token, all fail for one reason: the files are named, and it is said once. */
static bool is_told(const struct tree_decryption *decryption, size_t index, size_t last)
{
	const struct outcome *outcomes = decryption->shared->outcomes;
	struct problem now = kept_problem(decryption, index), before = kept_problem(decryption, last);

	return outcomes[index].err == outcomes[last].err && strcmp(now.message, before.message) == 0 &&
	       strcmp(now.hint, before.hint) == 0;
}

/* The sentence of tokend names no file. */
static void print_failure(const struct tree_decryption *decryption, size_t index)
{
	const char *relative = decryption->tree.files[index];
	enum err err = (enum err)decryption->shared->outcomes[index].err;
	struct problem kept = kept_problem(decryption, index), named = kept;

	if (!strstr(kept.message, relative))
		(void)problem_set(&named, err, "%s/%s: %.512s", decryption->tree.path, relative,
		                  problem_text(&kept, err));
	problem_hint(&named, "%s", kept.hint);
	problem_print(&named, err, "tokenctl");
}

static struct count tell_failures(const struct tree_decryption *decryption)
{
	struct count count = { 0 };
	size_t last = SIZE_MAX;

	for (size_t i = 0; i < decryption->tree.count; i++) {
		const struct outcome *outcome = &decryption->shared->outcomes[i];
		uint8_t state = atomic_load(&outcome->state);

		count.done += state == STATE_DONE;
		count.foreign += state == STATE_FOREIGN;
		if (state != STATE_FAILED)
			continue;
		if (last != SIZE_MAX && is_told(decryption, i, last))
			shown_line(stderr, "tokenctl: %s/%s: the same", decryption->tree.path,
			           decryption->tree.files[i]);
		else
			print_failure(decryption, i);
		last = i;
		count.first = count.failed++ ? count.first : (enum err)outcome->err;
	}
	return count;
}

static enum err refuse_empty(struct problem *problem, const char *path)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_NO_FILE, "there is no age file and no SOPS file in %s", path);
	shown_quote(path, quoted);
	problem_hint(problem, "ls -lR %s", quoted);
	return ERR_NO_FILE;
}

static enum err conclude(const struct tree_decryption *decryption)
{
	struct problem *problem = &decryption->invocation->problem;
	struct count count = tell_failures(decryption);
	const char *checked = count.done == 1 ? "is right" : "are right";

	if (count.failed)
		return problem_set(problem, count.first, "%zu of %zu encrypted files failed", count.failed,
		                   count.failed + count.done);
	if (count.done == 0)
		return refuse_empty(problem, decryption->tree.path);
	(void)fprintf(stderr, "%zu file%s %s, %zu that are not encrypted and %zu link%s passed over\n",
	              count.done, PLURAL(count.done), decryption->output < 0 ? checked : "decrypted",
	              count.foreign, decryption->tree.links, PLURAL(decryption->tree.links));
	return OK;
}

static enum err open_directory(struct tree_decryption *decryption, const char *path)
{
	const struct options *options = &decryption->invocation->options;
	struct problem *problem = &decryption->invocation->problem;
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(path, quoted);
	decryption->output_path = options_value(options, "output-dir");
	if (options_given(options, "output") || options_given(options, "passphrase") ||
	    !decryption->output_path == !options_given(options, "check")) {
		(void)problem_set(problem, ERR_USAGE,
		                  "-r needs either --output-dir or --check, and takes neither -o nor -p");
		problem_hint(problem, "tokenctl decrypt -r %s --output-dir OUT", quoted);
		return ERR_USAGE;
	}
	if (!decryption->output_path)
		return OK;
	if (mkdir(decryption->output_path, 0700) < 0 && errno != EEXIST)
		return problem_errno(problem, errno, "cannot make the directory", decryption->output_path);
	return output_open_directory(decryption->output_path, problem, &decryption->output);
}

/* In place of its files, of the encrypted and of those that are not. */
static bool is_output(const struct tree_decryption *decryption, const struct stat *output)
{
	struct stat root;

	return fstat(decryption->tree.root, &root) == 0 && root.st_dev == output->st_dev &&
	       root.st_ino == output->st_ino;
}

static enum err list(struct tree_decryption *decryption, const char *path)
{
	struct stat output;
	bool skips = decryption->output >= 0 && fstat(decryption->output, &output) == 0;
	enum err err =
	        tree_list(path, skips ? &output : NULL, &decryption->invocation->problem, &decryption->tree);
	void *memory;

	if (!err && skips && is_output(decryption, &output)) {
		err = problem_set(&decryption->invocation->problem, ERR_USAGE,
		                  "%s is the directory that is read: its own files would be written over",
		                  path);
		problem_hint(&decryption->invocation->problem,
		             "--output-dir OUT   for another one, best outside of it");
	}
	if (err)
		return err;
	decryption->shared_len = sizeof(struct shared) + decryption->tree.count * sizeof(struct outcome);
	memory = mmap(NULL, decryption->shared_len, PROT_READ | PROT_WRITE,
	              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return ERR_NOMEM;
	decryption->shared = memory;
	return OK;
}

/* Identities of files are secrets, and those are not there in another process. */
static bool is_alone(const struct tree_decryption *decryption)
{
	return decryption->opener.only_files || decryption->tree.count <= FILES_ALONE;
}

static enum err decrypt_listed(struct tree_decryption *decryption)
{
	enum err err = file_opener_init(&decryption->opener, decryption->invocation);

	if (!err && !is_alone(decryption))
		share_out(decryption);
	if (!err) {
		finish_here(decryption);
		err = conclude(decryption);
	}
	file_opener_done(&decryption->opener);
	return err;
}

enum err decrypt_tree(struct invocation *invocation, const char *path)
{
	struct tree_decryption decryption = { .invocation = invocation,
		                              .tree = { .root = -1 },
		                              .output = -1 };
	enum err err = open_directory(&decryption, path);

	invocation->daemon.patience_ms = RESTART_MS;
	if (!err)
		err = list(&decryption, path);
	if (!err)
		err = decrypt_listed(&decryption);
	if (decryption.shared)
		(void)munmap(decryption.shared, decryption.shared_len);
	tree_done(&decryption.tree);
	close_fdp(&decryption.output);
	return err;
}
