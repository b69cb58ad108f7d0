/*
 * What a power failure leaves of the audit log, played on real files: the log cut at every byte behind what was durable by itself, zeros in place of any part of it, the second file torn at every
 * byte. What was made durable is in the log afterwards, to the byte, and nothing else is.
 */
#include "tokend/audit_ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/file.h"
#include "formats/audit_record.h"
#include "tokend/audit_internal.h"
#include "tokend/text.h"

#define LINES 8U
#define DURABLE_LINES 3U /* in the log before anything is written ahead */
#define GROUP_LINES 2U
#define TEXT_MAX 8192U

struct lab {
	char directory_path[64];
	int directory;
	int log;
	struct audit_ahead ahead;
	struct buf *text; /* all lines */
	size_t ends[LINES]; /* where each ends */
	int sync_errno;
	unsigned syncs;
	int direct; /* the descriptor; -1: none */
	bool no_direct, refuses_direct;
	unsigned direct_writes;
};

static struct lab lab;

/* ---- a disk ---- */

static int disk_sync(int fd)
{
	(void)fd;
	lab.syncs++;
	errno = lab.sync_errno;
	return lab.sync_errno ? -1 : 0;
}

#define BLOCK 4096U

/* Also where the file system writes nothing past its cache: that what goes there is of whole blocks is looked at here. */
static int disk_open(int directory, const char *name, int flags)
{
	lab.direct = lab.no_direct ? -1 : openat(directory, name, flags & ~O_DIRECT);
	return lab.direct;
}

static ssize_t disk_write_at(int fd, const void *data, size_t len, off_t offset)
{
	if (fd != lab.direct)
		return pwrite(fd, data, len, offset);
	assert_true((uintptr_t)data % BLOCK == 0 && len % BLOCK == 0 && offset % BLOCK == 0);
	lab.direct_writes++;
	if (lab.refuses_direct) {
		errno = EINVAL;
		return -1;
	}
	return pwrite(fd, data, len, offset);
}

static const struct audit_disk disk = {
	write, disk_write_at, disk_sync, ftruncate, disk_open, AUDIT_AHEAD_LEN
};

static void append_line(unsigned number, struct audit_chain *chain)
{
	CLEANUP(buf_freep) struct buf *line = NULL;

	assert_int_equal(buf_new(AUDIT_LINE_MAX, &line), OK);
	assert_int_equal(buf_printf(line, "{\"number\":%u,", number), OK);
	assert_int_equal(audit_chain_close(chain, line), OK);
	assert_int_equal(buf_put(lab.text, buf_bytes(line)), OK);
	lab.ends[number] = buf_len(lab.text);
}

static void write_log(struct bytes content)
{
	assert_int_equal(ftruncate(lab.log, 0), 0);
	assert_int_equal(write(lab.log, content.data, content.len), (ssize_t)content.len);
}

static struct bytes text_of(size_t from, size_t to)
{
	return bytes_of(buf_bytes(lab.text).data + from, to - from);
}

static size_t anchor(void)
{
	return lab.ends[DURABLE_LINES - 1];
}

static size_t end(void)
{
	return lab.ends[LINES - 1];
}

static bool put(size_t offset, struct bytes lines)
{
	if (!audit_ahead_try(&lab.ahead, (off_t)offset, lines))
		return false;
	audit_ahead_keep(&lab.ahead, lines.len);
	return true;
}

static bool put_group(unsigned first)
{
	unsigned last = first + GROUP_LINES - 1 < LINES ? first + GROUP_LINES - 1 : LINES - 1;
	size_t from = lab.ends[first - 1];

	return put(from, text_of(from, lab.ends[last]));
}

