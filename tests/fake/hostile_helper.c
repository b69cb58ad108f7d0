/*
 * A double of tokend-tpm. For the token tpm:device:DIRECTORY/hostile it is a helper that does whatever DIRECTORY/mode says; for every other it is the real one, tokend-tpm.real beside it.
 *
 * A hostile helper begins as a good one: a child runs the helper's own code over a token in software, and this process stands between it and the broker. It reads its mode at each question, so that a
 * key can be made while it is good, and adds the letter of each start to DIRECTORY/starts.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/helper.h"
#include "common/token_message.h"
#include "tests/fake/fake_token.h"

#define BROKER 3
#define PACKET_MAX (TOKEN_MESSAGE_MAX + 8192U)
#define HEADER_OP 4U
#define HEADER_ID 8U

static char directory[200];
static uint8_t question[PACKET_MAX], answer[PACKET_MAX];

static void mode_read(char mode[static 64])
{
	char path[256];
	ssize_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/mode", directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? 0 : read(fd, mode, 63);
	mode[len > 0 ? len : 0] = '\0';
	mode[strcspn(mode, "\n")] = '\0';
	(void)close(fd);
}

static void note_start(void)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/starts", directory);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || write(fd, "s", 1) != 1)
		_exit(90);
	(void)close(fd);
}

/* The good one; its socket. */
static int good_helper(void)
{
	int pair[2];

	(void)fake_device();
	fake_device()->pin_allowed = 100;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		_exit(91);
	if (fork() == 0) {
		const struct helper_options options = { .uri = "good", .socket = pair[1] };

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(pair[0]);
		(void)close(BROKER);
		_exit(helper_run(&fake_token_ops, &options));
	}
	(void)close(pair[1]);
	return pair[0];
}

static void say(const void *packet, size_t len)
{
	(void)!send(BROKER, packet, len, MSG_NOSIGNAL);
}

/* As many as the broker takes, and on. */
static void flood(size_t len)
{
	while (send(BROKER, answer, len, MSG_NOSIGNAL) >= 0 || errno == EAGAIN)
		;
	for (;;)
		(void)pause();
}

static void with_descriptors(size_t len)
{
	struct iovec part = { .iov_base = answer, .iov_len = len };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(200 * sizeof(int))];
	} control = { 0 };
	struct msghdr packet = { .msg_iov = &part,
		                 .msg_iovlen = 1,
		                 .msg_control = control.space,
		                 .msg_controllen = sizeof(control.space) };
	int fds[200];

	for (size_t i = 0; i < 200; i++)
		fds[i] = BROKER;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
	(void)!sendmsg(BROKER, &packet, MSG_NOSIGNAL);
}

static uint16_t op_of(void)
{
	return (uint16_t)(question[HEADER_OP] << 8 | question[HEADER_OP + 1]);
}

static uint32_t id_of(void)
{
	const uint8_t *id = question + HEADER_ID;

	return (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
}

/* An answer of its own making to the question that is there. */
static void make(enum err err, const char *key_id, const uint8_t *file_key, uint16_t index)
{
	struct buf *packet = NULL;
	uint8_t id[KEY_ID_LEN];
	size_t len;

	if (buf_new(TOKEN_MESSAGE_MAX, &packet) ||
	    token_message_begin(packet, (enum token_op)op_of(), err, id_of()))
		_exit(92);
	if (key_id && (sodium_hex2bin(id, sizeof(id), key_id, strlen(key_id), NULL, &len, NULL) ||
	               token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(id, sizeof(id)))))
		_exit(93);
	if (file_key && (token_message_put(packet, TOKEN_FIELD_FILE_KEY, bytes_of(file_key, FILE_KEY_LEN)) ||
	                 token_message_put_u16(packet, TOKEN_FIELD_INDEX, index)))
		_exit(94);
	if (token_message_end(packet))
		_exit(95);
	say(buf_bytes(packet).data, buf_len(packet));
	buf_free(packet);
}

/* The mode's word; what may stand after it, such as a key's id. */
static bool is(const char *mode, const char *word, const char **ret_rest)
{
	size_t len = strlen(word);

	*ret_rest = mode[len] == ' ' ? mode + len + 1 : "";
	return strncmp(mode, word, len) == 0 && (mode[len] == '\0' || mode[len] == ' ');
}

