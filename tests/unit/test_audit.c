/*
 * The audit log on a real file and on disks that fill up, fail, tear, hang and recover. Whatever the disk does, what was acknowledged is in the file, the chain is whole from the first line
 * to the last, and an answer comes within AUDIT_DEADLINE_MS.
 *
 * TOKEND_BENCH=1 measures for longer how many records a second are made durable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "common/buf.h"
#include "formats/audit_head.h"
#include "formats/audit_record.h"
#include "tokend/audit_ahead.h"
#include "tokend/audit_internal.h"
#include "tokend/refusals.h"

#define SLACK_MS 400U /* a busy machine, and sanitizers */

static char directory[64];
static int directory_fd = -1;
static sd_event *event;

static int set_up(void **state)
{
	(void)state;
	(void)strcpy(directory, "/tmp/test_audit.XXXXXX");
	if (!mkdtemp(directory) || sd_event_new(&event) < 0)
		return -1;
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return directory_fd < 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	event = sd_event_unref(event);
	(void)close(directory_fd);
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- a disk that can be told how to be ---- */

static struct {
	atomic_int writes, syncs, cuts;
	atomic_int log_syncs; /* those of the log itself */
	atomic_int write_errno, sync_errno, cut_errno; /* 0: as it should be */
	atomic_int short_write; /* bytes that are taken before write_errno; 0: none */
	atomic_bool hangs; /* fdatasync waits until it does not */
	atomic_bool
	        real; /* fdatasync is one: what others do to this machine's disk must not fail what is not about it */
} disk;

static ssize_t disk_write(int fd, const void *data, size_t len)
{
	disk.writes++;
	if (disk.write_errno && disk.short_write > 0) {
		size_t part = (size_t)disk.short_write < len ? (size_t)disk.short_write : len;

		disk.short_write = 0;
		return write(fd, data, part);
	}
	if (disk.write_errno) {
		errno = disk.write_errno;
		return -1;
	}
	return write(fd, data, len);
}

static ssize_t disk_write_at(int fd, const void *data, size_t len, off_t offset)
{
	if (disk.write_errno) {
		errno = disk.write_errno;
		return -1;
	}
	return pwrite(fd, data, len, offset);
}

static int disk_sync(int fd)
{
	struct stat st;

	disk.syncs++;
	if (fstat(fd, &st) == 0 && st.st_size != (off_t)AUDIT_AHEAD_LEN)
		disk.log_syncs++;
	while (disk.hangs)
		(void)usleep(1000);
	if (disk.sync_errno) {
		errno = disk.sync_errno;
		return -1;
	}
	return disk.real ? fdatasync(fd) : 0;
}

static int disk_cut(int fd, off_t len)
{
	disk.cuts++;
	if (disk.cut_errno) {
		errno = disk.cut_errno;
		return -1;
	}
	return ftruncate(fd, len);
}

static int disk_open(int at, const char *name, int flags)
{
	return openat(at, name, flags);
}

static const struct audit_disk test_disk = { disk_write, disk_write_at, disk_sync,
	                                     disk_cut,   disk_open,     AUDIT_AHEAD_LEN };

static void disk_reset(void)
{
	disk.writes = disk.syncs = disk.cuts = disk.log_syncs = 0;
	disk.write_errno = disk.sync_errno = disk.cut_errno = disk.short_write = 0;
	disk.hangs = disk.real = false;
}

#define PATIENCE_US (60ULL * 1000 * 1000)

static struct audit *open_audit_that_waits(uint64_t wait_us)
{
	struct audit *audit;

	disk_reset();
	assert_int_equal(audit_new_on(event, directory_fd, &test_disk, wait_us, &audit), OK);
	return audit;
}

/* Neither the log nor what is known of it is left. */
static void begin_anew(void)
{
	(void)unlinkat(directory_fd, AUDIT_FILE_NAME, 0);
	(void)unlinkat(directory_fd, AUDIT_AHEAD_NAME, 0);
}

/* What is not about the deadline must not fail because this machine's own disk or processors are busy for longer than that. */
static struct audit *open_audit(void)
{
	return open_audit_that_waits(PATIENCE_US);
}

/* Long enough for a busy machine to answer in time, short enough to be waited for. */
#define SHORT_MS 1000U

static struct audit *open_short_audit(void)
{
	return open_audit_that_waits(SHORT_MS * 1000ULL);
}

/* ---- records ---- */

struct answer {
	int calls;
	enum err err;
	uint64_t asked_ms, answered_ms;
};

static void on_done(void *context, enum err err)
{
	struct answer *answer = context;

	answer->calls++;
	answer->err = err;
	answer->answered_ms = now_ms();
}

static struct audit_record record_for(const char *name)
{
	static const struct key_id id = { { 0xab, 0xcd } };
	static const struct peer peer = { .uid = 1000, .gid = 100, .pid = 7, .unit = "x.service" };

	return (struct audit_record){ .frontend = "age",
		                      .operation = "unwrap",
		                      .peer = &peer,
		                      .key_name = name,
		                      .key = &id,
		                      .token_uri = "tpm:tabrmd",
		                      .rule = "10.conf:3",
		                      .result = OK };
}

static void ask(struct audit *audit, struct answer *answer, const char *name)
{
	const struct audit_record record = record_for(name);

	*answer = (struct answer){ .asked_ms = now_ms() };
	assert_int_equal(audit_write(audit, &record, on_done, answer), OK);
	assert_int_equal(answer->calls, 0); /* never from inside */
}

static void run_until(const struct answer *answer)
{
	while (!answer->calls)
		assert_true(sd_event_run(event, 10000000) > 0);
	assert_int_equal(answer->calls, 1);
}

static void wait_for_syncs(int syncs)
{
	for (unsigned milliseconds = 0; disk.syncs < syncs && milliseconds < 5000; milliseconds++)
		(void)usleep(1000);
	assert_int_equal(disk.syncs, syncs);
}

static enum err ask_and_wait(struct audit *audit)
{
	struct answer answer;

	ask(audit, &answer, "host");
	run_until(&answer);
	return answer.err;
}

/* ---- what is in the file ---- */

struct log {
	unsigned lines, faults, notes;
	bool torn;
	struct audit_chain chain;
	char text[1 << 20];
};
static struct log found;

static void read_log(void)
{
	int fd = openat(directory_fd, AUDIT_FILE_NAME, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, found.text, sizeof(found.text) - 1);
	char *line = found.text, *end;

	assert_true(len >= 0);
	(void)close(fd);
	found.text[len] = '\0';
	found.lines = found.faults = found.notes = 0;
	found.chain = (struct audit_chain){ 0 };
	for (; (end = strchr(line, '\n')); line = end + 1) {
		struct bytes bytes = bytes_of(line, (size_t)(end - line));

		if (found.lines++ == 0)
			(void)audit_record_goes_on(bytes, &found.chain);
		found.faults += audit_chain_next(&found.chain, bytes) != AUDIT_WHOLE;
		found.notes += memmem(bytes.data, bytes.len, "\"frontend\":\"audit\"", 18) != NULL;
	}
	found.torn = *line != '\0';
}

static void assert_log(unsigned lines, unsigned notes)
{
	read_log();
	assert_int_equal(found.faults, 0);
	assert_false(found.torn);
	assert_int_equal(found.lines, lines);
	assert_int_equal(found.notes, notes);
}

static void append(const char *text, size_t len)
{
	int fd = openat(directory_fd, AUDIT_FILE_NAME, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(close(fd), 0);
}

/* ---- a disk that is well ---- */

static void test_record(void **state)
{
	struct audit *audit = open_audit();
	static const char middle[] =
	        "Z\",\"frontend\":\"age\",\"operation\":\"unwrap\",\"uid\":1000,\"gid\":100,\"pid\":7,"
	        "\"unit\":\"x.service\","
	        "\"key\":\"abcd0000000000000000000000000000\",\"name\":\"host\",\"token\":\"tpm:tabrmd\","
	        "\"rule\":\"10.conf:3\",\"result\":\"ok\",\"sequence\":1,\"previous\":\"0000";
	struct stat st;
	unsigned year, micro;

	(void)state;
	assert_int_equal(audit_count(audit), 0);
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(audit_count(audit), 1);
	assert_true(audit_works(audit));
	audit_free(audit);
	assert_log(1, 0);
	assert_int_equal(sscanf(found.text, "{\"time\":\"%4u-%*2u-%*2uT%*2u:%*2u:%*2u.%6uZ\"", &year, &micro),
	                 2);
	assert_true(year >= 2024);
	assert_int_equal(strncmp(found.text + strlen("{\"time\":\"2025-01-01T00:00:00.000000"), middle,
	                         strlen(middle)),
	                 0);
	assert_int_equal(fstatat(directory_fd, AUDIT_FILE_NAME, &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
}

static void test_empty_and_hostile(void **state)
{
	static const char nulls[] =
	        "\"frontend\":\"control\",\"operation\":\"start\",\"uid\":null,\"gid\":null,\"pid\":null,"
	        "\"unit\":null,"
	        "\"key\":null,\"name\":null,\"token\":null,\"rule\":null,\"result\":\"denied\"";
	struct audit_record record = { .frontend = "control", .operation = "start", .result = ERR_DENIED };
	struct audit *audit = open_audit();
	struct answer answer = { 0 };
	char name[100000];

	(void)state;
	assert_int_equal(audit_write(audit, &record, on_done, &answer), OK);
	run_until(&answer);
	memset(name, '\n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	ask(audit, &answer, name);
	run_until(&answer);
	assert_int_equal(answer.err, OK);
	ask(audit, &answer, "a\",\"result\":\"ok\n{\"\x1b[2J");
	run_until(&answer);
	record.key_name = "nobody waits for this one";
	assert_int_equal(audit_write(audit, &record, NULL, NULL), OK);
	record.key_name = "nobody/waits";
	assert_int_equal(audit_write(audit, &record, NULL, NULL), OK);
	audit_free(audit);
	assert_log(5, 0);
	assert_non_null(strstr(found.text, "\"name\":null,\"invalid\":true,"));
	assert_null(strstr(found.text, "this one"));
	assert_non_null(strstr(found.text, "\"name\":\"nobody/waits\",\"token\""));
	assert_non_null(strstr(found.text, nulls));
	assert_non_null(strstr(found.text, "\\u000a...\""));
	assert_non_null(strstr(found.text, "\"name\":\"a\\\",\\\"result\\\":\\\"ok\\u000a{\\\"\\u001b[2J\""));
}

/* One record at a time costs one write and one sync each; many at once share them. */
static void test_group_commit(void **state)
{
	enum { ALONE = 20, TOGETHER = 1000 };
	static struct answer answers[TOGETHER];
	struct audit *audit = open_audit();

	(void)state;
	for (unsigned i = 0; i < ALONE; i++)
		assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(disk.writes, ALONE);
	assert_int_equal(disk.syncs, ALONE);
	disk.hangs = true; /* for as long as it takes to queue them */
	for (unsigned i = 0; i < TOGETHER; i++)
		ask(audit, &answers[i], "host");
	disk.hangs = false;
	for (unsigned i = 0; i < TOGETHER; i++)
		run_until(&answers[i]);
	assert_true(disk.syncs <= ALONE + 10);
	audit_free(audit);
	read_log();
	assert_int_equal(found.faults, 0);
}

static void test_goes_on(void **state)
{
	struct audit *audit;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		audit = open_audit();
		assert_int_equal(audit_count(audit), 2 * i);
		assert_int_equal(ask_and_wait(audit), OK);
		assert_int_equal(ask_and_wait(audit), OK);
		audit_free(audit);
	}
	assert_log(6, 0);
}

/* Queued, then freed at once: written and answered all the same. */
static void test_free_writes(void **state)
{
	struct audit *audit = open_audit();
	struct answer answers[50];

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		ask(audit, &answers[i], "host");
	audit_free(audit);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(answers[i].calls, 1);
		assert_int_equal(answers[i].err, OK);
	}
	assert_log(50, 0);
}

static void test_forget(void **state)
{
	struct audit *audit = open_audit();
	struct answer kept, gone;

	(void)state;
	disk.hangs = true;
	ask(audit, &gone, "gone");
	ask(audit, &kept, "kept");
	audit_forget(audit, &gone);
	disk.hangs = false;
	run_until(&kept);
	assert_int_equal(gone.calls, 0);
	audit_free(audit);
	assert_log(2, 0);
}

/* A callback that forgets its neighbour and queues another record. */
struct chain_answer {
	struct audit *audit;
	struct answer *neighbour, *next;
};

static void on_done_again(void *context, enum err err)
{
	struct chain_answer *answer = context;

	assert_int_equal(err, OK);
	audit_forget(answer->audit, answer->neighbour);
	ask(answer->audit, answer->next, "next");
}

static void test_callback_calls(void **state)
{
	struct audit *audit = open_audit();
	struct answer neighbour, next = { 0 };
	struct chain_answer answer = { audit, &neighbour, &next };
	struct audit_record record = { .frontend = "age", .operation = "unwrap" };

	(void)state;
	disk.hangs = true;
	assert_int_equal(audit_write(audit, &record, on_done_again, &answer), OK);
	ask(audit, &neighbour, "neighbour");
	disk.hangs = false;
	run_until(&next);
	assert_int_equal(neighbour.calls, 0);
	audit_free(audit);
	assert_log(3, 0);
}

static void test_queue_full(void **state)
{
	static struct answer answers[AUDIT_QUEUE_MAX];
	struct audit_record record = { .frontend = "age", .operation = "unwrap" };
	struct audit *audit = open_audit();
	struct answer refused = { 0 };

	(void)state;
	disk.hangs = true;
	for (unsigned i = 0; i < AUDIT_QUEUE_MAX; i++)
		ask(audit, &answers[i], "host");
	assert_int_equal(audit_write(audit, &record, on_done, &refused), ERR_BUSY);
	disk.hangs = false;
	for (unsigned i = 0; i < AUDIT_QUEUE_MAX; i++)
		run_until(&answers[i]);
	assert_int_equal(refused.calls, 0);
	audit_free(audit);
	read_log();
	assert_int_equal(found.faults, 0);
}

/* Refusals beyond the measure: one record tells of all of them, after a second or at the end, and releases are not of their number. */
static void test_refusals_summed(void **state)
{
	struct audit *audit = open_audit();
	unsigned admitted = 0;

	(void)state;
	for (unsigned i = 0; i < 10000; i++)
		admitted += audit_admits_refusal(audit, 1000);
	assert_in_range(admitted, REFUSALS_BURST, REFUSALS_BURST + 2 * REFUSALS_PER_SECOND);
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(audit_count(audit), 1);
	while (audit_count(audit) < 2)
		assert_true(sd_event_run(event, 10000000) > 0);
	for (unsigned i = 0; i < 1000; i++)
		admitted += audit_admits_refusal(audit, 1001);
	audit_free(audit);
	assert_log(3, 2);
	assert_non_null(strstr(found.text, "\"operation\":\"refusals\",\"uid\":1000,\"count\":99"));
	assert_non_null(strstr(found.text, "\"operation\":\"refusals\",\"uid\":1001,\"count\":9"));
}

/* The loop has ended: what is recorded then is written all the same. */
static void test_after_the_loop(void **state)
{
	struct audit *audit = open_audit();
	struct answer answer;

	(void)state;
	assert_int_equal(sd_event_exit(event, 0), 0);
	assert_int_equal(sd_event_loop(event), 0);
	ask(audit, &answer, "host");
	audit_free(audit);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.err, OK);
	assert_log(1, 0);
}

/* ---- what is foreseen ---- */

/* The writer has time for it before whatever comes next. */
static void foresee(struct audit *audit, const char *name, unsigned wait_us)
{
	const struct audit_record record = record_for(name);

	audit_foresee(audit, &record);
	(void)usleep(wait_us);
}

/* However far it got when the record came: one sync, one line, which is there when the answer leaves. */
static void test_foreseen(void **state)
{
	static const unsigned waits[] = { 0, 20, 50, 100, 200, 5000, 0, 20 };
	struct audit *audit = open_audit();
	struct answer answer;

	(void)state;
	for (unsigned i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		foresee(audit, "host", waits[i]);
		ask(audit, &answer, "host");
		run_until(&answer);
		assert_int_equal(answer.err, OK);
		assert_int_equal(disk.syncs, i + 1);
		assert_log(i + 1, 0);
	}
	assert_int_equal(audit_count(audit), sizeof(waits) / sizeof(waits[0]));
	audit_free(audit);
	assert_log(sizeof(waits) / sizeof(waits[0]), 0);
}

/* What did not come true is nowhere, not even after a power failure, and is not tried again until it would have. */
static void test_foreseen_wrongly(void **state)
{
	static const unsigned waits[] = { 0, 50, 100, 5000 };
	struct audit *audit;
	struct answer answer;

	(void)state;
	for (unsigned i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		begin_anew();
		audit = open_audit();
		foresee(audit, "host", waits[i]);
		ask(audit, &answer, "other");
		run_until(&answer);
		assert_int_equal(answer.err, OK);
		assert_log(1, 0);
		assert_null(strstr(found.text, "\"host\""));
		disk.syncs = 0;
		foresee(audit, "host", 5000);
		assert_int_equal(disk.syncs, 0);
		ask(audit, &answer, "host");
		run_until(&answer);
		assert_log(2, 0);
		foresee(audit, "host", 5000);
		wait_for_syncs(2);
		audit_unforesee(audit);
		audit_free(audit);
		assert_log(2, 0);
	}
}

/* Both files as a power failure leaves them while the daemon runs, opened as the next start does it. */
static void assert_after_power_failure(unsigned lines)
{
	char command[512];
	int running = directory_fd;
	struct audit *again;

	(void)snprintf(command, sizeof(command), "mkdir %s/copy && cp -p %s/audit.* %s/copy", directory,
	               directory, directory);
	assert_int_equal(system(command), 0);
	directory_fd = openat(running, "copy", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(audit_new(event, directory_fd, &again), OK);
	audit_free(again);
	read_log();
	assert_int_equal(found.faults, 0);
	assert_int_equal(found.lines - found.notes, lines);
	(void)close(directory_fd);
	directory_fd = running;
	(void)snprintf(command, sizeof(command), "rm -rf %s/copy", directory);
	assert_int_equal(system(command), 0);
}

static void test_foreseen_and_power_failure(void **state)
{
	struct audit *audit = open_audit();
	struct answer answer;

	(void)state;
	assert_int_equal(ask_and_wait(audit), OK);
	foresee(audit, "host", 5000);
	/* The control: what is durable ahead of the log would be found. */
	assert_after_power_failure(2);
	audit_unforesee(audit);
	(void)usleep(5000);
	assert_after_power_failure(1);
	ask(audit, &answer, "host");
	run_until(&answer);
	assert_after_power_failure(2);
	audit_free(audit);
	assert_log(2, 0);
}

/* A disk that refuses what is foreseen refuses nothing yet; one that refuses the log does; each recovers. */
static void test_foreseen_on_bad_disks(void **state)
{
	struct audit *audit = open_audit();
	struct answer answer;

	(void)state;
	disk.sync_errno = EIO;
	foresee(audit, "host", 5000);
	disk.sync_errno = 0;
	ask(audit, &answer, "host");
	run_until(&answer);
	assert_int_equal(answer.err, OK);
	foresee(audit, "host", 0);
	ask(audit, &answer, "host");
	run_until(&answer);
	foresee(audit, "host", 5000);
	disk.write_errno = ENOSPC;
	ask(audit, &answer, "host");
	run_until(&answer);
	assert_int_equal(answer.err, ERR_AUDIT);
	assert_false(audit_works(audit));
	disk_reset();
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
	assert_log(4, 1);
}

static void test_foreseen_hangs(void **state)
{
	struct audit *audit = open_short_audit();
	struct answer answer;

	(void)state;
	disk.hangs = true;
	foresee(audit, "host", 1000);
	assert_int_equal(ask_and_wait(audit), ERR_AUDIT);
	assert_int_equal(ask_and_wait(audit), ERR_AUDIT);
	disk.hangs = false;
	(void)usleep(5000);
	ask(audit, &answer, "host");
	run_until(&answer);
	assert_int_equal(answer.err, OK);
	audit_free(audit);
	/* The one that was late, a note that it was withheld, the one that was lost, and the last. */
	read_log();
	assert_int_equal(found.faults, 0);
	assert_int_equal(found.lines - found.notes, 2);
	assert_non_null(strstr(found.text, "\"withheld\""));
}

/* ---- a disk that is not well ---- */

static const struct {
	const char *name;
	int write_errno, sync_errno, cut_errno, short_write;
} failures[] = {
	{ "full", ENOSPC, 0, 0, 0 },
	{ "full in the middle of a line", ENOSPC, 0, 0, 100 },
	{ "full, and cannot be cut back", ENOSPC, 0, EIO, 100 },
	{ "broken at the write", EIO, 0, 0, 0 },
	{ "broken at the sync", 0, EIO, 0, 0 },
	{ "broken at the sync, and cannot be cut back", 0, EIO, EIO, 0 },
	{ "read-only", EROFS, 0, EROFS, 0 },
	{ "over quota", EDQUOT, 0, 0, 1 },
};

/* Well, ill for three records, well again: five acknowledged records in a whole chain, and a note of the three. */
static void test_failures(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		struct audit *audit = open_audit();

		assert_int_equal(ask_and_wait(audit), OK);
		assert_int_equal(ask_and_wait(audit), OK);
		disk.write_errno = failures[i].write_errno;
		disk.sync_errno = failures[i].sync_errno;
		disk.cut_errno = failures[i].cut_errno;
		for (unsigned n = 0; n < 3; n++) {
			disk.short_write = failures[i].short_write;
			if (ask_and_wait(audit) != ERR_AUDIT)
				fail_msg("%s", failures[i].name);
			assert_false(audit_works(audit));
			assert_int_equal(audit_count(audit), 2);
		}
		disk_reset();
		for (unsigned n = 0; n < 3; n++)
			assert_int_equal(ask_and_wait(audit), OK);
		assert_true(audit_works(audit));
		assert_int_equal(audit_count(audit), 6);
		audit_free(audit);
		assert_log(6, 1);
		assert_non_null(
		        strstr(found.text, "\"operation\":\"lost\",\"records\":3,\"result\":\"audit\""));
		begin_anew();
	}
}

/* What was cut off may be on the disk still, and must not come back in the place of what is written next: nothing is, ahead or in the log, until the cut was synced. */
static void test_cut_off_for_good(void **state)
{
	struct audit *audit = open_audit();

	(void)state;
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(disk.log_syncs, 0);
	disk.short_write = 100;
	disk.write_errno = ENOSPC;
	disk.sync_errno = EIO;
	assert_int_equal(ask_and_wait(audit), ERR_AUDIT);
	disk_reset();
	disk.sync_errno = EIO;
	assert_int_equal(ask_and_wait(audit), ERR_AUDIT);
	assert_int_equal(disk.log_syncs, disk.syncs);
	/* After a sync that failed the log is written again from what is ahead: the first record, and no other. */
	assert_log(1, 0);
	disk_reset();
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(disk.log_syncs, 1);
	foresee(audit, "host", 5000);
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(disk.log_syncs, 1);
	audit_free(audit);
	assert_log(4, 1);
}

/* What a system leaves of a group that it had no time to write: zeros, at its end or in the middle. Nothing is known of where the durable part ended, for the second file is new. */
static void test_zeros(void **state)
{
	static const uint8_t zeros[600];

	(void)state;
	for (unsigned behind = 0; behind < 2; behind++) {
		struct audit *audit = open_audit();
		int fd = openat(directory_fd, AUDIT_FILE_NAME, O_WRONLY | O_APPEND | O_CLOEXEC);
		char last[AUDIT_LINE_MAX];
		size_t len;

		assert_int_equal(ask_and_wait(audit), OK);
		assert_int_equal(ask_and_wait(audit), OK);
		audit_free(audit);
		read_log();
		len = strlen(strchr(found.text, '\n') + 1);
		memcpy(last, strchr(found.text, '\n') + 1, len);
		assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
		if (behind)
			assert_int_equal(write(fd, last, len), (ssize_t)len);
		(void)close(fd);
		assert_int_equal(unlinkat(directory_fd, AUDIT_AHEAD_NAME, 0), 0);
		audit = open_audit();
		assert_int_equal(audit_count(audit), 2);
		assert_int_equal(ask_and_wait(audit), OK);
		audit_free(audit);
		assert_log(4, 1);
		assert_non_null(strstr(found.text, behind ? "\"operation\":\"cut\",\"bytes\":9"
		                                          : "\"operation\":\"cut\",\"bytes\":600,"));
		begin_anew();
	}
}

/* The power goes while the file could not be cut back: the next start cuts it. */
static void test_failure_then_end(void **state)
{
	struct audit *audit = open_audit();

	(void)state;
	assert_int_equal(ask_and_wait(audit), OK);
	disk.write_errno = ENOSPC;
	disk.cut_errno = EIO;
	disk.short_write = 100;
	assert_int_equal(ask_and_wait(audit), ERR_AUDIT);
	audit_free(audit);
	read_log();
	assert_true(found.torn); /* the control: there was something to cut */
	audit = open_audit();
	assert_int_equal(audit_count(audit), 1);
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
	assert_log(3, 1);
	assert_non_null(strstr(found.text, "\"operation\":\"cut\",\"bytes\":100,"));
}

/* How long tokend itself waits. */
static void test_deadline(void **state)
{
	struct audit *audit;
	struct answer answer;

	(void)state;
	audit = open_audit_that_waits(AUDIT_WAIT_US);
	disk.hangs = true;
	ask(audit, &answer, "host");
	run_until(&answer);
	assert_int_equal(answer.err, ERR_AUDIT);
	assert_true(answer.answered_ms - answer.asked_ms >= 80);
	assert_true(answer.answered_ms - answer.asked_ms <= AUDIT_DEADLINE_MS + SLACK_MS);
	disk.hangs = false;
	audit_free(audit);
}

static void test_hang(void **state)
{
	struct audit *audit = open_short_audit();
	struct answer first, second, third;

	(void)state;
	assert_int_equal(ask_and_wait(audit), OK);
	disk.hangs = true;
	ask(audit, &first, "held by the writer");
	wait_for_syncs(2);
	ask(audit, &second, "still queued");
	run_until(&first);
	run_until(&second);
	assert_int_equal(first.err, ERR_AUDIT);
	assert_int_equal(second.err, ERR_AUDIT);
	assert_true(first.answered_ms - first.asked_ms >= SHORT_MS - 10);
	assert_true(first.answered_ms - first.asked_ms <= SHORT_MS + SLACK_MS);
	assert_true(second.answered_ms - second.asked_ms <= SHORT_MS + SLACK_MS);
	assert_false(audit_works(audit));
	ask(audit, &third, "queued while it hangs, in time");
	disk.hangs = false;
	run_until(&third);
	assert_int_equal(third.err, OK);
	assert_true(audit_works(audit));
	assert_int_equal(first.calls, 1); /* and not again when the writer came back */
	audit_free(audit);
	/* 1, the withheld one, two notes, the third */
	assert_log(5, 2);
	assert_non_null(strstr(found.text, "\"operation\":\"lost\",\"records\":1,"));
	assert_non_null(strstr(found.text, "\"operation\":\"withheld\",\"first\":2,\"last\":2,"));
	assert_null(strstr(found.text, "still queued"));
}

/* The note does not wait for another record: it is written at the end at the latest. */
static void test_hang_then_free(void **state)
{
	struct audit *audit = open_short_audit();
	struct answer answer;

	(void)state;
	disk.hangs = true;
	ask(audit, &answer, "host");
	run_until(&answer);
	assert_int_equal(answer.err, ERR_AUDIT);
	disk.hangs = false;
	audit_free(audit);
	read_log();
	assert_int_equal(found.faults, 0);
	assert_non_null(strstr(found.text, "\"operation\":\"withheld\",\"first\":1,\"last\":1,"));
}

static void test_free_while_it_hangs(void **state)
{
	struct audit *audit = open_audit_that_waits(AUDIT_WAIT_US);
	struct answer first, second;
	uint64_t before;

	(void)state;
	disk.hangs = true;
	ask(audit, &first, "held");
	wait_for_syncs(1);
	ask(audit, &second, "queued");
	before = now_ms();
	audit_free(audit);
	assert_true(now_ms() - before <= AUDIT_DEADLINE_MS + SLACK_MS);
	assert_int_equal(first.calls, 1);
	assert_int_equal(first.err, ERR_AUDIT);
	assert_int_equal(second.calls, 1);
	assert_int_equal(second.err, ERR_AUDIT);
	disk.hangs = false; /* the writer wakes and frees what was left to it; the leak checker would know */
	(void)usleep(200000);
}

/* Nothing to do: nothing wakes the loop. */
static void test_idle(void **state)
{
	struct audit *audit = open_short_audit();

	(void)state;
	assert_int_equal(ask_and_wait(audit), OK);
	while (sd_event_run(event, SHORT_MS * 1300ULL) > 0)
		; /* the timer, once */
	assert_int_equal(sd_event_run(event, 300000), 0);
	audit_free(audit);
}

/* ---- what stands there at the start ---- */

static void write_two(void)
{
	struct audit *audit = open_audit();

	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
}

static void test_torn_tails(void **state)
{
	static char zeros[100000];
	const struct {
		const char *text;
		size_t len;
	} tails[] = {
		{ "{", 1 },
		{ "{\"time\":\"2025", 13 },
		{ zeros, 1 },
		{ zeros, sizeof(zeros) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		struct audit *audit;

		write_two();
		append(tails[i].text, tails[i].len);
		audit = open_audit();
		assert_int_equal(audit_count(audit), 2);
		assert_int_equal(ask_and_wait(audit), OK);
		audit_free(audit);
		assert_log(4, 1);
		begin_anew();
	}
}

static void test_torn_first_line(void **state)
{
	struct audit *audit = open_audit();

	(void)state;
	audit_free(audit);
	append("{\"time\":", 8);
	audit = open_audit();
	assert_int_equal(audit_count(audit), 0);
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
	assert_log(2, 1);
}

/* A line that was changed by hand is not cut off: it is evidence. The chain goes on behind it, and who verifies the log is told. */
static void test_changed_last_line(void **state)
{
	struct audit *audit;
	int fd;

	(void)state;
	write_two();
	read_log();
	fd = openat(directory_fd, AUDIT_FILE_NAME, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)strlen(found.text) - 2), 1);
	(void)close(fd);
	audit = open_audit();
	assert_int_equal(audit_count(audit), 2);
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
	read_log();
	/* Noticed at the start, and said in the log. */
	assert_int_equal(found.lines, 4);
	assert_int_equal(found.faults, 1);
	assert_int_equal(found.chain.sequence, 4);
	assert_non_null(strstr(found.text, "\"operation\":\"replaced\",\"known\":2,\"result\":\"audit\""));
}

/* A log that is not the one of before says so, whole as it is; one that is says nothing. */
static void test_replaced_meanwhile(void **state)
{
	static const char said[] = "\"operation\":\"replaced\",\"known\":2,";

	(void)state;
	write_two();
	assert_int_equal(unlinkat(directory_fd, AUDIT_FILE_NAME, 0), 0);
	write_two();
	assert_log(3, 1);
	assert_non_null(strstr(found.text, said));
	write_two();
	assert_log(5, 1);
}

/* ---- the memo of its head ---- */

static int memo_fd = -1;

/* Writes so many records, with the memo. */
static void write_with_memo(unsigned records, const char *of)
{
	struct audit *audit = open_audit();

	audit_use_memo(audit, memo_fd, of);
	for (unsigned i = 0; i < records; i++)
		assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
}

/* All that is in the state directory. */
static void copy_state(const char *from, const char *to)
{
	char command[512];

	(void)snprintf(command, sizeof(command), "mkdir -p %s/%s && cp -p %s/%s/audit.* %s/%s", directory, to,
	               directory, from, directory, to);
	assert_int_equal(system(command), 0);
}

/* The next start writes one record more. With the note that record known is missing, or, known 0, with none. */
static void assert_noticed(unsigned long long known)
{
	char said[64];

	write_with_memo(1, directory);
	read_log();
	assert_int_equal(found.faults, 0);
	(void)snprintf(said, sizeof(said), "\"operation\":\"replaced\",\"known\":%llu,\"hash\":\"", known);
	if (known)
		assert_non_null(strstr(found.text, said));
	else
		assert_null(strstr(found.text, "\"replaced\""));
}

static void begin_with_memo(void)
{
	begin_anew();
	if (memo_fd < 0)
		memo_fd = memfd_create("memo", MFD_CLOEXEC);
	assert_int_equal(ftruncate(memo_fd, 0), 0);
	write_with_memo(3, directory);
	copy_state(".", "copy");
}

static void read_memo(char text[static AUDIT_MEMO_LEN])
{
	assert_int_equal(pread(memo_fd, text, AUDIT_MEMO_LEN, 0), AUDIT_MEMO_LEN);
}

static void write_memo(const char text[static AUDIT_MEMO_LEN])
{
	assert_int_equal(pwrite(memo_fd, text, AUDIT_MEMO_LEN, 0), AUDIT_MEMO_LEN);
}

/* All of the state, put back whole: nothing in it tells. Once it was said, it is not said again. */
static void test_put_back(void **state)
{
	(void)state;
	begin_with_memo();
	write_with_memo(2, directory);
	copy_state("copy", ".");
	assert_noticed(5);
	assert_log(5, 1);
	write_with_memo(1, directory);
	assert_log(6, 1);
	/* The control: nobody was there. */
	begin_with_memo();
	assert_noticed(0);
}

/* As long as it was, with other records; and longer. */
static void test_put_back_and_gone_on(void **state)
{
	static const unsigned more[] = { 1, 2, 400 };

	(void)state;
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		char memo[AUDIT_MEMO_LEN];

		begin_with_memo();
		write_with_memo(1, directory);
		read_memo(memo);
		copy_state("copy", ".");
		write_with_memo(more[i] - 1, "/elsewhere");
		write_with_memo(1, "/elsewhere");
		write_memo(memo);
		assert_noticed(4);
	}
}

