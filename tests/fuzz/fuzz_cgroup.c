/* /proc/PID/cgroup, whose paths others name: what is taken for a unit is a unit's name and stands in the text. */
#include <stdlib.h>
#include <string.h>

#include "tokend/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char unit[UNIT_NAME_MAX];

	peer_unit_from_cgroup(bytes_of(data, len), unit);
	if (strcmp(unit, UNIT_UNKNOWN) == 0)
		return 0;
	if (unit[0] && (!unit_name_valid(bytes_of_string(unit)) || !memmem(data, len, unit, strlen(unit))))
		abort();
	return 0;
}
