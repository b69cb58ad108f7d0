/* One declaration for each row of verbs.c. */
#pragma once

#include "cli/verb.h"

extern const struct verb audit_rotate_verb;
extern const struct verb audit_show_verb;
extern const struct verb audit_verify_verb;
extern const struct verb decrypt_verb;
extern const struct verb doctor_verb;
extern const struct verb encrypt_verb;
extern const struct verb enroll_verb;
extern const struct verb exec_file_verb;
extern const struct verb get_verb;
extern const struct verb guard_verb;
extern const struct verb git_install_verb;
extern const struct verb git_merge_verb;
extern const struct verb git_textconv_verb;
extern const struct verb identity_verb;
extern const struct verb keys_verb;
extern const struct verb lock_verb;
extern const struct verb policy_check_verb;
extern const struct verb policy_explain_verb;
extern const struct verb recipient_verb;
extern const struct verb run_verb;
extern const struct verb sample_verb;
extern const struct verb status_verb;
extern const struct verb tokens_verb;
extern const struct verb unlock_verb;
extern const struct verb set_verb;
extern const struct verb unset_verb;
extern const struct verb edit_verb;
extern const struct verb rotate_verb;
extern const struct verb updatekeys_verb;
extern const struct verb verify_verb;