/* The broker was killed behind the log's write, once or long ago: the log has what the memo says, and more. */
static void test_memo_behind(void **state)
{
	static const unsigned more[] = { 1, 300, 2000 };

	(void)state;
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		char memo[AUDIT_MEMO_LEN];

		begin_with_memo();
		read_memo(memo);
		write_with_memo(more[i], directory);
		write_memo(memo);
		assert_noticed(0);
	}
}

/* One that is torn, of another state directory, or not there says nothing. */
static void test_no_memo(void **state)
{
	char memo[AUDIT_MEMO_LEN];

	(void)state;
	begin_with_memo();
	write_with_memo(2, "/elsewhere");
	copy_state("copy", ".");
	assert_noticed(0);
	begin_with_memo();
	write_with_memo(2, directory);
	read_memo(memo);
	memo[60] = (char)(memo[60] ^ 1);
	write_memo(memo);
	copy_state("copy", ".");
	assert_noticed(0);
	begin_with_memo();
	write_with_memo(2, directory);
	assert_int_equal(ftruncate(memo_fd, 0), 0);
	copy_state("copy", ".");
	assert_noticed(0);
}

/* A memo that cannot be written refuses nothing. */
static void test_memo_fails(void **state)
{
	int null = open("/dev/full", O_RDWR | O_CLOEXEC), good = memo_fd;

	(void)state;
	begin_anew();
	memo_fd = null;
	write_with_memo(2, directory);
	memo_fd = good;
	(void)close(null);
	assert_log(2, 0);
}

