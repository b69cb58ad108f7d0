#include "cli/verbs.h"

#include <stddef.h>

const struct verb *const verbs[] = {
	&enroll_verb,         &status_verb,     &tokens_verb,       &keys_verb,
	&doctor_verb,         &recipient_verb,  &identity_verb,     &encrypt_verb,
	&decrypt_verb,        &unlock_verb,     &lock_verb,         &policy_check_verb,
	&policy_explain_verb, &audit_show_verb, &audit_verify_verb, NULL,
};
