/*
 * Bus
 *
 * Waits for the device's answer in a thread of its own, so that the helper can look after something else meanwhile. A thread, because some drivers know no other way of waiting than to block: the
 * kernel's TPM device holds a lock for as long as a command runs, also against poll(2) (drivers/char/tpm/tpm-dev-common.c), and the TCTI for swtpm has nothing to poll (tpm2-tss 3.2.1). What
 * the thread touches is the TCTI and one buffer, both while the helper keeps away from them; it knows no key, no ESYS and no session, and what passes through it are the bytes of the wire.
 */
#pragma once

#include <tss2/tss2_tcti.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/token.h"

struct bus;

/* Starts the thread. inner and meanwhile are borrowed for as long as the bus is there. ERR_NOMEM, ERR_SYSTEM. */
MUST_CHECK enum err bus_new(TSS2_TCTI_CONTEXT *inner, const struct token_meanwhile *meanwhile,
                            struct bus **ret_bus);

/* Ends the thread, which is never in the middle of anything then. NULL is fine. Returns NULL. */
struct bus *bus_free(struct bus *bus);
DEFINE_CLEANUP(struct bus *, bus_free);

/* Tss2_Tcti_Receive without an end: as the command before was sent, into data, which has room for *len bytes; meanwhile is looked after until there is an answer. */
TSS2_RC bus_receive(struct bus *bus, size_t *len, uint8_t *data);
