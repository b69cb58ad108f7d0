#include "tokend/frontend/table.h"

const struct frontend *const frontends[] = { &control_frontend, &sops_frontend, NULL };
