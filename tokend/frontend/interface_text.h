/* tokend/io.tokend.varlink, as it is served; made at build time (cmake/interface_text.cmake). */
#pragma once

extern const char interface_text[];
