/*
 * The rules are compiled as they are read. Patterns and subjects (a user, a group, a unit, anybody) become small numbers, and a table keyed by both leads from a
 * pattern and a subject to the rules that name them. A question about the key a/b/c looks up a handful of patterns (a/b/c, a/b/, a/, every key) and the subjects that the peer
 * is, and then only the pairs that exist: its cost does not grow with the number of rules, nor with the rules of others.
 *
 * Patterns as the table has them: a name for itself, "NAME/" for every key below it, "*" for every key, and "/" for all rules of a subject, whatever their pattern. No key's name
 * ends in '/' or is "*", so the four never meet.
 */
#include "tokend/policy.h"

#include <grp.h>
#include <pwd.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/encoding.h"
#include "common/key.h"
#include "tokend/duration.h"
#include "tokend/text.h"
#include "tokend/unit.h"

#define NONE UINT32_MAX
#define WARNINGS_MAX (64U << 10)
#define INDEX_MAX (1U << 20) /* pairs of pattern and subject, over all rules: 16 MiB */
#define VALUES_MAX (POLICY_RULE_MAX / 2) /* what a line of that length can hold */
#define PATTERN_EVERY_KEY "*"
#define PATTERN_ALL_RULES "/"
#define CLAUSES_MAX 7U
#define WHO_MAX (PEER_GROUPS_MAX + 2U)
#define CANDIDATES_MAX (KEY_NAME_MAX / 2 + 3U) /* a name of one-letter parts, itself, every key */

/* ---- names: byte strings to small numbers ---- */

struct name {
	uint64_t hash;
	uint8_t *data; /* owned */
	size_t len;
};

struct names {
	struct name *items;
	size_t count;
	size_t capacity;
	uint32_t *table; /* open addressing: index of an item, or NONE */
	size_t table_len; /* a power of two, at least twice the capacity */
};

/* FNV-1a, so that all prefixes of a name are hashed in one pass. What is looked up comes from anybody, but what is in the tables does not: nobody but the administrator can
 * make chains long. */
#define HASH_START 0xcbf29ce484222325ULL

static uint64_t hash_byte(uint64_t hash, uint8_t byte)
{
	return (hash ^ byte) * 0x100000001b3ULL;
}

static uint64_t hash_bytes(uint64_t hash, struct bytes bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		hash = hash_byte(hash, bytes.data[i]);
	return hash;
}

/* The low bits of FNV alone are weak. */
static size_t slot_of(uint64_t hash, size_t table_len)
{
	return (size_t)(hash ^ hash >> 29) & (table_len - 1);
}

static uint32_t names_find_hashed(const struct names *names, struct bytes bytes, uint64_t hash)
{
	if (names->table_len == 0)
		return NONE;
	for (size_t slot = slot_of(hash, names->table_len);; slot = (slot + 1) & (names->table_len - 1)) {
		uint32_t index = names->table[slot];
		const struct name *name = index == NONE ? NULL : &names->items[index];

		if (!name || (name->hash == hash && bytes_equal(bytes_of(name->data, name->len), bytes)))
			return index;
	}
}

static uint32_t names_find(const struct names *names, struct bytes bytes)
{
	return names_find_hashed(names, bytes, hash_bytes(HASH_START, bytes));
}

/* Puts number into a table of numbers; the table has room. */
static void table_put(uint32_t *table, size_t table_len, uint64_t hash, uint32_t number)
{
	size_t slot = slot_of(hash, table_len);

	while (table[slot] != NONE)
		slot = (slot + 1) & (table_len - 1);
	table[slot] = number;
}

static uint32_t *table_new(size_t table_len)
{
	uint32_t *table = malloc(table_len * sizeof(*table));

	if (table)
		memset(table, 0xff, table_len * sizeof(*table)); /* NONE */
	return table;
}

static enum err names_grow(struct names *names)
{
	size_t capacity = names->capacity ? 2 * names->capacity : 16;
	struct name *items = reallocarray(names->items, capacity, sizeof(*items));
	uint32_t *table;

	if (!items)
		return ERR_NOMEM;
	names->items = items;
	table = table_new(2 * capacity);
	if (!table)
		return ERR_NOMEM;
	for (size_t i = 0; i < names->count; i++)
		table_put(table, 2 * capacity, items[i].hash, (uint32_t)i);
	free(names->table);
	names->table = table;
	names->table_len = 2 * capacity;
	names->capacity = capacity;
	return OK;
}

/* The number of bytes, a new one if they are new. */
static enum err names_add(struct names *names, struct bytes bytes, uint32_t *ret_number)
{
	uint64_t hash = hash_bytes(HASH_START, bytes);
	uint32_t number = names_find_hashed(names, bytes, hash);
	uint8_t *copy;

	if (number != NONE) {
		*ret_number = number;
		return OK;
	}
	if (names->count == names->capacity && names_grow(names) != OK)
		return ERR_NOMEM;
	copy = malloc(bytes.len + 1);
	if (!copy)
		return ERR_NOMEM;
	memcpy(copy, bytes.data, bytes.len);
	copy[bytes.len] = '\0';
	names->items[names->count] = (struct name){ hash, copy, bytes.len };
	table_put(names->table, names->table_len, hash, (uint32_t)names->count);
	*ret_number = (uint32_t)names->count++;
	return OK;
}

