#include "common/key.h"

static const struct {
	enum key_kind kind;
	const char *name;
} kinds[] = {
	{ KEY_KIND_P256, "p256" },
	{ KEY_KIND_X25519, "x25519" },
	{ KEY_KIND_SYMMETRIC, "symmetric" },
};

static const struct {
	enum key_class class;
	const char *name;
} classes[] = {
	{ KEY_CLASS_BOOT, "boot" },
	{ KEY_CLASS_SESSION, "session" },
	{ KEY_CLASS_ADMIN, "admin" },
};

const char *key_kind_name(enum key_kind kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].kind == kind)
			return kinds[i].name;
	return "unknown";
}

const char *key_class_name(enum key_class class)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (classes[i].class == class)
			return classes[i].name;
	return "unknown";
}

enum err key_kind_from_name(const char *name, enum key_kind *ret_kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0) {
			*ret_kind = kinds[i].kind;
			return OK;
		}
	return ERR_USAGE;
}

enum err key_class_from_name(const char *name, enum key_class *ret_class)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strcmp(classes[i].name, name) == 0) {
			*ret_class = classes[i].class;
			return OK;
		}
	return ERR_USAGE;
}

static bool name_byte_valid(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == '.' || c == '-';
}

static bool name_part_valid(struct bytes part)
{
	if (part.len == 0 || part.data[0] == '-')
		return false;
	if (part.data[0] == '.' && (part.len == 1 || (part.len == 2 && part.data[1] == '.')))
		return false;
	for (size_t i = 0; i < part.len; i++)
		if (!name_byte_valid(part.data[i]))
			return false;
	return true;
}

bool key_name_valid(struct bytes name)
{
	size_t start = 0;

	if (name.len == 0 || name.len > KEY_NAME_MAX)
		return false;
	for (size_t i = 0; i <= name.len; i++) {
		if (i < name.len && name.data[i] != '/')
			continue;
		if (!name_part_valid(bytes_of(name.data + start, i - start)))
			return false;
		start = i + 1;
	}
	return true;
}

bool key_id_equal(const struct key_id *a, const struct key_id *b)
{
	return memcmp(a->bytes, b->bytes, KEY_ID_LEN) == 0;
}
