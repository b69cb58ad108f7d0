# One interface target carries every flag, so that no folder can forget one.
add_library(flags INTERFACE)
target_include_directories(flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(flags INTERFACE _GNU_SOURCE TOKEND_VERSION="${PROJECT_VERSION}")
target_compile_options(flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes
  -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough
  -fno-common -fstack-protector-strong -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(TOKEND_WERROR)
  target_compile_options(flags INTERFACE -Werror)
endif()
if(TOKEND_SANITIZE)
  target_compile_options(flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(flags INTERFACE -fsanitize=address,undefined)
endif()
if(TOKEND_FUZZ)
  target_compile_options(flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(TOKEND_COVERAGE)
  target_compile_options(flags INTERFACE -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(flags INTERFACE -fprofile-instr-generate)
endif()
if(TOKEND_HARDEN)
  target_compile_options(flags INTERFACE
    -fPIE -D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero
    -ffunction-sections -fdata-sections)
  target_link_options(flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code -Wl,--gc-sections -Wl,--as-needed)
endif()