static void names_done(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i].data);
	free(names->items);
	free(names->table);
}

/* ---- rules ---- */

enum who {
	WHO_USER,
	WHO_GROUP,
	WHO_UNIT,
	WHO_COUNT,
};

struct rule {
	bool deny;
	bool pin;
	bool every_key; /* one of its patterns is "*" */
	unsigned operations; /* bits */
	unsigned frontends; /* bits; 0: any */
	unsigned for_seconds; /* 0: not said */
	bool named[WHO_COUNT]; /* the word stands in the rule, even if none of its values exists */
	size_t counts[WHO_COUNT];
	uint32_t *subjects; /* owned; users, then groups, then units */
	uint32_t file;
	unsigned line;
	char *text; /* owned */
};

/* One rule under one pattern and one subject. */
struct entry {
	uint32_t pattern;
	uint32_t subject;
	uint32_t rule;
	uint32_t next; /* entry of the same pattern and subject, or NONE */
};

struct policy {
	struct rule *rules;
	size_t rule_count;
	size_t rule_capacity;
	struct names files;
	struct names patterns;
	struct names subjects;
	struct entry *entries;
	size_t entry_count;
	size_t entry_capacity;
	uint32_t *heads; /* open addressing: the last entry of a pattern and subject, or NONE */
	size_t heads_len;
	struct names accounts; /* names that were resolved already */
	uint32_t *account_numbers; /* owned; by account: its uid or gid, or NONE */
	struct buf *warnings;
	crypto_hash_sha256_state digest_state;
	char digest[2 * crypto_hash_sha256_BYTES + 1];
};

static const struct {
	enum operation operation;
	const char *name;
} operations[] = {
	{ OPERATION_UNWRAP, "unwrap" },
	{ OPERATION_LIST, "list" },
	{ OPERATION_ADMIN, "admin" },
};

/* A front-end's bit is its place here. */
static const char *const frontends[] = { "age", "sops", "credential", "control" };

const char *operation_name(enum operation operation)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (operations[i].operation == operation)
			return operations[i].name;
	return "unknown";
}

enum err operation_from_name(const char *name, enum operation *ret_operation)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (strcmp(operations[i].name, name) == 0) {
			*ret_operation = operations[i].operation;
			return OK;
		}
	return ERR_USAGE;
}

static unsigned operation_bit(struct bytes word)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (text_equals(word, operations[i].name))
			return 1U << operations[i].operation;
	return 0;
}

static unsigned frontend_bit(struct bytes word)
{
	for (size_t i = 0; i < sizeof(frontends) / sizeof(frontends[0]); i++)
		if (text_equals(word, frontends[i]))
			return 1U << i;
	return 0;
}

bool policy_knows_frontend(const char *name)
{
	return frontend_bit(bytes_of_string(name)) != 0;
}

bool policy_knows_unit(const char *name)
{
	return unit_name_valid(bytes_of_string(name));
}

static void rule_done(struct rule *rule)
{
	free(rule->subjects);
	free(rule->text);
}

static void digest_update(struct policy *policy, struct bytes bytes)
{
	const uint64_t len = bytes.len;
	uint8_t prefix[8];

	for (unsigned i = 0; i < sizeof(prefix); i++)
		prefix[i] = (uint8_t)(len >> (56 - 8 * i));
	(void)crypto_hash_sha256_update(&policy->digest_state, prefix, sizeof(prefix));
	(void)crypto_hash_sha256_update(&policy->digest_state, bytes.data, bytes.len);
}

