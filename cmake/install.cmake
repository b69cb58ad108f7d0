# What `cmake --install` puts in place besides the programs that their own folders install: the daemon, man pages, and all that packaging/ knows.
install(TARGETS tokend DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES docs/man/tokenctl.1 docs/man/age-plugin-tokend.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES docs/man/tokend.conf.5 docs/man/tokend-policy.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES docs/man/tokend.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES tokend/io.tokend.varlink DESTINATION ${CMAKE_INSTALL_DATADIR}/tokend)
add_subdirectory(packaging)
