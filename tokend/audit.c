/*
 * Two threads share this: the event loop, which queues records and calls back, and the writer, which alone touches the file and the chain. A record is an entry that wanders:
 *
 *	queued --(writer takes up to AUDIT_GROUP_MAX)--> writing --(written and synced, or failed)--> finished --(event loop calls back)--> freed
 *
 * The lists belong to the lock; what an entry's caller waits for (done, context) to the event loop; entries are freed by the event loop. When a disk hangs, the writer hangs in a call
 * that nothing can interrupt: the event loop's timer then answers for it. What is still queued is dropped, unwritten; what the writer holds may reach the disk after all, and if it does, a
 * note in the log says that its results were withheld.
 *
 * A group is made durable ahead of the log and then written with one write() at the end of the last durable line; where there is no room ahead, the log is synced behind it. If that fails, the file
 * is cut back to there before anything else is written, and the chain goes on from the last durable line: what a reader finds is at every moment a whole chain and at most one unfinished tail.
 *
 * A record that will probably be needed in a moment can be foreseen (audit_foresee): while the helper still works on the request, the writer makes its line durable ahead of the log. If the record
 * that then comes says the same, the line is appended to the log and was paid for already; if it says anything else, or another record comes first, the line never was: it is not in the log, and
 * what is written next is written over it.
 *
 * A rotation (audit_rotation.h) is done by the writer between two groups; its entry is not queued, for it may take longer than a record.
 *
 * What is synced is not the log but audit.ahead (audit_ahead.h), which costs less and waits for nobody else's writes; the log itself is synced when that file is full.
 */
#include "tokend/audit_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "common/clock.h"
#include "common/encoding.h"
#include "common/file.h"
#include "common/log.h"
#include "common/thread.h"
#include "formats/audit_record.h"
#include "tokend/audit_ahead.h"
#include "tokend/audit_memo.h"
#include "tokend/audit_rotation.h"
#include "tokend/refusals.h"
#include "tokend/text.h"

#define TIMER_ACCURACY_US 1000ULL
#define LINE_TAIL_MAX 192U /* what closing a line adds: "sequence", "previous" and "check" */
#define GROUP_WAIT_NS 400000L /* how long a group waits for more that are expected than it has */
#define THREAD_STACK (256U << 10) /* all of it may be locked memory */
#define TAIL_FIRST 4096U /* a usual line is a tenth of it */
#define TAIL_WINDOW (64U << 10)
#define FILE_MODE 0640

struct entry {
	struct entry *next;
	struct entry *next_late; /* the event loop's */
	audit_done done; /* the event loop's; NULL: nobody waits (any more) */
	void *context; /* borrowed */
	uint64_t deadline; /* CLOCK_MONOTONIC, microseconds */
	unsigned long long sequence; /* once written */
	enum err err;
	bool late; /* answered before it was finished */
	bool rotates; /* is no record, but a rotation */
	size_t len;
	uint8_t line[]; /* without what closes it */
};

struct queue {
	struct entry *first;
	struct entry **last; /* where the next one goes */
	size_t count;
};

/* What the log has to say about itself. */
struct notes {
	unsigned long long lost; /* records that were answered with ERR_AUDIT and are not in the file */
	unsigned long long withheld_first, withheld_last; /* records whose results did not leave; 0: none */
	unsigned long long cut; /* bytes of an unfinished line, found at the start */
	unsigned long long
	        restored; /* bytes that the power failure had taken from the log, put back at the start */
	unsigned long long
	        replaced; /* the last record of the log of before, which this one does not end with */
	struct audit_chain missing; /* the same as the memo has it, which knows its hash */
};

/*
 * The one record that is foreseen:
 *
 *	nothing --(audit_foresee)--> asked --(writer)--> syncing --> durable --(writer, once claimed)--> nothing
 *
 * Claimed: the record came and says the same; its entry waits in writing. Void: something else came while it was syncing. The line, closed, is the writer's.
 */
enum foreseen_state { FORESEEN_NOTHING, FORESEEN_ASKED, FORESEEN_SYNCING, FORESEEN_DURABLE };

struct foreseen {
	enum foreseen_state state;
	bool claimed, is_void;
	bool came_true; /* the last one did: after a wrong guess nothing is prepared until one would have been right */
	bool awaited; /* the next record is compared with it */
	size_t len; /* of open */
	uint8_t open[AUDIT_LINE_MAX]; /* the line without what closes it */
	struct audit_chain after; /* the writer's: the chain with it */
};

struct audit {
	/* the event loop's */
	sd_event_source *wake_source;
	sd_event_source *timer_source;
	sd_event_source *sums_source; /* on while there are refusals that were only counted */
	struct refusals refusals;
	struct buf *scratch; /* the line that is being made */
	struct entry *late; /* answered next */
	bool timer_runs;
	uint64_t timer_at; /* while it does */
	uint64_t wait_us; /* for a record, from when it is queued */
	size_t expected_next; /* what audit_expect was told, for the next record */

	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t work; /* for the writer */
	pthread_cond_t end; /* for audit_free */
	struct queue queued, writing, finished;
	struct notes notes;
	size_t expected; /* records that will probably be here in a moment */
	bool stop, ended, abandoned, works;
	unsigned long long count;
	unsigned long long
	        goes_on_from; /* the last record of the log before this one; 0: this is the first */
	struct entry *rotation; /* asked for, or under way: the writer's until it is finished; NULL: none */
	struct foreseen foreseen;

	/* the writer's; set up before it runs */
	pthread_t thread;
	const struct audit_disk *disk; /* borrowed */
	int directory; /* borrowed */
	int fd;
	dev_t device; /* of the file, */
	ino_t inode; /* which has to be the one of that name */
	bool misplaced; /* and was not; it was said */
	int wake_fd;
	struct audit_chain chain; /* as of the last durable line */
	off_t durable; /* bytes of the file that are whole lines, on disk here or ahead */
	bool torn; /* there may be more than that in it */
	bool unsure; /* or less: a sync of it failed */
	bool remains; /* what was cut off again may still be on the disk: nothing is written behind it, or ahead, until the log was synced */
	struct audit_ahead ahead;
	struct audit_memo memo;
	struct buf *line;
	struct buf *group;
	struct buf *foreseen_line; /* closed */
};

/* ---- small things ---- */

static void queue_init(struct queue *queue)
{
	*queue = (struct queue){ .last = &queue->first };
}

static void queue_put(struct queue *queue, struct entry *entry)
{
	entry->next = NULL;
	*queue->last = entry;
	queue->last = &entry->next;
	queue->count++;
}

static void queue_put_first(struct queue *queue, struct entry *entry)
{
	entry->next = queue->first;
	if (!queue->first)
		queue->last = &entry->next;
	queue->first = entry;
	queue->count++;
}

static struct entry *queue_take(struct queue *queue)
{
	struct entry *entry = queue->first;

