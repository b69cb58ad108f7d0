# tokend_script_test(TIER NAME [LABEL...]): the shell program NAME.sh of the calling folder, one behaviour each, as test TIER.NAME.
# It runs the programs of the build it is registered in, sources tests/lab/lab.sh, and ends with 77 and "SKIP: reason" where it cannot run.
function(tokend_script_test tier name)
  add_test(NAME ${tier}.${name} COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/${name}.sh)
  set_tests_properties(${tier}.${name} PROPERTIES LABELS "${tier};${ARGN}" TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "TOKEND_SOURCE_DIR=${CMAKE_SOURCE_DIR};TOKEND_BIN_DIR=${CMAKE_BINARY_DIR}/bin;TOKEND_PEERS_DIR=${CMAKE_SOURCE_DIR}/build/peers")
endfunction()
