/*
 * Agreement
 *
 * Damages age files and asks three readers whether they still take them: ours, age's library and rage's (each in one process of its own, age/ and
 * rage/). They must agree, on whether and on what; where they do not, the table of differences below has to know why. Whatever is released, before a
 * refusal too, has to be how the plaintext begins.
 *
 *	agreement AGE RAGE COUNT SEED [FIRST]
 *
 * FIRST: the number of the first file, to look at one again; with COUNT 1 it is written to the file "case".
 */
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/age_file.h"
#include "formats/armor.h"
#include "tests/interop/agreement/mutations.h"

#define HASH_LEN 32U
#define WORDS_MAX 256U
#define SHOWN_MAX 30U

struct verdict {
	bool accepted;
	size_t released;
	uint8_t hash[HASH_LEN];
	char words[WORDS_MAX]; /* why not */
};

/* ---- ours ---- */

struct opening {
	const struct bases *bases; /* borrowed */
	enum opener opener;
	struct secret *passphrase; /* borrowed */
	struct text *released; /* borrowed */
};

static enum err take_plain(void *context, struct bytes chunk)
{
	struct opening *opening = context;

	text_put(opening->released, chunk);
	return OK;
}

/* What the device does. ERR_NO_MATCH for what is not a point of the curve, which a device refuses. */
static enum err device_ecdh(const uint8_t share[static P256_POINT_LEN], struct secret **ret_x)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = EC_POINT_new(group);
	BIGNUM *scalar = NULL, *x = BN_new();
	enum err err = secret_new(32, ret_x);

	if (!err && (BN_hex2bn(&scalar, TEST_P256_SCALAR) != 64 ||
	             EC_POINT_oct2point(group, point, share, P256_POINT_LEN, NULL) != 1 ||
	             EC_POINT_mul(group, point, NULL, point, scalar, NULL) != 1 ||
	             EC_POINT_get_affine_coordinates(group, point, x, NULL, NULL) != 1 ||
	             BN_bn2binpad(x, secret_fill(*ret_x), 32) != 32))
		err = ERR_NO_MATCH;
	BN_free(scalar);
	BN_free(x);
	EC_POINT_free(point);
	EC_GROUP_free(group);
	return err;
}

/* As broker and helper do it: a malformed stanza ends it, one that is not for this key or does not open is passed over. */
static enum err open_p256_stanza(const struct opening *opening, const struct age_stanza *stanza,
                                 struct secret **ret_file_key)
{
	CLEANUP(secret_freep) struct secret *x = NULL;
	uint8_t compressed[P256_COMPRESSED_LEN], hash[TAG_LEN], tag[TAG_LEN];
	struct token_stanza read;
	enum err err = age_stanza_is(stanza, "p256tag") ? token_stanza_read(stanza, &read) : ERR_NO_MATCH;

	if (err)
		return err;
	p256_compress(opening->bases->p256_point, compressed);
	p256tag_recipient_hash(compressed, hash);
	p256tag_tag(read.share, hash, tag);
	if (memcmp(tag, read.tag, TAG_LEN) != 0)
		return ERR_NO_MATCH;
	err = device_ecdh(read.share, &x);
	if (!err)
		err = p256tag_unwrap(x, read.share, opening->bases->p256_point, read.body, ret_file_key);
	return err == ERR_BAD_CIPHERTEXT ? ERR_NO_MATCH : err;
}

static enum err open_p256(const struct opening *opening, const struct age_header *header,
                          struct secret **ret_file_key)
{
	enum err err = stanzas_check(header);

	if (err)
		return err;
	err = ERR_NO_MATCH;
	for (size_t i = 0; err == ERR_NO_MATCH && i < age_header_stanza_count(header); i++)
		err = open_p256_stanza(opening, age_header_stanza(header, i), ret_file_key);
	return err;
}

static enum err open_file_key(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	struct opening *opening = context;
	struct identity identity = { .kind = IDENTITY_X25519, .private_key = opening->bases->x25519_private };

	if (opening->opener == OPENER_P256)
		return open_p256(opening, header, ret_file_key);
	if (opening->opener == OPENER_PASSPHRASE)
		identity =
		        (struct identity){ .kind = IDENTITY_PASSPHRASE, .private_key = opening->passphrase };
	memcpy(identity.public_key, opening->bases->x25519_public, X25519_LEN);
	return identity_unwrap(&identity, header, TEST_WORK_FACTOR_MAX, ret_file_key);
}

