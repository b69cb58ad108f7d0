/*
 * A heap that wipes what is given back
 *
 * What a TPM unseals passes through memory that is not ours: ESYS copies what it is to send, decrypts what it got, and frees both as they are, and so
 * do the libraries under it. A struct secret cannot help there. So in this program free() wipes first: it costs some nanoseconds for each block, and
 * no key outlives the call that used it in memory that somebody else allocated. A program's own symbols come before those of its libraries, so theirs
 * are wiped as well. realloc() is here because the C library's own would move a block without wiping where it stood.
 *
 * Not built with the sanitizers, which have an allocator of their own.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

extern void __libc_free(void *block);

void free(void *block)
{
	int saved = errno;

	if (!block)
		return;
	explicit_bzero(block, malloc_usable_size(block));
	__libc_free(block);
	errno = saved;
}

void *realloc(void *block, size_t len)
{
	size_t held = block ? malloc_usable_size(block) : 0;
	void *moved;

	if (block && len == 0) {
		free(block);
		return NULL;
	}
	if (block && len <= held && len > held / 2)
		return block;
	moved = malloc(len);
	if (!moved || !block)
		return moved;
	memcpy(moved, block, len < held ? len : held);
	free(block);
	return moved;
}
