#include "common/give_back.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Only whole pages, and only of segments that nobody may write to: in those that were writable once (relocated constants) stand pages that no file has. */
static void give_back_segment(const struct dl_phdr_info *object, const ElfW(Phdr) * segment)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (object->dlpi_addr + segment->p_vaddr + page - 1) & ~(page - 1);
	uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_filesz) & ~(page - 1);

	if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) || end <= start)
		return;
	/* Where all memory is locked: it is against secrets on disk, and these pages are from there. */
	(void)munlock((void *)start, end - start);
	(void)madvise((void *)start, end - start, MADV_DONTNEED);
}

static int give_back_object(struct dl_phdr_info *object, size_t size, void *context)
{
	(void)size;
	(void)context;
	for (size_t i = 0; i < object->dlpi_phnum; i++)
		give_back_segment(object, &object->dlpi_phdr[i]);
	return 0;
}

void give_back_text(void)
{
	(void)dl_iterate_phdr(give_back_object, NULL);
}