	if (!entry)
		return NULL;
	queue->first = entry->next;
	queue->count--;
	if (!queue->first)
		queue->last = &queue->first;
	return entry;
}

static void queue_forget(struct queue *queue, const void *context)
{
	for (struct entry *entry = queue->first; entry; entry = entry->next)
		if (entry->context == context)
			entry->done = NULL;
}

static void queue_free(struct queue *queue)
{
	for (struct entry *entry; (entry = queue_take(queue));)
		free(entry);
}

/* ---- lines ---- */

static enum err put_time(struct buf *line)
{
	struct timespec now;
	struct tm parts;
	char text[40];

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (!gmtime_r(&now.tv_sec, &parts) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts) == 0)
		return ERR_SYSTEM;
	return buf_printf(line, "{\"time\":\"%s.%06ldZ\"", text, now.tv_nsec / 1000);
}

static enum err put_text(struct buf *line, const char *name, const char *text)
{
	enum err err = buf_printf(line, ",\"%s\":", name);

	if (err)
		return err;
	return text && text[0] ? audit_put_string(line, text) : buf_put_string(line, "null");
}

/*
 * What was asked for and is no name that a key can have is not repeated: it is only noise of somebody's choice. A name of any length, as it was found: what is too long is cut, and seen
 * to be.
 */
static enum err put_name(struct buf *line, const char *name, bool found)
{
	char shown[KEY_NAME_MAX + sizeof("...")];

	if (name && !found && !key_name_valid(bytes_of_string(name)))
		return buf_put_string(line, ",\"name\":null,\"invalid\":true");
	if (!name || strlen(name) <= KEY_NAME_MAX)
		return put_text(line, "name", name);
	memcpy(shown, name, KEY_NAME_MAX);
	memcpy(shown + KEY_NAME_MAX, "...", sizeof("..."));
	return put_text(line, "name", shown);
}

static enum err put_key(struct buf *line, const struct key_id *key)
{
	char id[2 * KEY_ID_LEN + 1];

	if (!key)
		return put_text(line, "key", NULL);
	hex_encode(bytes_of(key->bytes, KEY_ID_LEN), id);
	return put_text(line, "key", id);
}

static enum err put_peer(struct buf *line, const struct peer *peer)
{
	enum err err;

	if (!peer)
		return buf_put_string(line, ",\"uid\":null,\"gid\":null,\"pid\":null,\"unit\":null");
	err = buf_printf(line, ",\"uid\":%u,\"gid\":%u,\"pid\":%u", (unsigned)peer->uid, (unsigned)peer->gid,
	                 peer->pid > 0 ? (unsigned)peer->pid : 0U);
	return err ? err : put_text(line, "unit", peer->unit);
}

/* Everything but what closes the line. */
static enum err put_record(struct buf *line, const struct audit_record *record)
{
	enum err err = put_time(line);

	err = err ? err : put_text(line, "frontend", record->frontend);
	err = err ? err : put_text(line, "operation", record->operation);
	err = err ? err : put_peer(line, record->peer);
	err = err ? err : put_key(line, record->key);
	err = err ? err : put_name(line, record->key_name, record->key != NULL);
	err = err ? err : put_text(line, "token", record->token_uri);
	err = err ? err : put_text(line, "rule", record->rule);
	err = err ? err : put_text(line, "result", err_info(record->result)->name);
	return err ? err : buf_put_u8(line, ',');
}

/* ---- the writer ---- */

/* Closes the line that audit->line holds and adds it to the group. */
static enum err group_add(struct audit *audit, struct audit_chain *chain)
{
	enum err err = audit_chain_close(chain, audit->line);

	return err ? err : buf_put(audit->group, buf_bytes(audit->line));
}

/* Begins, in audit->line, a record of the log about itself. */
static enum err begin_note(struct audit *audit, const char *operation)
{
	enum err err;

	buf_clear(audit->line);
	err = put_time(audit->line);
	err = err ? err : put_text(audit->line, "frontend", "audit");
	return err ? err : put_text(audit->line, "operation", operation);
}

static enum err group_add_note(struct audit *audit, struct audit_chain *chain, const char *operation,
                               const char *first_name, unsigned long long first, const char *last_name,
                               unsigned long long last)
{
	enum err err;

	if (first == 0)
		return OK;
	err = begin_note(audit, operation);
	err = err ? err : buf_printf(audit->line, ",\"%s\":%llu", first_name, first);
	if (!err && last_name)
		err = buf_printf(audit->line, ",\"%s\":%llu", last_name, last);
	err = err ? err : put_text(audit->line, "result", err_info(ERR_AUDIT)->name);
	err = err ? err : buf_put_u8(audit->line, ',');
	return err ? err : group_add(audit, chain);
}

/* Of a log that was put back, with the hash: which copy goes on to that record can be told from it (audit verify --head). */
static enum err group_add_missing(struct audit *audit, struct audit_chain *chain,
                                  const struct audit_chain *missing)
{
	char hash[2 * AUDIT_HASH_LEN + 1];
	enum err err;

	hex_encode(bytes_of(missing->last_hash, AUDIT_HASH_LEN), hash);
	err = begin_note(audit, "replaced");
	err = err ? err : buf_printf(audit->line, ",\"known\":%llu", missing->sequence);
	err = err ? err : put_text(audit->line, "hash", hash);
	err = err ? err : put_text(audit->line, "result", err_info(ERR_AUDIT)->name);
	err = err ? err : buf_put_u8(audit->line, ',');
	return err ? err : group_add(audit, chain);
}

static enum err group_add_notes(struct audit *audit, struct audit_chain *chain, const struct notes *notes)
{
	enum err err = notes->missing.sequence
	                       ? group_add_missing(audit, chain, &notes->missing)
	                       : group_add_note(audit, chain, "replaced", "known", notes->replaced, NULL, 0);

	err = err ? err : group_add_note(audit, chain, "restored", "bytes", notes->restored, NULL, 0);
	err = err ? err : group_add_note(audit, chain, "cut", "bytes", notes->cut, NULL, 0);
	err = err ? err : group_add_note(audit, chain, "lost", "records", notes->lost, NULL, 0);
	return err ? err
	           : group_add_note(audit, chain, "withheld", "first", notes->withheld_first, "last",
	                            notes->withheld_last);
}

static enum err group_add_entry(struct audit *audit, struct audit_chain *chain, struct entry *entry)
{
	enum err err;

	buf_clear(audit->line);
	err = buf_put(audit->line, bytes_of(entry->line, entry->len));
	if (!err)
		err = group_add(audit, chain);
	entry->sequence = chain->sequence;
	return err;
}

/* All that stands in the log is durable when this returns true, by itself. After one that failed the system takes for written what it could not write: whoever asked, nothing follows before
 * repair(). */
static bool sync_log(struct audit *audit)
{
	if (audit->disk->fdatasync(audit->fd) < 0) {
		audit->unsure = audit->ahead.used > 0;
		audit->remains = true;
		return false;
	}
	audit_ahead_begin_anew(&audit->ahead);
	audit->remains = false;
	return true;
}

