/* Heads of the audit log, of which anybody may type one: what is one, printed again, is the same, and any number and hash come back from both forms. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "formats/audit_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct bytes directory = { (const uint8_t *)"/state", 6 };

static bool same(const struct audit_chain *first, const struct audit_chain *second)
{
	return first->sequence == second->sequence &&
	       memcmp(first->last_hash, second->last_hash, AUDIT_HASH_LEN) == 0;
}

static void there_and_back(const struct audit_chain *head)
{
	char typed[AUDIT_HEAD_LEN + 1], memo[AUDIT_MEMO_LEN + 1];
	struct audit_chain again = { 0 };

	audit_head_print(head, typed);
	if (audit_head_parse(typed, &again) != (head->sequence ? OK : ERR_USAGE) ||
	    (head->sequence && !same(head, &again)))
		abort();
	audit_memo_print(head, directory, memo);
	if (audit_memo_parse(bytes_of_string(memo), directory, &again) != (head->sequence != 0) ||
	    (head->sequence && !same(head, &again)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(freep) char *text = strndup((const char *)data, len);
	struct audit_chain head = { 0 };

	if (!text)
		abort();
	if (audit_head_parse(text, &head) == OK || audit_memo_parse(bytes_of(data, len), directory, &head))
		there_and_back(&head);
	if (len == sizeof(head.sequence) + AUDIT_HASH_LEN) {
		memcpy(&head.sequence, data, sizeof(head.sequence));
		memcpy(head.last_hash, data + sizeof(head.sequence), AUDIT_HASH_LEN);
		there_and_back(&head);
	}
	return 0;
}