static void digest_show(struct policy *policy)
{
	crypto_hash_sha256_state state = policy->digest_state;
	uint8_t hash[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256_final(&state, hash);
	hex_encode(bytes_of(hash, sizeof(hash)), policy->digest);
}

enum err policy_new(struct policy **ret_policy)
{
	CLEANUP(policy_freep) struct policy *policy = calloc(1, sizeof(*policy));
	enum err err;

	if (!policy)
		return ERR_NOMEM;
	err = buf_new(WARNINGS_MAX, &policy->warnings);
	if (err)
		return err;
	(void)crypto_hash_sha256_init(&policy->digest_state);
	digest_show(policy);
	*ret_policy = TAKE(policy);
	return OK;
}

struct policy *policy_free(struct policy *policy)
{
	if (!policy)
		return NULL;
	for (size_t i = 0; i < policy->rule_count; i++)
		rule_done(&policy->rules[i]);
	free(policy->rules);
	names_done(&policy->files);
	names_done(&policy->patterns);
	names_done(&policy->subjects);
	names_done(&policy->accounts);
	free(policy->entries);
	free(policy->heads);
	free(policy->account_numbers);
	buf_free(policy->warnings);
	free(policy);
	return NULL;
}

const char *policy_warnings(const struct policy *policy)
{
	return buf_string(policy->warnings);
}

size_t policy_rule_count(const struct policy *policy)
{
	return policy->rule_count;
}

const char *policy_digest(const struct policy *policy)
{
	return policy->digest;
}

/* ---- the index ---- */

static uint64_t pair_hash(uint32_t pattern, uint32_t subject)
{
	uint64_t pair = (uint64_t)pattern << 32 | subject;

	return (pair ^ pair >> 31) * 0x9e3779b97f4a7c15ULL;
}

/* The place in heads where the pair stands or would stand. */
static size_t head_slot(const struct policy *policy, uint32_t pattern, uint32_t subject)
{
	size_t slot = slot_of(pair_hash(pattern, subject), policy->heads_len);

	for (;; slot = (slot + 1) & (policy->heads_len - 1)) {
		uint32_t head = policy->heads[slot];

		if (head == NONE ||
		    (policy->entries[head].pattern == pattern && policy->entries[head].subject == subject))
			return slot;
	}
}

static enum err index_grow(struct policy *policy)
{
	size_t capacity = policy->entry_capacity ? 2 * policy->entry_capacity : 64;
	struct entry *entries = reallocarray(policy->entries, capacity, sizeof(*entries));
	uint32_t *heads;

	if (!entries)
		return ERR_NOMEM;
	policy->entries = entries;
	heads = table_new(2 * capacity);
	if (!heads)
		return ERR_NOMEM;
	free(policy->heads);
	policy->heads = heads;
	policy->heads_len = 2 * capacity;
	policy->entry_capacity = capacity;
	/* In the order they were made, so that the last of a pair becomes its head again. */
	for (size_t i = 0; i < policy->entry_count; i++)
		heads[head_slot(policy, entries[i].pattern, entries[i].subject)] = (uint32_t)i;
	return OK;
}

static enum err index_add(struct policy *policy, uint32_t pattern, uint32_t subject, uint32_t rule)
{
	size_t slot;

	if (policy->entry_count == INDEX_MAX)
		return ERR_BUSY;
	if (policy->entry_count == policy->entry_capacity && index_grow(policy) != OK)
		return ERR_NOMEM;
	slot = head_slot(policy, pattern, subject);
	policy->entries[policy->entry_count] = (struct entry){ pattern, subject, rule, policy->heads[slot] };
	policy->heads[slot] = (uint32_t)policy->entry_count++;
	return OK;
}

/* ---- one rule's words ---- */

/* A rule on its way: what the words said, before it is in the policy. */
struct draft {
	struct policy *policy;
	struct text_place place;
	struct rule rule; /* its subjects are still in values */
	uint32_t values[WHO_COUNT][VALUES_MAX];
	uint32_t patterns[VALUES_MAX];
	size_t pattern_count;
	bool anybody; /* "user *" */
	bool said[CLAUSES_MAX]; /* by clause */
};

static enum err warn(struct draft *draft, const char *sentence, struct bytes name)
{
	enum err err = buf_printf(draft->policy->warnings, "%s:%u: %s '%.*s'\n", draft->place.file,
	                          draft->place.line, sentence, TEXT_SHOW(name));

	return err == ERR_NOMEM ? err : OK; /* what does not fit any more is not missed */
}

/* The bytes that stand for a subject in the table: a letter, then a number or a name. */
static size_t subject_of_number(char letter, uint32_t number, uint8_t out[static 5])
{
	out[0] = (uint8_t)letter;
	memcpy(out + 1, &number, sizeof(number));
	return 5;
}

static size_t subject_of_name(char letter, struct bytes name, uint8_t out[static UNIT_NAME_MAX + 1])
{
	out[0] = (uint8_t)letter;
	memcpy(out + 1, name.data, name.len);
	return name.len + 1;
}

static enum err subject_add(struct draft *draft, enum who who, struct bytes subject)
{
	return names_add(&draft->policy->subjects, subject, &draft->values[who][draft->rule.counts[who]++]);
}

static enum err subject_add_number(struct draft *draft, enum who who, unsigned long number)
{
	uint8_t subject[5];

	return subject_add(
	        draft, who,
	        bytes_of(subject, subject_of_number(who == WHO_USER ? 'u' : 'g', (uint32_t)number, subject)));
}

/* Asks the system; false when there is no such user or group. root is 0 wherever we are asked. */
static bool account_number(enum who who, const char *name, unsigned long *ret_number)
{
	const struct passwd *user = NULL;
	const struct group *group = NULL;

	if (strcmp(name, "root") == 0) {
		*ret_number = 0;
		return true;
	}
	if (who == WHO_USER)
		user = getpwnam(name);
	else
		group = getgrnam(name);
	if (user)
		*ret_number = user->pw_uid;
	else if (group)
		*ret_number = group->gr_gid;
	return user || group;
}

/* Remembers what a name was resolved to: thousands of rules name the same few, and each question to the system reads a file. */
static enum err account_find(struct policy *policy, enum who who, struct bytes word, uint32_t *ret_account)
{
	uint8_t key[UNIT_NAME_MAX + 1];
	size_t before = policy->accounts.count, capacity = policy->accounts.capacity;
	enum err err = names_add(&policy->accounts,
	                         bytes_of(key, subject_of_name(who == WHO_USER ? 'u' : 'g', word, key)),
	                         ret_account);
	unsigned long number = NONE;

	if (err || policy->accounts.count == before)
		return err;
	if (policy->accounts.capacity != capacity) {
		uint32_t *numbers =
		        reallocarray(policy->account_numbers, policy->accounts.capacity, sizeof(*numbers));

		if (!numbers)
			return ERR_NOMEM;
		policy->account_numbers = numbers;
	}
	if (!account_number(who, (const char *)policy->accounts.items[*ret_account].data + 1, &number))
		number = NONE;
	policy->account_numbers[*ret_account] = (uint32_t)number;
	return OK;
}

/* A number or a name; a name that does not exist is warned of and adds nothing, so the word then matches fewer peers, not more. */
static enum err account_value(struct draft *draft, enum who who, struct bytes word)
{
	const char *noun = who == WHO_USER ? "user" : "group";
	unsigned long number;
	uint32_t account;
	enum err err;

	if (word.data[0] >= '0' && word.data[0] <= '9') {
		if (!text_number(word, NONE - 1UL, &number))
			return text_problem(&draft->place, "'%.*s' is not the number of a %s",
			                    TEXT_SHOW(word), noun);
		return subject_add_number(draft, who, number);
	}
	if (word.len >= UNIT_NAME_MAX || memchr(word.data, '*', word.len))
		return text_problem(&draft->place, "'%.*s' is not the name of a %s", TEXT_SHOW(word), noun);
	err = account_find(draft->policy, who, word, &account);
	if (err)
		return err;
	number = draft->policy->account_numbers[account];
	if (number == NONE)
		return warn(draft, who == WHO_USER ? "there is no user" : "there is no group", word);
	return subject_add_number(draft, who, number);
}

static enum err user_value(struct draft *draft, struct bytes word)
{
	if (!text_equals(word, "*"))
		return account_value(draft, WHO_USER, word);
	draft->anybody = true;
	return OK;
}

static enum err group_value(struct draft *draft, struct bytes word)
{
	return account_value(draft, WHO_GROUP, word);
}

static enum err unit_value(struct draft *draft, struct bytes word)
{
	uint8_t subject[UNIT_NAME_MAX + 1];

	if (!unit_name_valid(word))
		return text_problem(&draft->place,
		                    "'%.*s' is not the whole name of a unit, such as jellyfin.service",
		                    TEXT_SHOW(word));
	return subject_add(draft, WHO_UNIT, bytes_of(subject, subject_of_name('n', word, subject)));
}

static enum err key_value(struct draft *draft, struct bytes word)
{
	bool below = word.len > 2 && text_ends_with(word, "/*");
	bool every = text_equals(word, PATTERN_EVERY_KEY);
	struct bytes name = bytes_of(word.data, below ? word.len - 2 : word.len);

	if (!every && !key_name_valid(name))
		return text_problem(&draft->place, "'%.*s' is not a key's name, NAME/* or *",
		                    TEXT_SHOW(word));
	draft->rule.every_key |= every;
	/* "NAME/" for what is below NAME: the star itself is not kept. */
	name.len += below;
	return names_add(&draft->policy->patterns, name, &draft->patterns[draft->pattern_count++]);
}

static enum err via_value(struct draft *draft, struct bytes word)
{
	unsigned bit = frontend_bit(word);

	if (!bit)
		return text_problem(&draft->place,
		                    "'%.*s' is not a front-end (age, sops, credential, control)",
		                    TEXT_SHOW(word));
	draft->rule.frontends |= bit;
	return OK;
}

static enum err for_value(struct draft *draft, struct bytes word)
{
	unsigned seconds;

	if (duration_parse(word, &seconds) != OK || seconds == 0 || seconds > POLICY_FOR_MAX)
		return text_problem(&draft->place,
		                    "'%.*s' is not a time from 1s to 24h, such as 90, 30s, 15m or 2h",
		                    TEXT_SHOW(word));
	draft->rule.for_seconds = seconds;
	return OK;
}

/* ---- one rule ---- */

enum clause_values {
	VALUES_NONE,
	VALUES_ONE,
	VALUES_MANY,
};

static const struct clause {
	const char *name;
	enum clause_values values;
	bool again; /* may stand more than once */
	enum err (*value)(struct draft *draft, struct bytes word);
} clauses[] = {
	{ "key", VALUES_ONE, true, key_value },       { "user", VALUES_MANY, false, user_value },
	{ "group", VALUES_MANY, false, group_value }, { "unit", VALUES_MANY, false, unit_value },
	{ "via", VALUES_MANY, false, via_value },     { "for", VALUES_ONE, false, for_value },
	{ "pin", VALUES_NONE, false, NULL },
};
#define CLAUSE_COUNT (sizeof(clauses) / sizeof(clauses[0]))
_Static_assert(CLAUSE_COUNT == CLAUSES_MAX, "a draft remembers each clause");
enum { CLAUSE_USER = 1, CLAUSE_GROUP = 2, CLAUSE_UNIT = 3, CLAUSE_VIA = 4, CLAUSE_FOR = 5, CLAUSE_PIN = 6 };

static size_t clause_find(struct bytes word)
{
	size_t i = 0;

	while (i < CLAUSE_COUNT && !text_equals(word, clauses[i].name))
		i++;
	return i;
}

/* Takes the next word when it is a value and not the next clause's word. */
static bool next_value(struct bytes *rest, struct bytes *ret_word)
{
	struct bytes ahead = *rest;

	if (!text_next_word(&ahead, ret_word) || clause_find(*ret_word) < CLAUSE_COUNT)
		return false;
	*rest = ahead;
	return true;
}

static enum err parse_values(struct draft *draft, const struct clause *clause, struct bytes *rest)
{
	struct bytes word;
	enum err err = OK;

	if (clause->values == VALUES_NONE)
		return OK;
	if (!next_value(rest, &word))
		return text_problem(&draft->place, "'%s' needs a value after it", clause->name);
	do
		err = clause->value(draft, word);
	while (!err && clause->values == VALUES_MANY && next_value(rest, &word));
	return err;
}

static enum err parse_clauses(struct draft *draft, struct bytes *rest)
{
	struct bytes word;
	enum err err = OK;

	while (!err && text_next_word(rest, &word)) {
		size_t i = clause_find(word);

		if (i == CLAUSE_COUNT)
			return text_problem(
			        &draft->place,
			        "'%.*s' is none of the words key, user, group, unit, via, for and pin",
			        TEXT_SHOW(word));
		if (draft->said[i] && !clauses[i].again)
			return text_problem(&draft->place, "'%s' stands twice", clauses[i].name);
		draft->said[i] = true;
		err = parse_values(draft, &clauses[i], rest);
	}
	return err;
}

static enum err parse_operations(struct draft *draft, struct bytes *rest)
{
	struct bytes word;

	while (next_value(rest, &word)) {
		unsigned bit = operation_bit(word);

		if (!bit)
			return text_problem(
			        &draft->place,
			        "'%.*s' is neither an operation (unwrap, list, admin) nor the word key",
			        TEXT_SHOW(word));
		draft->rule.operations |= bit;
	}
	if (!draft->rule.operations)
		return text_problem(&draft->place, "the operation is missing: unwrap, list or admin");
	return OK;
}

static enum err parse_effect(struct draft *draft, struct bytes *rest)
{
	struct bytes word;

	if (!text_next_word(rest, &word))
		return ERR_BUG; /* empty lines do not come here */
	draft->rule.deny = text_equals(word, "deny");
	if (!draft->rule.deny && !text_equals(word, "permit"))
		return text_problem(&draft->place, "a rule begins with permit or deny, not with '%.*s'",
		                    TEXT_SHOW(word));
	return OK;
}

static enum err check_whole(struct draft *draft)
{
	const struct rule *rule = &draft->rule;

	if (draft->pattern_count == 0)
		return text_problem(&draft->place, "the keys are missing: key NAME, key NAME/* or key *");
	if (!draft->said[CLAUSE_USER] && !draft->said[CLAUSE_GROUP] && !draft->said[CLAUSE_UNIT])
		return text_problem(&draft->place,
		                    "who is missing: user, group or unit (anybody is 'user *')");
	if (rule->deny && (draft->said[CLAUSE_FOR] || draft->said[CLAUSE_PIN]))
		return text_problem(&draft->place, "a deny has no 'for' and no 'pin'");
	if (rule->for_seconds && !(rule->operations & 1U << OPERATION_UNWRAP))
		return warn(draft, "nothing is unlocked by this rule, so it needs no",
		            bytes_of_string("for"));
	return OK;
}

/* Who names a way for his users to decrypt easily takes the list of their keys from them. */
static enum err warn_never_asked(struct draft *draft)
{
	static const enum operation by_control[] = { OPERATION_LIST, OPERATION_ADMIN };
	enum err err = OK;

	if (!draft->said[CLAUSE_VIA] || draft->rule.frontends & frontend_bit(bytes_of_string("control")))
		return OK;
	for (size_t i = 0; !err && i < sizeof(by_control) / sizeof(by_control[0]); i++)
		if (draft->rule.operations & 1U << by_control[i])
			err = warn(
			        draft,
			        "with this 'via', which is without 'control', the rule never decides about",
			        bytes_of_string(operation_name(by_control[i])));
	return err;
}

/* Who denies something to a unit denies it to whoever hides which unit he is in. */
static enum err deny_unknown_unit(struct draft *draft)
{
	uint8_t subject[UNIT_NAME_MAX + 1];

	if (!draft->rule.deny || !draft->said[CLAUSE_UNIT])
		return OK;
	return subject_add(draft, WHO_UNIT,
	                   bytes_of(subject, subject_of_name('n', bytes_of_string(UNIT_UNKNOWN), subject)));
}

/* ---- a rule enters the policy ---- */

static enum err rules_grow(struct policy *policy)
{
	size_t capacity = policy->rule_capacity ? 2 * policy->rule_capacity : 16;
	struct rule *rules = reallocarray(policy->rules, capacity, sizeof(*rules));

	if (!rules)
		return ERR_NOMEM;
	policy->rules = rules;
	policy->rule_capacity = capacity;
	return OK;
}

/* The rule's own words: what comes before the comment, without the blanks around it. */
static struct bytes words_of(struct bytes line)
{
	struct bytes rest = line, word = { NULL, 0 }, first;

	if (!text_next_word(&rest, &first))
		return word;
	word = first;
	while (text_next_word(&rest, &word))
		;
	return bytes_of(first.data, (size_t)(word.data + word.len - first.data));
}

static enum err rule_fill(const struct draft *draft, struct bytes line, struct rule *rule)
{
	struct bytes words = words_of(line);
	size_t count = 0;

	*rule = draft->rule;
	rule->named[WHO_USER] = draft->said[CLAUSE_USER] && !draft->anybody;
	rule->named[WHO_GROUP] = draft->said[CLAUSE_GROUP];
	rule->named[WHO_UNIT] = draft->said[CLAUSE_UNIT];
	rule->pin = draft->said[CLAUSE_PIN];
	rule->text = strndup((const char *)words.data, words.len);
	rule->subjects = calloc(rule->counts[0] + rule->counts[1] + rule->counts[2] + 1, sizeof(uint32_t));
	if (!rule->text || !rule->subjects)
		return ERR_NOMEM;
	for (size_t who = 0; who < WHO_COUNT; who++) {
		memcpy(rule->subjects + count, draft->values[who], rule->counts[who] * sizeof(uint32_t));
		count += rule->counts[who];
	}
	return OK;
}

/* Enters the rule under each of its patterns, and under "all rules", for one subject. */
static enum err index_subject(struct draft *draft, uint32_t subject, uint32_t rule)
{
	uint32_t all_rules;
	enum err err = names_add(&draft->policy->patterns, bytes_of_string(PATTERN_ALL_RULES), &all_rules);

	if (!err)
		err = index_add(draft->policy, all_rules, subject, rule);
	for (size_t i = 0; !err && i < draft->pattern_count; i++)
		err = index_add(draft->policy, draft->patterns[i], subject, rule);
	if (err == ERR_BUSY)
		return text_problem(
		        &draft->place,
		        "the rules name too many pairs of keys and peers: give the peers a group");
	return err;
}

/* A rule is entered under the most particular of what it names, so that what a peer's subjects lead to is mostly about that peer. */
static enum err index_rule(struct draft *draft, const struct rule *rule, uint32_t number)
{
	static const enum who order[] = { WHO_UNIT, WHO_USER, WHO_GROUP };
	uint32_t anybody;
	enum err err;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (!rule->named[order[i]])
			continue;
		err = OK;
		for (size_t n = 0; !err && n < rule->counts[order[i]]; n++)
			err = index_subject(draft, draft->values[order[i]][n], number);
		return err;
	}
	err = names_add(&draft->policy->subjects, bytes_of_string("*"), &anybody);
	return err ? err : index_subject(draft, anybody, number);
}

