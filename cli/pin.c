#include "cli/pin.h"

#include <stdio.h>

#include "cli/identity_file.h"
#include "cli/terminal.h"
#include "common/key.h"

static enum err check_length(const struct secret *pin, struct problem *problem)
{
	if (pin && secret_len(pin) >= PIN_MIN && secret_len(pin) <= PIN_MAX)
		return OK;
	return problem_set(problem, ERR_USAGE, "a PIN is %u to %u bytes long", PIN_MIN, PIN_MAX);
}

/* One that cannot be a PIN is refused before anybody types it again. */
static enum err ask_once(const char *prompt, struct problem *problem, struct secret **ret_pin)
{
	enum err err = terminal_read_secret(prompt, ret_pin);

	if (err && err != ERR_USAGE) /* which is a line that is longer still */
		return problem_set(problem, err, "no PIN was given");
	return check_length(*ret_pin, problem);
}

static enum err ask_again(const struct secret *pin, struct problem *problem)
{
	CLEANUP(secret_freep) struct secret *second = NULL;
	enum err err = terminal_read_secret("The same again: ", &second);

	if (err && err != ERR_USAGE)
		return problem_set(problem, err, "no PIN was given");
	if (second && secret_equal(pin, second))
		return OK;
	(void)problem_set(problem, ERR_USAGE, "the two PINs differ");
	problem_hint(problem, "the same command asks again");
	return ERR_USAGE;
}

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
	err = ask_once(prompt, problem, ret_pin);
	return err || !fresh ? err : ask_again(*ret_pin, problem);
}

enum err pin_read(const char *path, const char *key_name, bool fresh, struct problem *problem,
                  struct secret **ret_pin)
{
	CLEANUP(secret_freep) struct secret *pin = NULL;
	enum err err = path ? secret_read_file(path, problem, &pin) : ask(key_name, fresh, problem, &pin);

	if (!err && path)
		err = check_length(pin, problem);
	if (err)
		return err;
	*ret_pin = TAKE(pin);
	return OK;
}
