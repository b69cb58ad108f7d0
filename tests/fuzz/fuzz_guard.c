/* What guard looks at, for which anybody may have written it: first byte: bit 0 a rule covers it, bit 1 there is content from before, bit 3 a merge brings some; a name up to a NUL byte; then these, each up to a NUL byte, and the file. */
#include <stdlib.h>

#include "cli/guard_look.h"
#include "common/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct bytes take(struct bytes *rest)
{
	const uint8_t *end = rest->len ? memchr(rest->data, '\0', rest->len) : NULL;
	struct bytes part = bytes_of(rest->data, end ? (size_t)(end - rest->data) : rest->len);

	*rest = end ? bytes_of(end + 1, rest->len - part.len - 1) : bytes_of(NULL, 0);
	return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct sops_creation_rule rule = { .line = 1 };
	struct findings findings = { .count = 0 };
	struct guard_file file = { .rules = ".sops.yaml" };
	struct bytes rest, name;
	static bool ready;
	char *path;

	if (!ready && secret_client_init())
		abort();
	ready = true;
	if (len < 1 || len > 65536)
		return 0;
	rest = bytes_of(data + 1, len - 1);
	name = take(&rest);
	path = strndup((const char *)name.data, name.len);
	if (!path)
		abort();
	file.path = file.place = path;
	file.rule = data[0] & 1 ? &rule : NULL;
	if (data[0] & 2)
		file.old_text = take(&rest);
	if (data[0] & 8)
		file.merged_text = take(&rest);
	file.text = rest;
	if (guard_look(&file, &findings) != OK)
		abort();
	/* A file that has a whole value has that of itself. */
	if (guard_has_value_of(file.text, file.old_text) && !guard_has_value_of(file.text, file.text))
		abort();
	for (size_t i = 0; i < findings.count; i++)
		if (!findings.items[i].text[0] || strchr(findings.items[i].kind, ' '))
			abort();
	findings_done(&findings);
	free(path);
	return 0;
}
