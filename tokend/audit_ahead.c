#include "tokend/audit_ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/encoding.h"
#include "common/file.h"
#include "common/log.h"
#include "formats/audit_record.h"
#include "tokend/audit_internal.h"
#include "tokend/text.h"

/* With lines of a form that those before it cannot follow the number has to be another one: after a crash and a way back to an older version, they would cut them off. */
#define HEADER "tokend ahead 1 %020llu\n"
#define HEADER_LEN 36U
#define END_MARK "tokend end 1 %020llu %s\n"
#define END_MARK_LEN 99U
#define CHUNK_LEN 65536U
#define WINDOW_LEN (1U << 20) /* of the log; more than any line */
#define FILE_MODE 0640
#define NEWER_MAX 8U
#define BLOCK_LEN 4096U /* no disk wants larger ones, nor memory that is aligned to more */

/* ---- bytes and files ---- */

static bool write_to(const struct audit_ahead *ahead, int fd, off_t offset, struct bytes bytes)
{
	while (bytes.len > 0) {
		ssize_t written = ahead->disk->pwrite(fd, bytes.data, bytes.len, offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		offset += written;
		bytes = bytes_of(bytes.data + written, bytes.len - (size_t)written);
	}
	return true;
}

static bool write_at(const struct audit_ahead *ahead, off_t offset, struct bytes bytes)
{
	return write_to(ahead, ahead->fd, offset, bytes);
}

bool audit_disk_append(const struct audit_disk *disk, int fd, struct bytes bytes)
{
	while (bytes.len > 0) {
		ssize_t written = disk->write(fd, bytes.data, bytes.len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		bytes = bytes_of(bytes.data + written, bytes.len - (size_t)written);
	}
	return true;
}

/* As much of len bytes as the file has. */
static enum err read_from(int fd, off_t offset, uint8_t *out, size_t len, size_t *ret_len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t got = pread(fd, out + have, len - have, offset + (off_t)have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_SYSTEM;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	*ret_len = have;
	return OK;
}

/* ---- making the file ---- */

/* Every byte is written once, so that later writes change no more than these bytes. */
static bool fill(const struct audit_ahead *ahead)
{
	static const uint8_t zeros[CHUNK_LEN];

	for (off_t at = 0; at < (off_t)ahead->disk->ahead_len; at += (off_t)sizeof(zeros))
		if (!write_at(ahead, at, bytes_of(zeros, sizeof(zeros))))
			return false;
	return ftruncate(ahead->fd, (off_t)ahead->disk->ahead_len) == 0 && fsync(ahead->fd) == 0;
}

static bool is_ours(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_nlink == 1 && file_is_ours(st, 0027);
}

/* Another number than ours: a newer version's. What is there is text, and not for us to put back, or to write over. */
static bool is_of_newer(const struct audit_ahead *ahead)
{
	char text[HEADER_LEN + 1] = "";
	unsigned number = 0;
	size_t len = 0;

	if (read_from(ahead->fd, 0, (uint8_t *)text, HEADER_LEN, &len))
		return false;
	return (sscanf(text, "tokend ahead %9u ", &number) == 1 ||
	        sscanf(text, "tokend end %9u ", &number) == 1) &&
	       number > 1;
}

/* The first name that is free: what an earlier way back left is as good as this. Nobody else makes files here while we hold the lock. When it cannot be kept there is no going on without the file, which would remove it. */
static enum err keep_newer(int directory)
{
	char name[sizeof(AUDIT_AHEAD_NEWER_NAME) + 12] = AUDIT_AHEAD_NEWER_NAME;
	struct stat st;

	for (unsigned i = 2; fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0; i++) {
		if (i > NEWER_MAX) {
			log_error("%u files %s* are kept already: move them elsewhere", NEWER_MAX,
			          AUDIT_AHEAD_NEWER_NAME);
			return ERR_STATE_DIR;
		}
		(void)snprintf(name, sizeof(name), "%s.%u", AUDIT_AHEAD_NEWER_NAME, i);
	}
	if (errno != ENOENT || renameat(directory, AUDIT_AHEAD_NAME, directory, name) < 0) {
		log_error("%s, which a newer tokend wrote, cannot be kept as %s: %s", AUDIT_AHEAD_NAME, name,
		          strerror(errno));
		return ERR_STATE_DIR;
	}
	log_warning("a newer tokend wrote %s: what stands in it and not in the log is kept in %s",
	            AUDIT_AHEAD_NAME, name);
	return OK;
}

static enum err open_file(struct audit_ahead *ahead, int directory)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	struct stat st;
	enum err err;

	ahead->fd = openat(directory, AUDIT_AHEAD_NAME, flags);
	if (ahead->fd < 0 && errno == ENOENT) {
		ahead->fd = openat(directory, AUDIT_AHEAD_NAME, flags | O_CREAT | O_EXCL, FILE_MODE);
		/* umask must not decide who may read it, and a file whose name is not durable is not. */
		if (ahead->fd >= 0 && (fchmod(ahead->fd, FILE_MODE) < 0 || fsync(directory) < 0))
			return err_from_errno(errno);
	}
	if (ahead->fd < 0)
		return errno == ELOOP || errno == EISDIR ? ERR_STATE_DIR : err_from_errno(errno);
	if (fstat(ahead->fd, &st) < 0)
		return ERR_SYSTEM;
	if (!is_ours(&st))
		return ERR_STATE_DIR;
	if (is_of_newer(ahead)) {
		close_fdp(&ahead->fd);
		err = keep_newer(directory);
		return err ? err : open_file(ahead, directory);
	}
	if (st.st_size == (off_t)ahead->disk->ahead_len || fill(ahead))
		return OK;
	return ERR_DISK_FULL;
}

static void close_direct(struct audit_ahead *ahead)
{
	close_fdp(&ahead->direct);
	ahead->direct = -1;
	free(ahead->blocks);
	ahead->blocks = NULL;
}

static void close_files(struct audit_ahead *ahead)
{
	close_direct(ahead);
	close_fdp(&ahead->fd);
	ahead->fd = -1;
}

/* That it cannot be had is no error. */
static void open_direct(struct audit_ahead *ahead, int directory)
{
	const int flags = O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	struct stat st, direct;

	if (ahead->disk->ahead_len % BLOCK_LEN != 0)
		return;
	ahead->direct = ahead->disk->open(directory, AUDIT_AHEAD_NAME, flags);
	if (ahead->direct < 0)
		return;
	ahead->blocks = aligned_alloc(BLOCK_LEN, ahead->disk->ahead_len);
	if (!ahead->blocks || fstat(ahead->fd, &st) < 0 || fstat(ahead->direct, &direct) < 0 ||
	    st.st_dev != direct.st_dev || st.st_ino != direct.st_ino)
		close_direct(ahead);
}

static void give_up(struct audit_ahead *ahead, int directory)
{
	close_files(ahead);
	(void)unlinkat(directory, AUDIT_AHEAD_NAME, 0);
}

enum err audit_ahead_open(struct audit_ahead *ahead, int directory, const struct audit_disk *disk)
{
	enum err err;

	*ahead = (struct audit_ahead){ .disk = disk, .fd = -1, .direct = -1 };
	err = open_file(ahead, directory);
	if (!err)
		open_direct(ahead, directory);
	if (!err || err == ERR_STATE_DIR)
		return err;
	log_warning("there is no room for %s (%s): every record waits for the log itself, which is slower",
	            AUDIT_AHEAD_NAME, err_info(err)->text);
	give_up(ahead, directory);
	return OK;
}

/* ---- while it is used ---- */

/* Where the next line goes. */
static size_t next_line(const struct audit_ahead *ahead)
{
	return ahead->used ? ahead->used : HEADER_LEN;
}

static bool write_ahead(const struct audit_ahead *ahead, struct bytes header, struct bytes lines)
{
	return write_at(ahead, 0, header) && write_at(ahead, (off_t)next_line(ahead), lines);
}

/* The same past the page cache. In front of the lines stands what the block that they begin in holds already, or the header; behind them, to the end of a block, nothing. */
static bool write_blocks(const struct audit_ahead *ahead, struct bytes header, struct bytes lines)
{
	size_t front = next_line(ahead) % BLOCK_LEN;
	size_t end = front + lines.len;
	size_t len = (end + BLOCK_LEN - 1) / BLOCK_LEN * BLOCK_LEN;

	if (header.len > 0)
		memcpy(ahead->blocks, header.data, header.len);
	memcpy(ahead->blocks + front, lines.data, lines.len);
	memset(ahead->blocks + end, 0, len - end);
	return write_to(ahead, ahead->direct, (off_t)(next_line(ahead) - front),
	                bytes_of(ahead->blocks, len));
}

static bool write_lines(struct audit_ahead *ahead, struct bytes header, struct bytes lines)
{
	if (ahead->direct < 0)
		return write_ahead(ahead, header, lines);
	if (write_blocks(ahead, header, lines))
		return true;
	if (errno != EINVAL)
		return false;
	/* Some file systems say so late, or not for every file. */
	close_direct(ahead);
	return write_ahead(ahead, header, lines);
}

bool audit_ahead_try(struct audit_ahead *ahead, off_t offset, struct bytes lines)
{
	char first[HEADER_LEN + 1] = "";
	struct bytes header = bytes_of(first, ahead->used ? 0 : HEADER_LEN);

	if (ahead->fd < 0 || lines.len > ahead->disk->ahead_len - next_line(ahead))
		return false;
	if (header.len > 0)
		(void)snprintf(first, sizeof(first), HEADER, (unsigned long long)offset);
	if (!write_lines(ahead, header, lines))
		return false;
	if (ahead->used == 0)
		ahead->anchor = offset;
	return ahead->disk->fdatasync(ahead->fd) == 0;
}

void audit_ahead_keep(struct audit_ahead *ahead, size_t len)
{
	size_t start = next_line(ahead) / BLOCK_LEN * BLOCK_LEN;

	ahead->used = next_line(ahead) + len;
	start = ahead->used / BLOCK_LEN * BLOCK_LEN - start;
	if (ahead->blocks && start > 0)
		memmove(ahead->blocks, ahead->blocks + start, ahead->used % BLOCK_LEN);
}

void audit_ahead_scrub(const struct audit_ahead *ahead)
{
	static const uint8_t zero;

	if (ahead->fd >= 0)
		(void)write_at(ahead, (off_t)next_line(ahead), bytes_of(&zero, 1));
}

void audit_ahead_begin_anew(struct audit_ahead *ahead)
{
	ahead->used = 0;
}

/* Appends the lines from offset from to offset end of the file to the log. */
static bool append_lines(const struct audit_ahead *ahead, int log, size_t from, size_t end)
{
	CLEANUP(freep) uint8_t *chunk = malloc(CHUNK_LEN);
	size_t len;

	if (!chunk)
		return false;
	for (; from < end; from += len) {
		size_t wanted = end - from < CHUNK_LEN ? end - from : CHUNK_LEN;

		if (read_from(ahead->fd, (off_t)from, chunk, wanted, &len) || len != wanted ||
		    !audit_disk_append(ahead->disk, log, bytes_of(chunk, len)))
			return false;
	}
	return true;
}

bool audit_ahead_rewrite(const struct audit_ahead *ahead, int log)
{
	if (ahead->fd < 0 || ahead->used == 0)
		return true;
	return ahead->disk->ftruncate(log, ahead->anchor) == 0 &&
	       append_lines(ahead, log, HEADER_LEN, ahead->used);
}

static void put_end_mark(const struct audit_chain *end, char mark[static END_MARK_LEN + 1])
{
	char hash[2 * AUDIT_HASH_LEN + 1];

	hex_encode(bytes_of(end->last_hash, AUDIT_HASH_LEN), hash);
	(void)snprintf(mark, END_MARK_LEN + 1, END_MARK, end->sequence, hash);
}

bool audit_ahead_leave(struct audit_ahead *ahead, const struct audit_chain *end)
{
	char mark[END_MARK_LEN + 1];

	audit_ahead_begin_anew(ahead);
	put_end_mark(end, mark);
	return ahead->fd < 0 ||
	       (write_at(ahead, 0, bytes_of(mark, END_MARK_LEN)) && ahead->disk->fdatasync(ahead->fd) == 0);
}

void audit_ahead_close(struct audit_ahead *ahead, const struct audit_chain *end)
{
	if (end)
		(void)audit_ahead_leave(ahead, end);
	close_files(ahead);
}

/* ---- after a start ---- */

/* The anchor of a header; false when there is none. */
static bool read_header(const uint8_t *data, size_t len, off_t *ret_anchor)
{
	char text[HEADER_LEN + 1], again[HEADER_LEN + 1];
	unsigned long long anchor;

	if (len < HEADER_LEN)
		return false;
	memcpy(text, data, HEADER_LEN);
	text[HEADER_LEN] = '\0';
	if (sscanf(text, "tokend ahead 1 %20llu", &anchor) != 1 || anchor > (unsigned long long)INT64_MAX)
		return false;
	(void)snprintf(again, sizeof(again), HEADER, anchor);
	*ret_anchor = (off_t)anchor;
	return strcmp(text, again) == 0;
}

/* The record that the first line here follows, or 1 when that cannot be told. */
static unsigned long long first_sequence(const struct audit_ahead *ahead)
{
	uint8_t data[AUDIT_LINE_MAX];
	struct audit_chain chain = { 0 };
	struct bytes rest, line;
	size_t len = 0;

	if (read_from(ahead->fd, HEADER_LEN, data, sizeof(data), &len))
		return 1;
	rest = bytes_of(data, len);
	if (!text_next_line(&rest, &line) || audit_chain_next(&chain, line) == AUDIT_FAULT_SYNTAX ||
	    chain.sequence < 2)
		return 1;
	return chain.sequence - 1;
}

unsigned long long audit_ahead_missing(const struct audit_ahead *ahead, off_t log_end,
                                       const struct audit_chain *chain)
{
	char found[END_MARK_LEN + 1] = "", mark[END_MARK_LEN + 1];
	unsigned long long sequence = 0;
	size_t len = 0;
	off_t anchor;

	if (ahead->fd < 0 || read_from(ahead->fd, 0, (uint8_t *)found, END_MARK_LEN, &len))
		return 0;
	if (read_header((const uint8_t *)found, len, &anchor))
		return log_end < anchor ? first_sequence(ahead) : 0;
	if (len < END_MARK_LEN || sscanf(found, "tokend end 1 %20llu", &sequence) != 1)
		return 0;
	put_end_mark(chain, mark);
	return strcmp(mark, found) == 0 ? 0 : sequence;
}

/* The last line before anchor, as a chain to go on from; an empty chain at the beginning of a log. */
static enum err chain_at(int log, off_t anchor, struct audit_chain *ret_chain)
{
	CLEANUP(freep) uint8_t *window = malloc(AUDIT_LINE_MAX);
	off_t start = anchor > (off_t)AUDIT_LINE_MAX ? anchor - (off_t)AUDIT_LINE_MAX : 0;
	size_t len, line_start;
	enum err err = window ? read_from(log, start, window, (size_t)(anchor - start), &len) : ERR_NOMEM;

	*ret_chain = (struct audit_chain){ 0 };
	if (err || anchor == 0)
		return err;
	if (len != (size_t)(anchor - start) || window[len - 1] != '\n')
		return ERR_BAD_FILE;
	for (line_start = len - 1; line_start > 0 && window[line_start - 1] != '\n';)
		line_start--;
	return audit_chain_next(ret_chain, bytes_of(window + line_start, len - 1 - line_start)) ==
	                       AUDIT_FAULT_SYNTAX
	               ? ERR_BAD_FILE
	               : OK;
}

/* How many bytes of lines follow from chain, one after the other; the chain goes on with them. */
static size_t follow(struct audit_chain *chain, struct bytes lines)
{
	struct bytes rest = lines, line;

	while (rest.len > 0 && memchr(rest.data, '\n', rest.len)) {
		struct bytes before = rest;
		struct audit_chain next = *chain;

		if (!text_next_line(&rest, &line) || audit_chain_next(&next, line) != AUDIT_WHOLE)
			return lines.len - before.len;
		*chain = next;
	}
	return lines.len - rest.len;
}

/* The same for the lines of the log from offset on, however many. Returns where they end. */
static enum err follow_log(int log, off_t offset, struct audit_chain *chain, off_t *ret_end)
{
	CLEANUP(freep) uint8_t *window = malloc(WINDOW_LEN);
	size_t len = 0, followed = 1;
	enum err err = window ? OK : ERR_NOMEM;

	for (; !err && followed > 0; offset += (off_t)followed) {
		err = read_from(log, offset, window, WINDOW_LEN, &len);
		followed = err ? 0 : follow(chain, bytes_of(window, len));
	}
	*ret_end = offset;
	return err;
}

/* How much both begin with, in whole lines. */
static size_t same_lines(struct bytes first, struct bytes second)
{
	size_t least = first.len < second.len ? first.len : second.len, same = 0;

	while (same < least && first.data[same] == second.data[same])
		same++;
	while (same > 0 && first.data[same - 1] != '\n')
		same--;
	return same;
}

/* What the two files hold from the anchor on, as much of it as both can. */
struct both {
	off_t anchor;
	struct audit_chain chain; /* of the log before it */
	struct bytes log, ahead;
};

static enum err put_back(const struct audit_ahead *ahead, int log, off_t end, struct bytes lines)
{
	if (ahead->disk->ftruncate(log, end) < 0 || !audit_disk_append(ahead->disk, log, lines))
		return err_from_errno(errno);
	return OK;
}

/*
 * Where the two part, the log is right if what it has there follows: it went on by itself, and was synced, when there was no room here, or the disk of this file failed; what stands here instead was
 * foreseen and did not come. If it does not follow, the log lacks what is here. (That lines which were cut off again are not taken for such a log is for who writes it to see to: audit.c.)
 */
static enum err restore_both(const struct audit_ahead *ahead, int log, const struct both *both,
                             struct audit_restored *ret_restored)
{
	struct audit_chain chain = both->chain;
	size_t known = follow(&chain, both->ahead);
	size_t same = same_lines(bytes_of(both->ahead.data, known), both->log);
	off_t parting = both->anchor + (off_t)same, end;
	enum err err;

	chain = both->chain;
	(void)follow(&chain, bytes_of(both->ahead.data, same));
	err = follow_log(log, parting, &chain, &end);
	if (!err && end == parting && same < known) {
		err = put_back(ahead, log, parting, bytes_of(both->ahead.data + same, known - same));
		ret_restored->bytes = known - same;
		end = both->anchor + (off_t)known;
	}
	ret_restored->end = err ? -1 : end;
	return err;
}

/* A log that was put in its place meanwhile, or cut, has no line before the anchor that anything could follow. */
static enum err restore_from(const struct audit_ahead *ahead, int log, off_t anchor,
                             struct audit_restored *ret_restored)
{
	const size_t ahead_max = ahead->disk->ahead_len - HEADER_LEN;
	CLEANUP(freep) uint8_t *data = malloc(2 * ahead_max);
	struct both both = { .anchor = anchor };
	size_t ahead_len = 0, log_len = 0;
	enum err err = data ? chain_at(log, anchor, &both.chain) : ERR_NOMEM;

	if (err)
		return err == ERR_BAD_FILE ? OK : err;
	err = read_from(ahead->fd, HEADER_LEN, data, ahead_max, &ahead_len);
	err = err ? err : read_from(log, anchor, data + ahead_max, ahead_max, &log_len);
	if (err)
		return err;
	both.ahead = bytes_of(data, ahead_len);
	both.log = bytes_of(data + ahead_max, log_len);
	return restore_both(ahead, log, &both, ret_restored);
}

/* Synced in any case: the log may stand in the page cache alone, and what is here is about to be written over. */
enum err audit_ahead_restore(const struct audit_ahead *ahead, int log, struct audit_restored *ret_restored)
{
	uint8_t header[HEADER_LEN];
	size_t len = 0;
	off_t anchor;
	enum err err = ahead->fd < 0 ? OK : read_from(ahead->fd, 0, header, sizeof(header), &len);

	*ret_restored = (struct audit_restored){ .end = -1 };
	if (err || !read_header(header, len, &anchor))
		return err;
	err = restore_from(ahead, log, anchor, ret_restored);
	if (!err && ahead->disk->fdatasync(log) < 0)
		err = err_from_errno(errno);
	return err;
}
