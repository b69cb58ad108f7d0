#include "tokend/duration.h"

#include "tokend/text.h"

#define DURATION_MAX (365UL * 24 * 60 * 60)

static unsigned long unit_seconds(uint8_t letter)
{
	switch (letter) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 60 * 60;
	default:
		return 0;
	}
}

enum err duration_parse(struct bytes text, unsigned *ret_seconds)
{
	unsigned long unit = text.len ? unit_seconds(text.data[text.len - 1]) : 0;
	unsigned long number;

	if (unit)
		text.len--;
	else
		unit = 1;
	if (!text_number(text, DURATION_MAX / unit, &number))
		return ERR_USAGE;
	*ret_seconds = (unsigned)(number * unit);
	return OK;
}
