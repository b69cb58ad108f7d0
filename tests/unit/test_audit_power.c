/*
 * The power fails, at any call of the disk: the audit log and what is written ahead of it over a modelled disk, which keeps of what was not synced whatever it likes, sector by sector and file by
 * file, loses what a failed sync was for, and fails as often as it is told to. Whatever was acknowledged before is in the log after the next start, once, and the log is whole. So is what the memo
 * of the log's head says, which here outlives the power failure: it is never ahead of the log, nor behind what was acknowledged.
 *
 * Files are real, and what the daemon reads of them is what it wrote; the model beside them knows what is on the platter. A schedule of records, foreseen or not, true or wrong, one or many at a
 * time, is drawn from a seed. The second file is small, so that it is full often. Half of the schedules are the same in each run, half are of a seed that is printed: of TOKEND_TEST_SEED, or a new one.
 * TOKEND_POWER_CUTS says how many schedules there are of either.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/audit_record.h"
#include "tokend/audit_ahead.h"
#include "tokend/audit_internal.h"
#include "tokend/audit_memo.h"

#define SECTOR 512U
#define FILE_MAX (96U << 10)
#define OPERATIONS_MAX 128U
#define RECORDS_MAX 40U /* of one life */
#define LIVES 3U /* from one power failure to the next, over the same files */
#define NOT_ASKED 9999U /* the number of a record that is foreseen and never comes */
#define AHEAD_LEN 1800U /* or, past the page cache, some blocks */
#define BLOCKS_LEN 8192U
#define PATIENCE_US (60ULL * 1000 * 1000)

/* ---- chance ---- */

/* Two threads draw: each has its own, so that neither is disturbed by when the other does. */
struct chance {
	uint64_t state;
};

static uint32_t draw(struct chance *chance, uint32_t below)
{
	chance->state = chance->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((chance->state >> 33) % below);
}

static bool one_in(struct chance *chance, uint32_t many)
{
	return many && draw(chance, many) == 0;
}

/* ---- the disk ---- */

struct change {
	bool cuts; /* ftruncate to offset */
	size_t offset, len;
	uint8_t *data;
};

struct image {
	size_t len;
	uint8_t bytes[FILE_MAX];
};

struct file {
	ino_t inode;
	struct image stable; /* on the platter for certain */
	struct change operations[OPERATIONS_MAX]; /* since then, in their order */
	size_t count;
	struct image after; /* what the power failure left */
};

static struct {
	pthread_mutex_t lock;
	struct chance chance;
	struct file files[2]; /* the log, the second file */
	unsigned calls, cut_at; /* the power fails before this call, */
	bool cut_at_sync; /* of those that sync the log, */
	bool cut_behind; /* or behind that one */
	uint32_t failing; /* one call in so many; 0: none */
	unsigned failed;
	bool dead; /* the power has failed: nothing matters any more */
	int memo; /* of the log's head; of memory */
	char memo_left[AUDIT_MEMO_LEN]; /* when the power failed */
} disk = { .lock = PTHREAD_MUTEX_INITIALIZER };

static atomic_bool acknowledged[LIVES * RECORDS_MAX];
static bool promised[LIVES * RECORDS_MAX]; /* acknowledged when the power failed */
static const char *const names[] = { AUDIT_FILE_NAME, AUDIT_AHEAD_NAME };

static struct file *file_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		abort();
	return st.st_ino == disk.files[0].inode ? &disk.files[0] : &disk.files[1];
}

static void apply(struct image *image, const struct change *operation)
{
	size_t end = operation->offset + operation->len;

	if (end > FILE_MAX)
		abort();
	if (operation->cuts) {
		if (operation->offset < image->len)
			memset(image->bytes + operation->offset, 0, image->len - operation->offset);
		image->len = operation->offset;
		return;
	}
	memcpy(image->bytes + operation->offset, operation->data, operation->len);
	if (end > image->len)
		image->len = end;
}

/* The last one as often as all others together. */
static size_t some_moment(const struct file *file)
{
	return one_in(&disk.chance, 2) ? file->count : draw(&disk.chance, (uint32_t)file->count + 1);
}