/*
 * Brings the file to its last durable line again. Until that works nothing is written behind it. What was cut off is cut off on the disk as well before another line takes its place: of two that
 * were written to one place without a sync between them a power failure may leave a half of each, or bring back the first. Cut again with each sync that is tried: one that failed may have been all
 * that the system ever did about the cut before.
 */
static bool repair(struct audit *audit)
{
	if (!audit->remains)
		return true;
	if (audit->unsure && !audit_ahead_rewrite(&audit->ahead, audit->fd))
		return false;
	if (audit->unsure)
		audit->unsure = audit->torn = false;
	if (audit->disk->ftruncate(audit->fd, audit->durable) != 0)
		return false;
	audit->torn = false;
	return sync_log(audit);
}

/* Who moves the log away, or puts another in its place, as an editor does, would take all records that follow with it: then nothing is written, and so nothing released. */
static bool in_place(struct audit *audit)
{
	struct stat st;
	bool is = fstatat(audit->directory, AUDIT_FILE_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	          st.st_dev == audit->device && st.st_ino == audit->inode;

	if (!is && !audit->misplaced)
		log_error("the audit log was moved, removed or replaced: nothing is released until it is "
		          "back, or tokend was restarted and has begun another");
	audit->misplaced = !is;
	return is;
}

/* Lines go into the log, after which they and all before them are durable; or are not there, and not going to be. */
static enum err put_lines(struct audit *audit, struct bytes lines, bool are_ahead)
{
	audit->torn = true;
	if (!audit_disk_append(audit->disk, audit->fd, lines) || (!are_ahead && !sync_log(audit))) {
		audit->remains = true;
		(void)repair(audit);
		return ERR_AUDIT;
	}
	if (are_ahead)
		audit_ahead_keep(&audit->ahead, lines.len);
	audit->torn = false;
	audit->durable += (off_t)lines.len;
	return OK;
}

/* Everything up to here is durable; the answers to it have not left. */
static void move_on(struct audit *audit, const struct audit_chain *chain)
{
	audit->chain = *chain;
	audit_memo_write(&audit->memo, chain);
}

/* The notes and the entries of audit->writing, whose links nobody changes meanwhile: all of them are durable, or none. */
static enum err write_group(struct audit *audit, const struct notes *notes)
{
	struct audit_chain chain = audit->chain;
	struct bytes lines;
	enum err err;

	buf_clear(audit->group);
	err = group_add_notes(audit, &chain, notes);
	for (struct entry *entry = audit->writing.first; !err && entry; entry = entry->next)
		err = group_add_entry(audit, &chain, entry);
	if (err || !in_place(audit) || !repair(audit))
		return ERR_AUDIT;
	lines = buf_bytes(audit->group);
	err = put_lines(audit, lines, audit_ahead_try(&audit->ahead, audit->durable, lines));
	if (!err)
		move_on(audit, &chain);
	return err;
}

/* Remembers what became of an entry, for the log's own notes. */
static void note_entry(struct notes *notes, const struct entry *entry, enum err err)
{
	if (err) {
		notes->lost++;
		return;
	}
	if (!entry->late)
		return;
	if (notes->withheld_first == 0)
		notes->withheld_first = entry->sequence;
	notes->withheld_last = entry->sequence;
}

/* With the lock open: whoever is woken asks for it at once. */
static void wake_loop(struct audit *audit)
{
	const uint64_t one = 1;

	(void)pthread_mutex_unlock(&audit->lock);
	(void)!write(audit->wake_fd, &one, sizeof(one));
	(void)pthread_mutex_lock(&audit->lock);
}

/* Hands back what was written, or was not. */
static void finish_writing(struct audit *audit, enum err err)
{
	for (struct entry *entry; (entry = queue_take(&audit->writing));) {
		note_entry(&audit->notes, entry, err);
		entry->err = err;
		queue_put(&audit->finished, entry);
	}
	audit->works = err == OK;
	audit->count = audit->chain.sequence;
	wake_loop(audit);
}

/* Takes a group, writes it with the lock open, and hands it back. */
static void work_once(struct audit *audit)
{
	const struct notes notes = audit->notes;
	enum err err;

	while (audit->queued.first && audit->writing.count < AUDIT_GROUP_MAX)
		queue_put(&audit->writing, queue_take(&audit->queued));
	(void)pthread_mutex_unlock(&audit->lock);
	err = write_group(audit, &notes);
	(void)pthread_mutex_lock(&audit->lock);
	if (!err) {
		/* What was lost while the lock was open stays for the next group. */
		audit->notes = (struct notes){ .lost = audit->notes.lost - notes.lost };
	}
	finish_writing(audit, err);
}

static bool has_notes(const struct notes *notes)
{
	return notes->lost || notes->cut || notes->restored || notes->replaced || notes->missing.sequence ||
	       notes->withheld_first;
}

static void audit_destroy(struct audit *audit);

/*
 * A sync costs the same for one record as for many, so the first of many clients that ask at once waits a little for the others: without this the writer would sync for each as it comes, and
 * be behind ever after. It waits until half of them are here: while they are synced the helpers work on the other half. One client alone never waits.
 */
static void wait_for_more(struct audit *audit)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GROUP_WAIT_NS;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	while (audit->expected > audit->queued.count && !audit->stop)
		if (pthread_cond_clockwait(&audit->work, &audit->lock, CLOCK_MONOTONIC, &until) != 0)
			return;
}

/* ---- the writer's part of what is foreseen ---- */

/* Closes the line and makes it durable ahead of the log, with the lock open. */
static bool foreseen_sync(struct audit *audit)
{
	struct foreseen *foreseen = &audit->foreseen;
	enum err err;

	buf_clear(audit->foreseen_line);
	foreseen->after = audit->chain;
	err = buf_put(audit->foreseen_line, bytes_of(foreseen->open, foreseen->len));
	if (!err)
		err = audit_chain_close(&foreseen->after, audit->foreseen_line);
	return !err && audit_ahead_try(&audit->ahead, audit->durable, buf_bytes(audit->foreseen_line));
}

/* It never was. Whoever had claimed it goes the usual way, before all others. */
static void foreseen_drop(struct audit *audit)
{
	struct foreseen *foreseen = &audit->foreseen;
	struct entry *entry;

	foreseen->is_void = !foreseen->claimed;
	(void)pthread_mutex_unlock(&audit->lock);
	audit_ahead_scrub(&audit->ahead);
	(void)pthread_mutex_lock(&audit->lock);
	entry = foreseen->claimed ? queue_take(&audit->writing) : NULL;
	if (entry)
		queue_put_first(&audit->queued, entry);
	foreseen->state = FORESEEN_NOTHING;
	foreseen->claimed = foreseen->is_void = foreseen->came_true = false;
}

