#include "common/thread.h"

#include <signal.h>

enum err thread_start(size_t stack_len, void *(*run)(void *context), void *context, pthread_t *ret_thread)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int error;

	if (pthread_attr_init(&attributes) != 0)
		return ERR_NOMEM;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_attr_setstacksize(&attributes, stack_len);
	if (error == 0)
		error = pthread_create(ret_thread, &attributes, run, context);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return error == 0 ? OK : ERR_SYSTEM;
}
