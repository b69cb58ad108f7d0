/*
 * Request
 *
 * One question from one client, on its way through the daemon:
 *
 *     front-end  ->  policy  ->  keyring  ->  token  ->  audit  ->  front-end
 *     (bytes in)     (may it?)   (which?)     (do it)    (on disk)  (bytes out)
 *
 * The front-end fills in the first half and submits it; each stage fills in its own part. A request is finished exactly once, whatever happens, and outlives its client: it
 * carries a copy of the peer. The front-end sees this header and nothing behind it.
 */
#pragma once

#include "common/key.h"
#include "common/secret.h"
#include "common/token_message.h"
#include "formats/recipient.h"
#include "tokend/peer.h"
#include "tokend/worker_call.h"

struct client;
struct user;
struct daemon;
struct key;
struct policy;
struct worker;

#define REQUEST_TEXT_MAX 512U
#define REQUEST_URI_MAX 256U

enum request_kind {
	REQUEST_LOCAL, /* the front-end answers it by itself */
	REQUEST_UNWRAP,
	REQUEST_KEYS,
	REQUEST_TOKENS,
	REQUEST_STATUS,
	REQUEST_ENROLL,
	REQUEST_UNLOCK,
	REQUEST_LOCK,
	REQUEST_EXPLAIN,
	REQUEST_ROTATE,
};

/* A stanza of a type that tokens open, and where it stood in the file. */
struct request_stanza {
	struct token_stanza stanza;
	uint16_t index;
};

/* A key and a stanza that it may open. */
struct request_try {
	const struct key *key; /* borrowed from the keyring, which never drops one */
	struct worker *worker; /* borrowed; whom to ask with it now; NULL: nobody */
	uint16_t stanza; /* index in stanzas */
	uint16_t sent_stanza; /* among those that the token was told of with it */
	bool pin_each_time;
	bool reserved; /* the one use of its key (see unlock.h); of one try of each such key */
	bool tried;
	const char *rule_file; /* borrowed from the policy, which is kept while requests are on their way */
	unsigned rule_line;
};

/* The device's own key that others are made under, "81000001:" and the beginning of its Name in hexadecimal (nothing: none stands there), to be compared; "": not known. */
#define PARENT_FACT_LEN 32U

struct key_fact {
	char id[2 * KEY_ID_LEN + 1];
	char created[32];
	const struct key
	        *key; /* names, for who may look into it; the rest of this is what only the daemon knows */
	const char *name, *kind, *class, *recipient; /* borrowed; recipient NULL: none */
	size_t slot_count;
	struct {
		const char *token; /* borrowed */
		bool present;
		char parent[PARENT_FACT_LEN];
	} slots[8];
	bool usable;
	long unlocked; /* -1: has no PIN */
};

struct token_fact {
	const char *uri; /* borrowed */
	struct token_status status;
	bool box_key_known;
	uint8_t box_key[TOKEN_BOX_KEY_LEN];
	char parent[PARENT_FACT_LEN];
	enum err err;
	const char *problem; /* static; NULL: none */
	char hint[256]; /* "": none */
};

struct status_fact {
	const char *mode;
	long uid;
	char started_at[32];
	const char *state_directory, *runtime_directory, *configuration, *policy_directory;
	size_t policy_rules;
	const char *policy_digest;
	const char *policy_problem; /* NULL: none */
	char audit_file[4200];
	unsigned long long audit_records;
	bool audit_works;
	bool memory_locked;
	size_t keys_left_out;
	size_t keys, tokens;
	unsigned long long requests;
};

/* What became of the audit log. */
struct rotated_fact {
	char file[4200]; /* the closed one's path */
	unsigned long long last; /* its last record */
};

struct request_enroll {
	enum key_kind kind;
	enum key_class class;
	char token[REQUEST_URI_MAX]; /* "": the first that is there */
	struct key *made; /* owned */
	bool reserved; /* the name, among those on their way */
};

struct request_explain {
	char operation[16];
	char frontend[16];
	char verdict[32];
	char rule[REQUEST_TEXT_MAX]; /* "": none matched */
};

