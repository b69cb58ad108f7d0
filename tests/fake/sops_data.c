#include "tests/fake/sops_data.h"

#include <stdio.h>
#include <stdlib.h>

#include "formats/sops_value.h"

static void check(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

struct buf *sops_data_read(const char *name, size_t max)
{
	const char *source = getenv("TOKEND_SOURCE_DIR");
	struct buf *buf = NULL;
	char path[4096];
	FILE *file;
	int c;

	(void)snprintf(path, sizeof(path), "%s/tests/data/sops/%s", source ? source : ".", name);
	file = fopen(path, "rb");
	check(file != NULL && buf_new(max, &buf) == OK, path);
	while ((c = fgetc(file)) != EOF)
		check(buf_put_u8(buf, (uint8_t)c) == OK, path);
	(void)fclose(file);
	return buf;
}

struct secret *sops_data_key(void)
{
	static struct secret *key;

	if (key)
		return key;
	check(secret_client_init() == OK && secret_new(SOPS_DATA_KEY_LEN, &key) == OK, "the data key");
	for (uint8_t i = 0; i < SOPS_DATA_KEY_LEN; i++)
		secret_fill(key)[i] = i;
	return key;
}
