/*
 * Helper second
 *
 * A second thread, for the one thing that there is enough of to be worth it: unwrapping with sealed keys that are open, 40 us of arithmetic each, while the broker has the next question ready
 * already. It helps while the first thread has such a question in hand itself, and at no other time; it answers nothing that changes anything (helper_only_reads), and sends its answers by itself.
 *
 * Between these questions there is one thread: before the first one closes or takes in a key, asks the device or looks after it, it lets the second finish (helper_second_rest). So keys, device
 * and everything else here have no lock. Questions keep their order: the first thread takes one only while the second must not, and the second puts back
 * what is not of this kind, and takes no more.
 *
 * It is started when the first time two such questions are there at once, and where this process has two processors; if that fails, one thread answers all of them, later.
 */
#pragma once

#include "common/helper_device.h"

struct helper_second;

/* The first thread has a question in hand that only reads: if there is another, the second may take it, and those behind it. */
void helper_second_help(struct helper *helper);

/* It takes none from now on, so that the first thread may. What it has in hand it finishes. */
void helper_second_stop(struct helper *helper);

/* The same, and it has finished, and its answers have left. */
void helper_second_rest(struct helper *helper);

/* Ends it. What ended it earlier, if anything did: then the conversation cannot go on either. */
MUST_CHECK enum err helper_second_end(struct helper *helper);