/* Each sector, and the length, is of some moment since the last sync. */
static void leave_some(struct file *file, struct image *out)
{
	static struct image moments[OPERATIONS_MAX + 1];
	size_t sectors;

	moments[0] = file->stable;
	for (size_t i = 0; i < file->count; i++) {
		memcpy(&moments[i + 1], &moments[i], offsetof(struct image, bytes) + FILE_MAX);
		apply(&moments[i + 1], &file->operations[i]);
	}
	*out = moments[some_moment(file)];
	/* Half of the time nothing but whole moments: what a journal leaves. */
	if (one_in(&disk.chance, 2))
		return;
	sectors = (out->len + SECTOR - 1) / SECTOR;
	for (size_t i = 0; i < sectors; i++)
		memcpy(out->bytes + i * SECTOR, moments[some_moment(file)].bytes + i * SECTOR, SECTOR);
	memset(out->bytes + out->len, 0, FILE_MAX - out->len);
}

static void forget_operations(struct file *file)
{
	for (size_t i = 0; i < file->count; i++)
		free(file->operations[i].data);
	file->count = 0;
}

static void power_fails(void)
{
	for (size_t i = 0; i < 2; i++)
		leave_some(&disk.files[i], &disk.files[i].after);
	for (size_t i = 0; i < LIVES * RECORDS_MAX; i++)
		promised[i] = acknowledged[i];
	(void)!pread(disk.memo, disk.memo_left, sizeof(disk.memo_left), 0);
	disk.dead = true;
}

/* Before each call. True: it is to fail. */
static bool call_begins(bool syncs_log)
{
	if (disk.calls == disk.cut_at && !disk.dead && (disk.cut_behind || syncs_log || !disk.cut_at_sync))
		power_fails();
	if (syncs_log || !disk.cut_at_sync)
		disk.calls++;
	if (disk.dead || !one_in(&disk.chance, disk.failing))
		return false;
	disk.failed++;
	errno = EIO;
	return true;
}

static void record(struct file *file, const struct change *operation)
{
	struct change *last;

	if (disk.dead)
		return;
	if (file->count == OPERATIONS_MAX)
		abort();
	last = &file->operations[file->count++];
	*last = *operation;
	if (operation->len == 0)
		return;
	last->data = malloc(operation->len);
	if (!last->data)
		abort();
	memcpy(last->data, operation->data, operation->len);
}

static bool in_one_sector(off_t offset, size_t len)
{
	return offset / SECTOR == (offset + (off_t)len - 1) / SECTOR;
}

/* Of what fails, a part may have happened; but not within one sector of bytes that are there: no system gives up in the middle of a page that it has. */
static ssize_t write_some(int fd, const void *data, size_t len, off_t offset, bool fails)
{
	bool whole = in_one_sector(offset, len) && file_of(fd) == &disk.files[1];
	size_t part = !fails ? len : whole ? 0 : draw(&disk.chance, (uint32_t)len);
	ssize_t written = pwrite(fd, data, part, offset);
	uint8_t *bytes = (uint8_t *)(uintptr_t)data;

	if (written > 0)
		record(file_of(fd),
		       &(struct change){ .offset = (size_t)offset, .len = (size_t)written, .data = bytes });
	if (!fails || part > 0)
		return written;
	errno = EIO;
	return -1;
}

/* The log is open with O_APPEND: pwrite appends as well. */
static ssize_t disk_write(int fd, const void *data, size_t len)
{
	ssize_t written;

	(void)pthread_mutex_lock(&disk.lock);
	written = write_some(fd, data, len, lseek(fd, 0, SEEK_END), call_begins(false));
	(void)pthread_mutex_unlock(&disk.lock);
	return written;
}

static ssize_t disk_write_at(int fd, const void *data, size_t len, off_t offset)
{
	ssize_t written;

	(void)pthread_mutex_lock(&disk.lock);
	written = write_some(fd, data, len, offset, call_begins(false));
	(void)pthread_mutex_unlock(&disk.lock);
	return written;
}

