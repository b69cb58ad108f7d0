/* Configurations from anybody: what is accepted keeps its limits and names no token that would be refused alone. */
#include <stdlib.h>

#include "tokend/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct config *config)
{
	if (config->token_count > CONFIG_TOKENS_MAX || config->session_seconds == 0 ||
	    config->session_seconds > CONFIG_SESSION_MAX || config->token_deadline_ms == 0 ||
	    config->token_deadline_ms > 1000 * CONFIG_DEADLINE_MAX || !config->user[0] ||
	    !config->helper_user[0])
		abort();
	for (size_t i = 0; i < config->token_count; i++)
		if (token_uri_check(bytes_of_string(config->tokens[i])) != OK)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(buf_freep) struct buf *problem = NULL;
	struct config config;
	enum err err;

	if (buf_new(1024, &problem))
		abort();
	err = config_parse(bytes_of(data, len), "/etc/tokend/tokend.conf", problem, &config);
	if (err != OK && err != ERR_BAD_CONFIG)
		abort();
	if ((err == OK) != (buf_len(problem) == 0))
		abort();
	if (!err)
		check(&config);
	return 0;
}