/* Instead of a good answer of len bytes; of the ways that answer something. */
static void misbehave(const char *mode, size_t len)
{
	static const uint8_t file_key[FILE_KEY_LEN] = "not the file key";
	const char *rest;

	if (is(mode, "garbage", &rest)) {
		randombytes_buf(answer, PACKET_MAX);
		say(answer, 1 + randombytes_uniform(TOKEN_MESSAGE_MAX));
	} else if (is(mode, "header-only", &rest)) {
		say(answer, TOKEN_MESSAGE_HEADER_LEN - 1);
	} else if (is(mode, "cut", &rest)) {
		say(answer, len - 1);
	} else if (is(mode, "longer", &rest)) {
		say(answer, len + 1);
	} else if (is(mode, "too-long", &rest)) {
		say(answer, PACKET_MAX);
	} else if (is(mode, "empty", &rest)) {
		say(answer, 0);
	} else if (is(mode, "others-id", &rest)) {
		answer[HEADER_ID + 3] = (uint8_t)(answer[HEADER_ID + 3] + 1);
		say(answer, len);
	} else if (is(mode, "others-operation", &rest)) {
		answer[HEADER_OP + 1] = (uint8_t)(1 + answer[HEADER_OP + 1] % 8);
		say(answer, len);
	} else if (is(mode, "no-such-error", &rest)) {
		answer[HEADER_OP + 2] = 0x7f;
		say(answer, len);
	} else if (is(mode, "twice", &rest)) {
		say(answer, len);
		say(answer, len);
	} else if (is(mode, "flood", &rest)) {
		flood(len);
	} else if (is(mode, "flood-of-garbage", &rest)) {
		randombytes_buf(answer, len);
		flood(TOKEN_MESSAGE_MAX);
	} else if (is(mode, "descriptors", &rest)) {
		with_descriptors(len);
	} else if (is(mode, "nothing-in-it", &rest)) {
		make(OK, NULL, NULL, 0);
	} else if (is(mode, "wrong-file-key", &rest)) {
		make(OK, rest, file_key, 0);
	} else if (is(mode, "wrong-index", &rest)) {
		make(OK, rest, file_key, 65535);
	} else if (is(mode, "says-locked", &rest)) {
		make(ERR_PIN_NEEDED, rest, NULL, 0);
	} else {
		_exit(96);
	}
}

/* The ways that answer nothing. */
static bool ends(const char *mode)
{
	const char *rest;

	if (is(mode, "dies", &rest))
		_exit(1);
	if (is(mode, "crashes", &rest))
		(void)raise(SIGKILL);
	if (is(mode, "dies-in-a-message", &rest)) {
		say(question, TOKEN_MESSAGE_HEADER_LEN / 2);
		_exit(0);
	}
	if (is(mode, "closes", &rest)) {
		(void)close(BROKER);
		for (;;)
			(void)pause();
	}
	return is(mode, "hangs", &rest);
}

/* Reads nothing any more. */
static void be_deaf(const char *mode)
{
	const char *rest;

	while (is(mode, "deaf", &rest))
		(void)pause();
}

static void serve(int good)
{
	char mode[64];
	const char *rest;

	for (;;) {
		ssize_t asked, got;

		mode_read(mode);
		be_deaf(mode);
		asked = recv(BROKER, question, sizeof(question), 0);
		if (asked <= 0)
			_exit(0);
		mode_read(mode);
		be_deaf(mode);
		if (ends(mode))
			continue;
		if (send(good, question, (size_t)asked, MSG_NOSIGNAL) < 0 ||
		    (got = recv(good, answer, sizeof(answer), 0)) <= 0)
			_exit(97);
		/* What it lies about is only what the words say: to the rest it answers well. */
		if (mode[0] == '\0' || (op_of() != TOKEN_OP_UNWRAP && strchr(mode, ' ')) ||
		    is(mode, "good", &rest))
			say(answer, (size_t)got);
		else
			misbehave(mode, (size_t)got);
	}
}

int main(int argc, char **argv)
{
	static const char hostile[] = "tpm:device:";
	const char *uri = argc >= 5 ? argv[argc - 1] : "";
	const char *end = strrchr(uri, '/');
	char mode[64], program[300];
	const char *rest;

	if (!end || strcmp(end, "/hostile") != 0 || strncmp(uri, hostile, strlen(hostile)) != 0) {
		(void)snprintf(program, sizeof(program), "%s.real", argv[0]);
		(void)execv(program, argv);
		return 98;
	}
	(void)snprintf(directory, sizeof(directory), "%.*s", (int)(end - uri - (long)strlen(hostile)),
	               uri + strlen(hostile));
	note_start();
	mode_read(mode);
	if (is(mode, "dies-at-start", &rest))
		return 1;
	/* Before a question came. */
	if (is(mode, "speaks-first", &rest))
		say(answer, TOKEN_MESSAGE_HEADER_LEN);
	if (sodium_init() < 0)
		return 99;
	serve(good_helper());
}
