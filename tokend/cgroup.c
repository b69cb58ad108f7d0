/* systemd names a unit's cgroup after the unit; this reads it back from /proc/PID/cgroup. */
#include "tokend/peer.h"
#include "tokend/text.h"

/* The path that systemd keeps its units in: of the line "N:name=systemd:PATH" (version 1 and hybrid), else of "0::PATH" (version 2). */
static bool find_path(struct bytes text, struct bytes *ret_path)
{
	static const char named[] = ":name=systemd:";
	static const char unified[] = "0::";
	struct bytes line;
	bool found = false;

	while (text_next_line(&text, &line)) {
		const uint8_t *at = memmem(line.data, line.len, named, strlen(named));
		size_t number_len = at ? (size_t)(at - line.data) : 0;
		unsigned long number;

		if (at && text_number(bytes_of(line.data, number_len), 999, &number)) {
			*ret_path = bytes_of(at + strlen(named), line.len - number_len - strlen(named));
			return true;
		}
		if (line.len > strlen(unified) && memcmp(line.data, unified, strlen(unified)) == 0) {
			*ret_path = bytes_of(line.data + strlen(unified), line.len - strlen(unified));
			found = true;
		}
	}
	return found;
}

/* The next part of a path that begins with '/'. */
static bool next_part(struct bytes *path, struct bytes *ret_part)
{
	size_t len = 1;

	if (path->len == 0 || path->data[0] != '/')
		return false;
	while (len < path->len && path->data[len] != '/')
		len++;
	*ret_part = bytes_of(path->data + 1, len - 1);
	*path = bytes_of(path->data + len, path->len - len);
	return true;
}

void peer_unit_from_cgroup(struct bytes text, char ret_unit[static UNIT_NAME_MAX])
{
	struct bytes path, part;

	ret_unit[0] = '\0';
	if (!find_path(text, &path))
		return;
	while (next_part(&path, &part)) {
		/* systemd writes '_' before a name that would be one of the kernel's own files. */
		if (part.len > 1 && part.data[0] == '_')
			part = bytes_of(part.data + 1, part.len - 1);
		if (unit_name_is_slice(part))
			continue;
		/* Beside or above our own cgroup namespace, where no name is what it is called for the system manager. */
		if (text_equals(part, "..")) {
			memcpy(ret_unit, UNIT_UNKNOWN, sizeof(UNIT_UNKNOWN));
			return;
		}
		/* Whatever stands here is the system manager's last word: what is below belongs to somebody else. */
		if (unit_name_valid(part))
			(void)text_copy(part, ret_unit, UNIT_NAME_MAX);
		return;
	}
}
