#include "tokend/unit.h"

#include "tokend/text.h"

static const char *const types[] = { ".service", ".scope", ".socket", ".mount", ".swap" };

static bool byte_valid(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ':' ||
	       c == '_' || c == '.' || c == '\\' || c == '@' || c == '-';
}

static bool has_type(struct bytes name, const char *type)
{
	if (name.len >= UNIT_NAME_MAX || name.len <= strlen(type) || !text_ends_with(name, type) ||
	    name.data[0] == '@')
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!byte_valid(name.data[i]))
			return false;
	return true;
}

bool unit_name_valid(struct bytes name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (has_type(name, types[i]))
			return true;
	return false;
}

bool unit_name_is_slice(struct bytes name)
{
	return has_type(name, ".slice");
}
