#include "formats/sops_convert.h"

#include "formats/dotenv.h"
#include "formats/sops_write.h"

struct conversion {
	struct sops_document plain;
	struct buf *out; /* borrowed */
	size_t next; /* the node that is written next */
};

static const struct sops_node *node_at(struct conversion *conversion, size_t index)
{
	while (index < conversion->plain.count && conversion->plain.nodes[index].kind == SOPS_COMMENT)
		index++;
	conversion->next = index;
	return index < conversion->plain.count ? &conversion->plain.nodes[index] : NULL;
}

static enum err indent(struct conversion *conversion, unsigned depth)
{
	enum err err = buf_put_u8(conversion->out, '\n');

	while (!err && depth-- > 0)
		err = buf_put_u8(conversion->out, '\t');
	return err;
}

static enum err put_leaf(struct conversion *conversion, const struct sops_node *node)
{
	static const enum sops_type types[] = {
		[SOPS_STRING] = SOPS_TYPE_STRING, [SOPS_INTEGER] = SOPS_TYPE_INTEGER,
		[SOPS_FLOAT] = SOPS_TYPE_FLOAT,   [SOPS_BOOLEAN] = SOPS_TYPE_BOOLEAN,
		[SOPS_TIME] = SOPS_TYPE_STRING,
	};
	struct sops_document json = { .format = SOPS_JSON };

	if (node->kind == SOPS_NULL)
		return buf_put_string(conversion->out, "null");
	return sops_value_write(&json, node, types[node->kind], node->text, conversion->out);
}

static enum err put_node(struct conversion *conversion, size_t index, unsigned depth);

static enum err put_members(struct conversion *conversion, uint32_t container, unsigned depth,
                            size_t *ret_count)
{
	bool map = conversion->plain.nodes[container].kind == SOPS_MAP;
	const struct sops_node *node;
	enum err err = OK;

	for (*ret_count = 0; !err && (node = node_at(conversion, conversion->next)); (*ret_count)++) {
		if (node->parent != container)
			break;
		err = *ret_count ? buf_put_u8(conversion->out, ',') : OK;
		if (!err)
			err = indent(conversion, depth + 1);
		if (!err && map)
			err = sops_json_string_write(node->key, conversion->out);
		if (!err && map)
			err = buf_put_string(conversion->out, ": ");
		if (!err)
			err = put_node(conversion, conversion->next, depth + 1);
	}
	return err;
}

/* As deep as the reader lets it be: SOPS_DEPTH_MAX. */
static enum err put_node(struct conversion *conversion, size_t index, unsigned depth)
{
	const struct sops_node *node = &conversion->plain.nodes[index];
	bool map = node->kind == SOPS_MAP;
	size_t count;
	enum err err;

	conversion->next = index + 1;
	if (!map && node->kind != SOPS_LIST)
		return put_leaf(conversion, node);
	err = buf_put_u8(conversion->out, map ? '{' : '[');
	if (!err)
		err = put_members(conversion, (uint32_t)index, depth, &count);
	if (!err && count)
		err = indent(conversion, depth);
	return err ? err : buf_put_u8(conversion->out, map ? '}' : ']');
}

/* sops gives the first document. */
static enum err to_json(struct conversion *conversion)
{
	const struct sops_node *root = node_at(conversion, 0);
	enum err err =
	        root ? put_node(conversion, conversion->next, 0) : buf_put_string(conversion->out, "{}");

	return err ? err : buf_put_u8(conversion->out, '\n');
}

static enum err to_dotenv(struct conversion *conversion)
{
	struct sops_document dotenv = { .format = SOPS_DOTENV };
	enum err err = OK;

	for (size_t i = 0; !err && i < conversion->plain.count; i++) {
		const struct sops_node *node = &conversion->plain.nodes[i];

		if (node->kind == SOPS_COMMENT || node->parent == SOPS_NONE)
			continue;
		if (node->kind == SOPS_MAP || node->kind == SOPS_LIST || node->parent != 0)
			return ERR_UNSUPPORTED;
		err = buf_put(conversion->out, node->key);
		if (!err)
			err = buf_put_u8(conversion->out, '=');
		if (!err)
			err = sops_value_write(&dotenv, node,
			                       node->kind == SOPS_BOOLEAN ? SOPS_TYPE_BOOLEAN
			                                                  : SOPS_TYPE_STRING,
			                       node->text, conversion->out);
		if (!err)
			err = buf_put_u8(conversion->out, '\n');
	}
	return err;
}

static enum err to_binary(struct conversion *conversion)
{
	for (size_t i = 0; i < conversion->plain.count; i++) {
		const struct sops_node *node = &conversion->plain.nodes[i];

		if (node->parent == 0 && node->kind == SOPS_STRING &&
		    bytes_equal(node->key, bytes_of_string("data")))
			return buf_put(conversion->out, node->text);
	}
	return ERR_UNSUPPORTED;
}

/* A binary file was given as its bytes already: they are the value of data. */
static enum err from_binary(struct bytes bytes, enum sops_format output, struct buf *out)
{
	enum err err;

	if (output == SOPS_INI || output == SOPS_DOTENV)
		return ERR_UNSUPPORTED;
	err = buf_put_string(out, "{\n\t\"data\": ");
	if (!err)
		err = sops_json_string_write(bytes, out);
	return err ? err : buf_put_string(out, "\n}\n");
}

static enum err convert(struct conversion *conversion, enum sops_format output)
{
	switch (output) {
	case SOPS_JSON:
	case SOPS_YAML:
		return to_json(conversion);
	case SOPS_DOTENV:
		return to_dotenv(conversion);
	case SOPS_BINARY:
		return to_binary(conversion);
	case SOPS_INI:
		break;
	}
	return ERR_UNSUPPORTED;
}

enum err sops_convert(struct sops_document *document, struct bytes decrypted, enum sops_format output,
                      struct buf *out)
{
	struct conversion conversion = { .out = out };
	enum err err;

	if (document->format == SOPS_BINARY)
		err = from_binary(decrypted, output, out);
	else
		err = sops_document_read(&conversion.plain, document->format, decrypted);
	if (!err && document->format != SOPS_BINARY)
		err = convert(&conversion, output);
	sops_document_done(&conversion.plain);
	if (err == ERR_UNSUPPORTED)
		(void)snprintf(document->reason, sizeof(document->reason),
		               "what it holds cannot be written as the type that --output-type names");
	return err;
}

static enum err quote_values(const struct sops_document *plain, struct buf *out)
{
	size_t cursor = 0;
	enum err err = OK;

	for (size_t i = 0; !err && i < plain->count; i++) {
		const struct sops_node *node = &plain->nodes[i];

		if (node->kind != SOPS_STRING)
			continue;
		err = buf_put(out, bytes_of(plain->text.data + cursor, node->start - cursor));
		if (!err)
			err = dotenv_write(node->text, out);
		cursor = node->end;
	}
	if (!err && plain->text.len > cursor)
		err = buf_put(out, bytes_of(plain->text.data + cursor, plain->text.len - cursor));
	return err;
}

enum err sops_convert_quote(struct bytes decrypted, struct buf *out)
{
	struct sops_document plain;
	enum err err = sops_document_read(&plain, SOPS_DOTENV, decrypted);

	if (!err)
		err = quote_values(&plain, out);
	sops_document_done(&plain);
	return err;
}
