/*
 * Editor
 *
 * The editor of whoever calls, at work on one file, and the signals meanwhile: those of the keyboard are the editor's, and what tells us to end (a terminal that is closed, the end of a session) is passed on to it, and
 * noted, so that whoever started it can take care of what was typed. It does not know what is in the file.
 */
#pragma once

#include "cli/problem.h"
#include "common/err.h"

/* From now on signals that end a program are noted only, until this one has ended: what is to be said then is said although more of them come. */
void editor_signals_take(void);

/* The signal that came last since they were taken; 0: none. */
int editor_signal(void);

/* Opens file and waits for the end of the editor; once a signal was noted, not much longer. ERR_SYSTEM with a sentence when the editor cannot be started or fails. edited: what the person calls the file, for what is
 * to be typed next. */
MUST_CHECK enum err editor_run(const char *file, const char *edited, struct problem *problem);
