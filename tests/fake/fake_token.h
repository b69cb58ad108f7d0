/*
 * Fake token
 *
 * A token in software, for tests of what stands above struct token_ops. It keeps PINs, counts tries and commands, can be reset, be absent, lose what
 * it had loaded, or fail an operation, as its struct fake_device says. That lies in memory shared with the test, so that it can be turned while a
 * helper in another process uses it. Its blobs protect nothing.
 */
#pragma once

#include "common/token.h"

struct fake_device {
	bool absent;
	bool lose_once; /* the next use of a key finds that the device forgot everything */
	enum err fail; /* the next use of a key fails so */
	uint32_t reset_count;
	uint32_t pin_failures;
	uint32_t pin_allowed;
	bool tries_unsaid; /* its status does not say how many tries are left */
	uint32_t opened; /* how often it was opened, or opened again */
	uint32_t closed;
	uint32_t loaded; /* keys on it now */
	uint32_t commands; /* uses of keys */
	uint32_t resets_asked;
	unsigned busy_ms; /* it is at work until nobody has wanted anything of the helper for so long */
	unsigned reopen_ms; /* the same, when it is opened again */
};

extern const struct token_ops fake_token_ops;

/* The device, in shared memory; made at the first call, which must come before the helper is started. */
struct fake_device *fake_device(void);