static enum err rule_enter(struct draft *draft, struct bytes line)
{
	struct policy *policy = draft->policy;
	struct rule *rule;
	enum err err;

	if (policy->rule_count == POLICY_RULES_MAX)
		return text_problem(&draft->place, "there are more than %u rules", POLICY_RULES_MAX);
	if (policy->rule_count == policy->rule_capacity && rules_grow(policy) != OK)
		return ERR_NOMEM;
	rule = &policy->rules[policy->rule_count];
	err = rule_fill(draft, line, rule);
	policy->rule_count++; /* so that it is freed with the policy, whatever comes */
	return err ? err : index_rule(draft, rule, (uint32_t)policy->rule_count - 1);
}

static void draft_clear(struct draft *draft)
{
	uint32_t file = draft->rule.file;

	draft->rule = (struct rule){ .file = file, .line = draft->place.line };
	draft->pattern_count = 0;
	draft->anybody = false;
	memset(draft->said, 0, sizeof(draft->said));
}

static enum err parse_rule(struct draft *draft, struct bytes line)
{
	struct bytes rest = line;
	enum err err;

	draft_clear(draft);
	err = parse_effect(draft, &rest);
	if (!err)
		err = parse_operations(draft, &rest);
	if (!err)
		err = parse_clauses(draft, &rest);
	if (!err)
		err = check_whole(draft);
	if (!err)
		err = warn_never_asked(draft);
	if (!err)
		err = deny_unknown_unit(draft);
	return err ? err : rule_enter(draft, line);
}

