/* Which keys a peer may unwrap with: by policy alone, counted once, and counted again when policy or keyring change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "tokend/candidates.h"

static char directory[64];
static struct keyring *keyring;

static void add_key(const char *name, enum key_kind kind, enum key_class class, uint8_t number)
{
	static struct key_slot slot = { .token_uri = "tpm:swtpm:path=/x",
		                        .blob = { .public_area_len = 4, .private_area_len = 4 } };
	struct key key = { .kind = kind, .class = class, .created = 1, .slot_count = 1, .slots = { &slot } };

	(void)snprintf(key.name, sizeof(key.name), "%s", name);
	memset(key.id.bytes, number, KEY_ID_LEN);
	memset(key.public_key, number, sizeof(key.public_key));
	key.public_key[0] = kind == KEY_KIND_P256 ? 0x04 : number;
	assert_int_equal(keyring_add(keyring, &key), OK);
}

static int set_up(void **state)
{
	int fd;

	(void)state;
	(void)snprintf(directory, sizeof(directory), "/tmp/test_candidates.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (keyring_load(fd, NULL, &keyring))
		return -1;
	(void)close(fd);
	add_key("host", KEY_KIND_P256, KEY_CLASS_BOOT, 1);
	add_key("repo/a", KEY_KIND_X25519, KEY_CLASS_BOOT, 2);
	add_key("repo/b", KEY_KIND_P256, KEY_CLASS_SESSION, 3);
	add_key("root", KEY_KIND_P256, KEY_CLASS_ADMIN, 4);
	add_key("master", KEY_KIND_SYMMETRIC, KEY_CLASS_BOOT, 5);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	keyring = keyring_free(keyring);
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static struct policy *policy_of(const char *text)
{
	struct policy *policy = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;

	assert_int_equal(buf_new(512, &problem), OK);
	assert_int_equal(policy_new(&policy), OK);
	if (policy_add(policy, "test", bytes_of_string(text), problem))
		fail_msg("%s", buf_string(problem));
	return policy;
}

static const struct {
	const char *policy;
	uid_t uid;
	const char *via;
	size_t p256, sealed, other;
} rows[] = {
	{ "permit unwrap key * user 1000\n", 1000, "age", 3, 1, 1 },
	{ "permit unwrap key * user 1000\n", 1001, "age", 0, 0, 0 },
	{ "permit unwrap key * user 1000 via sops\n", 1000, "age", 0, 0, 0 },
	{ "permit unwrap key * user 1000 via sops\n", 1000, "sops", 3, 1, 1 },
	{ "permit unwrap key repo/* user 1000\n", 1000, "age", 1, 1, 0 },
	{ "permit unwrap key repo/* user 1000\ndeny unwrap key repo/b user 1000\n", 1000, "age", 0, 1, 0 },
	{ "permit list admin key * user 1000\n", 1000, "age", 0, 0, 0 },
	/* A PIN each time: only where there is one. */
	{ "permit unwrap key * user 1000 pin\n", 1000, "age", 2, 0, 0 },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(candidate_cache_freep) struct candidate_cache *cache = NULL;
		CLEANUP(policy_freep) struct policy *policy = policy_of(rows[i].policy);
		const struct peer peer = { .uid = rows[i].uid, .gid = rows[i].uid };
		const struct candidates *found = NULL;

		assert_int_equal(candidate_cache_new(&cache), OK);
		for (unsigned again = 0; again < 2; again++) {
			assert_int_equal(candidates_find(cache, policy, keyring, &peer, rows[i].via, &found),
			                 OK);
			if (found->p256_count != rows[i].p256 || found->sealed_count != rows[i].sealed ||
			    found->other_count != rows[i].other)
				fail_msg("row %zu: %zu, %zu, %zu", i, found->p256_count, found->sealed_count,
				         found->other_count);
		}
	}
}