/* After one that failed the system takes what it could not write for written: it is tried no more. */
static int disk_sync(int fd)
{
	struct file *file = file_of(fd);
	bool fails;

	(void)pthread_mutex_lock(&disk.lock);
	fails = call_begins(file == &disk.files[0]);
	if (fails) {
		static struct image some;

		leave_some(file, &some);
		file->stable = some;
	}
	for (size_t i = 0; !fails && i < file->count; i++)
		apply(&file->stable, &file->operations[i]);
	forget_operations(file);
	(void)pthread_mutex_unlock(&disk.lock);
	errno = EIO;
	return fails ? -1 : 0;
}

static int disk_cut(int fd, off_t len)
{
	int status = -1;

	(void)pthread_mutex_lock(&disk.lock);
	if (!call_begins(false)) {
		status = ftruncate(fd, len);
		if (status == 0)
			record(file_of(fd), &(struct change){ .cuts = true, .offset = (size_t)len });
	}
	(void)pthread_mutex_unlock(&disk.lock);
	return status;
}

/* What is written past the page cache differs for the model only in that it is of whole blocks. */
static int disk_open(int at, const char *name, int flags)
{
	return openat(at, name, flags & ~O_DIRECT);
}

static struct audit_disk modelled = { disk_write, disk_write_at, disk_sync, disk_cut, disk_open, 0 };
static struct audit_disk well = { write, pwrite, fdatasync, ftruncate, disk_open, 0 };

/* ---- the two files ---- */

static char directory[64];
static int directory_fd = -1;
static sd_event *event;

static void read_file(const char *name, struct image *image)
{
	int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, image->bytes, FILE_MAX);

	assert_true(len >= 0);
	image->len = (size_t)len;
	memset(image->bytes + len, 0, FILE_MAX - (size_t)len);
	(void)close(fd);
}

static void write_file(const char *name, const struct image *image)
{
	int fd = openat(directory_fd, name, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(write(fd, image->bytes, image->len), (ssize_t)image->len);
	(void)close(fd);
}

/* All that is there is on the platter. */
static void power_comes(void)
{
	struct stat st;

	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(fstatat(directory_fd, names[i], &st, 0), 0);
		disk.files[i].inode = st.st_ino;
		forget_operations(&disk.files[i]);
		read_file(names[i], &disk.files[i].stable);
	}
	disk.calls = 0;
	disk.dead = false;
}

static uint64_t current_seed;

/* Said with what fails: how to have it again. */
#define AGAIN "TOKEND_TEST_SEED=%llu TOKEND_POWER_CUTS=1 ctest --preset dev -R unit.test_audit_power: "

/* ---- records ---- */

struct answer {
	unsigned number;
	bool come;
	enum err err;
};

static struct audit_record record_of(unsigned number, char name[static 80])
{
	(void)snprintf(name, 80, "r%04u%.*s", number, (int)(number * 7 % 40),
	               "----------------------------------------");
	return (struct audit_record){
		.frontend = "age", .operation = "unwrap", .key_name = name, .result = OK
	};
}

static void on_done(void *context, enum err err)
{
	struct answer *answer = context;

	answer->come = true;
	answer->err = err;
	if (!err)
		acknowledged[answer->number] = true;
}

static void run_until(const struct answer *answer)
{
	while (!answer->come)
		assert_true(sd_event_run(event, 10000000) > 0);
}

/* How often each record stands in the log up to the one of that number, and whether all of it is whole. */
static void read_log_to(unsigned long long last, unsigned count[static LIVES * RECORDS_MAX])
{
	static struct image log;
	struct audit_chain chain = { 0 };
	const uint8_t *line = log.bytes, *end;

	memset(count, 0, LIVES * RECORDS_MAX * sizeof(*count));
	read_file(AUDIT_FILE_NAME, &log);
	for (; (end = memchr(line, '\n', log.len - (size_t)(line - log.bytes))); line = end + 1) {
		const uint8_t *name = memmem(line, (size_t)(end - line), "\"name\":\"r", 9);
		unsigned number;

		if (audit_chain_next(&chain, bytes_of(line, (size_t)(end - line))) != AUDIT_WHOLE)
			fail_msg(AGAIN "the log is not whole at byte %zu", (unsigned long long)current_seed,
			         (size_t)(line - log.bytes));
		if (name && sscanf((const char *)name, "\"name\":\"r%4u", &number) == 1 &&
		    number != NOT_ASKED && chain.sequence <= last)
			count[number]++;
	}
	if (line != log.bytes + log.len)
		fail_msg(AGAIN "the log ends in the middle of a line", (unsigned long long)current_seed);
}