/* No name has one: 'ci,deploy' would be one user, whom nobody is. */
static enum err refuse_commas(const struct draft *draft, struct bytes line)
{
	struct bytes word;

	while (text_next_word(&line, &word))
		if (memchr(word.data, ',', word.len))
			return text_problem(&draft->place,
			                    "'%.*s': words are separated by blanks, not by commas",
			                    TEXT_SHOW(word));
	return OK;
}

static enum err parse_line(struct draft *draft, struct bytes line)
{
	struct bytes rest = line, word;
	enum err err;

	if (line.len > POLICY_RULE_MAX)
		return text_problem(&draft->place, "the line is longer than %u bytes", POLICY_RULE_MAX);
	err = text_check_plain(&draft->place, line);
	if (err || !text_next_word(&rest, &word))
		return err;
	err = refuse_commas(draft, line);
	return err ? err : parse_rule(draft, line);
}

/* Where one of these is reached, each further line would say so again. */
static bool is_full(const struct policy *policy)
{
	return policy->rule_count == POLICY_RULES_MAX || policy->entry_count == INDEX_MAX;
}

/* All lines are looked at, so that whoever wrote them learns of all that is wrong at once. */
static enum err parse_lines(struct draft *draft, struct bytes text)
{
	struct bytes line;
	enum err first = OK;