static int setup_with(bool no_direct, bool refuses_direct)
{
	struct audit_chain chain = { 0 };

	lab = (struct lab){ .directory_path = "/tmp/test_audit_ahead.XXXXXX",
		            .direct = -1,
		            .no_direct = no_direct,
		            .refuses_direct = refuses_direct };
	assert_non_null(mkdtemp(lab.directory_path));
	lab.directory = open(lab.directory_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lab.log = openat(lab.directory, "log", O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(buf_new(TEXT_MAX, &lab.text), OK);
	for (unsigned i = 0; i < LINES; i++)
		append_line(i, &chain);
	assert_int_equal(audit_ahead_open(&lab.ahead, lab.directory, &disk), OK);
	assert_true(lab.ahead.fd >= 0);
	for (unsigned first = DURABLE_LINES; first < LINES; first += GROUP_LINES)
		assert_true(put_group(first));
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_with(false, false);
}

static int setup_no_direct(void **state)
{
	(void)state;
	return setup_with(true, false);
}

static int setup_refuses_direct(void **state)
{
	(void)state;
	return setup_with(false, true);
}

static int teardown(void **state)
{
	char name[64];

	(void)state;
	audit_ahead_close(&lab.ahead, NULL);
	(void)unlinkat(lab.directory, AUDIT_AHEAD_NAME, AT_REMOVEDIR);
	(void)unlinkat(lab.directory, AUDIT_AHEAD_NAME, 0);
	(void)unlinkat(lab.directory, "log", 0);
	(void)unlinkat(lab.directory, AUDIT_AHEAD_NEWER_NAME, 0);
	for (unsigned i = 2; i <= 8; i++) {
		(void)snprintf(name, sizeof(name), AUDIT_AHEAD_NEWER_NAME ".%u", i);
		(void)unlinkat(lab.directory, name, 0);
	}
	(void)close(lab.log);
	(void)close(lab.directory);
	(void)rmdir(lab.directory_path);
	lab.text = buf_free(lab.text);
	return 0;
}

static void assert_log_is(struct bytes content)
{
	uint8_t have[TEXT_MAX];
	ssize_t len = pread(lab.log, have, sizeof(have), 0);

	assert_int_equal(len, (ssize_t)content.len);
	assert_memory_equal(have, content.data, content.len);
}

/* As the next start does it. */
static size_t restore(void)
{
	struct audit_ahead again;
	struct audit_restored restored;

	assert_int_equal(audit_ahead_open(&again, lab.directory, &disk), OK);
	assert_int_equal(audit_ahead_restore(&again, lab.log, &restored), OK);
	audit_ahead_close(&again, NULL);
	return restored.bytes;
}

/* ---- the log ---- */

/* The chain after the first count lines of the text. */
static struct audit_chain chain_of(unsigned count)
{
	struct bytes rest = buf_bytes(lab.text), line;
	struct audit_chain chain = { 0 };

	for (unsigned i = 0; i < count && text_next_line(&rest, &line); i++)
		assert_int_equal(audit_chain_next(&chain, line), AUDIT_WHOLE);
	return chain;
}

static void test_cut_anywhere(void **state)
{
	(void)state;
	for (size_t cut = anchor(); cut <= end(); cut++) {
		write_log(text_of(0, cut));
		assert_true(restore() >= end() - cut);
		assert_log_is(text_of(0, end()));
		assert_int_equal(restore(), 0);
	}
	print_message("the log was cut at %zu places\n", end() - anchor() + 1);
}

static void test_zeros_anywhere(void **state)
{
	uint8_t content[TEXT_MAX];

	(void)state;
	for (size_t at = anchor(); at < end(); at++) {
		size_t len = end() - at < 64 ? end() - at : 64;

		memcpy(content, buf_bytes(lab.text).data, end());
		memset(content + at, 0, len);
		write_log(bytes_of(content, end()));
		assert_true(restore() > 0);
		assert_log_is(text_of(0, end()));
	}
}

/* Whole lines that reached the log and were never acknowledged stay. */
static void test_more_than_ahead(void **state)
{
	CLEANUP(buf_freep) struct buf *longer = NULL;

	(void)state;
	assert_int_equal(buf_new(TEXT_MAX, &longer), OK);
	assert_int_equal(buf_put(longer, buf_bytes(lab.text)), OK);
	assert_int_equal(buf_put_string(longer, "{\"more\":1}\n"), OK);
	write_log(buf_bytes(longer));
	assert_int_equal(restore(), 0);
	assert_log_is(buf_bytes(longer));
}

/* There was no room ahead for what came instead of what had been foreseen: the log, which was synced, went on by itself. */
static void test_log_went_on(void **state)
{
	CLEANUP(buf_freep) struct buf *instead = NULL, *line = NULL;
	struct bytes before = text_of(0, lab.ends[LINES - 2]);
	struct audit_chain chain = chain_of(LINES - 1);

	(void)state;
	assert_int_equal(buf_new(TEXT_MAX, &instead), OK);
	assert_int_equal(buf_new(AUDIT_LINE_MAX, &line), OK);
	assert_int_equal(buf_put_string(line, "{\"number\":99,"), OK);
	assert_int_equal(audit_chain_close(&chain, line), OK);
	assert_int_equal(buf_put(instead, before), OK);
	assert_int_equal(buf_put(instead, buf_bytes(line)), OK);
	write_log(buf_bytes(instead));
	assert_int_equal(restore(), 0);
	assert_log_is(buf_bytes(instead));
	/* The control: a line of the same length that follows from nothing is none that was written there. */
	write_log(before);
	assert_int_equal(write(lab.log, buf_bytes(lab.text).data, lab.ends[0]), (ssize_t)lab.ends[0]);
	assert_int_equal(restore(), end() - lab.ends[LINES - 2]);
	assert_log_is(text_of(0, end()));
}

/* A log that was put in its place gets nothing. */
static void test_other_log(void **state)
{
	static const char other[] = "{\"other\":1}\n";
	size_t before_anchor = lab.ends[DURABLE_LINES - 2];

	(void)state;
	write_log(bytes_of_string(other));
	assert_int_equal(restore(), 0);
	assert_log_is(bytes_of_string(other));
	write_log(bytes_of(NULL, 0));
	assert_int_equal(restore(), 0);
	write_log(text_of(0, before_anchor));
	assert_int_equal(restore(), 0);
	assert_log_is(text_of(0, before_anchor));
}

/* ---- the second file ---- */

static size_t whole_lines(size_t upto)
{
	size_t whole = anchor();

	for (unsigned i = DURABLE_LINES; i < LINES; i++)
		if (lab.ends[i] <= upto)
			whole = lab.ends[i];
	return whole;
}

/* What the last write of it left, whatever that is: whole lines from the first on, and no other. */
static void test_torn_anywhere(void **state)
{
	size_t header_len = lab.ahead.used - (end() - anchor());
	uint8_t whole[TEXT_MAX];

	(void)state;
	assert_int_equal(pread(lab.ahead.fd, whole, lab.ahead.used, 0), (ssize_t)lab.ahead.used);
	for (size_t torn = 0; torn < lab.ahead.used; torn++) {
		const uint8_t zero = 0;
		size_t lines = torn < header_len ? anchor() : whole_lines(anchor() + torn - header_len);

		assert_int_equal(pwrite(lab.ahead.fd, &zero, 1, (off_t)torn), 1);
		write_log(text_of(0, anchor()));
		assert_int_equal(restore(), lines - anchor());
		assert_log_is(text_of(0, lines));
		assert_int_equal(pwrite(lab.ahead.fd, &whole[torn], 1, (off_t)torn), 1);
	}
	print_message("the second file was torn at %zu places\n", lab.ahead.used);
}

/* The lines of an earlier round, behind those of this one, are left alone. */
static void test_earlier_round(void **state)
{
	(void)state;
	audit_ahead_begin_anew(&lab.ahead);
	assert_true(put(lab.ends[LINES - 2], text_of(lab.ends[LINES - 2], end())));
	write_log(text_of(0, lab.ends[LINES - 2]));
	assert_int_equal(restore(), end() - lab.ends[LINES - 2]);
	assert_log_is(text_of(0, end()));
}

/* Of a log that ends so, as the file on the disk tells it. */
static unsigned long long missing(off_t log_end, struct audit_chain chain)
{
	struct audit_ahead again;
	unsigned long long sequence;

	assert_int_equal(audit_ahead_open(&again, lab.directory, &disk), OK);
	sequence = audit_ahead_missing(&again, log_end, &chain);
	audit_ahead_close(&again, NULL);
	return sequence;
}

static void test_clean_end(void **state)
{
	const struct audit_chain end_chain = chain_of(LINES);
	struct audit_chain other = end_chain;

	(void)state;
	audit_ahead_close(&lab.ahead, &end_chain);
	write_log(text_of(0, anchor()));
	assert_int_equal(restore(), 0);
	assert_log_is(text_of(0, anchor()));
	/* It is known what the log ended with: one that was cut off, written to, replaced or removed meanwhile is another. */
	assert_int_equal(missing((off_t)end(), end_chain), 0);
	assert_int_equal(missing((off_t)anchor(), chain_of(DURABLE_LINES)), LINES);
	assert_int_equal(missing(0, (struct audit_chain){ 0 }), LINES);
	other.last_hash[AUDIT_HASH_LEN - 1] ^= 1;
	assert_int_equal(missing((off_t)end(), other), LINES);
	other = end_chain;
	other.sequence++;
	assert_int_equal(missing((off_t)end(), other), LINES);
}

/* Killed: only that the log is too short is known for sure. */
static void test_missing_after_a_crash(void **state)
{
	(void)state;
	assert_int_equal(missing((off_t)end(), chain_of(LINES)), 0);
	assert_int_equal(missing((off_t)anchor(), chain_of(DURABLE_LINES)), 0);
	assert_int_equal(missing((off_t)anchor() - 1, chain_of(DURABLE_LINES - 1)), DURABLE_LINES);
	assert_int_equal(missing(0, (struct audit_chain){ 0 }), DURABLE_LINES);
	/* A file that says nothing. */
	assert_int_equal(ftruncate(lab.ahead.fd, 0), 0);
	assert_int_equal(missing(0, (struct audit_chain){ 0 }), 0);
}

static void test_no_room(void **state)
{
	CLEANUP(freep) uint8_t *large = calloc(1, AUDIT_AHEAD_LEN);
	unsigned syncs = lab.syncs;

	(void)state;
	assert_non_null(large);
	assert_false(put(end(), bytes_of(large, AUDIT_AHEAD_LEN - 100)));
	assert_int_equal(lab.syncs, syncs);
	audit_ahead_begin_anew(&lab.ahead);
	assert_true(put(end(), bytes_of(large, AUDIT_AHEAD_LEN - 100)));
	assert_int_equal(lab.syncs, syncs + 1);
}

/* ---- failures ---- */

static void test_sync_fails(void **state)
{
	size_t used = lab.ahead.used;

	(void)state;
	lab.sync_errno = EIO;
	assert_false(put(end(), text_of(anchor(), lab.ends[DURABLE_LINES])));
	assert_int_equal(lab.ahead.used, used);
	/* The system dropped what the log had not synced. */
	write_log(text_of(0, anchor() + 10));
	assert_true(audit_ahead_rewrite(&lab.ahead, lab.log));
	assert_log_is(text_of(0, end()));
}

static void test_refused_files(void **state)
{
	struct audit_ahead again;

	(void)state;
	assert_int_equal(fchmod(lab.ahead.fd, 0660), 0);
	assert_int_equal(audit_ahead_open(&again, lab.directory, &disk), ERR_STATE_DIR);
	audit_ahead_close(&again, NULL);
	assert_int_equal(unlinkat(lab.directory, AUDIT_AHEAD_NAME, 0), 0);
	assert_int_equal(symlinkat("log", lab.directory, AUDIT_AHEAD_NAME), 0);
	assert_int_equal(audit_ahead_open(&again, lab.directory, &disk), ERR_STATE_DIR);
	assert_int_equal(unlinkat(lab.directory, AUDIT_AHEAD_NAME, 0), 0);
	assert_int_equal(mkdirat(lab.directory, AUDIT_AHEAD_NAME, 0700), 0);
	assert_int_equal(audit_ahead_open(&again, lab.directory, &disk), ERR_STATE_DIR);
}

/* ---- past the page cache ---- */

/* The same bytes, whichever way they went: groups of all sizes, tries that were not kept between them, over the borders of blocks. */
static void test_ways(void **state)
{
	CLEANUP(freep) char *lines = malloc(AUDIT_AHEAD_LEN), *found = malloc(AUDIT_AHEAD_LEN);
	size_t at = 0, wanted = 1;

	(void)state;
	assert_non_null(lines);
	assert_non_null(found);
	for (size_t i = 0; i < AUDIT_AHEAD_LEN; i++)
		lines[i] = (char)('a' + i * 7 / 3 % 26);
	audit_ahead_begin_anew(&lab.ahead);
	while (at + wanted < 300U << 10) {
		assert_true(audit_ahead_try(&lab.ahead, 77, bytes_of("not this", 8)));
		audit_ahead_scrub(&lab.ahead);
		assert_true(put(77, bytes_of(lines + at, wanted)));
		at += wanted;
		wanted = wanted * 5 % 9973;
	}
	assert_int_equal(pread(lab.ahead.fd, found, 36 + at, 0), (ssize_t)(36 + at));
	assert_memory_equal(found, "tokend ahead 1 00000000000000000077\n", 36);
	assert_memory_equal(found + 36, lines, at);
	assert_int_equal(lab.ahead.used, 36 + at);
	if (lab.no_direct)
		assert_int_equal(lab.direct_writes, 0);
	else if (lab.refuses_direct)
		assert_int_equal(lab.direct_writes, 1);
	else
		assert_true(lab.direct_writes > 100);
}

static void put_newer(const char *head)
{
	int fd = openat(lab.directory, AUDIT_AHEAD_NAME, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(write(fd, head, strlen(head)), (ssize_t)strlen(head));
	(void)close(fd);
}

static void assert_newer(const char *name, const char *head)
{
	char kept[64] = "";
	int fd = openat(lab.directory, name, O_RDONLY | O_CLOEXEC);

	assert_int_equal(read(fd, kept, sizeof(kept)), (ssize_t)strlen(head));
	(void)close(fd);
	assert_memory_equal(kept, head, strlen(head));
}

/* What a newer version left, after a crash or an orderly end, is kept as it is, whatever its length, and whatever an earlier way back left. */
static void test_newer(void **state)
{
	(void)state;
	put_newer("tokend ahead 2 and more");
	assert_int_equal(restore(), 0);
	put_newer("tokend end 10 and more");
	assert_int_equal(restore(), 0);
	assert_newer(AUDIT_AHEAD_NEWER_NAME, "tokend ahead 2 and more");
	assert_newer(AUDIT_AHEAD_NEWER_NAME ".2", "tokend end 10 and more");
}

/* More of them than anybody went back: it does not start, and nothing is written over. */
static void test_newer_limit(void **state)
{
	struct audit_ahead again;
	char head[32];

	(void)state;
	for (unsigned i = 2; i < 10; i++) {
		(void)snprintf(head, sizeof(head), "tokend ahead %u and more", i);
		put_newer(head);
		assert_int_equal(restore(), 0);
	}
	put_newer("tokend ahead 10 and more");
	assert_int_equal(audit_ahead_open(&again, lab.directory, &disk), ERR_STATE_DIR);
	audit_ahead_close(&again, NULL);
	assert_newer(AUDIT_AHEAD_NAME, "tokend ahead 10 and more");
	assert_newer(AUDIT_AHEAD_NEWER_NAME, "tokend ahead 2 and more");
	assert_newer(AUDIT_AHEAD_NEWER_NAME ".8", "tokend ahead 9 and more");
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		ROW(test_ways),
		cmocka_unit_test_setup_teardown(test_ways, setup_no_direct, teardown),
		cmocka_unit_test_setup_teardown(test_ways, setup_refuses_direct, teardown),
		cmocka_unit_test_setup_teardown(test_cut_anywhere, setup_no_direct, teardown),
		ROW(test_log_went_on),
		ROW(test_cut_anywhere),
		ROW(test_zeros_anywhere),
		ROW(test_more_than_ahead),
		ROW(test_other_log),
		ROW(test_torn_anywhere),
		ROW(test_earlier_round),
		ROW(test_clean_end),
		ROW(test_missing_after_a_crash),
		ROW(test_no_room),
		ROW(test_sync_fails),
		ROW(test_refused_files),
		ROW(test_newer),
		ROW(test_newer_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
