/*
 * Control
 *
 * The client's side of tokend's control socket: one Varlink call, one answer, with a deadline. Varlink is JSON objects each ended by a NUL byte
 * (docs/PROTOCOL.md; tokend/io.tokend.varlink is the interface). It knows the wire and the errors; what the calls mean is the caller's business.
 * JSON text that may hold a file key lives in buffers that wipe themselves, and jansson allocates from memory that is wiped when freed.
 */
#pragma once

#include <jansson.h> /* has json_decrefp for CLEANUP */
#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"

#define CONTROL_MESSAGE_MAX (256U << 10)
#define CONTROL_SOCKET_NAME "control.sock"
#define CONTROL_PATIENCE_MS 3000

struct control;

/* Where the sockets are: $TOKEND_RUNTIME_DIR; else $XDG_RUNTIME_DIR/tokend when a daemon's socket is there and we are not root; else /run/tokend. The path of the control
 * socket is written to path. Never fails: a path without a daemon is found out by control_connect. */
void control_path(char *path, size_t path_len);

/* The directory part of the same. */
void control_runtime_directory(char *path, size_t path_len);

/* Connects; refuses a daemon that neither root nor this user runs, and says in stranger who does, which is left alone otherwise. ERR_NO_DAEMON, ERR_DENIED (the
 * socket's permissions, or a stranger), ERR_BUSY when nobody took it in 5 seconds, ERR_SYSTEM, ERR_NOMEM. */
MUST_CHECK enum err control_connect(struct control **ret_control, uid_t *stranger);
struct control *control_free(struct control *control);
DEFINE_CLEANUP(struct control *, control_free);

/* Did a call fail half-way? Then no answer can be told from a late one any more, and whoever goes on connects again. */
bool control_has_ended(const struct control *control);

/* Calls io.tokend.<method> with parameters (stolen; NULL: none) and waits at most deadline_ms. ret_reply: the answer's parameters, a new reference; it is given
 * for errors as well, when the daemon sent any (e.g. {"key": "host", "hint": "..."}); NULL otherwise. */
MUST_CHECK enum err control_call(struct control *control, const char *method, json_t *parameters,
                                 int deadline_ms, json_t **ret_reply);

/* From now on says is called, once in a call, when there is no answer after CONTROL_PATIENCE_MS: whoever waits is to know for what. */
void control_say_waiting(struct control *control, void (*says)(void));

/* Makes jansson wipe what it frees; once, before the first JSON value. */
void json_wiping_init(void);

/* Reads text, whole, without members of the same name. A new reference. ERR_BAD_MESSAGE, ERR_NOMEM. */
MUST_CHECK enum err json_read(struct bytes text, json_t **ret_value);

/* Borrowed members of an object: NULL, 0 or fallback when missing or of another type. */
const char *json_string_member(const json_t *object, const char *name);
json_int_t json_integer_member(const json_t *object, const char *name, json_int_t fallback);
bool json_boolean_member(const json_t *object, const char *name);
