#include "common/utf8.h"

static bool is_continuation(uint8_t byte)
{
	return (byte & 0xc0U) == 0x80U;
}

size_t utf8_take(struct bytes text, uint32_t *ret_point)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = text.data[0];
	size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t point = len == 1   ? first
	                 : len == 2 ? first & 0x1fU
	                 : len == 3 ? first & 0x0fU
	                            : first & 0x07U;

	if (len == 0 || len > text.len || first > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if (!is_continuation(text.data[i]))
			return 0;
		point = point << 6 | (text.data[i] & 0x3fU);
	}
	if (point < smallest[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*ret_point = point;
	return len;
}

bool utf8_is_unprintable(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0xad || point == 0x61c ||
	       point == 0x180e || (point >= 0x200b && point <= 0x200f) ||
	       (point >= 0x2028 && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) ||
	       point == 0xfeff || (point >= 0xfff9 && point <= 0xfffb);
}
