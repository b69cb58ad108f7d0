/*
 * Way
 *
 * The way to a directory, gone step by step, so that it is known who has led there: the kernel follows each link on the way without a word, and somebody else's leads whoever writes behind it, root above
 * all, to any directory that he likes.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

struct way {
	int directory; /* where it ends, opened for looking only; owned by whoever asked. -1: nowhere */
	bool led; /* by a link of somebody else's, in a directory of somebody else's or where others can put one */
	bool led_by_several;
	uid_t leader; /* the first of them */
};

/* Goes to path, which is a directory. strangers: the mode bits of a directory in which others can put a link. False: errno says why. */
bool way_go(const char *path, mode_t strangers, struct way *ret_way);

/* Is that directory neither ours to be led to nor the leader's? */
bool way_leads_astray(const struct way *way);

/* Has somebody else put the link there? In a directory of ours, where others cannot put one, it is there because we let it be. */
bool way_is_strangers(const struct stat *link, const struct stat *directory, mode_t strangers);
