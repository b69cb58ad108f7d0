/* The names of systemd units, as far as a process can be in one. */
#pragma once

#include "common/bytes.h"

#define UNIT_NAME_MAX 256U /* with a NUL */

/* In the place of the name of one that cannot be known. Not the name of any. */
#define UNIT_UNKNOWN "?"

/* systemd.unit(5): NAME.TYPE of [A-Za-z0-9:_.\@-], where TYPE is one that has processes (service, scope, socket, mount, swap). */
bool unit_name_valid(struct bytes name);

/* The same for a slice, which has none of its own. */
bool unit_name_is_slice(struct bytes name);