static void test_pin_each_time(void **state)
{
	CLEANUP(policy_freep)
	struct policy *policy =
	        policy_of("permit unwrap key repo/b user 1000 for 5m\npermit unwrap key root user 1000\n"
	                  "permit unwrap key repo/b user 1001 pin\n");
	const struct peer peer = { .uid = 1000 }, strict = { .uid = 1001 };
	struct candidate candidate;

	(void)state;
	assert_true(candidate_judge(policy, &peer, "age", keyring_find(keyring, "repo/b"), &candidate));
	assert_false(candidate.pin_each_time);
	assert_int_equal(candidate.for_seconds, 300);
	assert_int_equal(candidate.rule_line, 1);
	assert_true(candidate_judge(policy, &peer, "age", keyring_find(keyring, "root"), &candidate));
	assert_true(candidate.pin_each_time);
	assert_true(candidate_judge(policy, &strict, "age", keyring_find(keyring, "repo/b"), &candidate));
	assert_true(candidate.pin_each_time);
	assert_false(candidate_judge(policy, &strict, "age", keyring_find(keyring, "root"), &candidate));
}

/* A hundred thousand kinds of peers do not grow the memory, and each gets what is his. */
static void test_peers_do_not_mix(void **state)
{
	CLEANUP(candidate_cache_freep) struct candidate_cache *cache = NULL;
	CLEANUP(policy_freep)
	struct policy *policy = policy_of("permit unwrap key * user 7\npermit unwrap key repo/a group 9\n"
	                                  "permit unwrap key host unit a.service\n");
	const struct candidates *found = NULL;

	(void)state;
	assert_int_equal(candidate_cache_new(&cache), OK);
	for (unsigned round = 0; round < 4 * CANDIDATES_KEPT; round++) {
		struct peer peer = { .uid = round % 2 ? 7 : 1000 + round, .gid = 1 };

		assert_int_equal(candidates_find(cache, policy, keyring, &peer, "age", &found), OK);
		assert_int_equal(found->p256_count, round % 2 ? 3 : 0);
		peer = (struct peer){ .uid = 8, .group_count = 1, .groups = { round % 3 ? 9 : 10 } };
		assert_int_equal(candidates_find(cache, policy, keyring, &peer, "age", &found), OK);
		assert_int_equal(found->sealed_count, round % 3 ? 1 : 0);
		peer = (struct peer){ .uid = 0 };
		(void)snprintf(peer.unit, sizeof(peer.unit), "%c.service", round % 5 ? 'b' : 'a');
		assert_int_equal(candidates_find(cache, policy, keyring, &peer, "age", &found), OK);
		assert_int_equal(found->p256_count, round % 5 ? 0 : 1);
	}
}

static void test_changes_are_seen(void **state)
{
	CLEANUP(candidate_cache_freep) struct candidate_cache *cache = NULL;
	CLEANUP(policy_freep) struct policy *policy = policy_of("permit unwrap key repo/* user 1000\n");
	CLEANUP(policy_freep) struct policy *stricter = policy_of("permit unwrap key repo/a user 1000\n");
	const struct peer peer = { .uid = 1000 };
	const struct candidates *found = NULL;

	(void)state;
	assert_int_equal(candidate_cache_new(&cache), OK);
	assert_int_equal(candidates_find(cache, policy, keyring, &peer, "age", &found), OK);
	assert_int_equal(found->sealed_count, 1);
	add_key("repo/c", KEY_KIND_X25519, KEY_CLASS_BOOT, 6);
	assert_int_equal(candidates_find(cache, policy, keyring, &peer, "age", &found), OK);
	assert_int_equal(found->sealed_count, 2);
	candidate_cache_clear(cache);
	assert_int_equal(candidates_find(cache, stricter, keyring, &peer, "age", &found), OK);
	assert_int_equal(found->sealed_count, 1);
}

static void test_tags(void **state)
{
	const struct candidate candidate = { .key = keyring_find(keyring, "host") };
	struct token_stanza stanza = { .kind = KEY_KIND_P256, .share = { 0x04, 1, 2, 3 } };

	(void)state;
	p256tag_tag(stanza.share, candidate.key->recipient_hash, stanza.tag);
	assert_true(candidate_matches(&candidate, &stanza));
	stanza.tag[3] ^= 1;
	assert_false(candidate_matches(&candidate, &stanza));
	stanza.tag[3] ^= 1;
	stanza.share[1] ^= 1;
	assert_false(candidate_matches(&candidate, &stanza));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_pin_each_time),
		cmocka_unit_test(test_peers_do_not_mix),
		cmocka_unit_test(test_changes_are_seen),
		cmocka_unit_test(test_tags),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
