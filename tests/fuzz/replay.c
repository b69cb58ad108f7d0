/*
 * Replay
 *
 * Runs a fuzz target over the files of a committed corpus, so that every input that once found something is a test under every compiler and
 * sanitizer, with no fuzzer installed. An empty or missing corpus fails: a target without inputs proves nothing.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CORPUS_FILE_MAX (4U << 20)

static int replay_file(const char *directory, const char *name)
{
	char path[4096];
	FILE *file;
	uint8_t *data;
	size_t len;

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return 0;
	file = fopen(path, "rbe");
	if (!file)
		return 0;
	data = malloc(CORPUS_FILE_MAX);
	if (!data)
		abort();
	len = fread(data, 1, CORPUS_FILE_MAX, file);
	(void)fclose(file);
	(void)LLVMFuzzerTestOneInput(data, len);
	free(data);
	return 1;
}

int main(int argc, char **argv)
{
	int replayed = 0;

	for (int i = 1; i < argc; i++) {
		DIR *directory = opendir(argv[i]);

		if (!directory) {
			(void)fprintf(stderr, "%s: no corpus\n", argv[i]);
			return 1;
		}
		for (struct dirent *entry; (entry = readdir(directory));)
			if (entry->d_name[0] != '.')
				replayed += replay_file(argv[i], entry->d_name);
		(void)closedir(directory);
	}
	(void)printf("%d inputs replayed\n", replayed);
	return replayed > 0 ? 0 : 1;
}
