/* Unlock and lock: a PIN is proven on the device once, and the key is then open for the uid that proved it. The PIN goes through here sealed; only the helper can read it. */
#include <stdio.h>

#include "tokend/request_stages.h"

static enum err build(struct worker_call *call, struct buf *packet)
{
	const struct request *request = (const struct request *)call;
	enum err err =
	        token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(request->key->id.bytes, KEY_ID_LEN));

	return err ? err
	           : token_message_put(packet, TOKEN_FIELD_SEALED_PIN,
	                               bytes_of(request->sealed_pin, request->sealed_pin_len));
}

static const struct key *needed_key(const struct worker_call *call, size_t *cursor)
{
	return (*cursor)++ == 0 ? ((const struct request *)call)->key : NULL;
}

static void opened(struct request *request)
{
	struct daemon *daemon = request->daemon;
	enum err err = unlock_open(daemon->unlocks, request->peer.uid, &request->key->id,
	                           daemon_seconds(daemon), (unsigned)request->seconds);

	daemon_watch_unlocks(daemon);
	request_finish(request, err ? err : request_name_key(request, request->key));
}

/* What the device has left is everybody's, and a uid has less than that: the lower of both is what may be tried. */
static void note_tries_left(struct request *request, const struct token_message *message)
{
	struct daemon *daemon = request->daemon;
	uint32_t device;

	if (!message || token_message_u32(message, TOKEN_FIELD_PIN_TRIES_LEFT, &device))
		return;
	request->tries_left = unlock_tries_left(daemon->unlocks, request->peer.uid, &request->key->id,
	                                        daemon_seconds(daemon));
	if (device < request->tries_left)
		request->tries_left = device;
	request->tries_left_known = true;
}

static void done(struct worker_call *call, enum err err, const struct token_message *message)
{
	struct request *request = (struct request *)call;
	struct daemon *daemon = request->daemon;

	unlock_tried(daemon->unlocks, request->peer.uid, &request->key->id, daemon_seconds(daemon), err);
	if (err == ERR_PIN_WRONG)
		note_tries_left(request, message);
	if (err == OK)
		opened(request);
	else if (err == ERR_BAD_MESSAGE)
		request_refuse(request, ERR_USAGE, "the same command again",
		               "the PIN is not sealed to the helper that runs now, as when that was started "
		               "anew since");
	else if (err == ERR_TOKEN_STATE)
		request_refuse_foreign(request);
	else if (err == ERR_USAGE)
		request_refuse(request, ERR_PIN_WRONG, NULL, "a PIN has %u to %u bytes", PIN_MIN, PIN_MAX);
	else
		request_finish(request, err == ERR_NO_KEY ? ERR_TOKEN : err);
}

/* What was asked for, but not more than the policy or the configuration allows. */
static void limit_seconds(struct request *request, const struct candidate *candidate)
{
	unsigned most =
	        candidate->for_seconds ? candidate->for_seconds : request->daemon->config.session_seconds;

	if (most > UNLOCK_SECONDS_MAX)
		most = UNLOCK_SECONDS_MAX;
	if (request->seconds <= 0 || request->seconds > (long)most)
		request->seconds = (long)most;
}

static void try_pin(struct request *request)
{
	struct daemon *daemon = request->daemon;
	int64_t wait = 0;
	enum err err = unlock_try(daemon->unlocks, request->peer.uid, &request->key->id,
	                          daemon_seconds(daemon), &wait);

	if (err == ERR_PIN_LOCKED) {
		request_refuse(request, err, NULL, "too many wrong PINs; the next try is possible in %lld s",
		               (long long)wait);
		return;
	}
	if (err == ERR_BUSY && wait) {
		request_refuse(request, err, "the same command again",
		               "as many PINs as may be wrong are being tried for you at the same time");
		return;
	}
	if (err) {
		request_finish(request, err);
		return;
	}
	request->call.op = TOKEN_OP_UNLOCK;
	request->call.build = build;
	request->call.done = done;
	request->call.key = needed_key;
	request->call.once = true;
	worker_submit(request->worker, &request->call);
}

void request_unlock(struct request *request)
{
	struct candidate candidate;
	enum err err = request_find_key(request, OPERATION_UNWRAP, true, &candidate);

	if (err) {
		request_finish(request, err);
		return;
	}
	if (request->key->class == KEY_CLASS_BOOT) {
		request_refuse(request, ERR_USAGE, NULL, "the key %s has no PIN and is always open",
		               request->key->name);
		return;
	}
	limit_seconds(request, &candidate);
	request->worker = request_worker(request, request->key, 0);
	if (request->worker)
		try_pin(request);
	else
		request_finish(request, ERR_NO_TOKEN);
}

/* Only what is the caller's own is closed, so nothing has to be asked of the policy but which key a name means. */
void request_lock(struct request *request)
{
	struct candidate candidate;
	enum err err = OK;

	if (request->key_name[0])
		err = request_find_key(request, OPERATION_UNWRAP, true, &candidate);
	if (!err)
		request->locked_count = unlock_close(request->daemon->unlocks, request->peer.uid,
		                                     request->key ? &request->key->id : NULL);
	request_finish(request, err);
}
