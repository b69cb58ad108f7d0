#include "tokend/config.h"

#include <stdio.h>
#include <unistd.h>

#include "tokend/text.h"

#define DEFAULT_DEVICE "/dev/tpmrm0"
#define DEFAULT_POLICY_DIRECTORY "policy.d"

/* ---- token URIs ---- */

static bool uri_byte_valid(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("/._-:=,@%+", c));
}

/* What comes after a TCTI's name: what its options have to begin with, and whether they may be missing. */
static const struct {
	const char *name;
	const char *options;
	bool optional;
} tctis[] = {
	{ "device", "/", false },
	{ "swtpm", "", true },
	{ "mssim", "", true },
	{ "tabrmd", "", true },
};

/* tcti is "NAME" or "NAME:OPTIONS". */
static bool tcti_valid(struct bytes tcti)
{
	for (size_t i = 0; i < sizeof(tctis) / sizeof(tctis[0]); i++) {
		size_t name_len = strlen(tctis[i].name), options_len = strlen(tctis[i].options);

		if (tcti.len < name_len || memcmp(tcti.data, tctis[i].name, name_len) != 0)
			continue;
		if (tcti.len == name_len)
			return tctis[i].optional;
		if (tcti.data[name_len] == ':')
			return tcti.len > name_len + 1 + options_len &&
			       memcmp(tcti.data + name_len + 1, tctis[i].options, options_len) == 0;
	}
	return false;
}

enum err token_uri_check(struct bytes uri)
{
	static const char scheme[] = "tpm:";

	if (uri.len >= TOKEN_URI_MAX || uri.len <= strlen(scheme) ||
	    memcmp(uri.data, scheme, strlen(scheme)) != 0)
		return ERR_USAGE;
	for (size_t i = 0; i < uri.len; i++)
		if (!uri_byte_valid(uri.data[i]))
			return ERR_USAGE;
	return tcti_valid(bytes_of(uri.data + strlen(scheme), uri.len - strlen(scheme))) ? OK : ERR_USAGE;
}

/* ---- values ---- */

struct draft {
	struct config config;
	struct text_place place;
	const char *path;
	bool own_tokens; /* the file names tokens, so the default one does not count */
};

/* A path beside the configuration file, or one from the root as it is. False when it is too long. */
static bool beside(const char *path, struct bytes name, char *out, size_t out_len)
{
	const char *slash = strrchr(path, '/');
	int directory_len = name.data[0] == '/' || !slash ? 0 : (int)(slash - path) + 1;
	int len = snprintf(out, out_len, "%.*s%.*s", directory_len, path, (int)name.len,
	                   (const char *)name.data);

	return len >= 0 && (size_t)len < out_len;
}

static enum err token_value(struct draft *draft, struct bytes word)
{
	struct config *config = &draft->config;

	if (word.len >= 7 && memcmp(word.data, "pkcs11:", 7) == 0)
		return text_problem(&draft->place,
		                    "PKCS#11 tokens are not supported yet; a TPM is tpm:device:/dev/tpmrm0");
	if (token_uri_check(word) != OK)
		return text_problem(
		        &draft->place,
		        "'%.*s' is not a token, such as tpm:device:/dev/tpmrm0 or tpm:swtpm:path=/run/x.sock",
		        TEXT_SHOW(word));
	if (!draft->own_tokens)
		config->token_count = 0;
	draft->own_tokens = true;
	if (config->token_count == CONFIG_TOKENS_MAX)
		return text_problem(&draft->place, "there are more than %u tokens", CONFIG_TOKENS_MAX);
	for (size_t i = 0; i < config->token_count; i++)
		if (text_equals(word, config->tokens[i]))
			return text_problem(&draft->place, "'%.*s' stands twice", TEXT_SHOW(word));
	(void)text_copy(word, config->tokens[config->token_count++], TOKEN_URI_MAX);
	return OK;
}

static enum err policy_directory_value(struct draft *draft, struct bytes word)
{
	if (!beside(draft->path, word, draft->config.policy_directory,
	            sizeof(draft->config.policy_directory)))
		return text_problem(&draft->place, "the path of the policy directory is too long");
	return OK;
}

static enum err duration_value(struct draft *draft, struct bytes word, unsigned longest, const char *text,
                               unsigned *ret_seconds)
{
	unsigned seconds;

	if (duration_parse(word, &seconds) != OK || seconds == 0 || seconds > longest)
		return text_problem(&draft->place,
		                    "'%.*s' is not a time from 1s to %s, such as 90, 30s or 15m",
		                    TEXT_SHOW(word), text);
	*ret_seconds = seconds;
	return OK;
}

static enum err session_time_value(struct draft *draft, struct bytes word)
{
	return duration_value(draft, word, CONFIG_SESSION_MAX, "24h", &draft->config.session_seconds);
}

static enum err token_deadline_value(struct draft *draft, struct bytes word)
{
	unsigned seconds;
	enum err err = duration_value(draft, word, CONFIG_DEADLINE_MAX, "10m", &seconds);

