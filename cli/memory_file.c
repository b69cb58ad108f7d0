#include "cli/memory_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/file.h"

#define FIRST_NUMBER 63 /* as bash does for what it hands over */

enum err memory_file_new(int *ret_fd)
{
	CLEANUP(close_fdp) int low = memfd_create("tokenctl", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int fd;

	if (low < 0 || fchmod(low, 0600) < 0)
		return ERR_SYSTEM;
	fd = fcntl(low, F_DUPFD, FIRST_NUMBER);
	if (fd < 0)
		return ERR_SYSTEM;
	*ret_fd = fd;
	return OK;
}

enum err memory_file_write(void *context, struct bytes chunk)
{
	const int *fd = context;

	return file_write_all(*fd, chunk);
}

enum err memory_file_of(struct bytes text, int *ret_fd)
{
	enum err err = memory_file_new(ret_fd);

	return err ? err : memory_file_write(ret_fd, text);
}

enum err memory_file_seal(int fd)
{
	const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

	return lseek(fd, 0, SEEK_SET) < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0 ? ERR_SYSTEM : OK;
}

void memory_file_path(int fd, char path[static MEMORY_FILE_PATH_MAX])
{
	(void)snprintf(path, MEMORY_FILE_PATH_MAX, "/proc/self/fd/%d", fd);
}
