#include "common/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024U

static struct {
	const char *program;
	enum log_level level;
	bool journal;
} logger = { "tokend", LOG_LEVEL_INFO, false };

/* systemd names the device and inode of the stream that it gave us; a redirected stderr is not it. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2 || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *program, enum log_level level)
{
	logger.program = program;
	logger.level = level;
	logger.journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
	logger.level = level;
}

static int syslog_priority(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return 3;
	case LOG_LEVEL_WARNING:
		return 4;
	case LOG_LEVEL_INFO:
		return 6;
	case LOG_LEVEL_DEBUG:
		return 7;
	}
	return 3;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	va_list arguments;
	int prefix, len;

	if (level > logger.level)
		return;
	if (logger.journal)
		prefix = snprintf(line, sizeof(line), "<%d>", syslog_priority(level));
	else
		prefix = snprintf(line, sizeof(line), "%s: ", logger.program);
	va_start(arguments, format);
	len = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, format, arguments);
	va_end(arguments);
	if (len < 0)
		return;
	for (char *c = line + prefix; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	line[strlen(line) + 1] = '\0';
	line[strlen(line)] = '\n';
	(void)!write(STDERR_FILENO, line, strlen(line));
}