	if (!err)
		draft->config.token_deadline_ms = 1000 * seconds;
	return err;
}

static enum err log_level_value(struct draft *draft, struct bytes word)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {
		{ "error", LOG_LEVEL_ERROR },
		{ "warning", LOG_LEVEL_WARNING },
		{ "info", LOG_LEVEL_INFO },
		{ "debug", LOG_LEVEL_DEBUG },
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (text_equals(word, levels[i].name)) {
			draft->config.log_level = levels[i].level;
			return OK;
		}
	return text_problem(&draft->place, "'%.*s' is not a level (error, warning, info, debug)",
	                    TEXT_SHOW(word));
}

static bool user_byte_valid(uint8_t c, bool first)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
	       (!first && ((c >= '0' && c <= '9') || c == '-' || c == '.'));
}

static enum err account_value(struct draft *draft, struct bytes word, char *out, size_t out_len)
{
	bool valid = word.len < out_len;

	for (size_t i = 0; i < word.len; i++)
		valid = valid && user_byte_valid(word.data[i], i == 0);
	if (!valid || !text_copy(word, out, out_len))
		return text_problem(&draft->place, "'%.*s' is not the name of a user", TEXT_SHOW(word));
	return OK;
}

static enum err user_value(struct draft *draft, struct bytes word)
{
	return account_value(draft, word, draft->config.user, sizeof(draft->config.user));
}

static enum err helper_user_value(struct draft *draft, struct bytes word)
{
	return account_value(draft, word, draft->config.helper_user, sizeof(draft->config.helper_user));
}

/* ---- lines ---- */

static const struct setting {
	const char *name;
	enum err (*value)(struct draft *draft, struct bytes word);
	bool again; /* may stand more than once */
} settings[] = {
	{ "token", token_value, true },
	{ "policy-directory", policy_directory_value, false },
	{ "session-time", session_time_value, false },
	{ "token-deadline", token_deadline_value, false },
	{ "log-level", log_level_value, false },
	{ "user", user_value, false },
	{ "helper-user", helper_user_value, false },
};
#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

static enum err parse_setting(struct draft *draft, struct bytes name, struct bytes rest,
                              bool said[SETTING_COUNT])
{
	struct bytes value, more;
	size_t i = 0;

	while (i < SETTING_COUNT && !text_equals(name, settings[i].name))
		i++;
	if (i == SETTING_COUNT)
		return text_problem(&draft->place, "'%.*s' is not a setting of tokend", TEXT_SHOW(name));
	if (said[i] && !settings[i].again)
		return text_problem(&draft->place, "'%s' stands twice", settings[i].name);
	said[i] = true;
	if (!text_next_word(&rest, &value))
		return text_problem(&draft->place, "'%s' needs a value after it", settings[i].name);
	if (text_next_word(&rest, &more))
		return text_problem(&draft->place, "'%s' takes one value, and '%.*s' is a second one",
		                    settings[i].name, TEXT_SHOW(more));
	return settings[i].value(draft, value);
}

static enum err parse_line(struct draft *draft, struct bytes line, bool said[SETTING_COUNT])
{
	struct bytes name;
	enum err err;

	if (line.len > CONFIG_LINE_MAX)
		return text_problem(&draft->place, "the line is longer than %u bytes", CONFIG_LINE_MAX);
	err = text_check_plain(&draft->place, line);
	if (err || !text_next_word(&line, &name))
		return err;
	return parse_setting(draft, name, line, said);
}

enum err config_parse(struct bytes text, const char *path, struct buf *problem, struct config *ret_config)
{
	struct draft draft = { .place = { path, 0, problem }, .path = path };
	bool said[SETTING_COUNT] = { false };
	struct bytes line;
	enum err err = OK;

	config_defaults(&draft.config, path);
	if (text.len > CONFIG_TEXT_MAX)
		return text_problem(&draft.place, "the file is longer than %u bytes", CONFIG_TEXT_MAX);
	while (!err && text_next_line(&text, &line)) {
		draft.place.line++;
		err = parse_line(&draft, line, said);
	}
	if (!err)
		*ret_config = draft.config;
	return err;
}

void config_defaults(struct config *config, const char *path)
{
	*config = (struct config){
		.session_seconds = 15 * 60,
		.token_deadline_ms = 30 * 1000,
		.log_level = LOG_LEVEL_INFO,
		.user = "tokend",
		.helper_user = "tokend-tpm",
	};
	if (!beside(path, bytes_of_string(DEFAULT_POLICY_DIRECTORY), config->policy_directory,
	            sizeof(config->policy_directory)))
		config->policy_directory[0] = '\0';
	if (access(DEFAULT_DEVICE, F_OK) == 0)
		config_expect_device(config);
}

void config_expect_device(struct config *config)
{
	if (config->token_count == 0)
		(void)text_copy(bytes_of_string("tpm:device:" DEFAULT_DEVICE),
		                config->tokens[config->token_count++], TOKEN_URI_MAX);
}