	while (text_next_line(&text, &line)) {
		enum err err;

		draft->place.line++;
		err = parse_line(draft, line);
		if (err && (err != ERR_BAD_CONFIG || is_full(draft->policy)))
			return err;
		first = first ? first : err;
	}
	return first;
}

enum err policy_add(struct policy *policy, const char *file, struct bytes text, struct buf *problem)
{
	CLEANUP(freep) struct draft *draft = calloc(1, sizeof(*draft));
	enum err err;

	if (!draft)
		return ERR_NOMEM;
	draft->policy = policy;
	draft->place = (struct text_place){ file, 0, problem };
	err = names_add(&policy->files, bytes_of_string(file), &draft->rule.file);
	if (!err && text.len > POLICY_TEXT_MAX)
		err = text_problem(&draft->place, "the policy is longer than %u bytes", POLICY_TEXT_MAX);
	digest_update(policy, bytes_of_string(file));
	digest_update(policy, text);
	digest_show(policy);
	return err ? err : parse_lines(draft, text);
}

/* A word that names only what does not exist leaves nobody. */
static bool matches_somebody(const struct rule *rule)
{
	for (size_t who = 0; who < WHO_COUNT; who++)
		if (rule->named[who] && rule->counts[who] == 0)
			return false;
	return true;
}

