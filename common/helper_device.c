#include "common/helper_device.h"

#include "common/clock.h"
#include "common/log.h"

void helper_device_unload(struct helper *helper, struct helper_key *key)
{
	if (key->device)
		helper->ops->unload(helper->token, key->device);
	key->device = NULL;
}

static void unload_visit(struct helper_key *key, void *context)
{
	helper_device_unload(context, key);
}

static void lock_visit(struct helper_key *key, void *context)
{
	(void)context;
	helper_key_lock(key);
}

static int64_t seconds_now(void)
{
	return (int64_t)(clock_microseconds() / 1000000);
}

/* What was on the device is gone, or is to be: nothing of it may be used again. It may have been reset, and opening it again takes commands, while which questions come: until its count was read no key is
 * taken for open. */
static void device_lost(struct helper *helper)
{
	helper->reset_doubted = true;
	helper_keys_each(helper->keys, unload_visit, helper);
	helper->reset_checked = false;
	if (!helper->token || helper->ops->reopen(helper->token) == OK)
		return;
	helper->ops->close(helper->token);
	helper->token = NULL;
}

/* A reset device asks for its PINs again, and what it unsealed before is no longer authorised by its state now. */
static enum err reset_check(struct helper *helper)
{
	uint32_t count = 0;
	enum err err;

	helper->reset_doubted = true;
	err = helper->ops->reset_count(helper->token, &count);
	if (err) /* the doubt stays */
		return err;
	helper->reset_check_time = seconds_now();
	if (helper->reset_count_known && count != helper->reset_count) {
		log_warning("the device was reset: what it had opened is closed again");
		helper_keys_each(helper->keys, lock_visit, NULL);
	}
	helper->reset_count = count;
	helper->reset_count_known = true;
	helper->reset_checked = true;
	helper->reset_doubted = false;
	return OK;
}

static enum err device_ready(struct helper *helper)
{
	enum err err = OK;

	if (!helper->token) {
		helper->reset_checked = false;
		err = helper->ops->open(helper->uri, &helper->token);
		if (!err && helper->ops->remember && helper->notes)
			helper->ops->remember(helper->token, helper->notes);
		if (!err && helper->ops->meanwhile)
			helper->ops->meanwhile(helper->token, &helper->meanwhile);
	}
	if (!err && !helper->reset_checked)
		err = reset_check(helper);
	return err;
}

enum err helper_device_do(struct helper *helper, helper_action action, void *context)
{
	enum err err = ERR_NO_TOKEN;

	/* The device may take its time; answers that are ready need not. A failure is kept, and ends the conversation after this answer. */
	(void)!helper_answers_send(&helper->answers);
	for (int attempt = 0; attempt < 2 && err == ERR_NO_TOKEN; attempt++) {
		err = device_ready(helper);
		if (!err)
			err = action(helper, context);
		if (err == ERR_NO_TOKEN)
			device_lost(helper);
	}
	return err;
}

bool helper_device_watch_due(const struct helper *helper)
{
	return seconds_now() - helper->reset_check_time >= HELPER_RESET_CHECK_SECONDS &&
	       helper_keys_open(helper->keys);
}

void helper_device_watch(struct helper *helper)
{
	uint32_t before = helper->reset_count;
	enum err err;

	/* One that was lost, and could not be opened again then, may be back, and have been reset. */
	err = helper->token ? reset_check(helper) : device_ready(helper);
	if (err == ERR_NO_TOKEN || helper->reset_count != before)
		device_lost(helper);
	/* An absent device is asked again in as many seconds, not after every answer. */
	helper->reset_check_time = seconds_now();
}

void helper_device_close(struct helper *helper)
{
	if (!helper->token)
		return;
	helper_keys_each(helper->keys, unload_visit, helper);
	helper->ops->close(helper->token);
	helper->token = NULL;
}