/* ---- a life ---- */

/* Foresees, and asks for that or another, or for many at once, until all are asked for. */
static void live(struct audit *audit, struct chance *chance, unsigned first)
{
	static struct answer answers[LIVES * RECORDS_MAX];
	char name[80];
	unsigned at = first;

	while (at < first + RECORDS_MAX && !disk.dead) {
		unsigned many = one_in(chance, 4) ? 1 + draw(chance, 6) : 1;

		if (one_in(chance, 2)) {
			const struct audit_record foreseen =
			        record_of(one_in(chance, 3) ? NOT_ASKED : at, name);

			audit_foresee(audit, &foreseen);
			if (one_in(chance, 2))
				(void)usleep(100);
			if (one_in(chance, 5))
				audit_unforesee(audit);
		}
		for (unsigned end = at + many; at < end && at < first + RECORDS_MAX; at++) {
			const struct audit_record asked = record_of(at, name);

			answers[at] = (struct answer){ .number = at };
			assert_int_equal(audit_write(audit, &asked, on_done, &answers[at]), OK);
		}
		run_until(&answers[at - 1]);
	}
}

/* From a start to a power failure, which may come before the start is done, or long after all is at rest. */
static void life(struct chance *chance, unsigned first)
{
	struct audit *audit = NULL;
	enum err err;

	power_comes();
	disk.cut_at_sync = one_in(chance, 2);
	disk.cut_behind = one_in(chance, 2);
	disk.cut_at = draw(chance, disk.cut_at_sync || one_in(chance, 4) ? 8 : 160);
	disk.failing = one_in(chance, 3) ? 0 : 3 + draw(chance, 12);
	err = audit_new_on(event, directory_fd, &modelled, PATIENCE_US, &audit);
	if (!err) {
		audit_use_memo(audit, disk.memo, directory);
		live(audit, chance, first);
		audit_free(audit);
	}
	(void)pthread_mutex_lock(&disk.lock);
	if (!disk.dead)
		power_fails();
	(void)pthread_mutex_unlock(&disk.lock);
	for (size_t i = 0; i < 2; i++)
		write_file(names[i], &disk.files[i].after);
}

/* Does the log of the next start have the record that the memo says, and the memo all that was promised? */
static void judge_memo(unsigned life_number)
{
	const struct audit_memo memo = { disk.memo, bytes_of_string(directory) };
	int log = openat(directory_fd, AUDIT_FILE_NAME, O_RDONLY | O_CLOEXEC);
	struct audit_chain head = { 0 }, missing, end = { .sequence = ULLONG_MAX };
	static unsigned count[LIVES * RECORDS_MAX];

	assert_int_equal(pwrite(disk.memo, disk.memo_left, AUDIT_MEMO_LEN, 0), AUDIT_MEMO_LEN);
	assert_int_equal(audit_memo_missing(&memo, log, lseek(log, 0, SEEK_END), &end, &missing), OK);
	(void)close(log);
	if (missing.sequence)
		fail_msg(AGAIN "life %u: the memo knows record %llu, which is not in the log",
		         (unsigned long long)current_seed, life_number, missing.sequence);
	(void)audit_memo_parse(bytes_of((const uint8_t *)disk.memo_left, AUDIT_MEMO_LEN), memo.directory,
	                       &head);
	read_log_to(head.sequence, count);
	for (unsigned i = 0; i < LIVES * RECORDS_MAX; i++)
		if (promised[i] && !count[i])
			fail_msg(AGAIN "life %u: record %u was acknowledged, and the memo is behind it",
			         (unsigned long long)current_seed, life_number, i);
}

