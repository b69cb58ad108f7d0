#define PCRE2_CODE_UNIT_WIDTH 8
#include "formats/regex_library.h"

#include <pcre2.h>
#include <stdlib.h>

#include "formats/dynamic_library.h"

#define MATCH_LIMIT 200000U /* steps, of some 20 ns */
#define DEPTH_LIMIT 1000U
#define WORK_MAX 400000000U /* steps of all matches that are not short */

/* Most matches are short, and cost nothing. libpcre2 does not say how many steps it took, so it is asked with ever more of them, and those that did not do are counted. */
static const uint32_t step_limits[] = { 500, 4000, 30000, MATCH_LIMIT };
#define STEP_LIMITS (sizeof(step_limits) / sizeof(step_limits[0]))

#define FUNCTIONS(X)                              \
	X(pcre2_compile_8)                        \
	X(pcre2_code_free_8)                      \
	X(pcre2_match_8)                          \
	X(pcre2_match_data_create_from_pattern_8) \
	X(pcre2_match_data_free_8)                \
	X(pcre2_match_context_create_8)           \
	X(pcre2_match_context_free_8)             \
	X(pcre2_set_match_limit_8)                \
	X(pcre2_set_depth_limit_8)

DYNAMIC_LIBRARY("libpcre2-8.so.0", FUNCTIONS);

struct regex {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
	uint64_t own_work, *work; /* the one, or somebody else's */
};

/* After "(?": a name, flags, or a colon. Look-around, conditions, recursion, atomic groups and comments begin otherwise. */
static bool group_is_plain(struct bytes rest)
{
	size_t i = 0;

	if (rest.len && (rest.data[0] == 'P' || rest.data[0] == '<'))
		i = rest.data[0] == 'P';
	if (rest.len > i + 1 && rest.data[i] == '<')
		return rest.data[i + 1] != '=' && rest.data[i + 1] != '!';
	if (i)
		return false;
	while (i < rest.len && memchr("imsU-", rest.data[i], 5))
		i++;
	return i < rest.len && (rest.data[i] == ':' || rest.data[i] == ')');
}

static bool escape_is_plain(uint8_t letter)
{
	bool word = (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') ||
	            (letter >= 'A' && letter <= 'Z');

	return !word || memchr("AbBdDsSwWpPxzQEafnrt", letter, 20);
}

/* Says nothing of whether the pattern is well-formed. */
static bool is_re2(struct bytes pattern)
{
	bool in_class = false;

	for (size_t i = 0; i < pattern.len; i++) {
		uint8_t c = pattern.data[i];
		uint8_t next = i + 1 < pattern.len ? pattern.data[i + 1] : 0;

		if (c == '\\' && !escape_is_plain(next))
			return false;
		if (c == '\\')
			i++;
		else if (in_class)
			in_class = c != ']';
		else if (c == '[')
			in_class = true;
		else if (c == '(' && next == '*')
			return false;
		else if (c == '(' && next == '?' &&
		         !group_is_plain(bytes_of(pattern.data + i + 2, pattern.len - i - 2)))
			return false;
		else if (memchr("+*?}", c, 4) && next == '+')
			return false;
	}
	return true;
}

enum err regex_new(struct bytes pattern, struct regex **ret_regex)
{
	CLEANUP(regex_freep) struct regex *regex = NULL;
	int number;
	size_t offset;

	if (pattern.len > REGEX_PATTERN_MAX || !is_re2(pattern))
		return ERR_BAD_FILE;
	if (!dynamic_library_load(&dynamic))
		return ERR_UNSUPPORTED;
	regex = calloc(1, sizeof(*regex));
	if (!regex)
		return ERR_NOMEM;
	regex->code = call.pcre2_compile_8(pattern.data, pattern.len,
	                                   PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY |
	                                           PCRE2_NEVER_BACKSLASH_C,
	                                   &number, &offset, NULL);
	if (!regex->code)
		return ERR_BAD_FILE;
	regex->data = call.pcre2_match_data_create_from_pattern_8(regex->code, NULL);
	regex->context = call.pcre2_match_context_create_8(NULL);
	if (!regex->data || !regex->context)
		return ERR_NOMEM;
	(void)call.pcre2_set_depth_limit_8(regex->context, DEPTH_LIMIT);
	regex->work = &regex->own_work;
	*ret_regex = TAKE(regex);
	return OK;
}

void regex_count_in(struct regex *regex, uint64_t *work)
{
	regex->work = work;
}

struct regex *regex_free(struct regex *regex)
{
	if (!regex)
		return NULL;
	call.pcre2_match_context_free_8(regex->context);
	call.pcre2_match_data_free_8(regex->data);
	call.pcre2_code_free_8(regex->code);
	free(regex);
	return NULL;
}

enum err regex_match(const struct regex *regex, struct bytes text, bool *ret_match)
{
	static const uint8_t nothing[1];
	int result = PCRE2_ERROR_MATCHLIMIT;

	for (size_t i = 0; i < STEP_LIMITS && result == PCRE2_ERROR_MATCHLIMIT; i++) {
		if (*regex->work > WORK_MAX)
			return ERR_BUSY;
		(void)call.pcre2_set_match_limit_8(regex->context, step_limits[i]);
		result = call.pcre2_match_8(regex->code, text.len ? text.data : nothing, text.len, 0, 0,
		                            regex->data, regex->context);
		*regex->work += i ? step_limits[i] : 0;
	}
	if (result < 0 && result != PCRE2_ERROR_NOMATCH)
		return result == PCRE2_ERROR_NOMEMORY ? ERR_NOMEM : ERR_BUSY;
	*ret_match = result >= 0;
	return OK;
}
