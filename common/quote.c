#include "common/quote.h"

#include <stdio.h>
#include <string.h>

void quote_word(const char *word, char *out, size_t out_len)
{
	size_t len = 0;

	if (*word && *word != '-' &&
	    !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/+-@,=")]) {
		(void)snprintf(out, out_len, "%s", word);
		return;
	}
	out[len++] = '\'';
	if (*word == '-') { /* no option */
		memcpy(out + len, "./", 2);
		len += 2;
	}
	for (; *word && len + 8 < out_len; word++) {
		if (*word == '\'') {
			memcpy(out + len, "'\\''", 4);
			len += 4;
		} else {
			out[len++] = *word;
		}
	}
	out[len++] = '\'';
	out[len] = '\0';
}
