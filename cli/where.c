#include "cli/where.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/facts.h"
#include "tokend/policy.h"

static void copy(char *to, size_t len, const char *from)
{
	(void)snprintf(to, len, "%s", from ? from : "");
}

static void from_status(struct where *where)
{
	const char *mode = json_string_member(where->status, "mode");

	copy(where->audit_file, sizeof(where->audit_file), json_string_member(where->status, "auditFile"));
	copy(where->policy_directory, sizeof(where->policy_directory),
	     json_string_member(where->status, "policyDirectory"));
	where->system_mode = mode && strcmp(mode, "system") == 0;
}

static void from_line(struct where *where, char *line)
{
	char *value = strchr(line, ' ');

	if (!value)
		return;
	*value++ = '\0';
	value[strcspn(value, "\n")] = '\0';
	if (strcmp(line, "audit-file") == 0)
		copy(where->audit_file, sizeof(where->audit_file), value);
	else if (strcmp(line, "policy-directory") == 0)
		copy(where->policy_directory, sizeof(where->policy_directory), value);
}

static void from_file(struct where *where)
{
	CLEANUP(fclosep) FILE *file = NULL;
	char directory[PATH_MAX], path[PATH_MAX + 8], line[PATH_MAX + 64];

	control_runtime_directory(directory, sizeof(directory));
	where->system_mode = strcmp(directory, "/run/tokend") == 0;
	(void)snprintf(path, sizeof(path), "%s/where", directory);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		from_line(where, line);
	if (where->audit_file[0] || !where->system_mode)
		return;
	if (access("/var/lib/tokend/audit.log", F_OK) == 0 || errno != ENOENT)
		copy(where->audit_file, sizeof(where->audit_file), "/var/lib/tokend/audit.log");
	copy(where->policy_directory, sizeof(where->policy_directory), "/etc/tokend/policy.d");
}

void where_find(struct daemon *daemon, struct where *ret_where)
{
	*ret_where = (struct where){ 0 };
	ret_where->err = status_get(daemon, &ret_where->problem, &ret_where->status);
	if (!ret_where->err)
		from_status(ret_where);
	else
		from_file(ret_where);
}

void where_done(struct where *where)
{
	json_decref(where->status);
	where->status = NULL;
}

void where_audit_memo(const struct where *where, struct audit_chain *ret_head)
{
	const char *slash = strrchr(where->audit_file, '/');
	char directory[PATH_MAX], path[PATH_MAX + sizeof(AUDIT_MEMO_NAME)];
	uint8_t text[AUDIT_MEMO_LEN + 1];
	CLEANUP(close_fdp) int fd = -1;
	ssize_t len;

	*ret_head = (struct audit_chain){ 0 };
	control_runtime_directory(directory, sizeof(directory));
	(void)snprintf(path, sizeof(path), "%s/" AUDIT_MEMO_NAME, directory);
	fd = slash ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	len = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (len > 0)
		(void)audit_memo_parse(
		        bytes_of(text, (size_t)len),
		        bytes_of((const uint8_t *)where->audit_file, (size_t)(slash - where->audit_file)),
		        ret_head);
}

bool where_is_built_in(const struct where *where, const char *digest)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;

	/* A directory that cannot be there has no rules. */
	if (!digest || policy_load("", where->system_mode, NULL, &policy))
		return false;
	return strcmp(policy_digest(policy), digest) == 0;
}

void where_reload_command(const struct where *where, char *text, size_t len)
{
	json_int_t pid = json_integer_member(where->status, "pid", 0);

	if (where->system_mode || pid <= 0)
		(void)snprintf(text, len, "sudo systemctl reload tokend");
	else
		(void)snprintf(text, len, "kill -HUP %lld", (long long)pid);
}

const char *where_no_keys_hint(const struct where *where)
{
	if (!where->system_mode || geteuid() == 0)
		return "tokenctl enroll --name host";
	return "tokenctl policy explain --op list --key host   says whether you may see one called host; "
	       "root makes it: sudo tokenctl enroll --name host";
}
