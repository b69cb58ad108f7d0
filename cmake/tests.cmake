# In the preset "release" nobody runs them, but for some seeded defects: who builds it to install it does not wait for them.
function(tokend_on_demand name)
  if(TOKEND_TESTS_ON_DEMAND)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endfunction()

# tokend_unit_test(NAME LIBRARIES...): tests/unit/NAME.c, a table of cmocka rows, under the label "unit".
# tokend_fuzz_target(NAME LIBRARIES...): tests/fuzz/NAME.c with LLVMFuzzerTestOneInput. Under the preset "fuzz" it is a libFuzzer
# program, with tests/fuzz/NAME_mutator.c if there is one; everywhere else it replays its committed corpus (tests/fuzz/corpus/NAME/) as a test under the label "fuzz".
function(tokend_unit_test name)
  add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/unit/${name}.c)
  target_link_libraries(${name} PRIVATE flags ${ARGN} PkgConfig::CMOCKA)
  tokend_on_demand(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME unit.${name} COMMAND ${name})
  set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 120 SKIP_RETURN_CODE 77
    ENVIRONMENT "TOKEND_SOURCE_DIR=${CMAKE_SOURCE_DIR};TSS2_LOG=all+none")
endfunction()

function(tokend_fuzz_target name)
  set(mutator ${CMAKE_SOURCE_DIR}/tests/fuzz/${name}_mutator.c)
  if(TOKEND_FUZZ)
    add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/${name}.c)
    if(EXISTS ${mutator})
      target_sources(${name} PRIVATE ${mutator})
    endif()
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/${name}.c ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
    add_test(NAME fuzz.${name} COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 300 ENVIRONMENT "TSS2_LOG=all+none")
  endif()
  target_link_libraries(${name} PRIVATE flags ${ARGN})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_dependencies(fuzz_targets ${name})
  tokend_on_demand(${name})
endfunction()

# tokend_fuzz_failing_memory(NAME): the input of that target may choose an allocation that fails (tests/fake/failing_memory.h).
function(tokend_fuzz_failing_memory name)
  target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fake/failing_memory.c)
  foreach(call malloc calloc realloc reallocarray strdup strndup)
    target_link_options(${name} PRIVATE -Wl,--wrap=${call})
  endforeach()
endfunction()
