/*
 * Age header
 *
 * The text part of an age v1 file (C2SP age.md): stanzas and the MAC line, parsed strictly and written canonically. It knows the grammar; it does
 * not know what a stanza means (recipient.h does) and touches no key but the file key that the MAC is checked with.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"
#include "common/secret.h"

#define AGE_HEADER_MAX 65536U
#define AGE_STANZAS_MAX 256U
#define AGE_ARGUMENTS_MAX 64U
#define AGE_MAC_LEN 32U
#define AGE_INTRO "age-encryption.org/v1\n"
#define AGE_INTRO_ANY "age-encryption.org/" /* of whatever version */

/* One stanza: everything borrowed from the header's text, the body decoded into the header's own memory. */
struct age_stanza {
	size_t argument_count; /* at least 1: the type */
	const struct bytes *arguments; /* the type first */
	struct bytes body; /* decoded */
};

struct age_header; /* opaque: owns a copy of the text and what was decoded from it */

/* Parses the header at the start of text. ERR_AGAIN when text ends before the header does (at most AGE_HEADER_MAX bytes are ever needed);
 * ERR_BAD_FILE for everything that age refuses. ret_len: the header's length, where the payload begins. */
MUST_CHECK enum err age_header_parse(struct bytes text, struct age_header **ret_header, size_t *ret_len);
struct age_header *age_header_free(struct age_header *header);
DEFINE_CLEANUP(struct age_header *, age_header_free);

size_t age_header_stanza_count(const struct age_header *header);
const struct age_stanza *age_header_stanza(const struct age_header *header, size_t index);
bool age_stanza_is(const struct age_stanza *stanza, const char *type);
/* Is one of the stanzas for a passphrase? */
bool age_header_has_passphrase(const struct age_header *header);

/* Checks the MAC with the file key. ERR_BAD_CIPHERTEXT. */
MUST_CHECK enum err age_header_verify(const struct age_header *header, const struct secret *file_key);

/* One stanza as text: "-> type args\nbody\n". Also the wire form of the plugin protocol's commands. Errors of buf_put. */
MUST_CHECK enum err age_stanza_put(struct buf *buf, const struct bytes *arguments, size_t argument_count,
                                   struct bytes body);

/* Begins a header: the intro line. Stanzas follow by age_stanza_put, then age_header_finish appends the MAC line. */
MUST_CHECK enum err age_header_begin(struct buf *buf);
MUST_CHECK enum err age_header_finish(struct buf *buf, const struct secret *file_key);