static void foreseen_prepare(struct audit *audit)
{
	bool durable;

	audit->foreseen.state = FORESEEN_SYNCING;
	(void)pthread_mutex_unlock(&audit->lock);
	durable = foreseen_sync(audit);
	(void)pthread_mutex_lock(&audit->lock);
	audit->foreseen.state = FORESEEN_DURABLE;
	if (!durable)
		foreseen_drop(audit);
}

/* With the lock open: into the log, behind its last durable line. */
static enum err foreseen_append(struct audit *audit)
{
	enum err err = in_place(audit) ? put_lines(audit, buf_bytes(audit->foreseen_line), true) : ERR_AUDIT;

	if (!err)
		move_on(audit, &audit->foreseen.after);
	return err;
}

/* The line is durable and its record has come, which waits in writing. */
static void foreseen_commit(struct audit *audit)
{
	struct entry *entry = audit->writing.first;
	enum err err;

	(void)pthread_mutex_unlock(&audit->lock);
	err = foreseen_append(audit);
	(void)pthread_mutex_lock(&audit->lock);
	audit->foreseen.state = FORESEEN_NOTHING;
	audit->foreseen.claimed = false;
	entry->sequence = audit->chain.sequence;
	finish_writing(audit, err);
}

/* Is there anything to be done for it? Does it. */
static bool foreseen_work(struct audit *audit)
{
	const struct foreseen *foreseen = &audit->foreseen;

	if (foreseen->state == FORESEEN_ASKED)
		foreseen_prepare(audit);
	else if (foreseen->state == FORESEEN_DURABLE && foreseen->claimed)
		foreseen_commit(audit);
	else if (foreseen->state == FORESEEN_DURABLE && foreseen->is_void)
		foreseen_drop(audit);
	else
		return false;
	return true;
}

/* ---- the writer's part of a rotation ---- */

/* What the new log begins with. */
static enum err put_continued(struct audit *audit, struct audit_chain *chain)
{
	char name[AUDIT_ROTATED_MAX];
	enum err err;

	audit_rotation_name(chain->sequence, name);
	err = begin_note(audit, "continued");
	err = err ? err : put_text(audit->line, "from", name);
	err = err ? err : put_text(audit->line, "result", err_info(OK)->name);
	err = err ? err : buf_put_u8(audit->line, ',');
	return err ? err : audit_chain_close(chain, audit->line);
}

/* The old one's lock goes with it. */
static void use_log(struct audit *audit, const struct audit_new_log *log)
{
	close_fdp(&audit->fd);
	audit->fd = log->fd;
	audit->device = log->status.st_dev;
	audit->inode = log->status.st_ino;
	audit->durable = log->status.st_size;
}

/* With the lock open. Nothing is ahead of the old log any more, and nothing of it will be taken for the new one's, when the names change. */
static enum err rotate(struct audit *audit)
{
	struct audit_chain chain = audit->chain;
	struct audit_new_log log;
	enum err err;

	if (chain.sequence == 0 || !in_place(audit) || !repair(audit) || !sync_log(audit) ||
	    !audit_ahead_leave(&audit->ahead, &audit->chain))
		return ERR_AUDIT;
	err = put_continued(audit, &chain);
	if (!err)
		err = audit_rotate_files(audit->directory, buf_bytes(audit->line), audit->chain.sequence,
		                         &log);
	if (err)
		return err;
	use_log(audit, &log);
	move_on(audit, &chain);
	return OK;
}

/* Between two groups. What was foreseen does not follow from the new log's first record. */
static void rotate_once(struct audit *audit)
{
	const unsigned long long last = audit->chain.sequence;
	struct entry *entry = audit->rotation;

	if (audit->foreseen.state == FORESEEN_DURABLE)
		foreseen_drop(audit);
	(void)pthread_mutex_unlock(&audit->lock);
	entry->err = rotate(audit);
	(void)pthread_mutex_lock(&audit->lock);
	audit->rotation = NULL;
	/* Nothing is foreseen, either, before the next group has repaired it. */
	if (audit->remains) {
		audit->works = false;
		if (audit->foreseen.state == FORESEEN_ASKED)
			audit->foreseen.state = FORESEEN_NOTHING;
	}
	if (!entry->err)
		audit->goes_on_from = last;
	audit->count = audit->chain.sequence;
	queue_put(&audit->finished, entry);
	wake_loop(audit);
}

/* The log by itself is whole from here on. With the lock open, for the disk may hang. */
static void close_cleanly(struct audit *audit)
{
	(void)pthread_mutex_unlock(&audit->lock);
	if (audit->disk->fdatasync(audit->fd) == 0)
		audit_ahead_close(&audit->ahead, &audit->chain);
	(void)pthread_mutex_lock(&audit->lock);
}

static void *writer(void *argument)
{
	struct audit *audit = argument;
	bool abandoned;

	(void)pthread_mutex_lock(&audit->lock);
	for (;;) {
		if (foreseen_work(audit))
			continue;
		if (audit->rotation) {
			rotate_once(audit);
			continue;
		}
		if (audit->queued.first) {
			wait_for_more(audit);
			work_once(audit);
			continue;
		}
		if (audit->stop)
			break;
		(void)pthread_cond_wait(&audit->work, &audit->lock);
	}
	if (has_notes(&audit->notes) && !audit->abandoned)
		work_once(audit);
	if (!audit->abandoned && !audit->torn && !audit->unsure)
		close_cleanly(audit);
	audit->ended = true;
	abandoned = audit->abandoned;
	(void)pthread_cond_signal(&audit->end);
	(void)pthread_mutex_unlock(&audit->lock);
	if (abandoned)
		audit_destroy(audit);
	return NULL;
}

/* ---- the event loop's side ---- */

static void answer(struct entry *entry, enum err err)
{
	audit_done done = entry->done;

	entry->done = NULL;
	if (done)
		done(entry->context, err);
}

static struct entry *take_finished(struct audit *audit)
{
	struct entry *entry;

	(void)pthread_mutex_lock(&audit->lock);
	entry = queue_take(&audit->finished);
	(void)pthread_mutex_unlock(&audit->lock);
	return entry;
}

/* One at a time: a callback may queue and forget records. */
static void answer_finished(struct audit *audit)
{
	for (struct entry *entry; (entry = take_finished(audit));) {
		answer(entry, entry->err);
		free(entry);
	}
}

static int on_wake(sd_event_source *source, int fd, uint32_t events, void *context)
{
	uint64_t count;

	(void)source;
	(void)events;
	(void)!read(fd, &count, sizeof(count));
	answer_finished(context);
	return 0;
}

/* With the lock: a rotation that takes too long is answered, though it may come to its end. Returns the next deadline, of both. */
static uint64_t expire_rotation(struct audit *audit, uint64_t now, uint64_t next, struct entry ***late)
{
	struct entry *entry = audit->rotation;

	if (!entry || entry->late)
		return next;
	if (entry->deadline > now)
		return next && next < entry->deadline ? next : entry->deadline;
	entry->late = true;
	entry->next_late = NULL;
	**late = entry;
	*late = &entry->next_late;
	return next;
}