struct request {
	struct worker_call call; /* first: what waits at a worker */
	struct request *next; /* in its client's queue */
	struct client *client; /* borrowed; NULL once it hung up */
	struct user *user; /* borrowed; whose ceiling it counts against once its client hung up */
	struct daemon *daemon; /* borrowed */
	const char *via; /* static: the front-end's name in the policy and the audit log */
	struct peer peer; /* a copy */
	uint64_t order; /* its turn among all requests */
	uint64_t tag; /* the front-end's own */
	char *local; /* owned, wiped by nobody: the front-end's own, for answers without the daemon */
	bool silent; /* no answer is wanted */
	bool submitted; /* counted by the daemon */
	bool finished;
	bool proven; /* the PIN that the policy wanted for it was given, and is spent */
	bool foreseen; /* its record is being made durable already */

	/* asked */
	enum request_kind kind;
	char key_name[KEY_NAME_MAX + 1]; /* name or id; "": none was named */
	long from; /* place among all keys to list from */
	bool recipient_named; /* the key of this recipient, and no other */
	enum recipient_kind recipient_kind;
	uint8_t recipient[P256_COMPRESSED_LEN]; /* x25519: 32 bytes */
	size_t stanza_count;
	struct request_stanza *stanzas; /* owned */
	size_t sealed_pin_len, sealed_key_len;
	uint8_t sealed_pin[TOKEN_SEALED_MAX];
	uint8_t sealed_key[TOKEN_SEALED_MAX];
	long seconds; /* 0: as long as may be; then: how long it was */
	struct request_enroll enroll;
	struct request_explain explain;
	struct peer *other; /* owned; whom to explain for; NULL: the peer itself */

	/* decided */
	const struct policy
	        *policy; /* borrowed; the one that was asked, which is kept while requests are on their way */
	const struct key *key; /* borrowed; the one named, once policy has agreed */
	char rule[REQUEST_TEXT_MAX]; /* "file:line" of the deciding rule */
	size_t try_count;
	struct request_try *tries; /* owned */
	struct worker *worker; /* asked now or last */
	uint32_t failed_workers; /* bit mask: not there, so not asked again */
	enum err worst; /* the most telling of the refusals so far */
	const struct key *locked_key; /* stands in the way; needs its PIN */
	unsigned pending; /* answers that REQUEST_TOKENS waits for */

	/* answered */
	enum err err;
	char message[REQUEST_TEXT_MAX]; /* "": the error's own sentence */
	char hint[REQUEST_TEXT_MAX]; /* the next command to type; "": none */
	uint16_t index; /* which stanza was opened */
	struct secret *file_key; /* owned; set if and only if err is OK and kind is REQUEST_UNWRAP */
	long more_from; /* place to list from when there may be more; 0: there is none */
	size_t fact_count;
	struct key_fact *key_facts; /* owned; of UNWRAP, ENROLL, UNLOCK and PIN_NEEDED the one key */
	struct token_fact *token_facts; /* owned */
	struct status_fact *status; /* owned */
	bool box_key_known; /* of PIN_NEEDED: what to seal the PIN to */
	uint8_t box_key[TOKEN_BOX_KEY_LEN];
	bool tries_left_known; /* of PIN_WRONG: wrong PINs that this uid may still try */
	unsigned tries_left;
	size_t locked_count; /* of REQUEST_LOCK */
	struct rotated_fact *rotated; /* owned; of REQUEST_ROTATE */
};

/* A request of client, to be filled in. ERR_NOMEM. */
MUST_CHECK enum err request_new(struct client *client, enum request_kind kind, const char *via,
                                struct request **ret_request);
struct request *request_free(struct request *request);
DEFINE_CLEANUP(struct request *, request_free);

/* An unwrap is of the key with this recipient (a line, "age1..."), and no other is to be tried. ERR_NO_MATCH when it is of a kind that no token holds; ERR_NOMEM. */
MUST_CHECK enum err request_want_recipient(struct request *request, struct bytes line);

/* Hands it to the spine, which owns it until it is finished. */
void request_submit(struct request *request);

/* Ends it without the spine: what the front-end knows by itself. */
void request_answer_locally(struct request *request, enum err err);

/* Called by the client when it hangs up, and when the answer was written. */
void request_abandon(struct request *request);
