/* The front-ends there are, by name; frontends[] in frontend.h is what everybody else uses. */
#pragma once

#include "tokend/frontend.h"

extern const struct frontend control_frontend; /* Varlink, for tokenctl and age-plugin-tokend */
extern const struct frontend sops_frontend; /* gRPC, for sops --keyservice */
