/*
 * Terminal
 *
 * Asks a person. Always on /dev/tty, never on stdin, so that data can be piped through at the same time; without a controlling terminal nothing is ever asked. Echo is off
 * while a secret is typed and comes back whatever happens: a signal that arrives meanwhile is delivered after the terminal was put back. Of several processes that ask on the same terminal
 * one asks at a time, so that none turns echo on while another's secret is typed.
 */
#pragma once

#include <stdbool.h>

#include "common/err.h"
#include "common/secret.h"

#define TERMINAL_SECRET_MAX 1024U

/* Is there anybody to ask? */
bool terminal_available(void);

/* Asks for one line without echo. prompt is printed as it is. ERR_PIN_NEEDED when there is no terminal, or the line was empty or ended before it began;
 * ERR_USAGE when it is longer than TERMINAL_SECRET_MAX. */
MUST_CHECK enum err terminal_read_secret(const char *prompt, struct secret **ret_secret);

/* Asks twice; ERR_USAGE when the two differ. */
MUST_CHECK enum err terminal_read_secret_twice(const char *prompt, const char *prompt_again,
                                               struct secret **ret_secret);

/* May we use colours on this descriptor? It is a terminal, TERM is not dumb and NO_COLOR is not set. */
bool terminal_colours(int fd);