/* Drops what is queued beyond its deadline and marks what the writer holds. Returns the next deadline, 0 when nothing waits. */
static uint64_t expire(struct audit *audit, uint64_t now)
{
	struct entry **late = &audit->late;
	uint64_t next = 0;

	(void)pthread_mutex_lock(&audit->lock);
	for (struct entry *entry = audit->writing.first; entry; entry = entry->next) {
		if (entry->late)
			continue;
		if (entry->deadline > now) {
			next = entry->deadline;
			break;
		}
		entry->late = true;
		audit->works = false;
		entry->next_late = NULL;
		*late = entry;
		late = &entry->next_late;
	}
	while (audit->queued.first && audit->queued.first->deadline <= now) {
		audit->queued.first->err = ERR_AUDIT;
		audit->notes.lost++;
		audit->works = false;
		queue_put(&audit->finished, queue_take(&audit->queued));
	}
	if (next == 0 && audit->queued.first)
		next = audit->queued.first->deadline;
	next = expire_rotation(audit, now, next, &late);
	(void)pthread_mutex_unlock(&audit->lock);
	return next;
}

static void answer_late(struct audit *audit)
{
	while (audit->late) {
		struct entry *entry = audit->late;

		audit->late = entry->next_late;
		answer(entry, entry->rotates ? ERR_TIMEOUT : ERR_AUDIT);
	}
}

static enum err timer_start(struct audit *audit, uint64_t deadline)
{
	int status = sd_event_source_set_time(audit->timer_source, deadline);

	if (status >= 0)
		status = sd_event_source_set_enabled(audit->timer_source, SD_EVENT_ONESHOT);
	/* The loop has ended and this is the last record: audit_free waits for it, and not for ever. */
	if (status == -ESTALE)
		return OK;
	if (status < 0)
		return ERR_SYSTEM;
	audit->timer_runs = true;
	audit->timer_at = deadline;
	return OK;
}

/* It goes off at deadline at the latest. */
static enum err timer_ensure(struct audit *audit, uint64_t deadline)
{
	return audit->timer_runs && audit->timer_at <= deadline ? OK : timer_start(audit, deadline);
}

/* The timer is not stopped when a record is done: it finds nothing to do once, and an idle broker is not woken again. */
static int on_timer(sd_event_source *source, uint64_t when, void *context)
{
	struct audit *audit = context;
	uint64_t next = expire(audit, clock_microseconds());
	enum err err = OK;

	(void)source;
	(void)when;
	audit->timer_runs = false;
	if (next)
		err = timer_start(audit, next);
	answer_late(audit);
	answer_finished(audit);
	return err ? -EIO : 0;
}

/* ---- the event loop's part of what is foreseen ---- */

/* What a line says, without when. */
static struct bytes without_time(struct bytes line)
{
	const uint8_t *comma = memchr(line.data, ',', line.len);
	size_t time_len = comma ? (size_t)(comma - line.data) : line.len;

	return bytes_of(line.data + time_len, line.len - time_len);
}

/* Gives the lock back, and wakes the writer after that: it would only wait for the lock. */
static void unlock_and_wake(struct audit *audit, bool wake)
{
	(void)pthread_mutex_unlock(&audit->lock);
	if (wake)
		(void)pthread_cond_signal(&audit->work);
}

/* With the lock: does entry say what was foreseen? Then it needs no group. */
static bool foreseen_claim(struct audit *audit, struct entry *entry)
{
	struct foreseen *foreseen = &audit->foreseen;

	if (!foreseen->awaited || foreseen->is_void ||
	    !bytes_equal(without_time(bytes_of(entry->line, entry->len)),
	                 without_time(bytes_of(foreseen->open, foreseen->len))))
		return false;
	foreseen->awaited = false;
	foreseen->came_true = true;
	if (foreseen->state == FORESEEN_NOTHING)
		return false;
	foreseen->claimed = true;
	queue_put(&audit->writing, entry);
	return true;
}

/* With the lock: another record comes before it, or instead of it. Is that anything to the writer? */
static bool foreseen_avoid(struct audit *audit)
{
	struct foreseen *foreseen = &audit->foreseen;

	if (!foreseen->awaited)
		return false;
	foreseen->awaited = false;
	foreseen->came_true = false;
	if (foreseen->state == FORESEEN_ASKED)
		foreseen->state = FORESEEN_NOTHING;
	foreseen->is_void = foreseen->state != FORESEEN_NOTHING;
	return foreseen->is_void;
}

/* Only while nothing else is under way: what many do at once is cheap anyway, and the chain has one end. */
static bool foreseen_possible(const struct audit *audit)
{
	return audit->foreseen.state == FORESEEN_NOTHING && audit->works && !audit->queued.first &&
	       !audit->writing.first && !audit->finished.first && !has_notes(&audit->notes) && !audit->stop;
}

void audit_foresee(struct audit *audit, const struct audit_record *record)
{
	struct foreseen *foreseen = &audit->foreseen;
	struct bytes line;
	bool wake = false;

	buf_clear(audit->scratch);
	if (put_record(audit->scratch, record))
		return;
	line = buf_bytes(audit->scratch);
	(void)pthread_mutex_lock(&audit->lock);
	if (line.len <= sizeof(foreseen->open) && foreseen_possible(audit)) {
		memcpy(foreseen->open, line.data, line.len);
		foreseen->len = line.len;
		foreseen->awaited = true;
		wake = foreseen->came_true;
		if (wake)
			foreseen->state = FORESEEN_ASKED;
	}
	unlock_and_wake(audit, wake);
}

void audit_unforesee(struct audit *audit)
{
	bool wake;

	(void)pthread_mutex_lock(&audit->lock);
	wake = foreseen_avoid(audit);
	unlock_and_wake(audit, wake);
}

/* An entry of the line that scratch holds. */
static enum err entry_new(const struct audit *audit, struct entry **ret_entry)
{
	struct bytes line = buf_bytes(audit->scratch);
	struct entry *entry = calloc(1, sizeof(*entry) + line.len);

	if (!entry)
		return ERR_NOMEM;
	entry->len = line.len;
	memcpy(entry->line, line.data, line.len);
	*ret_entry = entry;
	return OK;
}

/* With the lock. Is that anything to the writer? In between, it is working or waiting for more, and need not be woken for each. */
static bool queue_entry(struct audit *audit, struct entry *entry)
{
	bool is_void;

	audit->expected = audit->expected_next;
	if (foreseen_claim(audit, entry))
		return true;
	is_void = foreseen_avoid(audit);
	queue_put(&audit->queued, entry);
	return is_void || audit->queued.count == 1 || audit->queued.count >= audit->expected;
}

