/*
 * A helper, whole but for its sandbox, with a hostile broker before it and a capricious device behind. An input is a number of events of the device (1 byte), the events (1 byte each), and packets: how it is made
 * (1 byte), its length (2), the bytes. A packet goes out as it is, or is given a right header and has its secrets sealed and its stanzas made for keys that exist, since no mutation would find those.
 * Every answer must be one to a question that has none yet; and when the helper has ended nothing is left: no key on the device, no secret.
 */
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/helper.h"
#include "common/helper_sandbox.h"
#include "common/log.h"
#include "common/token_message.h"
#include "formats/filekey.h"
#include "tests/fake/fake_token.h"
#include "tests/fake/p256.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
enum err __wrap_helper_sandbox_close(const struct token_sandbox *sandbox, int keep_fd);
enum err __wrap_secret_process_init(void);
int __wrap_crypto_box_keypair(unsigned char *public_key, unsigned char *secret_key);
void __wrap_log_line(enum log_level level, const char *format, ...);

#define PACKETS_MAX 24U
#define EVENTS_MAX 32U
#define SENT_MAX (96U << 10) /* what a socket takes before its reader has begun */
#define SEAL_MARK "seal"
#define WRAP_MARK "wrap"
#define PACKET_MADE 1U

static void check(bool good)
{
	if (!good)
		abort();
}

/* ---- the process's own ---- */

enum err __wrap_helper_sandbox_close(const struct token_sandbox *sandbox, int keep_fd)
{
	(void)sandbox;
	(void)keep_fd;
	return OK;
}

enum err __wrap_secret_process_init(void)
{
	return secret_client_init();
}

/* The same in every run, so that what is sealed can be. */
static const unsigned char box_seed[crypto_box_SEEDBYTES] = "every run's box key";

int __wrap_crypto_box_keypair(unsigned char *public_key, unsigned char *secret_key)
{
	return crypto_box_seed_keypair(public_key, secret_key, box_seed);
}

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	(void)level;
	check(format[0] != '\0');
}

/* ---- the device ---- */

static struct reader events;

enum { EVENT_NONE, EVENT_LOST, EVENT_RESET, EVENT_ABSENT, EVENT_BACK, EVENT_FAIL, EVENT_BUSY = 255 };

static const struct token_meanwhile *meanwhile;

static void fuzz_meanwhile(struct token *token, const struct token_meanwhile *given)
{
	(void)token;
	meanwhile = given;
}

/* It takes so long that all questions there are come meanwhile. */
static void be_busy(void)
{
	struct pollfd other = { .events = POLLIN };

	if (!meanwhile)
		return;
	other.fd = meanwhile->fd;
	while (poll(&other, 1, 0) > 0 && meanwhile->act(meanwhile->context))
		;
}

/* One event before each use of the device. */
static void next_event(void)
{
	uint8_t event = events.rest.len > 0 ? reader_u8(&events) : EVENT_NONE;

	if (event == EVENT_LOST)
		fake_device()->lose_once = true;
	if (event == EVENT_RESET)
		fake_device()->reset_count++;
	if (event == EVENT_ABSENT)
		fake_device()->absent = true;
	if (event == EVENT_BACK)
		fake_device()->absent = false;
	if (event == EVENT_BUSY)
		be_busy();
	else if (event >= EVENT_FAIL)
		fake_device()->fail = (enum err)(event % ERR_COUNT);
}

static enum err fuzz_open(const char *uri, struct token **ret_token)
{
	next_event();
	return fake_token_ops.open(uri, ret_token);
}

static enum err fuzz_status(struct token *token, struct token_status *ret_status)
{
	next_event();
	return fake_token_ops.status(token, ret_status);
}

static enum err fuzz_load(struct token *token, const struct token_load *load, struct token_key **ret_key)
{
	next_event();
	return fake_token_ops.load(token, load, ret_key);
}

static enum err fuzz_create(struct token *token, const struct token_create *create,
                            struct token_blob *ret_blob, uint8_t ret_point[P256_POINT_LEN])
{
	next_event();
	return fake_token_ops.create(token, create, ret_blob, ret_point);
}

