#include "cli/pin.h"

#include <stdio.h>

#include "cli/identity_file.h"
#include "cli/terminal.h"
#include "common/key.h"

static enum err ask(const char *key_name, bool fresh, struct problem *problem, struct secret **ret_pin)
{
	char prompt[KEY_NAME_MAX + 64];
	enum err err;

	if (!terminal_available()) {
		(void)problem_set(problem, ERR_PIN_NEEDED,
		                  "a PIN is needed and there is no terminal to ask on");
		problem_hint(problem, "--pin-file FILE takes it from the first line of a file or a pipe");
		return ERR_PIN_NEEDED;
	}
	(void)snprintf(prompt, sizeof(prompt), "%s %s: ", fresh ? "New PIN for the key" : "PIN of the key",
	               key_name);
	err = fresh ? terminal_read_secret_twice(prompt, "The same again: ", ret_pin)
	            : terminal_read_secret(prompt, ret_pin);
	if (err == ERR_USAGE) {
		(void)problem_set(problem, err, "the two PINs differ");
		problem_hint(problem, "the same command asks again");
		return err;
	}
	return err ? problem_set(problem, err, "no PIN was given") : OK;
}

enum err pin_read(const char *path, const char *key_name, bool fresh, struct problem *problem,
                  struct secret **ret_pin)
{
	CLEANUP(secret_freep) struct secret *pin = NULL;
	enum err err = path ? secret_read_file(path, problem, &pin) : ask(key_name, fresh, problem, &pin);

	if (err)
		return err;
	if (secret_len(pin) < PIN_MIN || secret_len(pin) > PIN_MAX)
		return problem_set(problem, ERR_USAGE, "a PIN is %u to %u bytes long", PIN_MIN, PIN_MAX);
	*ret_pin = TAKE(pin);
	return OK;
}
