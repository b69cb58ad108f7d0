#include "formats/sops_number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct digits {
	char digits[32]; /* without a point; the first is not 0, unless the number is */
	size_t count;
	int point; /* how many digits stand before the point; may be negative */
	bool negative;
};

enum err sops_number_read(struct bytes text, double *ret_number)
{
	char copy[SOPS_NUMBER_MAX];
	char *end;

	if (text.len == 0 || text.len >= sizeof(copy))
		return ERR_BAD_FILE;
	for (size_t i = 0; i < text.len; i++)
		if (!memchr("+-.0123456789eE", text.data[i], 15))
			return ERR_BAD_FILE;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	errno = 0;
	*ret_number = strtod(copy, &end);
	return *end || !isfinite(*ret_number) ? ERR_BAD_FILE : OK;
}

static struct digits shortest(double number)
{
	struct digits result = { .negative = signbit(number) };
	char text[64];
	char *exponent;

	for (int precision = 0; precision < 17; precision++) {
		(void)snprintf(text, sizeof(text), "%.*e", precision, fabs(number));
		if (strtod(text, NULL) == fabs(number)) /* exact on purpose */
			break;
	}
	exponent = strchr(text, 'e');
	for (char *c = text; c < exponent; c++)
		if (*c != '.')
			result.digits[result.count++] = *c;
	while (result.count > 1 && result.digits[result.count - 1] == '0')
		result.count--;
	result.point = number == 0 ? 1 : (int)strtol(exponent + 1, NULL, 10) + 1;
	return result;
}

static size_t write_plain(const struct digits *digits, char *out)
{
	size_t len = 0;
	int i;

	if (digits->negative)
		out[len++] = '-';
	if (digits->point <= 0)
		out[len++] = '0';
	for (i = 0; i < digits->point; i++)
		out[len++] = i < (int)digits->count ? digits->digits[i] : '0';
	if ((int)digits->count > digits->point)
		out[len++] = '.';
	for (i = digits->point; i < (int)digits->count; i++)
		out[len++] = i < 0 ? '0' : digits->digits[i];
	return len;
}

static size_t write_exponent(const struct digits *digits, bool pad, char *out)
{
	int exponent = digits->point - 1;
	size_t len = 0;

	if (digits->negative)
		out[len++] = '-';
	out[len++] = digits->digits[0];
	if (digits->count > 1)
		out[len++] = '.';
	for (size_t i = 1; i < digits->count; i++)
		out[len++] = digits->digits[i];
	return len + (size_t)snprintf(out + len, 16, pad ? "e%c%02d" : "e%c%d", exponent < 0 ? '-' : '+',
	                              abs(exponent));
}

/* Go's strconv (%g with its shortest digits: below 1e-4, from 1e6) and encoding/json (1e-6, 1e21). */
size_t sops_number_write(double number, enum sops_number_form form, char out[static SOPS_NUMBER_MAX])
{
	struct digits digits = shortest(number);
	int exponent = digits.point - 1;

	if (form == SOPS_NUMBER_YAML && (exponent < -4 || exponent >= 6))
		return write_exponent(&digits, true, out);
	if (form == SOPS_NUMBER_JSON && number != 0 && (exponent < -6 || exponent >= 21))
		return write_exponent(&digits, false, out);
	return write_plain(&digits, out);
}