/* In pieces whose lengths follow from the file's number, for how it arrives may not matter. */
static enum err read_file(struct opening *opening, struct bytes file, struct dice *dice)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	enum err err = age_reader_new(open_file_key, opening, take_plain, opening, &reader);

	while (!err && file.len > 0) {
		size_t piece = dice_once_in(dice, 2) ? file.len : 1 + dice_below(dice, file.len);

		err = age_reader_push(reader, bytes_of(file.data, piece));
		file = bytes_of(file.data + piece, file.len - piece);
	}
	return err ? err : age_reader_finish(reader);
}

static void ask_ourselves(struct draft *draft, struct opening *opening, struct verdict *ret_verdict)
{
	enum err err;

	opening->bases = draft->bases;
	opening->opener = draft->base->opener;
	opening->released->len = 0;
	err = read_file(opening, text_bytes(&draft->file), &draft->dice);
	ret_verdict->accepted = err == OK;
	ret_verdict->released = opening->released->len;
	(void)crypto_hash_sha256(ret_verdict->hash, opening->released->data, opening->released->len);
	(void)snprintf(ret_verdict->words, sizeof(ret_verdict->words), "%s", err ? err_info(err)->name : "");
}

/* ---- the peers ---- */

struct peer {
	const char *name;
	pid_t pid;
	int in, out; /* to it, from it */
};

