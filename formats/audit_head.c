#include "formats/audit_head.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/encoding.h"
#include "formats/sha256.h"

/* ---- as people keep it ---- */

enum err audit_head_parse(const char *text, struct audit_chain *ret_head)
{
	struct audit_chain head = { 0 };
	const char *colon = strchr(text, ':');
	char *end = NULL;

	if (!colon || text[0] < '1' || text[0] > '9' || colon - text > 20)
		return ERR_USAGE;
	errno = 0;
	head.sequence = strtoull(text, &end, 10);
	if (errno || end != colon ||
	    hex_decode(bytes_of_string(colon + 1), head.last_hash, sizeof(head.last_hash)))
		return ERR_USAGE;
	*ret_head = head;
	return OK;
}

void audit_head_print(const struct audit_chain *head, char ret_text[static AUDIT_HEAD_LEN + 1])
{
	char hash[2 * AUDIT_HASH_LEN + 1];

	hex_encode(bytes_of(head->last_hash, AUDIT_HASH_LEN), hash);
	(void)snprintf(ret_text, AUDIT_HEAD_LEN + 1, "%llu:%s", head->sequence, hash);
}

/* ---- as the broker leaves it ---- */

#define MEMO_BEGIN "tokend head 1 "
#define NUMBER_DIGITS 20U
#define HASH_AT (sizeof(MEMO_BEGIN) - 1 + NUMBER_DIGITS + 1)
#define CHECK_AT (HASH_AT + 2U * AUDIT_HASH_LEN + 1U)

_Static_assert(CHECK_AT + AUDIT_CHECK_DIGITS + 1U == AUDIT_MEMO_LEN, "a memo has this length");

static void put_number(unsigned long long number, char out[static NUMBER_DIGITS])
{
	for (size_t i = NUMBER_DIGITS; i > 0; number /= 10)
		out[--i] = (char)('0' + number % 10);
}

static void put_check(struct bytes before, struct bytes directory, char out[static AUDIT_CHECK_DIGITS])
{
	uint8_t hash[SHA256_LEN];
	struct sha256 state;

	sha256_begin(&state);
	sha256_add(&state, before);
	sha256_add(&state, directory);
	sha256_end(&state, hash);
	hex_encode_public(bytes_of(hash, AUDIT_CHECK_DIGITS / 2), out);
}

/* Once for each group of records, so without snprintf. */
void audit_memo_print(const struct audit_chain *head, struct bytes directory,
                      char ret_text[static AUDIT_MEMO_LEN + 1])
{
	memcpy(ret_text, MEMO_BEGIN, sizeof(MEMO_BEGIN) - 1);
	put_number(head->sequence, ret_text + sizeof(MEMO_BEGIN) - 1);
	ret_text[HASH_AT - 1] = ret_text[CHECK_AT - 1] = ' ';
	hex_encode_public(bytes_of(head->last_hash, AUDIT_HASH_LEN), ret_text + HASH_AT);
	put_check(bytes_of((const uint8_t *)ret_text, CHECK_AT), directory, ret_text + CHECK_AT);
	memcpy(ret_text + AUDIT_MEMO_LEN - 1, "\n", 2);
}

/* It is printed again, and has to be the same: so nothing else needs to be looked at. */
bool audit_memo_parse(struct bytes text, struct bytes directory, struct audit_chain *ret_head)
{
	char again[AUDIT_MEMO_LEN + 1];
	struct audit_chain head = { 0 };

	if (text.len != AUDIT_MEMO_LEN ||
	    hex_decode(bytes_of(text.data + HASH_AT, 2 * (size_t)AUDIT_HASH_LEN), head.last_hash,
	               AUDIT_HASH_LEN))
		return false;
	for (size_t i = sizeof(MEMO_BEGIN) - 1; i < HASH_AT - 1; i++) {
		unsigned digit = text.data[i] - (unsigned)'0';

		if (digit > 9 || __builtin_mul_overflow(head.sequence, 10ULL, &head.sequence) ||
		    __builtin_add_overflow(head.sequence, digit, &head.sequence))
			return false;
	}
	audit_memo_print(&head, directory, again);
	if (head.sequence == 0 || !bytes_equal(text, bytes_of_string(again)))
		return false;
	*ret_head = head;
	return true;
}
