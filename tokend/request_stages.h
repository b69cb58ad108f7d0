/*
 * Request stages
 *
 * What the files of the spine share: request.c is the way of a request, the others are what is done on it for each kind. Nobody else includes this.
 */
#pragma once

#include "tokend/daemon.h"
#include "tokend/request.h"

/* The first stage of each kind: ends in request_finish, now or later. */
void request_unwrap(struct request *request);
void request_keys(struct request *request);
void request_tokens(struct request *request);
void request_status(struct request *request);
void request_enroll(struct request *request);
void request_unlock(struct request *request);
void request_lock(struct request *request);
void request_explain(struct request *request);
void request_rotate(struct request *request);

/* The last step of a rotation of the audit log, once the record of it is on disk; done is called as audit_done. What it did is then noted. Errors of audit_rotate, for which done is not called. */
MUST_CHECK enum err request_rotate_commit(struct request *request, audit_done done);
enum err request_rotate_done(struct request *request, enum err err);

/* May the peer administer the key of that name, NULL: every key, whatever its name? Notes the rule; where it wants a PIN, the one use of a key of class admin is spent. ERR_DENIED; ERR_PIN_NEEDED: there is none. */
MUST_CHECK enum err request_authorise_admin(struct request *request, const char *key_name);

/* The refusal then. Who has no such key would look for its PIN in vain; who has one learns nothing that he may not administer. */
void request_refuse_without_pin(struct request *request);

/* Audits what is to be audited, and then answers. */
void request_finish(struct request *request, enum err err);

/* Its result is nearly sure, with this one try: the record of it is made durable while the token works. */
void request_foresee(struct request *request, const struct request_try *try);

/* Its client hung up before anything was done for it: neither released nor refused, so not audited. */
void request_forget(struct request *request);

/* request_finish with a sentence of its own, and the next command to type (NULL: the error's). */
void request_refuse(struct request *request, enum err err, const char *hint, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* ... when the token says that a key is none of its own. */
void request_refuse_foreign(struct request *request);

/* Enrolment's last step, once its record is on disk. */
MUST_CHECK enum err request_enroll_commit(struct request *request);
void request_enroll_done(struct request *request);

/* Remembers which rule decided, for the audit log. */
void request_note_rule(struct request *request, const char *file, unsigned line);

/* The key that request names, by id or name, if policy lets the peer do operation with it: through request->via, or (any_frontend) through any. What is denied and what does not
 * exist is the same ERR_DENIED, but ERR_NO_KEY for a peer who may use every key. */
MUST_CHECK enum err request_find_key(struct request *request, enum operation operation, bool any_frontend,
                                     struct candidate *ret_candidate);

/* Has the key a PIN that this peer has not given, or whose time is over? */
bool request_key_closed(const struct request *request, const struct key *key);

/* Does the key need its PIN before it may be used for this peer? So it does while another request has the one use of it. */
bool request_key_locked(const struct request *request, const struct candidate *candidate);

/* The first token of key that has a helper and is not in the mask; NULL: none. */
struct worker *request_worker(const struct request *request, const struct key *key, uint32_t without);
uint32_t request_worker_bit(const struct request *request, const struct worker *worker);

/* What is to be known about one key. */
void request_key_fact(const struct request *request, const struct key *key, struct key_fact *ret_fact);

/* The same as the request's one fact. ERR_NOMEM. */
MUST_CHECK enum err request_one_fact(struct request *request, const struct key *key);

/* Id and name alone. ERR_NOMEM. */
MUST_CHECK enum err request_name_key(struct request *request, const struct key *key);