static void give_up(const char *what)
{
	(void)fprintf(stderr, "agreement: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void peer_start(struct peer *peer, const char *name, const char *path)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
		give_up("pipe");
	peer->name = name;
	peer->pid = fork();
	if (peer->pid == 0) {
		(void)dup2(to[0], 0);
		(void)dup2(from[1], 1);
		execl(path, path, TEST_X25519_IDENTITY, TEST_PASSPHRASE, TEST_P256_SCALAR, (char *)NULL);
		_exit(127);
	}
	(void)close(to[0]);
	(void)close(from[1]);
	peer->in = to[1];
	peer->out = from[0];
}

static void write_all(const struct peer *peer, const void *data, size_t len)
{
	const uint8_t *rest = data;

	while (len > 0) {
		ssize_t written = write(peer->in, rest, len);

		if (written <= 0)
			give_up(peer->name);
		rest += written;
		len -= (size_t)written;
	}
}

static void read_all(const struct peer *peer, void *data, size_t len)
{
	uint8_t *rest = data;

	while (len > 0) {
		ssize_t got = read(peer->out, rest, len);

		if (got <= 0) {
			if (got == 0)
				errno = EPIPE;
			give_up(peer->name);
		}
		rest += got;
		len -= (size_t)got;
	}
}

static void peer_ask(const struct peer *peer, const struct draft *draft)
{
	uint32_t head[2] = { htole32(draft->base->opener), htole32((uint32_t)draft->file.len) };

	write_all(peer, head, sizeof(head));
	write_all(peer, draft->file.data, draft->file.len);
}

static void peer_hear(const struct peer *peer, struct verdict *ret_verdict)
{
	static char words[64 << 10];
	uint8_t accepted;
	uint32_t number;
	size_t len;

	read_all(peer, &accepted, 1);
	read_all(peer, &number, sizeof(number));
	ret_verdict->accepted = accepted;
	ret_verdict->released = le32toh(number);
	read_all(peer, ret_verdict->hash, HASH_LEN);
	read_all(peer, &number, sizeof(number));
	len = le32toh(number);
	if (len >= sizeof(words))
		give_up("a peer says too much");
	read_all(peer, words, len);
	words[len] = '\0';
	(void)snprintf(ret_verdict->words, sizeof(ret_verdict->words), "%.*s", (int)WORDS_MAX - 1, words);
}

static bool peer_end(const struct peer *peer)
{
	int status = 0;

	(void)close(peer->in);
	return waitpid(peer->pid, &status, 0) == peer->pid && status == 0;
}

/* ---- the differences that are known, and why they are ---- */

enum whose { OURS, AGE, RAGE, READERS };

#define EITHER '.'

struct difference {
	const char *pattern; /* who accepts, of ours, age and rage: 'a', 'r', or EITHER */
	const char *words[READERS]; /* what is among the words of whoever refuses; NULL: any */
	bool (*applies)(const struct draft *draft); /* what has to be so of the file besides; NULL: nothing */
	const char *explanation;
	unsigned long count;
};

static bool breaks_limits(const struct draft *draft)
{
	size_t stanzas = 0, most = 0, spaces = 0;

	for (size_t i = 0; i < draft->header.len; i++) {
		bool begins = i == 0 || draft->header.data[i - 1] == '\n';

		stanzas +=
		        begins && i + 1 < draft->header.len && memcmp(draft->header.data + i, "->", 2) == 0;
		spaces = begins ? 0 : spaces + (draft->header.data[i] == ' ');
		most = spaces > most ? spaces : most;
	}
	return stanzas > AGE_STANZAS_MAX || most > AGE_ARGUMENTS_MAX;
}

static const uint8_t *armor_begins(const struct draft *draft)
{
	return memmem(draft->file.data, draft->file.len, ARMOR_BEGIN, strlen(ARMOR_BEGIN));
}

static bool begins_with_blanks(const struct draft *draft)
{
	return armor_begins(draft) && strchr(" \t\r\n\v\f", draft->file.data[0]);
}

/* White space in UTF-8 before the armor or behind it: its first byte is not ASCII. */
static bool has_other_blanks(const struct draft *draft)
{
	return armor_begins(draft) && (memmem(draft->file.data, draft->file.len, "\xc2", 1) ||
	                               memmem(draft->file.data, draft->file.len, "\xe2\x80\x83", 3));
}

static bool has_two_returns(const struct draft *draft)
{
	return armor_begins(draft) && memmem(draft->file.data, draft->file.len, "\r\r", 2);
}

static bool has_passphrase_and_other(const struct draft *draft)
{
	return memmem(draft->header.data, draft->header.len, "-> scrypt", 9) &&
	       draft->base->opener != OPENER_PASSPHRASE;
}

static struct difference differences[] = {
	{ "ra.",
	  { "bad-file", NULL, NULL },
	  breaks_limits,
	  "we read at most 256 stanzas in a header and 64 arguments in a stanza; they have no such limit",
	  0 },
	{ "rra",
	  { "bad-file", "malformed body line", NULL },
	  NULL,
	  "rage takes a stanza whose last line is a full one, as age wrote it before its first release",
	  0 },
	{ "rra",
	  { "bad-file", "scrypt work factor encoding invalid", NULL },
	  NULL,
	  "rage takes other spellings of a work factor than its decimal digits without a leading zero",
	  0 },
	{ "aar",
	  { NULL, NULL, "InvalidHeader" },
	  begins_with_blanks,
	  "rage takes no white space before the armor",
	  0 },
	{ "aar",
	  { NULL, NULL, "non-whitespace characters after end" },
	  NULL,
	  "rage takes fewer kinds of white space behind the armor",
	  0 },
	{ "rar",
	  { "bad-file", NULL, NULL },
	  has_other_blanks,
	  "age takes all white space of Unicode around the armor, we that of ASCII",
	  0 },
	{ "rar",
	  { "bad-file", NULL, "ontains" },
	  has_two_returns,
	  "age's base64 passes over carriage returns at the end of a line; the armor has one at most",
	  0 },
	{ "rar",
	  { "bad-file", NULL, "InvalidHeader" },
	  has_passphrase_and_other,
	  "age's library leaves it to each identity to refuse a passphrase that is not alone, and only that "
	  "of a passphrase does",
	  0 },
	{ "rra",
	  { "bad-file", "too much trailing whitespace", NULL },
	  NULL,
	  "rage has no limit on white space behind the armor",
	  0 },
	{ "ara",
	  { NULL, "too much trailing whitespace", NULL },
	  NULL,
	  "the limit on white space behind the armor, 1024, is age's own number and the first one too many "
	  "of it",
	  0 },
	{ "arr",
	  { NULL, "too much trailing whitespace", "InvalidHeader" },
	  begins_with_blanks,
	  "the same, with white space before the armor, which rage does not take",
	  0 },
};

#define DIFFERENCE_COUNT (sizeof(differences) / sizeof(differences[0]))

static bool difference_fits(const struct difference *difference, const struct draft *draft,
                            const struct verdict verdicts[READERS])
{
	for (unsigned i = 0; i < READERS; i++) {
		if (difference->pattern[i] != EITHER &&
		    verdicts[i].accepted != (difference->pattern[i] == 'a'))
			return false;
		if (difference->words[i] && !strstr(verdicts[i].words, difference->words[i]))
			return false;
	}
	return !difference->applies || difference->applies(draft);
}

static struct difference *difference_find(const struct draft *draft, const struct verdict verdicts[READERS])
{
	for (size_t i = 0; i < DIFFERENCE_COUNT; i++)
		if (difference_fits(&differences[i], draft, verdicts))
			return &differences[i];
	return NULL;
}

/* ---- the count ---- */

struct tally {
	unsigned long files, accepted, refused, known, unexplained, releases, behind_mac;
};

static void show(const struct draft *draft, const char *done, size_t number, const struct verdict *verdicts,
                 const char *what)
{
	printf("file %zu (%s%s: %s): %s\n", number, draft->base->name, draft->armored ? ", armored" : "",
	       done, what);
	for (unsigned i = 0; i < READERS; i++)
		printf("\t%s %s, %zu bytes: %s\n", (const char *[]){ "ours", "age", "rage" }[i],
		       verdicts[i].accepted ? "accepts" : "refuses", verdicts[i].released, verdicts[i].words);
}

/* What a reader gave is how the plaintext begins; NULL when it is. */
static const char *released_wrongly(const struct draft *draft, const struct verdict verdicts[READERS])
{
	for (unsigned i = 0; i < READERS; i++) {
		uint8_t hash[HASH_LEN];

		if (verdicts[i].released > draft->base->plain_len)
			return "more was released than there is";
		(void)crypto_hash_sha256(hash, draft->base->plain, verdicts[i].released);
		if (memcmp(hash, verdicts[i].hash, HASH_LEN) != 0)
			return "what was released is not how the plaintext begins";
	}
	for (unsigned i = 0; i < READERS; i++)
		for (unsigned j = 0; j < i; j++)
			if (verdicts[i].accepted && verdicts[j].accepted &&
			    verdicts[i].released != verdicts[j].released)
				return "it was read in two ways";
	return NULL;
}

static void judge(const struct draft *draft, const char *done, size_t number,
                  const struct verdict verdicts[READERS], struct tally *tally)
{
	const char *wrong = released_wrongly(draft, verdicts);
	unsigned accepted =
	        (unsigned)verdicts[OURS].accepted + verdicts[AGE].accepted + verdicts[RAGE].accepted;
	struct difference *difference = accepted % READERS ? difference_find(draft, verdicts) : NULL;

	tally->files++;
	tally->releases += verdicts[OURS].released > 0 && !verdicts[OURS].accepted;
	tally->behind_mac +=
	        strstr(verdicts[OURS].words, "bad-ciphertext") || strstr(verdicts[OURS].words, "truncated");
	tally->accepted += accepted == READERS;
	tally->refused += accepted == 0;
	tally->known += difference != NULL;
	if (difference)
		difference->count++;
	else if (accepted % READERS)
		wrong = "they do not agree, and nobody knows why";
	if (wrong && tally->unexplained++ < SHOWN_MAX)
		show(draft, done, number, verdicts, wrong);
}

/* ---- one file ---- */

static const struct base *choose_base(struct dice *dice, const struct bases *bases)
{
	const size_t small = bases->count - 3;

	/* The long ones are seldom: a thousand bytes say as much about a header as a hundred thousand. */
	return dice_once_in(dice, 25) ? &bases->items[small + dice_below(dice, 3)]
	                              : &bases->items[dice_below(dice, small)];
}

/* A payload of several chunks is what the long ones are for. */
static bool suits(const struct mutation *mutation, const struct draft *draft, size_t number)
{
	if (mutation->stage == STAGE_ARMOR && !draft->armored)
		return false;
	return number > 0 || draft->base->plain_len < AGE_CHUNK_LEN || mutation->stage == STAGE_PAYLOAD;
}

static void damage(struct draft *draft, char *ret_done, size_t done_len)
{
	const struct mutation *chosen[2];
	size_t count = dice_once_in(&draft->dice, 4) ? 2 : 1, len = 0;

	for (size_t i = 0; i < count; i++)
		do
			chosen[i] = &mutations[dice_below(&draft->dice, mutation_count)];
		while (!suits(chosen[i], draft, i));
	if (count == 2 && chosen[1]->stage < chosen[0]->stage) {
		const struct mutation *first = chosen[1];

		chosen[1] = chosen[0];
		chosen[0] = first;
	}
	for (size_t i = 0; i < count && chosen[i]->stage <= STAGE_PAYLOAD; i++)
		chosen[i]->apply(draft);
	draft_assemble(draft);
	for (size_t i = 0; i < count; i++) {
		if (chosen[i]->stage > STAGE_PAYLOAD && draft->file.len > 0)
			chosen[i]->apply(draft);
		len += (size_t)snprintf(ret_done + len, done_len - len, "%s%s", i ? ", " : "",
		                        chosen[i]->name);
	}
}

struct court {
	struct bases bases;
	struct draft draft;
	struct opening opening;
	struct peer age, rage;
	struct tally tally;
};

static void try_file(struct court *court, uint64_t seed, size_t number)
{
	struct dice dice = { seed * UINT64_C(1000003) + number };
	struct verdict verdicts[READERS];
	const struct base *base = choose_base(&dice, &court->bases);
	char done[128];

	draft_begin(&court->draft, &court->bases, base, dice_throw(&dice));
	damage(&court->draft, done, sizeof(done));
	peer_ask(&court->age, &court->draft);
	peer_ask(&court->rage, &court->draft);
	ask_ourselves(&court->draft, &court->opening, &verdicts[OURS]);
	peer_hear(&court->age, &verdicts[AGE]);
	peer_hear(&court->rage, &verdicts[RAGE]);
	judge(&court->draft, done, number, verdicts, &court->tally);
}

static void write_case(const struct draft *draft)
{
	FILE *file = fopen("case", "we");

	if (!file || fwrite(draft->file.data, 1, draft->file.len, file) != draft->file.len)
		give_up("case");
	(void)fclose(file);
	printf("the file is in ./case; the identity is %s, the passphrase %s\n", TEST_X25519_IDENTITY,
	       TEST_PASSPHRASE);
}

static void report(const struct tally *tally)
{
	for (size_t i = 0; i < DIFFERENCE_COUNT; i++)
		printf("known difference, %lu times: %s\n", differences[i].count, differences[i].explanation);
	printf("%lu files: accepted by all %lu, refused by all %lu (%lu of the refusals behind a header that "
	       "was "
	       "well formed, %lu after some plaintext), known differences %lu, unexplained %lu\n",
	       tally->files, tally->accepted, tally->refused, tally->behind_mac, tally->releases,
	       tally->known, tally->unexplained);
}

static size_t number_of(const char *text)
{
	char *end = NULL;
	size_t number = strtoul(text, &end, 10);

	if (!*text || *end)
		give_up("that is not a number");
	return number;
}

int main(int argc, char **argv)
{
	static struct court court;
	struct text released = { malloc(TEXT_MAX), 0 };
	size_t count, first;
	bool ended;

	if (argc < 5 || argc > 6 || !released.data) {
		(void)fprintf(stderr, "usage: agreement AGE RAGE COUNT SEED [FIRST]\n");
		return 2;
	}
	count = number_of(argv[3]);
	first = argc > 5 ? number_of(argv[5]) : 0;
	bases_make(&court.bases, number_of(argv[4]));
	draft_init(&court.draft);
	court.opening.released = &released;
	if (secret_new_from(bytes_of_string(TEST_PASSPHRASE), &court.opening.passphrase) != OK)
		give_up("secret");
	peer_start(&court.age, "age", argv[1]);
	peer_start(&court.rage, "rage", argv[2]);
	for (size_t i = 0; i < count; i++)
		try_file(&court, number_of(argv[4]), first + i);
	if (argc > 5 && count == 1)
		write_case(&court.draft);
	report(&court.tally);
	ended = peer_end(&court.age) && peer_end(&court.rage);
	secret_free(court.opening.passphrase);
	draft_done(&court.draft);
	bases_done(&court.bases);
	free(released.data);
	return ended && court.tally.unexplained == 0 && court.tally.files == count ? 0 : 1;
}