/* The next start, with a disk that is well; afterwards the files are again as the power failure left them, for the next life. */
static void judge(unsigned life_number)
{
	unsigned count[LIVES * RECORDS_MAX];
	struct audit *audit;

	assert_int_equal(audit_new_on(event, directory_fd, &well, PATIENCE_US, &audit), OK);
	audit_free(audit);
	judge_memo(life_number);
	read_log_to(ULLONG_MAX, count);
	for (unsigned i = 0; i < LIVES * RECORDS_MAX; i++) {
		if (count[i] > 1 || (promised[i] && count[i] != 1))
			fail_msg(AGAIN "life %u: record %u was acknowledged %d times and stands in the "
			               "log %u times",
			         (unsigned long long)current_seed, life_number, i, promised[i], count[i]);
	}
	for (size_t i = 0; i < 2; i++)
		write_file(names[i], &disk.files[i].after);
}

static void make_files(void)
{
	struct audit *audit;

	for (size_t i = 0; i < 2; i++)
		(void)unlinkat(directory_fd, names[i], 0);
	assert_int_equal(ftruncate(disk.memo, 0), 0);
	assert_int_equal(ftruncate(disk.memo, AUDIT_MEMO_LEN), 0);
	assert_int_equal(audit_new_on(event, directory_fd, &well, PATIENCE_US, &audit), OK);
	audit_free(audit);
	for (size_t i = 0; i < LIVES * RECORDS_MAX; i++) {
		promised[i] = false;
		acknowledged[i] = false;
	}
}

static void schedule(uint64_t seed)
{
	struct chance chance = { .state = seed * 2654435761U };

	current_seed = seed;
	modelled.ahead_len = well.ahead_len = seed % 2 ? AHEAD_LEN : BLOCKS_LEN;
	disk.chance.state = seed ^ 0x9e3779b97f4a7c15ULL;
	make_files();
	for (unsigned i = 0; i < LIVES; i++) {
		life(&chance, i * RECORDS_MAX);
		judge(i);
		/* What was acknowledged after the power failed never was. */
		for (size_t at = 0; at < LIVES * RECORDS_MAX; at++)
			acknowledged[at] = promised[at];
	}
}

static unsigned long number_of(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

/* Each found something once: half a group in the log where nothing said where it began, a line that was made of two, a first group of which nothing was left. */
static const uint64_t found[] = { 9462796, 1843634, 5909764, 340508, 2673241, 7033292, 2112000 };

static void test_power_cuts(void **state)
{
	unsigned long schedules = number_of("TOKEND_POWER_CUTS", 200),
	              fixed = getenv("TOKEND_TEST_SEED") ? 0 : schedules,
	              seed = number_of("TOKEND_TEST_SEED", randombytes_random());

	(void)state;
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
		schedule(found[i]);
	print_message("TOKEND_TEST_SEED=%lu\n", seed);
	for (unsigned long i = 0; i < fixed; i++)
		schedule(1 + i);
	for (unsigned long i = 0; i < schedules; i++)
		schedule(seed + i);
	print_message("%lu power failures, %u calls of the disk failed\n",
	              (sizeof(found) / sizeof(found[0]) + fixed + schedules) * LIVES, disk.failed);
	assert_true(disk.failed > 0);
}

static int set_up(void **state)
{
	(void)state;
	(void)strcpy(directory, "/tmp/test_audit_power.XXXXXX");
	if (!mkdtemp(directory) || sd_event_new(&event) < 0)
		return -1;
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	disk.memo = memfd_create("memo", MFD_CLOEXEC);
	return directory_fd < 0 || disk.memo < 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		(void)unlinkat(directory_fd, names[i], 0);
		forget_operations(&disk.files[i]);
	}
	(void)close(directory_fd);
	(void)close(disk.memo);
	event = sd_event_unref(event);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_power_cuts, set_up,
		                                                            tear_down) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
