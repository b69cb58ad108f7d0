/*
 * Output
 *
 * Where the bytes of encrypt and decrypt go. A file appears under its name only when output_commit says that everything is there and verified; until then it has no name
 * (O_TMPFILE; a hidden temporary name where the file system has none), so that whatever fails leaves the old file, or no file. Standard output, a pipe or a device gets
 * the bytes as they come. A terminal gets text only, unless "-" asked for it by name. What somebody else has laid out in a directory where anybody can put things (/tmp) gets nothing: a file is
 * replaced by one of ours, a link or a pipe is refused. For plain texts that holds where a group can put things, too; other files are shared there, and stay whose they are. On the way to any of them a link of somebody else's, where he can put one, is followed to a
 * directory of his, and to no other.
 */
#pragma once

#include <sys/stat.h>

#include "cli/problem.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"

struct output;

/* path NULL: standard output. "-": standard output, by name. mode: of a file that is new (less the umask); one that is replaced keeps its own. input: the open input, which
 * must not be the same file. ERR_FILE_ACCESS, ERR_NO_FILE, ERR_DISK_FULL, ERR_USAGE, ERR_SYSTEM. */
MUST_CHECK enum err output_open(const char *path, mode_t mode, int input, struct problem *problem,
                                struct output **ret_output);

/* The same for a plain text, with the mode 0600. Where a group may put things others lie in wait as well: there, too, somebody else's file is replaced by one of ours, with a warning, and his link or pipe is refused. Where
 * others can give a file of ours this name (their directory, or one that they may write) its mode says nothing of who is meant to read: what others could read is ours alone then, with a warning. */
MUST_CHECK enum err output_open_plain(const char *path, int input, struct problem *problem,
                                      struct output **ret_output);

/* A file called name inside an open directory, with the mode 0600 whatever was there; what was there, if it is no directory, is replaced and never written through. shown: its path, for
 * messages. Errors as above. */
MUST_CHECK enum err output_open_at(int directory, const char *name, const char *shown,
                                   struct problem *problem, struct output **ret_output);

/* A file that is there in an open directory is to be changed: the new one has its mode and owner as in output_open. What has become a link or anything else is refused, and never followed. shown: its
 * path, for messages. Errors as above. */
MUST_CHECK enum err output_open_change(int directory, const char *name, const char *shown,
                                       struct problem *problem, struct output **ret_output);

/* Opens the directory in which such files are to be. A link to it is followed, unless it is somebody else's where others can put one: he would choose what is written over. ERR_FILE_ACCESS, ERR_USAGE, and
 * as above. */
MUST_CHECK enum err output_open_directory(const char *path, struct problem *problem, int *ret_directory);

/* Opens the directory in which a file is that is to be changed there. Links on the way to it are followed, but somebody else's, where he can put one, only to a directory of his. Errors as above. */
MUST_CHECK enum err output_open_directory_of(const char *path, struct problem *problem, int *ret_directory);

/* Drops what was not committed. Returns NULL. */
struct output *output_free(struct output *output);
DEFINE_CLEANUP(struct output *, output_free);

/* Is it a terminal that did not ask for binary data? */
bool output_is_careful(const struct output *output);

/* Takes more bytes; of the type age_stream_sink, output being the context. ERR_USAGE when binary data would reach a terminal. */
MUST_CHECK enum err output_write(void *output, struct bytes chunk);

/* For what is only to be verified: takes bytes and throws them away; of the type age_stream_sink, context is not looked at. */
MUST_CHECK enum err output_discard(void *context, struct bytes chunk);

/* Everything is there: the file gets its name. */
MUST_CHECK enum err output_commit(struct output *output);