static struct token_ops ops_with_events(void)
{
	struct token_ops ops = fake_token_ops;

	ops.open = fuzz_open;
	ops.meanwhile = fuzz_meanwhile;
	ops.status = fuzz_status;
	ops.load = fuzz_load;
	ops.create = fuzz_create;
	return ops;
}

/* ---- what the broker sends ---- */

/* The private half of the keys that the seeds load. */
#define SECRET_BYTE 0x42

static void make_x25519(uint8_t share[static X25519_LEN], uint8_t body[static WRAPPED_LEN])
{
	CLEANUP(secret_freep) struct secret *private_key = NULL;
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	uint8_t public_key[X25519_LEN];

	check(!secret_new(SEALED_LEN, &private_key) && !secret_new(FILE_KEY_LEN, &file_key));
	memset(secret_fill(private_key), SECRET_BYTE, SEALED_LEN);
	x25519_public(private_key, public_key);
	check(x25519_wrap(public_key, file_key, share, body) == OK);
}

static void make_p256(uint8_t share[static P256_POINT_LEN], uint8_t body[static WRAPPED_LEN])
{
	CLEANUP(secret_freep) struct secret *x = NULL;
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	uint8_t scalar[P256_SCALAR_LEN], recipient[P256_POINT_LEN];

	memset(scalar, SECRET_BYTE, sizeof(scalar));
	p256_public(scalar, recipient);
	check(!secret_new(32, &x) && !secret_new(FILE_KEY_LEN, &file_key));
	p256_make(scalar, share);
	check(p256_ecdh(scalar, recipient, secret_fill(x)));
	check(p256tag_wrap(x, share, recipient, file_key, body) == OK);
}

/* As a hostile sender writes one: token_message_put would refuse what no message may hold. */
static enum err put_field(struct buf *packet, uint16_t number, struct bytes value)
{
	enum err err = buf_put_u16(packet, number);

	if (!err)
		err = buf_put_u16(packet, (uint16_t)value.len);
	return err ? err : buf_put(packet, value);
}

static enum err put_stanza(struct buf *packet, struct bytes value)
{
	uint8_t stanza[TOKEN_STANZA_LEN];

	if (value.len != sizeof(stanza) ||
	    memcmp(value.data + 1 + P256_POINT_LEN, WRAP_MARK, strlen(WRAP_MARK)) != 0)
		return put_field(packet, TOKEN_FIELD_STANZA, value);
	memcpy(stanza, value.data, sizeof(stanza));
	if (stanza[0] == KEY_KIND_P256)
		make_p256(stanza + 1, stanza + 1 + P256_POINT_LEN);
	else
		make_x25519(stanza + 1, stanza + 1 + P256_POINT_LEN);
	return put_field(packet, TOKEN_FIELD_STANZA, bytes_of(stanza, sizeof(stanza)));
}

static enum err put_sealed(struct buf *packet, uint16_t field, struct bytes value)
{
	size_t mark = strlen(SEAL_MARK);
	unsigned char public_key[crypto_box_PUBLICKEYBYTES], secret_key[crypto_box_SECRETKEYBYTES];
	uint8_t sealed[TOKEN_SEALED_MAX];

	if (value.len < mark || memcmp(value.data, SEAL_MARK, mark) != 0 ||
	    value.len - mark + crypto_box_SEALBYTES > sizeof(sealed))
		return put_field(packet, field, value);
	check(__wrap_crypto_box_keypair(public_key, secret_key) == 0);
	check(crypto_box_seal(sealed, value.data + mark, value.len - mark, public_key) == 0);
	return put_field(packet, field, bytes_of(sealed, value.len - mark + crypto_box_SEALBYTES));
}

/* spec: op (1 byte), and fields as in a message. */
static enum err make_packet(struct bytes spec, uint32_t id, struct buf *packet)
{
	struct reader reader = reader_of(spec);
	uint8_t op = reader_u8(&reader);
	enum err err = token_message_begin(packet, (enum token_op)op, OK, id);