static enum err enqueue(struct audit *audit, struct entry *entry)
{
	bool full, wake;

	(void)pthread_mutex_lock(&audit->lock);
	full = audit->ended ||
	       audit->queued.count + audit->writing.count + audit->finished.count >= AUDIT_QUEUE_MAX;
	wake = !full && queue_entry(audit, entry);
	unlock_and_wake(audit, wake);
	return full ? ERR_BUSY : OK;
}

/* Queues the line that scratch holds. */
static enum err submit(struct audit *audit, audit_done done, void *context)
{
	CLEANUP(freep) struct entry *entry = NULL;
	enum err err = entry_new(audit, &entry);

	if (err)
		return err;
	entry->done = done;
	entry->context = context;
	entry->deadline = clock_microseconds() + audit->wait_us;
	err = timer_ensure(audit, entry->deadline);
	if (!err)
		err = enqueue(audit, entry);
	if (!err)
		(void)TAKE(entry);
	return err;
}

enum err audit_write(struct audit *audit, const struct audit_record *record, audit_done done, void *context)
{
	enum err err;

	buf_clear(audit->scratch);
	err = put_record(audit->scratch, record);
	return err ? err : submit(audit, done, context);
}

/* ---- refusals that were only counted ---- */

static enum err put_sum(struct buf *line, const struct refusals_user *user)
{
	enum err err = put_time(line);

	err = err ? err : put_text(line, "frontend", "audit");
	err = err ? err : put_text(line, "operation", "refusals");
	if (!err && user->uid == REFUSALS_NO_UID)
		err = buf_put_string(line, ",\"uid\":null");
	else if (!err)
		err = buf_printf(line, ",\"uid\":%u", (unsigned)user->uid);
	err = err ? err : buf_printf(line, ",\"count\":%llu", user->counted);
	err = err ? err : put_text(line, "result", "refused");
	return err ? err : buf_put_u8(line, ',');
}

/* A sum that finds no room in the queue waits for the next time. last: there is none. */
static void write_sums(struct audit *audit, bool last)
{
	const struct refusals_user *user;

	while ((user = refusals_next(&audit->refusals, clock_microseconds(), last))) {
		buf_clear(audit->scratch);
		if (put_sum(audit->scratch, user) || submit(audit, NULL, NULL))
			return;
		refusals_summed(&audit->refusals, user, clock_microseconds());
	}
}

static void arm_sums(struct audit *audit)
{
	if (sd_event_source_set_time_relative(audit->sums_source, REFUSALS_SUM_USEC) >= 0)
		(void)sd_event_source_set_enabled(audit->sums_source, SD_EVENT_ONESHOT);
}

static int on_sums(sd_event_source *source, uint64_t when, void *context)
{
	struct audit *audit = context;

	(void)source;
	(void)when;
	write_sums(audit, false);
	if (audit->refusals.any_counted)
		arm_sums(audit);
	return 0;
}

bool audit_admits_refusal(struct audit *audit, uid_t uid)
{
	bool counting = audit->refusals.any_counted;
	bool admitted = refusals_admit(&audit->refusals, uid, clock_microseconds());

	if (!admitted && !counting)
		arm_sums(audit);
	return admitted;
}

/* ---- rotation ---- */

static enum err ask_rotation(struct audit *audit, struct entry *entry)
{
	bool busy;

	(void)pthread_mutex_lock(&audit->lock);
	busy = audit->rotation || audit->stop;
	if (!busy)
		audit->rotation = entry;
	unlock_and_wake(audit, !busy);
	return busy ? ERR_BUSY : OK;
}

enum err audit_rotate(struct audit *audit, audit_done done, void *context)
{
	CLEANUP(freep) struct entry *entry = calloc(1, sizeof(*entry));
	enum err err = entry ? OK : ERR_NOMEM;

	if (err)
		return err;
	*entry = (struct entry){ .done = done,
		                 .context = context,
		                 .deadline = clock_microseconds() + AUDIT_ROTATION_MS * 1000ULL,
		                 .rotates = true };
	err = timer_ensure(audit, entry->deadline);
	if (!err)
		err = ask_rotation(audit, entry);
	if (!err)
		(void)TAKE(entry);
	return err;
}

void audit_expect(struct audit *audit, size_t records)
{
	audit->expected_next = records;
}

void audit_forget(struct audit *audit, const void *context)
{
	(void)pthread_mutex_lock(&audit->lock);
	queue_forget(&audit->queued, context);
	queue_forget(&audit->writing, context);
	queue_forget(&audit->finished, context);
	if (audit->rotation && audit->rotation->context == context)
		audit->rotation->done = NULL;
	(void)pthread_mutex_unlock(&audit->lock);
}

/* The lock is no part of what a caller could see change. */
static pthread_mutex_t *lock_of(const struct audit *audit)
{
	return (pthread_mutex_t *)(uintptr_t)&audit->lock;
}

bool audit_works(const struct audit *audit)
{
	bool works;

	(void)pthread_mutex_lock(lock_of(audit));
	works = audit->works;
	(void)pthread_mutex_unlock(lock_of(audit));
	return works;
}

/* One of audit's numbers. */
static unsigned long long read_number(const struct audit *audit, const unsigned long long *number)
{
	unsigned long long read;

	(void)pthread_mutex_lock(lock_of(audit));
	read = *number;
	(void)pthread_mutex_unlock(lock_of(audit));
	return read;
}

unsigned long long audit_count(const struct audit *audit)
{
	return read_number(audit, &audit->count);
}

unsigned long long audit_goes_on_from(const struct audit *audit)
{
	return read_number(audit, &audit->goes_on_from);
}

/* ---- the file ---- */

static enum err create_file(int directory, int *ret_fd)
{
	CLEANUP(close_fdp)
	int fd = openat(directory, AUDIT_FILE_NAME,
	                O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);

	/* umask must not decide who may read the log; a log whose name is not durable is not. */
	if (fd < 0 || fchmod(fd, FILE_MODE) < 0 || fsync(directory) < 0)
		return err_from_errno(errno);
	*ret_fd = TAKE_FD(fd);
	return OK;
}

static int open_existing(int directory)
{
	return openat(directory, AUDIT_FILE_NAME,
	              O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
}

static enum err open_file(struct audit *audit, int directory)
{
	enum err err = audit_rotation_mend(directory);
	CLEANUP(close_fdp) int fd = err ? -1 : open_existing(directory);
	struct stat st;

	if (err)
		return err;
	if (fd < 0 && errno == ENOENT)
		err = create_file(directory, &fd);
	else if (fd < 0)
		err = errno == ELOOP || errno == EISDIR ? ERR_STATE_DIR : err_from_errno(errno);
	if (err)
		return err;
	if (fstat(fd, &st) < 0)
		return ERR_SYSTEM;
	/* A second name would let its owner read or keep what we believe to be in one place. */
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || !file_is_ours(&st, 0027))
		return ERR_STATE_DIR;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? ERR_BUSY : ERR_SYSTEM;
	audit->directory = directory;
	audit->device = st.st_dev;
	audit->inode = st.st_ino;
	audit->fd = TAKE_FD(fd);
	return OK;
}