/* ---- a new log that goes on from the old one ---- */

static enum err rotate(struct audit *audit)
{
	struct answer answer = { .asked_ms = now_ms() };
	enum err err = audit_rotate(audit, on_done, &answer);

	if (err)
		return err;
	assert_int_equal(answer.calls, 0);
	run_until(&answer);
	return answer.err;
}

static bool is_there(const char *name)
{
	return faccessat(directory_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* All logs in their order are one chain; how many records there are, without those of the log itself. */
static unsigned assert_one_chain(void)
{
	char command[256];
	unsigned records;

	(void)snprintf(command, sizeof(command),
	               "cd %s && cp -p audit.log kept && cat audit.log.0* kept >audit.log", directory);
	assert_int_equal(system(command), 0);
	read_log();
	assert_int_equal(found.faults, 0);
	assert_false(found.torn);
	records = found.lines - found.notes;
	(void)snprintf(command, sizeof(command), "cd %s && mv kept audit.log", directory);
	assert_int_equal(system(command), 0);
	return records;
}

static void test_rotation(void **state)
{
	struct audit *audit = open_audit();
	struct stat st;

	(void)state;
	assert_int_equal(rotate(audit), ERR_AUDIT); /* nothing to go on from */
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(rotate(audit), OK);
	assert_int_equal(audit_goes_on_from(audit), 2);
	assert_int_equal(audit_count(audit), 3);
	assert_true(is_there("audit.log.000000000002"));
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(rotate(audit), OK);
	assert_int_equal(rotate(audit), OK);
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
	assert_true(is_there("audit.log.000000000004") && is_there("audit.log.000000000005"));
	assert_int_equal(fstatat(directory_fd, AUDIT_FILE_NAME, &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(assert_one_chain(), 4);
	/* The next start goes on, and takes it for no other log. */
	audit = open_audit();
	assert_int_equal(audit_goes_on_from(audit), 5);
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
	assert_int_equal(assert_one_chain(), 5);
	read_log();
	assert_null(strstr(found.text, "\"replaced\""));
}

/* Between groups, with what is foreseen and what is queued meanwhile, and one at a time. */
static void test_rotation_in_between(void **state)
{
	struct audit *audit = open_audit();
	struct answer before, after, rotated = { 0 };

	(void)state;
	assert_int_equal(ask_and_wait(audit), OK);
	foresee(audit, "host", 5000);
	assert_int_equal(rotate(audit), OK);
	ask(audit, &after, "host");
	run_until(&after);
	assert_int_equal(after.err, OK);
	disk.hangs = true;
	ask(audit, &before, "before");
	(void)usleep(5000);
	assert_int_equal(audit_rotate(audit, on_done, &rotated), OK);
	ask(audit, &after, "after");
	assert_int_equal(audit_rotate(audit, NULL, NULL), ERR_BUSY);
	disk.hangs = false;
	run_until(&after);
	run_until(&rotated);
	assert_int_equal(before.err | rotated.err | after.err, OK);
	/* Asked for, and not waited for. */
	assert_int_equal(audit_rotate(audit, on_done, &rotated), OK);
	rotated.calls = 0;
	audit_free(audit);
	assert_int_equal(rotated.calls, 1);
	assert_int_equal(assert_one_chain(), 4);
}

/* What follows the new log's first record is durable ahead of it, as with any log. */
static void test_rotation_and_power_failure(void **state)
{
	struct audit *audit = open_audit();
	char command[256], *end;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(rotate(audit), OK);
	assert_after_power_failure(0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ask_and_wait(audit), OK);
	(void)snprintf(command, sizeof(command), "cp -p %s/audit.ahead %s/kept", directory, directory);
	assert_int_equal(system(command), 0);
	audit_free(audit);
	(void)snprintf(command, sizeof(command), "mv %s/kept %s/audit.ahead", directory, directory);
	assert_int_equal(system(command), 0);
	read_log();
	end = strchr(found.text, '\n');
	(void)snprintf(command, sizeof(command), "%s/audit.log", directory);
	assert_int_equal(truncate(command, end + 1 - found.text), 0);
	audit = open_audit();
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
	assert_int_equal(assert_one_chain(), 7);
	read_log();
	assert_null(strstr(found.text, "\"replaced\""));
	assert_non_null(strstr(found.text, "\"restored\""));
}

/* The old log goes on. */
static void test_rotation_fails(void **state)
{
	struct audit *audit = open_audit();
	int fd;

	(void)state;
	assert_int_equal(ask_and_wait(audit), OK);
	disk.sync_errno = EIO;
	assert_int_equal(rotate(audit), ERR_AUDIT);
	disk.sync_errno = 0;
	/* The system thinks that it wrote what the failed sync was for: it is written once more from what is ahead. */
	disk.cuts = 0;
	assert_int_equal(ask_and_wait(audit), OK);
	assert_true(disk.cuts > 0);
	fd = openat(directory_fd, "audit.log.000000000002", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	(void)close(fd);
	assert_int_equal(rotate(audit), ERR_EXISTS);
	assert_false(is_there("audit.log.next"));
	assert_int_equal(ask_and_wait(audit), OK);
	assert_true(audit_works(audit));
	assert_int_equal(unlinkat(directory_fd, "audit.log.000000000002", 0), 0);
	assert_int_equal(audit_goes_on_from(audit), 0);
	assert_int_equal(rotate(audit), OK);
	audit_free(audit);
	assert_int_equal(assert_one_chain(), 3);
	read_log();
	assert_null(strstr(found.text, "\"replaced\""));
}

/* Killed before the rename, with both names that it leaves. */
static void test_rotation_left_over(void **state)
{
	int fd;

	(void)state;
	write_two();
	fd = openat(directory_fd, "audit.log.next", O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	(void)close(fd);
	assert_int_equal(linkat(directory_fd, AUDIT_FILE_NAME, directory_fd, "audit.log.000000000002", 0), 0);
	write_two();
	assert_false(is_there("audit.log.next") || is_there("audit.log.000000000002"));
	assert_log(4, 0);
}

/* Killed behind the rename, before the memo was written; and a memo that is older than the log. */
static void test_rotation_and_memo(void **state)
{
	char memo[2][AUDIT_MEMO_LEN];
	struct audit *audit;

	(void)state;
	begin_with_memo();
	read_memo(memo[0]);
	audit = open_audit();
	audit_use_memo(audit, memo_fd, directory);
	assert_int_equal(ask_and_wait(audit), OK);
	read_memo(memo[1]);
	assert_int_equal(rotate(audit), OK);
	audit_free(audit);
	for (size_t i = 0; i < 2; i++) {
		write_memo(memo[i]);
		assert_noticed(0);
	}
	/* The control: the end of the old log was another. */
	write_with_memo(1, directory);
	read_memo(memo[0]);
	write_with_memo(1, "/elsewhere");
	begin_anew();
	write_with_memo(9, "/elsewhere");
	write_memo(memo[0]);
	assert_noticed(8);
}

static void assert_refused(enum err expected)
{
	struct audit *audit;

	assert_int_equal(audit_new(event, directory_fd, &audit), expected);
}

/* Moved away, as for another log to begin, or replaced, as editors do it: what came after would be in no log. */
static void test_moved_away(void **state)
{
	struct audit *audit = open_audit();
	int fd;

	(void)state;
	assert_int_equal(ask_and_wait(audit), OK);
	assert_int_equal(renameat(directory_fd, AUDIT_FILE_NAME, directory_fd, "elsewhere"), 0);
	assert_int_equal(ask_and_wait(audit), ERR_AUDIT);
	assert_false(audit_works(audit));
	fd = openat(directory_fd, AUDIT_FILE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(ask_and_wait(audit), ERR_AUDIT);
	assert_int_equal(renameat(directory_fd, "elsewhere", directory_fd, AUDIT_FILE_NAME), 0);
	assert_int_equal(ask_and_wait(audit), OK);
	assert_true(audit_works(audit));
	audit_free(audit);
	/* Two releases, and a note of the two that were refused. */
	assert_log(3, 1);
	assert_non_null(strstr(found.text, "\"operation\":\"lost\",\"records\":2,"));
}

static void test_refused_files(void **state)
{
	static char garbage[2 << 20];
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/%s", directory, AUDIT_FILE_NAME);
	assert_int_equal(symlink("elsewhere", path), 0);
	assert_refused(ERR_STATE_DIR);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0640), 0);
	assert_refused(ERR_STATE_DIR);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(ERR_STATE_DIR);
	assert_int_equal(rmdir(path), 0);
	write_two();
	assert_int_equal(chmod(path, 0660), 0);
	assert_refused(ERR_STATE_DIR);
	assert_int_equal(chmod(path, 0644), 0);
	assert_refused(ERR_STATE_DIR);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(linkat(directory_fd, AUDIT_FILE_NAME, directory_fd, "second", 0), 0);
	assert_refused(ERR_STATE_DIR);
	assert_int_equal(unlinkat(directory_fd, "second", 0), 0);
	memset(garbage, 'x', sizeof(garbage));
	append(garbage,
	       sizeof(garbage)); /* longer than any unfinished group: nothing of ours, so nothing to cut */
	assert_refused(ERR_STATE_DIR);
	read_log();
	assert_int_equal(found.lines, 2);
	assert_int_equal(unlink(path), 0);
	write_two();
	append("\n", 1);
	assert_int_equal(truncate(path, 0), 0);
	append("nonsense\n", 9);
	assert_refused(ERR_STATE_DIR);
}

static void test_two_writers(void **state)
{
	struct audit *audit = open_audit();

	(void)state;
	assert_refused(ERR_BUSY);
	audit_free(audit);
	audit = open_audit();
	audit_free(audit);
}

/* ---- a disk that is really full ---- */

static int fill_and_recover(void)
{
	struct audit *audit = open_audit();
	unsigned written = 0;
	int fd;

	while (ask_and_wait(audit) == OK)
		written++;
	assert_true(written > 50);
	assert_int_equal(ask_and_wait(audit), ERR_AUDIT);
	fd = openat(directory_fd, "ballast", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0), 0);
	(void)close(fd);
	assert_int_equal(ask_and_wait(audit), OK);
	audit_free(audit);
	assert_log(written + 2, 1);
	return 0;
}

static void test_full_disk(void **state)
{
	static char ballast[32768];
	int fd;

	(void)state;
	if (mount("tokend-test", directory, "tmpfs", MS_NOSUID, "size=128k,mode=0700") < 0) {
		print_message("no mount permitted: a full disk was only played\n");
		return;
	}
	(void)close(directory_fd);
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(directory_fd, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, ballast, sizeof(ballast)), sizeof(ballast));
	(void)close(fd);
	assert_int_equal(fill_and_recover(), 0);
	(void)close(directory_fd);
	assert_int_equal(umount2(directory, MNT_DETACH), 0);
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- what it costs ---- */

static unsigned running, late;

struct client {
	struct audit *audit;
	unsigned left;
};

static void on_client(void *context, enum err err)
{
	struct client *client = context;
	struct peer peer = { .uid = 1000, .gid = 100, .pid = 7 };
	struct audit_record record = { .frontend = "age",
		                       .operation = "unwrap",
		                       .peer = &peer,
		                       .key_name = "repo/prod",
		                       .token_uri = "tpm:device:/dev/tpmrm0",
		                       .rule = "10-default.conf:3" };

	late += err != OK; /* the disk of a busy machine may well take longer */
	if (client->left-- == 0) {
		running--;
		return;
	}
	assert_int_equal(audit_write(client->audit, &record, on_client, client), OK);
}

static void measure(unsigned client_count)
{
	const unsigned rounds = getenv("TOKEND_BENCH") ? 20000 / client_count + 1000 : 20;
	struct client clients[64];
	struct audit *audit = open_audit_that_waits(AUDIT_WAIT_US);
	uint64_t start = now_ms(), took;

	disk.real = true;
	running = client_count;
	late = 0;
	for (unsigned i = 0; i < client_count; i++) {
		clients[i] = (struct client){ audit, rounds };
		on_client(&clients[i], OK);
	}
	while (running > 0)
		assert_true(sd_event_run(event, 10000000) > 0);
	took = now_ms() - start;
	print_message("%u at a time: %.0f records a second, %.1f records a sync, %u too late\n", client_count,
	              1e3 * client_count * rounds / (double)(took ? took : 1),
	              (double)client_count * rounds / disk.syncs, late);
	audit_free(audit);
}

static void test_cost(void **state)
{
	(void)state;
	measure(1);
	measure(16);
	measure(64);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_record),
		TEST(test_empty_and_hostile),
		TEST(test_group_commit),
		TEST(test_goes_on),
		TEST(test_free_writes),
		TEST(test_forget),
		TEST(test_callback_calls),
		TEST(test_queue_full),
		TEST(test_refusals_summed),
		TEST(test_after_the_loop),
		TEST(test_failures),
		TEST(test_cut_off_for_good),
		TEST(test_zeros),
		TEST(test_failure_then_end),
		TEST(test_deadline),
		TEST(test_hang),
		TEST(test_hang_then_free),
		TEST(test_free_while_it_hangs),
		TEST(test_idle),
		TEST(test_torn_tails),
		TEST(test_torn_first_line),
		TEST(test_changed_last_line),
		TEST(test_replaced_meanwhile),
		TEST(test_put_back),
		TEST(test_put_back_and_gone_on),
		TEST(test_memo_behind),
		TEST(test_no_memo),
		TEST(test_memo_fails),
		TEST(test_rotation),
		TEST(test_rotation_in_between),
		TEST(test_rotation_and_power_failure),
		TEST(test_rotation_fails),
		TEST(test_rotation_left_over),
		TEST(test_rotation_and_memo),
		TEST(test_moved_away),
		TEST(test_refused_files),
		TEST(test_two_writers),
		TEST(test_foreseen),
		TEST(test_foreseen_wrongly),
		TEST(test_foreseen_and_power_failure),
		TEST(test_foreseen_on_bad_disks),
		TEST(test_foreseen_hangs),
		TEST(test_full_disk),
		TEST(test_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
