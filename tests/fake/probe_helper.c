/* The double of tokend-tpm: before each question it looks whether it is its turn. */
#include <sys/socket.h>
#include <sys/types.h>

#include "tests/fake/probe.h"

ssize_t __wrap_recv(int fd, void *buffer, size_t len, int flags);
ssize_t __real_recv(int fd, void *buffer, size_t len, int flags);

ssize_t __wrap_recv(int fd, void *buffer, size_t len, int flags)
{
	ssize_t got = __real_recv(fd, buffer, len, flags);

	probe_if_asked();
	return got;
}