/* Reads len bytes from offset, all of them. */
static enum err read_at(int fd, off_t offset, uint8_t *out, size_t len)
{
	while (len > 0) {
		ssize_t got = pread(fd, out, len, offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return ERR_SYSTEM;
		out += got;
		offset += got;
		len -= (size_t)got;
	}
	return OK;
}

/* Where the last whole line of a file of size bytes ends, just behind its newline; 0 when there is none. It looks no further back than an unfinished group could reach. */
static enum err find_end(int fd, off_t size, off_t *ret_end)
{
	uint8_t chunk[8192];

	for (off_t end = size; end > 0 && size - end <= (off_t)AUDIT_GROUP_BYTES_MAX;) {
		off_t start = end > (off_t)sizeof(chunk) ? end - (off_t)sizeof(chunk) : 0;
		size_t len = (size_t)(end - start);
		enum err err = read_at(fd, start, chunk, len);
		const uint8_t *newline = err ? NULL : memrchr(chunk, '\n', len);

		if (err)
			return err;
		if (newline) {
			*ret_end = start + (newline - chunk) + 1;
			return OK;
		}
		end = start;
	}
	*ret_end = 0;
	return OK;
}

/* Walks the lines in the last bytes before end, window_len at most. Does one of them parse? */
static enum err walk_tail(int fd, off_t end, size_t window_len, struct audit_chain *ret_chain, bool *ret_any)
{
	off_t start = end > (off_t)window_len ? end - (off_t)window_len : 0;
	CLEANUP(freep) uint8_t *window = malloc(window_len);
	struct audit_chain chain = { 0 };
	struct bytes rest, line;
	enum err err = window ? read_at(fd, start, window, (size_t)(end - start)) : ERR_NOMEM;

	*ret_any = false;
	if (err)
		return err;
	rest = bytes_of(window, (size_t)(end - start));
	if (start > 0)
		(void)text_next_line(&rest, &line); /* the second half of one */
	while (text_next_line(&rest, &line))
		*ret_any |= audit_chain_next(&chain, line) != AUDIT_FAULT_SYNTAX;
	*ret_chain = chain;
	return OK;
}

/* The chain at end, which the last line that parses decides, mostly the very last. One that does not parse is a matter for who verifies the log: the chain goes on from what stands there. But if
 * none parses, this is no log of ours. */
static enum err read_chain(int fd, off_t end, struct audit_chain *ret_chain)
{
	bool any;
	enum err err = walk_tail(fd, end, TAIL_FIRST, ret_chain, &any);

	if (!err && !any && end > (off_t)TAIL_FIRST)
		err = walk_tail(fd, end, TAIL_WINDOW, ret_chain, &any);
	return err || any || end == 0 ? err : ERR_STATE_DIR;
}

/* Where the first line with a zero byte begins, in the part before end that an unfinished group could be in; end when there is none. No line of ours has one: it is what a system leaves of
 * what it had no time to write. */
static enum err find_zeros(int fd, off_t end, off_t *ret_start)
{
	off_t line = end > (off_t)AUDIT_GROUP_BYTES_MAX ? end - (off_t)AUDIT_GROUP_BYTES_MAX : 0;
	uint8_t chunk[8192];

	for (off_t at = line; at < end;) {
		size_t len = end - at < (off_t)sizeof(chunk) ? (size_t)(end - at) : sizeof(chunk);
		enum err err = read_at(fd, at, chunk, len);
		const uint8_t *zero, *newline;

		if (err)
			return err;
		zero = memchr(chunk, '\0', len);
		newline = memrchr(chunk, '\n', zero ? (size_t)(zero - chunk) : len);
		if (newline)
			line = at + (newline - chunk) + 1;
		if (zero) {
			*ret_start = line;
			return OK;
		}
		at += (off_t)len;
	}
	*ret_start = end;
	return OK;
}

/*
 * Where the log ends: behind its last whole line, or, if a group was being written, behind the last that follows from what was durable, for the power may have taken any part of a group and left
 * the last line of it. What is longer than a group was not being written, and is for who verifies the log to see. Where nothing is known of what was durable only zeros tell.
 */
static enum err find_whole(const struct audit *audit, off_t follows, off_t size, off_t *ret_end)
{
	off_t end = 0;
	enum err err = follows < 0 ? find_zeros(audit->fd, size, &size) : OK;

	err = err ? err : find_end(audit->fd, size, &end);
	if (!err && size - end > (end ? (off_t)AUDIT_GROUP_BYTES_MAX : (off_t)AUDIT_LINE_MAX))
		err = ERR_STATE_DIR; /* no unfinished line is that long */
	if (follows >= 0 && follows < end && size - follows <= (off_t)AUDIT_GROUP_BYTES_MAX)
		end = follows;
	*ret_end = end;
	return err;
}

/* What is remembered is the end of this log, or of the one that it goes on from: killed right after its first record. */
static unsigned long long find_missing(const struct audit *audit, off_t end, const struct audit_chain *before)
{
	unsigned long long missing = audit_ahead_missing(&audit->ahead, end, &audit->chain);

	if (missing && before->sequence)
		missing = audit_ahead_missing(&audit->ahead, end, before);
	return missing;
}

/* Finds the end of the log and cuts off what is behind it: an answer to that record never left. */
static enum err read_end(struct audit *audit)
{
	off_t size, end = 0;
	struct audit_restored restored;
	struct audit_chain before;
	enum err err = audit_ahead_restore(&audit->ahead, audit->fd, &restored);

	if (err)
		return err;
	audit->notes.restored = restored.bytes;
	size = lseek(audit->fd, 0, SEEK_END);
	err = size < 0 ? ERR_SYSTEM : find_whole(audit, restored.end, size, &end);
	if (!err)
		err = read_chain(audit->fd, end, &audit->chain);
	if (err)
		return err;
	if (size > end &&
	    (audit->disk->ftruncate(audit->fd, end) < 0 || audit->disk->fdatasync(audit->fd) < 0))
		return err_from_errno(errno);
	audit->notes.cut = (unsigned long long)(size - end);
	audit_rotation_before(audit->fd, &before);
	audit->goes_on_from = before.sequence;
	audit->notes.replaced = find_missing(audit, end, &before);
	if (audit->notes.replaced)
		log_warning("the audit log does not end with record %llu, as the one of before did: it was "
		            "removed, "
		            "replaced, cut off or written to while tokend was down",
		            audit->notes.replaced);
	audit->durable = end;
	audit->count = audit->chain.sequence;
	return OK;
}

/* ---- beginning and end ---- */

static void audit_destroy(struct audit *audit)
{
	queue_free(&audit->queued);
	queue_free(&audit->writing);
	queue_free(&audit->finished);
	free(audit->rotation);
	buf_free(audit->line);
	buf_free(audit->group);
	buf_free(audit->foreseen_line);
	audit_ahead_close(&audit->ahead, NULL);
	close_fdp(&audit->fd);
	close_fdp(&audit->wake_fd);
	(void)pthread_mutex_destroy(&audit->lock);
	(void)pthread_cond_destroy(&audit->work);
	(void)pthread_cond_destroy(&audit->end);
	free(audit);
}

static enum err locks_init(struct audit *audit)
{
	pthread_condattr_t attributes;
	bool good = pthread_mutex_init(&audit->lock, NULL) == 0 && pthread_cond_init(&audit->work, NULL) == 0;

