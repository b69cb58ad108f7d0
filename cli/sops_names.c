#include "cli/sops_names.h"

#include <string.h>

#include "cli/options.h"
#include "cli/shown.h"

#define LISTED 8U /* keys that a message names */
#define SHOWN_MAX 60 /* bytes of one */
#define PATH_TEXT_MAX 400U

static bool is_in(const struct sops_document *document, uint32_t index, uint32_t container)
{
	const struct sops_node *node = &document->nodes[index];

	return node->parent == container && !node->metadata && !sops_node_is_comment(node);
}

static void list_keys(const struct sops_document *document, uint32_t container, char *out, size_t size)
{
	struct shown_list list = { .text = out, .size = size, .limit = LISTED };

	for (uint32_t i = container + 1; i < document->count; i++)
		if (is_in(document, i, container))
			shown_list_add(&list, document->nodes[i].key);
	shown_list_end(&list);
}

void sops_names_list(const struct sops_document *document, uint32_t container, char *out, size_t size)
{
	size_t count = 0;

	out[0] = '\0';
	if (document->nodes[container].kind == SOPS_MAP) {
		list_keys(document, container, out, size);
		return;
	}
	for (uint32_t i = container + 1; i < document->count; i++)
		count += is_in(document, i, container);
	if (count)
		(void)snprintf(out, size, "%zu element%s, from 0 on", count, PLURAL(count));
}

/* A key that needs no quotes, neither in a path nor for a shell. */
static bool is_plain(struct bytes key)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

	for (size_t i = 0; i < key.len; i++)
		if (!key.data[i] || !strchr(plain, key.data[i]))
			return false;
	return key.len > 0 && key.data[0] != '-';
}

static void add_key(struct bytes key, char *out, size_t size)
{
	size_t len = strlen(out);
	int shown = (int)(key.len < SHOWN_MAX ? key.len : SHOWN_MAX);

	if (is_plain(key))
		(void)snprintf(out + len, size - len, "%s%.*s", len ? "." : "", shown,
		               (const char *)key.data);
	else
		(void)snprintf(out + len, size - len, "[\"%.*s\"]", shown, (const char *)key.data);
}

/* The first count steps, as they are typed. */
static void spell(const struct sops_path *path, size_t count, char *out, size_t size)
{
	out[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		const struct sops_step *step = &path->steps[i];
		size_t len = strlen(out);

		if (step->key.data)
			add_key(step->key, out, size);
		else
			(void)snprintf(out + len, size - len, "[%u]", step->number);
	}
}

/* How far a key is from what was typed: two changes at most, and not most of a short one; SIZE_MAX otherwise. */
static size_t distance(struct bytes key, const char *typed)
{
	char name[SHOWN_MAX + 1];
	size_t changes, len = strlen(typed);

	if (!key.data || key.len > SHOWN_MAX)
		return SIZE_MAX;
	(void)snprintf(name, sizeof(name), "%.*s", (int)key.len, (const char *)key.data);
	changes = words_distance(name, typed);
	return changes <= (len < 5 ? 1U : 2U) ? changes : SIZE_MAX;
}

/* Of the keys of a map. No data: none is near. */
static struct bytes nearest(const struct sops_document *document, uint32_t map, const struct sops_step *step)
{
	struct bytes found = { NULL, 0 };
	char typed[SHOWN_MAX + 1];
	size_t best = SIZE_MAX;

	if (!step->key.data || step->key.len > SHOWN_MAX)
		return found;
	(void)snprintf(typed, sizeof(typed), "%.*s", (int)step->key.len, (const char *)step->key.data);
	for (uint32_t i = map + 1; i < document->count; i++) {
		size_t changes = is_in(document, i, map) ? distance(document->nodes[i].key, typed) : SIZE_MAX;

		if (changes < best) {
			best = changes;
			found = document->nodes[i].key;
		}
	}
	return found;
}

/* How many of the path's steps are there; ret_index: where they lead. false: not even the map at the top. */
static bool find_deepest(const struct sops_document *document, const struct sops_path *path,
                         size_t *ret_count, uint32_t *ret_index)
{
	size_t count = path->count;
	enum err err;

	while ((err = sops_path_find(document, path, count, ret_index)) && count > 0)
		count--;
	*ret_count = count;
	return !err;
}

/* Steps from first up to end, as they were written short. */
static void join(const struct sops_path *path, size_t first, size_t end, char *out, size_t size)
{
	out[0] = '\0';
	for (size_t i = first; i < end; i++) {
		const struct sops_step *step = &path->steps[i];
		size_t len = strlen(out);

		if (step->key.data)
			(void)snprintf(out + len, size - len, "%s%.*s", len ? "." : "",
			               (int)(step->key.len < size ? step->key.len : size),
			               (const char *)step->key.data);
		else
			(void)snprintf(out + len, size - len, ".%u", step->number);
	}
}

static bool has_key(const struct sops_document *document, uint32_t map, const char *name)
{
	for (uint32_t i = map + 1; i < document->count; i++)
		if (is_in(document, i, map) && bytes_equal(document->nodes[i].key, bytes_of_string(name)))
			return true;
	return false;
}

bool sops_names_dotted(const struct sops_document *document, const struct sops_path *path, char *out,
                       size_t size)
{
	char name[SHOWN_MAX];
	uint32_t index;
	size_t count;

	if (!find_deepest(document, path, &count, &index) || document->nodes[index].kind != SOPS_MAP)
		return false;
	for (size_t end = path->count; end > count + 1; end--) {
		join(path, count, end, name, sizeof(name));
		if (!has_key(document, index, name))
			continue;
		spell(path, count, out, size);
		add_key(bytes_of_string(name), out, size);
		for (size_t i = end; i < path->count && path->steps[i].key.data; i++)
			add_key(path->steps[i].key, out, size);
		return true;
	}
	return false;
}

void sops_names_hint(const struct sops_document *document, const struct sops_path *path, const char *file,
                     struct problem *problem)
{
	char place[PATH_TEXT_MAX], names[512], quoted[SHOWN_QUOTED_MAX];
	struct bytes near = { NULL, 0 };
	size_t count;
	uint32_t index = 0;

	if (!find_deepest(document, path, &count, &index))
		return;
	if (sops_names_dotted(document, path, place, sizeof(place))) {
		shown_quote(place, quoted);
		problem_hint(problem, "did you mean %s?", quoted);
		return;
	}
	spell(path, count, place, sizeof(place));
	if (count < path->count && document->nodes[index].kind == SOPS_MAP)
		near = nearest(document, index, &path->steps[count]);
	if (near.data) {
		add_key(near, place, sizeof(place));
		shown_quote(place, quoted);
		problem_hint(problem, "did you mean %s?", quoted);
		return;
	}
	if (document->nodes[index].kind != SOPS_MAP && document->nodes[index].kind != SOPS_LIST) {
		problem_hint(problem, "%s is a value, and nothing is in it", place);
		return;
	}
	sops_names_list(document, index, names, sizeof(names));
	if (count)
		problem_hint(problem, "in %s: %s", place, names[0] ? names : "nothing");
	else
		problem_hint(problem, "at the top of %s: %s", file, names[0] ? names : "nothing");
}
