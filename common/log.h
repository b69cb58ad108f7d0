/*
 * Log
 *
 * One line per event to stderr; under systemd (JOURNAL_STREAM names our stderr) with the journal's "<N>" priority prefix, else with the
 * program's name. Only programs log; libraries return errors. Names and sizes, never contents: no secret has a type that could be printed.
 */
#pragma once

enum log_level {
	LOG_LEVEL_ERROR, /* our doing */
	LOG_LEVEL_WARNING, /* the world's doing */
	LOG_LEVEL_INFO, /* the clients' doing */
	LOG_LEVEL_DEBUG,
};

/* program is static; messages above level are dropped. */
void log_init(const char *program, enum log_level level);
void log_set_level(enum log_level level);

/* One line; control characters in it are written as '?', so that no input can forge a second line. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