	if (!good || pthread_condattr_init(&attributes) != 0)
		return ERR_NOMEM;
	good = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
	       pthread_cond_init(&audit->end, &attributes) == 0;
	(void)pthread_condattr_destroy(&attributes);
	return good ? OK : ERR_NOMEM;
}

static enum err add_sources(struct audit *audit, sd_event *event)
{
	audit->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (audit->wake_fd < 0 ||
	    sd_event_add_io(event, &audit->wake_source, audit->wake_fd, EPOLLIN, on_wake, audit) < 0 ||
	    sd_event_add_time(event, &audit->timer_source, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US, on_timer,
	                      audit) < 0 ||
	    sd_event_source_set_enabled(audit->timer_source, SD_EVENT_OFF) < 0 ||
	    sd_event_add_time(event, &audit->sums_source, CLOCK_MONOTONIC, 0, 0, on_sums, audit) < 0 ||
	    sd_event_source_set_enabled(audit->sums_source, SD_EVENT_OFF) < 0)
		return ERR_SYSTEM;
	return OK;
}

/* The event loop's own part, gone before the rest. */
static void loop_done(struct audit *audit)
{
	audit->wake_source = sd_event_source_disable_unref(audit->wake_source);
	audit->timer_source = sd_event_source_disable_unref(audit->timer_source);
	audit->sums_source = sd_event_source_disable_unref(audit->sums_source);
	audit->scratch = buf_free(audit->scratch);
}

static enum err audit_init(struct audit *audit, sd_event *event, int state_directory)
{
	enum err err = buf_new(AUDIT_LINE_MAX - LINE_TAIL_MAX, &audit->scratch);

	err = err ? err : buf_new(AUDIT_LINE_MAX, &audit->line);
	err = err ? err : buf_new(AUDIT_GROUP_BYTES_MAX, &audit->group);
	err = err ? err : buf_new(AUDIT_LINE_MAX, &audit->foreseen_line);
	err = err ? err : open_file(audit, state_directory);
	err = err ? err : audit_ahead_open(&audit->ahead, state_directory, audit->disk);
	err = err ? err : read_end(audit);
	err = err ? err : add_sources(audit, event);
	return err ? err : thread_start(THREAD_STACK, writer, audit, &audit->thread);
}

enum err audit_new_on(sd_event *event, int state_directory, const struct audit_disk *disk, uint64_t wait_us,
                      struct audit **ret_audit)
{
	struct audit *audit = calloc(1, sizeof(*audit));
	enum err err;

	if (!audit || locks_init(audit) != OK) {
		free(audit);
		return ERR_NOMEM;
	}
	queue_init(&audit->queued);
	queue_init(&audit->writing);
	queue_init(&audit->finished);
	audit->fd = audit->wake_fd = audit->ahead.fd = audit->ahead.direct = audit->memo.fd = -1;
	audit->disk = disk;
	audit->wait_us = wait_us;
	audit->works = audit->foreseen.came_true = true;
	err = audit_init(audit, event, state_directory);
	if (err) {
		loop_done(audit);
		audit_destroy(audit);
		return err;
	}
	*ret_audit = audit;
	return OK;
}

static int open_at(int directory, const char *name, int flags)
{
	return openat(directory, name, flags);
}

enum err audit_new(sd_event *event, int state_directory, struct audit **ret_audit)
{
	static const struct audit_disk disk = {
		write, pwrite, fdatasync, ftruncate, open_at, AUDIT_AHEAD_LEN
	};

	return audit_new_on(event, state_directory, &disk, AUDIT_WAIT_US, ret_audit);
}

/* The writer touches neither the log nor the memo before the first record is queued, which is done by the same thread as this. */
void audit_use_memo(struct audit *audit, int memo, const char *directory)
{
	struct audit_chain missing;
	char head[AUDIT_HEAD_LEN + 1];

	audit->memo = (struct audit_memo){ memo, bytes_of_string(directory) };
	if (audit_memo_missing(&audit->memo, audit->fd, audit->durable, &audit->chain, &missing) ||
	    missing.sequence == 0)
		return;
	audit_head_print(&missing, head);
	log_warning(
	        "the audit log was cut off, or put back from a copy, since this machine was started: record "
	        "%llu was written and is not there, it ends with %llu; next: tokenctl audit verify --head %s "
	        "--file FILE, of each copy that there is, says which one has it",
	        missing.sequence, audit->chain.sequence, head);
	(void)pthread_mutex_lock(&audit->lock);
	audit->notes.missing = missing;
	(void)pthread_mutex_unlock(&audit->lock);
}

/* Tells the writer to end and waits for that. False when it hangs. */
static bool stop_writer(struct audit *audit)
{
	uint64_t deadline = clock_microseconds() + audit->wait_us;
	const struct timespec until = { .tv_sec = (time_t)(deadline / 1000000),
		                        .tv_nsec = (long)(deadline % 1000000) * 1000 };
	int error = 0;
	bool ended;

	(void)pthread_mutex_lock(&audit->lock);
	audit->stop = true;
	(void)pthread_cond_signal(&audit->work);
	while (!audit->ended && error == 0)
		error = pthread_cond_timedwait(&audit->end, &audit->lock, &until);
	ended = audit->ended;
	(void)pthread_mutex_unlock(&audit->lock);
	return ended;
}

/* Leaves everything to a writer that hangs, to be freed when it wakes; false when it has ended meanwhile. */
static bool abandon(struct audit *audit)
{
	pthread_t thread = audit->thread;
	bool abandoned;

	(void)pthread_mutex_lock(&audit->lock);
	abandoned = !audit->ended;
	audit->abandoned = abandoned;
	(void)pthread_mutex_unlock(&audit->lock);
	if (abandoned)
		(void)pthread_detach(thread);
	return abandoned;
}

struct audit *audit_free(struct audit *audit)
{
	if (!audit)
		return NULL;
	write_sums(audit, true);
	if (!stop_writer(audit)) {
		(void)expire(audit, UINT64_MAX);
		answer_late(audit);
	}
	answer_finished(audit);
	loop_done(audit);
	if (!abandon(audit)) {
		(void)pthread_join(audit->thread, NULL);
		audit_destroy(audit);
	}
	return NULL;
}
