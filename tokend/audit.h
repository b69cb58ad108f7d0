/*
 * Audit
 *
 * One JSON line per release or refusal, on disk before the answer leaves. Each line carries the SHA-256 of the line before it, so that a record that is changed, removed,
 * moved or inserted is found (formats/audit_record knows the line; this knows the disk). A thread of its own writes and syncs, so that the event loop never waits for a
 * disk: all records that came in while it was syncing go out together with one fdatasync (group commit).
 *
 * A record that cannot be made durable, or is not within AUDIT_DEADLINE_MS, is answered with ERR_AUDIT; the caller then releases nothing. The log recovers by itself when
 * the disk does, and says so in its own words: lines of front-end "audit" tell that records were lost (their requests got an error), that the results of a range of records
 * never left because the disk was too slow ("withheld"), or that a line half written when the power failed was cut off. Such a line was never acknowledged, so nothing is lost with it. "replaced" says that the
 * log is another than the one that the run before ended with; with "known" and "hash" of the record that it should have held, where that is known.
 *
 * The file has to stay where it is: when another stands in its place, or none, nothing is written until it is back. A new log is begun by audit_rotate, whose first record ("continued") goes on in the chain,
 * or by a start without one.
 *
 * Anybody can be refused as often as he likes, and must not be able to fill the disk with that: refusals of a uid beyond a measure (tokend/refusals.h) are counted, and a line "refusals" says
 * how many they were. The counts are in memory: what was counted in the last second before the power fails is lost.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/key.h"
#include "tokend/peer.h"
#include "tokend/policy.h"

#define AUDIT_DEADLINE_MS 100U
#define AUDIT_FILE_NAME "audit.log"
#define AUDIT_QUEUE_MAX 4096U
#define AUDIT_ROTATION_MS 5000U

struct audit;

struct audit_record {
	const char *frontend; /* "age", "control", ... */
	const char *operation; /* "unwrap", "enroll", "unlock", "lock", "list", "reload", "start", "stop" */
	const struct peer *peer; /* NULL: tokend itself */
	const char *
	        key_name; /* as asked for or found; NULL: none. With key NULL and no name that a key can have, the log says "invalid" */
	const struct key_id *key; /* NULL: none */
	const char *token_uri; /* NULL: none was asked */
	const char *rule; /* "file:line" of the deciding rule; NULL: none matched */
	enum err result;
};

/* Called in the event loop when the record is on disk (OK) or is not going to be (ERR_AUDIT). */
typedef void (*audit_done)(void *context, enum err err);

/* Opens or begins AUDIT_FILE_NAME in the state directory (which is borrowed for as long as the audit log lives; mode 0640), reads its end to go on with the chain, starts the thread. ERR_STATE_DIR when the file is not a regular
 * file of ours alone, others may write to it, or its end is not an audit log's; ERR_BUSY when another tokend writes to it; ERR_DISK_FULL, ERR_FILE_ACCESS, ERR_SYSTEM. */
MUST_CHECK enum err audit_new(sd_event *event, int state_directory, struct audit **ret_audit);

/* Right after audit_new: the log is compared with what a run before left in memo since the machine was started, a file that is open for reading and writing (both borrowed for as long as the audit log lives; -1:
 * there is none; directory: the path of the state directory), and its head is written there from now on. What is missing is said in tokend's log and in the audit log. */
void audit_use_memo(struct audit *audit, int memo, const char *directory);

/* Writes what is queued, waits at most AUDIT_DEADLINE_MS, ends the thread. Callbacks that are still due are called from here. */
struct audit *audit_free(struct audit *audit);
DEFINE_CLEANUP(struct audit *, audit_free);

/* Queues one record; done is called exactly once, never from inside this call. ERR_BUSY when the queue is full (done is not called then, as for every error). done NULL: nobody
 * waits for it. */
MUST_CHECK enum err audit_write(struct audit *audit, const struct audit_record *record, audit_done done,
                                void *context);

/* This record will probably be queued next: it is made durable already, if nothing else is under way. Nothing of it is in the log unless audit_write is called with the same, but for the time. */
void audit_foresee(struct audit *audit, const struct audit_record *record);

/* No record comes of what was foreseen. */
void audit_unforesee(struct audit *audit);

/* Closes the log after the group that is being written, and begins another that goes on from it (tokend/audit_rotation.h): what is still queued, and comes later, is in that one. done as of audit_write: OK; ERR_EXISTS, ERR_DISK_FULL, ERR_FILE_ACCESS,
 * ERR_SYSTEM, ERR_AUDIT, after which the log is the one that it was; or ERR_TIMEOUT, after AUDIT_ROTATION_MS, when that is not known. Requests wait for it as for any write. ERR_BUSY when one is under way already. */
MUST_CHECK enum err audit_rotate(struct audit *audit, audit_done done, void *context);

/* The last record of the log that this one goes on from; 0: it is the first. */
unsigned long long audit_goes_on_from(const struct audit *audit);

/* Is a refusal of uid to be written? If not it was counted, and need not be waited for. */
bool audit_admits_refusal(struct audit *audit, uid_t uid);

/* How many records will probably follow the next one in a moment: requests that helpers are working on. While it is not 0, a small group waits for them, for less than half a millisecond. */
void audit_expect(struct audit *audit, size_t records);

/* Forgets the callback of requests whose client is gone: context is compared. The record is written all the same. */
void audit_forget(struct audit *audit, const void *context);

bool audit_works(const struct audit *audit); /* did the last write succeed? */
unsigned long long audit_count(const struct audit *audit); /* records in the file */
