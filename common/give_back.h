/*
 * Give back
 *
 * A process that starts reads much that it never needs again: the dynamic loader's tables, constructors, how a library finds its algorithms. Those pages stay with it for as long as it lives. They
 * are program text and constants, the same as in the files, so the system may have them back and reads them again if they are needed after all.
 */
#pragma once

/* Gives back all read-only pages of the program and of its libraries. Those that are needed come back by themselves, which costs a microsecond for each sixteen. */
void give_back_text(void);
