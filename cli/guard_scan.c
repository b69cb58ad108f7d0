#include "cli/guard_scan.h"

#include "common/buf.h"
#include "formats/bech32.h"
#include "formats/text.h"

#define AGE_PREFIX "AGE-SECRET-KEY-" /* "1" follows, or "PQ-1" */
#define AGE_DATA_MIN 58U /* letters: 32 bytes and the checksum */
#define PEM_PREFIX "-----BEGIN "
#define PEM_END "-----"
#define PEM_HEADER_MAX 600U /* "Proc-Type" and "DEK-Info" of an old encrypted key */
#define PEM_COMMENTS_MAX 4096U /* bytes before the body; with more it is named, and not looked through */
#define PEM_BODY_MIN 40U /* characters of base64; the shortest key has more */

static struct bytes behind(struct bytes text, size_t start)
{
	return start < text.len ? bytes_of(text.data + start, text.len - start) : bytes_of(NULL, 0);
}

static bool is_data_letter(uint8_t c)
{
	return c && memchr("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", c, 32);
}

/* Up to where a key may go; it holds no hyphen, so that what only begins as one again and again is looked at once. 0: it is none. */
static size_t age_key_len(struct bytes rest)
{
	size_t len = strlen(AGE_PREFIX), data;

	len += bytes_begin_with(behind(rest, len), "PQ-") ? strlen("PQ-") : 0;
	if (len >= rest.len || rest.data[len] != '1')
		return 0;
	data = ++len;
	while (len < rest.len && len < BECH32_TEXT_MAX && is_data_letter(rest.data[len]))
		len++;
	return len - data >= AGE_DATA_MIN ? len : 0;
}

static enum err is_age_key(struct bytes rest, bool *ret_yes)
{
	CLEANUP(buf_freep) struct buf *data = NULL;
	struct bytes prefix;
	size_t len = age_key_len(rest);
	enum err err;

	*ret_yes = false;
	if (len == 0)
		return OK;
	err = buf_new_locked(BECH32_TEXT_MAX, &data);
	if (err)
		return err;
	*ret_yes = bech32_decode(bytes_of(rest.data, len), &prefix, data) == OK && buf_len(data) >= 32;
	return OK;
}

/* Passes over white space, quotes, and line ends that are written as \n, as in JSON. */
static size_t pass_filler(struct bytes text, size_t at)
{
	while (at < text.len) {
		bool pair = text.data[at] == '\\' && at + 1 < text.len &&
		            (text.data[at + 1] == 'n' || text.data[at + 1] == 'r');

		if (!pair && !is_white_space(text.data[at]) && !memchr("\"'`+>|\\", text.data[at], 7))
			break;
		at += pair ? 2 : 1;
	}
	return at;
}

static size_t base64_len(struct bytes text)
{
	size_t len = 0;

	while (len < text.len &&
	       ((text.data[len] >= 'A' && text.data[len] <= 'Z') ||
	        (text.data[len] >= 'a' && text.data[len] <= 'z') ||
	        (text.data[len] >= '0' && text.data[len] <= '9') || memchr("+/=", text.data[len], 3)))
		len++;
	return len;
}

/* The text behind the heading: an OpenSSH key says itself whether it has a passphrase ("openssh-key-v1", and the cipher "none"), an old key says so in a header. */
static bool has_clear_body(struct bytes body, bool openssh)
{
	static const char no_cipher[] = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
	struct bytes head = bytes_of(body.data, body.len < PEM_HEADER_MAX ? body.len : PEM_HEADER_MAX);
	size_t at = pass_filler(body, 0);
	struct bytes rest = behind(body, at);

	if (openssh)
		return bytes_begin_with(rest, no_cipher);
	if (bytes_begin_with(rest, "Proc-Type:") && memmem(head.data, head.len, "ENCRYPTED", 9))
		return false;
	/* A PGP key may have a header and an empty line first. */
	while (bytes_begin_with(rest, "Version:") || bytes_begin_with(rest, "Comment:")) {
		size_t len = rest.len < PEM_COMMENTS_MAX ? rest.len : PEM_COMMENTS_MAX;
		const uint8_t *end = memchr(rest.data, '\n', len);

		if (at > PEM_COMMENTS_MAX || (!end && len < rest.len))
			return true;
		if (!end)
			return false;
		at = pass_filler(body, (size_t)(end - body.data));
		rest = behind(body, at);
	}
	return base64_len(rest) >= PEM_BODY_MIN;
}

static const char *pem_key(struct bytes rest)
{
	static const struct {
		const char *label;
		const char *what;
		bool openssh;
	} kinds[] = { { "PRIVATE KEY", "a private key", false },
		      { "RSA PRIVATE KEY", "an RSA private key", false },
		      { "EC PRIVATE KEY", "an EC private key", false },
		      { "DSA PRIVATE KEY", "a DSA private key", false },
		      { "OPENSSH PRIVATE KEY", "an OpenSSH private key without a passphrase", true },
		      { "PGP PRIVATE KEY BLOCK", "a PGP private key", false } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].label);

		if (bytes_begin_with(rest, kinds[i].label) && bytes_begin_with(behind(rest, len), PEM_END) &&
		    has_clear_body(behind(rest, len + strlen(PEM_END)), kinds[i].openssh))
			return kinds[i].what;
	}
	return NULL;
}

static size_t find(struct bytes text, size_t from, const char *word)
{
	struct bytes rest = behind(text, from);
	const uint8_t *found = rest.len ? memmem(rest.data, rest.len, word, strlen(word)) : NULL;

	return found ? (size_t)(found - text.data) : SIZE_MAX;
}

/* Where the next of two words begins, and which; SIZE_MAX: neither. */
static size_t find_prefix(struct bytes text, struct guard_cursor *cursor, bool *ret_age)
{
	if (!cursor->searched || cursor->age < cursor->at)
		cursor->age = find(text, cursor->at, AGE_PREFIX);
	if (!cursor->searched || cursor->pem < cursor->at)
		cursor->pem = find(text, cursor->at, PEM_PREFIX);
	cursor->searched = true;
	*ret_age = cursor->age < cursor->pem;
	return *ret_age ? cursor->age : cursor->pem;
}

bool guard_scan_next(struct bytes text, struct guard_cursor *cursor, struct guard_key *ret_key,
                     enum err *ret_err)
{
	bool age, found = false;

	*ret_err = OK;
	while (!found && !*ret_err) {
		size_t start = find_prefix(text, cursor, &age);

		if (start == SIZE_MAX)
			return false;
		*ret_key = (struct guard_key){ start, "an age private key" };
		cursor->at = start + strlen(age ? AGE_PREFIX : PEM_PREFIX);
		if (age) {
			*ret_err = is_age_key(behind(text, start), &found);
			continue;
		}
		ret_key->what = pem_key(behind(text, cursor->at));
		found = ret_key->what != NULL;
	}
	return found;
}
