#include "cli/verbs.h"

#include <stddef.h>

const struct verb *const verbs[] = {
	&enroll_verb,    &status_verb,       &tokens_verb,         &keys_verb,         &doctor_verb,
	&recipient_verb, &identity_verb,     &encrypt_verb,        &decrypt_verb,      &unlock_verb,
	&lock_verb,      &policy_check_verb, &policy_explain_verb, &audit_show_verb,   &audit_verify_verb,
	&get_verb,       &run_verb,          &exec_file_verb,      &set_verb,          &unset_verb,
	&edit_verb,      &rotate_verb,       &updatekeys_verb,     &verify_verb,       &guard_verb,
	&sample_verb,    &git_install_verb,  &git_merge_verb,      &git_textconv_verb, NULL,
};