bool policy_permits_anybody(const struct policy *policy, enum operation operation)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];

		if (!rule->deny && rule->operations & 1U << operation && matches_somebody(rule))
			return true;
	}
	return false;
}

enum err policy_warn(struct policy *policy, const char *format, ...)
{
	char sentence[1024];
	va_list arguments;
	enum err err;

	va_start(arguments, format);
	(void)vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	err = buf_printf(policy->warnings, "%s\n", sentence);
	return err == ERR_NOMEM ? err : OK; /* what does not fit any more is not missed */
}

/* ---- the question ---- */

/* What is asked, in the numbers of the tables. */
struct question {
	unsigned operation; /* bit */
	unsigned frontend; /* bit, or 0 */
	size_t who_count[WHO_COUNT];
	uint32_t who[WHO_COUNT][PEER_GROUPS_MAX + 1]; /* of users and units at most one */
	size_t subject_count;
	uint32_t subjects[WHO_MAX + 1]; /* all of the above, and anybody */
	size_t pattern_count;
	uint32_t patterns[CANDIDATES_MAX];
};

static void question_who(struct question *question, const struct policy *policy, enum who who,
                         struct bytes subject)
{
	uint32_t number = names_find(&policy->subjects, subject);

	if (number == NONE)
		return;
	question->who[who][question->who_count[who]++] = number;
	question->subjects[question->subject_count++] = number;
}

static void question_peer(struct question *question, const struct policy *policy, const struct peer *peer)
{
	uint32_t anybody = names_find(&policy->subjects, bytes_of_string("*"));
	size_t unit_len = strnlen(peer->unit, sizeof(peer->unit) - 1);
	size_t group_count = peer->group_count < PEER_GROUPS_MAX ? peer->group_count : PEER_GROUPS_MAX;
	uint8_t subject[UNIT_NAME_MAX + 1];

	if (anybody != NONE)
		question->subjects[question->subject_count++] = anybody;
	question_who(question, policy, WHO_USER,
	             bytes_of(subject, subject_of_number('u', peer->uid, subject)));
	question_who(question, policy, WHO_GROUP,
	             bytes_of(subject, subject_of_number('g', peer->gid, subject)));
	for (size_t i = 0; i < group_count; i++)
		if (peer->groups[i] != peer->gid)
			question_who(question, policy, WHO_GROUP,
			             bytes_of(subject, subject_of_number('g', peer->groups[i], subject)));
	if (unit_len > 0)
		question_who(
		        question, policy, WHO_UNIT,
		        bytes_of(subject, subject_of_name('n', bytes_of(peer->unit, unit_len), subject)));
}

static void question_pattern(struct question *question, const struct policy *policy, struct bytes pattern,
                             uint64_t hash)
{
	uint32_t number = names_find_hashed(&policy->patterns, pattern, hash);

	if (number != NONE)
		question->patterns[question->pattern_count++] = number;
}

/* The patterns that hold for a key: itself, each "PART/" that it begins with, and every key. */
static void question_key(struct question *question, const struct policy *policy, struct bytes name)
{
	uint64_t hash = HASH_START;

	for (size_t i = 0; i < name.len; i++) {
		hash = hash_byte(hash, name.data[i]);
		if (name.data[i] == '/' || i + 1 == name.len)
			question_pattern(question, policy, bytes_of(name.data, i + 1), hash);
	}
	question_pattern(question, policy, bytes_of_string(PATTERN_EVERY_KEY),
	                 hash_bytes(HASH_START, bytes_of_string(PATTERN_EVERY_KEY)));
}

static bool who_matches(const struct rule *rule, enum who who, const uint32_t *values,
                        const struct question *question)
{
	if (!rule->named[who])
		return true;
	for (size_t i = 0; i < rule->counts[who]; i++)
		for (size_t n = 0; n < question->who_count[who]; n++)
			if (values[i] == question->who[who][n])
				return true;
	return false;
}

