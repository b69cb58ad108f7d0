/*
 * Age file
 *
 * A whole age file, both ways, as a stream: armor or not, header, payload. Pushed in pieces of any size and never seeking, it keeps constant memory at
 * any file size. Who opens the file key is the caller's business: it gives a function that is handed the parsed header once.
 */
#pragma once

#include "formats/age_header.h"
#include "formats/age_stream.h"
#include "formats/recipient.h"

/* Does text, the whole of it or enough, begin as an age file of whatever version does, armored or not? */
bool age_file_looks_like(struct bytes text);

/* Finds the file key for the header; called once, before any payload is read. The MAC is checked by the reader afterwards. */
typedef enum err (*age_open_file_key)(void *context, const struct age_header *header,
                                      struct secret **ret_file_key);

struct age_reader;

MUST_CHECK enum err age_reader_new(age_open_file_key open, void *open_context, age_stream_sink sink,
                                   void *sink_context, struct age_reader **ret_reader);
struct age_reader *age_reader_free(struct age_reader *reader);
DEFINE_CLEANUP(struct age_reader *, age_reader_free);

/* Errors: ERR_BAD_FILE (header or armor), ERR_BAD_CIPHERTEXT (MAC or payload), those of open and sink. */
MUST_CHECK enum err age_reader_push(struct age_reader *reader, struct bytes input);

/* The same without a copy: where the next bytes of the file may be read to (at least one), and then how many were. */
uint8_t *age_reader_space(struct age_reader *reader, size_t *ret_len);
MUST_CHECK enum err age_reader_commit(struct age_reader *reader, size_t len);

MUST_CHECK enum err age_reader_finish(struct age_reader *reader); /* also ERR_TRUNCATED */

struct age_writer;

/* Makes a file key, wraps it to every recipient (1 to 256; a passphrase must be alone: ERR_USAGE) and writes the header. */
MUST_CHECK enum err age_writer_new(const struct recipient *recipients, size_t recipient_count, bool armored,
                                   age_stream_sink sink, void *sink_context, struct age_writer **ret_writer);
struct age_writer *age_writer_free(struct age_writer *writer);
DEFINE_CLEANUP(struct age_writer *, age_writer_free);
MUST_CHECK enum err age_writer_push(struct age_writer *writer, struct bytes input);
uint8_t *age_writer_space(struct age_writer *writer, size_t *ret_len);
MUST_CHECK enum err age_writer_commit(struct age_writer *writer, size_t len);
MUST_CHECK enum err age_writer_finish(struct age_writer *writer);
