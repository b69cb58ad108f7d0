/*
 * keyservice_call SOCKET encrypt|decrypt RECIPIENT FILE...: one call for each file, all over one connection. What is answered goes to the standard output, one after the other; a refusal to the other, as "STATUS TEXT". Ends
 * with the last refusal's status, or 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/keyservice_client.h"

#define DATA_MAX 60000U

static struct bytes read_file(const char *path)
{
	static uint8_t data[DATA_MAX];
	FILE *file = fopen(path, "re");
	size_t len;

	if (!file) {
		perror(path);
		exit(99);
	}
	len = fread(data, 1, sizeof(data), file);
	(void)fclose(file);
	return bytes_of(data, len);
}

static int ask(struct keyservice_client *client, const char *path, const char *recipient, struct bytes data)
{
	CLEANUP(buf_freep) struct buf *message = NULL;
	const struct grpc_result *result;
	struct bytes answer;

	if (buf_new(2 * DATA_MAX, &message))
		return 99;
	grpc_put_request(message, recipient, data);
	result = keyservice_client_ask(client, path, buf_bytes(message));
	if (result->status) {
		(void)fprintf(stderr, "%d %s\n", result->status, result->text);
		return result->status < 0 ? 98 : result->status;
	}
	answer = keyservice_answer_data(result->answer);
	(void)fwrite(answer.data, 1, answer.len, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	CLEANUP(keyservice_client_freep) struct keyservice_client *client = NULL;
	int status = 0;

	if (argc < 5) {
		(void)fprintf(stderr, "usage: keyservice_call SOCKET encrypt|decrypt RECIPIENT FILE...\n");
		return 2;
	}
	client = keyservice_client_new(argv[1]);
	for (int i = 4; i < argc; i++) {
		int one =
		        ask(client, strcmp(argv[2], "encrypt") == 0 ? KEYSERVICE_ENCRYPT : KEYSERVICE_DECRYPT,
		            argv[3], read_file(argv[i]));

		status = one ? one : status;
	}
	return status;
}