	while (!err && reader.rest.len > 0) {
		uint16_t number = reader_u16(&reader);
		struct bytes value = reader_take(&reader, reader_u16(&reader));

		if (reader.failed)
			break;
		if (number == TOKEN_FIELD_STANZA)
			err = put_stanza(packet, value);
		else if (number == TOKEN_FIELD_SEALED_PIN || number == TOKEN_FIELD_SEALED_KEY)
			err = put_sealed(packet, number, value);
		else
			err = put_field(packet, number, value);
	}
	return err ? err : token_message_end(packet);
}

struct question {
	bool good;
	enum token_op op;
	uint32_t id;
};

static size_t send_questions(int fd, struct reader *input, struct question questions[static PACKETS_MAX])
{
	CLEANUP(buf_freep) struct buf *packet = NULL;
	size_t count = 0, sent = 0;

	check(buf_new(TOKEN_MESSAGE_MAX + 1, &packet) == OK);
	while (count < PACKETS_MAX && input->rest.len > 0) {
		uint8_t way = reader_u8(input);
		struct bytes spec = reader_take(input, reader_u16(input));
		struct token_message message;

		if (input->failed || spec.len == 0)
			break;
		buf_clear(packet);
		if (way & PACKET_MADE ? make_packet(spec, (uint32_t)count, packet) != OK
		                      : buf_put(packet, spec) != OK)
			break;
		sent += buf_len(packet);
		if (sent > SENT_MAX)
			break;
		check(send(fd, buf_bytes(packet).data, buf_len(packet), MSG_NOSIGNAL) >= 0);
		questions[count].good =
		        token_message_parse(buf_bytes(packet), &message) == OK && message.err == OK;
		questions[count].op = message.op;
		questions[count].id = message.id;
		if (!questions[count++].good)
			break;
	}
	return count;
}

/* ---- what the helper answers ---- */

/* To one that has none yet. */
static void check_answer(struct question *questions, size_t count, struct bytes packet)
{
	struct token_message answer;
	struct bytes file_key;
	size_t i = 0;

	check(token_message_parse(packet, &answer) == OK);
	while (i < count &&
	       (!questions[i].good || questions[i].op != answer.op || questions[i].id != answer.id))
		i++;
	check(i < count);
	questions[i].good = false;
	if (token_message_find(&answer, TOKEN_FIELD_FILE_KEY, &file_key))
		check(answer.op == TOKEN_OP_UNWRAP && answer.err == OK);
}

/* One for each; a helper that ends because of nonsense may owe some of those before it. */
static void check_answers(int fd, struct question *questions, size_t count, bool owed)
{
	static uint8_t packet[TOKEN_MESSAGE_MAX];

	for (size_t i = 0; i < count; i++) {
		ssize_t got = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

		if (got <= 0 && owed)
			return;
		check(got > 0);
		check_answer(questions, count, bytes_of(packet, (size_t)got));
	}
	check(recv(fd, packet, sizeof(packet), MSG_DONTWAIT) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader input = reader_of(bytes_of(data, len));
	struct question questions[PACKETS_MAX];
	const struct token_ops ops = ops_with_events();
	struct helper_options options = { .uri = "good" };
	size_t count, live;
	int pair[2], status;
	bool nonsense;

	check(secret_client_init() == OK);
	live = secret_stats().live;
	events = reader_of(reader_take(&input, reader_u8(&input) % EVENTS_MAX));
	if (input.failed)
		return 0;
	meanwhile = NULL;
	*fake_device() = (struct fake_device){ .pin_allowed = 4 };
	/* Does not block: the helper ends when it has answered everything. */
	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	count = send_questions(pair[0], &input, questions);
	options.socket = pair[1];
	status = helper_run(&ops, &options);
	nonsense = count > 0 && !questions[count - 1].good;
	check(status == err_info(nonsense ? ERR_BAD_MESSAGE : ERR_AGAIN)->exit_code);
	check_answers(pair[0], questions, count, nonsense);
	check(fake_device()->loaded == 0 && secret_stats().live == live);
	(void)close(pair[0]);
	(void)close(pair[1]);
	return 0;
}