static bool rule_matches(const struct rule *rule, const struct question *question)
{
	const uint32_t *values = rule->subjects;

	if (!(rule->operations & question->operation) ||
	    (rule->frontends && !(rule->frontends & question->frontend)))
		return false;
	for (size_t who = 0; who < WHO_COUNT; who++) {
		if (!who_matches(rule, (enum who)who, values, question))
			return false;
		values += rule->counts[who];
	}
	return true;
}

static unsigned strictness(const struct rule *rule)
{
	return rule->deny ? 2 : rule->pin ? 1 : 0;
}

/* Would a rather than b decide? The order in which they are found does not matter. */
static bool goes_before(const struct rule *a, const struct rule *b)
{
	unsigned a_for = a->for_seconds - 1, b_for = b->for_seconds - 1; /* not said: the longest */

	if (strictness(a) != strictness(b))
		return strictness(a) > strictness(b);
	if (a_for != b_for)
		return a_for < b_for;
	return a < b;
}

static const struct rule *strictest_of_pair(const struct policy *policy, const struct question *question,
                                            uint32_t pattern, uint32_t subject, const struct rule *best,
                                            bool *every_key)
{
	uint32_t i = policy->heads[head_slot(policy, pattern, subject)];

	for (; i != NONE; i = policy->entries[i].next) {
		const struct rule *rule = &policy->rules[policy->entries[i].rule];

		if (!rule_matches(rule, question))
			continue;
		*every_key |= rule->every_key && !rule->deny;
		if (!best || goes_before(rule, best))
			best = rule;
	}
	return best;
}

/* every_key: was there a permit for every key among them? */
static const struct rule *strictest(const struct policy *policy, const struct question *question,
                                    bool *every_key)
{
	const struct rule *best = NULL;

	if (policy->heads_len == 0)
		return NULL;
	for (size_t i = 0; i < question->pattern_count; i++)
		for (size_t n = 0; n < question->subject_count; n++)
			best = strictest_of_pair(policy, question, question->patterns[i],
			                         question->subjects[n], best, every_key);
	return best;
}

static void decide(const struct policy *policy, const struct rule *rule, struct policy_decision *ret_decision)
{
	ret_decision->verdict = rule->deny  ? VERDICT_DENY
	                        : rule->pin ? VERDICT_PERMIT_WITH_PIN
	                                    : VERDICT_PERMIT;
	ret_decision->file = (const char *)policy->files.items[rule->file].data;
	ret_decision->line = rule->line;
	ret_decision->text = rule->text;
	ret_decision->for_seconds = rule->for_seconds;
}

/* All but the key. */
static void question_begin(struct question *question, const struct policy *policy, const struct peer *peer,
                           const char *frontend, enum operation operation)
{
	memset(question->who_count, 0, sizeof(question->who_count));
	question->subject_count = question->pattern_count = 0;
	question->operation = 1U << operation;
	question->frontend = frontend ? frontend_bit(bytes_of_string(frontend)) : 0;
	question_peer(question, policy, peer);
}

void policy_check(const struct policy *policy, const struct peer *peer, const char *frontend,
                  enum operation operation, const char *key_name, struct policy_decision *ret_decision)
{
	struct question question;
	const struct rule *rule;
	bool every_key = false;

	*ret_decision = (struct policy_decision){ .verdict = VERDICT_DENY };
	if (key_name && !key_name_valid(bytes_of_string(key_name)))
		return;
	question_begin(&question, policy, peer, frontend, operation);
	if (key_name)
		question_key(&question, policy, bytes_of_string(key_name));
	else
		question_pattern(&question, policy, bytes_of_string(PATTERN_ALL_RULES),
		                 hash_bytes(HASH_START, bytes_of_string(PATTERN_ALL_RULES)));
	rule = strictest(policy, &question, &every_key);
	if (rule && (key_name || every_key || rule->deny))
		decide(policy, rule, ret_decision);
}

/* Counts the rules of the pair that hold for the question: those that permit, and those that deny every key. */
static void count_pair(const struct policy *policy, const struct question *question, uint32_t subject,
                       size_t *permits, size_t *denials)
{
	uint32_t i = policy->heads[head_slot(policy, question->patterns[0], subject)];

	for (; i != NONE; i = policy->entries[i].next) {
		const struct rule *rule = &policy->rules[policy->entries[i].rule];

		if (!rule_matches(rule, question))
			continue;
		*permits += !rule->deny;
		*denials += rule->deny && rule->every_key;
	}
}

bool policy_permits_some(const struct policy *policy, const struct peer *peer, const char *frontend,
                         enum operation operation)
{
	struct question question;
	size_t permits = 0, denials = 0;

	question_begin(&question, policy, peer, frontend, operation);
	question_pattern(&question, policy, bytes_of_string(PATTERN_ALL_RULES),
	                 hash_bytes(HASH_START, bytes_of_string(PATTERN_ALL_RULES)));
	if (policy->heads_len == 0 || question.pattern_count == 0)
		return false;
	for (size_t i = 0; i < question.subject_count; i++)
		count_pair(policy, &question, question.subjects[i], &permits, &denials);
	return permits > 0 && denials == 0;
}
