#include "tests/fake/fake_token.h"

#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/fake/p256.h"

#define BLOB_KIND 0
#define BLOB_HAS_PIN 1
#define BLOB_PIN_HASH 2
#define BLOB_SECRET (BLOB_PIN_HASH + 32)
#define BLOB_LEN (BLOB_SECRET + 32)

struct token {
	uint32_t generation; /* of the device when it was opened */
	const struct token_meanwhile *meanwhile;
};

struct token_key {
	uint8_t blob[BLOB_LEN];
	uint32_t generation;
};

struct fake_device *fake_device(void)
{
	static struct fake_device *device;

	if (device)
		return device;
	device = mmap(NULL, sizeof(*device), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (device == MAP_FAILED)
		abort();
	return device;
}

static enum err fake_prepare(const char *uri, struct token_sandbox *ret_sandbox)
{
	*ret_sandbox = (struct token_sandbox){ 0 };
	return strcmp(uri, "good") == 0 ? OK : ERR_USAGE;
}

static enum err fake_open(const char *uri, struct token **ret_token)
{
	(void)uri;
	if (fake_device()->absent)
		return ERR_NO_TOKEN;
	fake_device()->opened++;
	*ret_token = calloc(1, sizeof(**ret_token));
	return *ret_token ? OK : ERR_NOMEM;
}

static void fake_meanwhile(struct token *token, const struct token_meanwhile *meanwhile)
{
	token->meanwhile = meanwhile;
}

/* As a device is that takes its time. */
static void work_for(const struct token *token, unsigned busy_ms)
{
	struct pollfd other = { .events = POLLIN };

	if (!token->meanwhile || busy_ms == 0)
		return;
	other.fd = token->meanwhile->fd;
	while (poll(&other, 1, (int)busy_ms) > 0)
		if (!token->meanwhile->act(token->meanwhile->context))
			return;
}

static void work(const struct token *token)
{
	work_for(token, fake_device()->busy_ms);
}

static enum err fake_reopen(struct token *token)
{
	work_for(token, fake_device()->reopen_ms);
	token->generation++;
	fake_device()->opened++;
	return fake_device()->absent ? ERR_NO_TOKEN : OK;
}

static void fake_close(struct token *token)
{
	fake_device()->closed++;
	free(token);
}

/* One is kept back, as in fake_may_try_pin. */
static int tries_left(const struct fake_device *device)
{
	if (device->tries_unsaid)
		return -1;
	return device->pin_failures + 1 < device->pin_allowed
	               ? (int)(device->pin_allowed - device->pin_failures - 1)
	               : 0;
}

static enum err fake_status(struct token *token, struct token_status *ret_status)
{
	(void)token;
	if (fake_device()->absent)
		return ERR_NO_TOKEN;
	*ret_status = (struct token_status){ .present = true,
		                             .pin_tries_left = tries_left(fake_device()),
		                             .reset_count = fake_device()->reset_count,
		                             .commands = fake_device()->commands,
		                             .manufacturer = "fake" };
	return OK;
}

static enum err fake_reset_count(struct token *token, uint32_t *ret_count)
{
	fake_device()->resets_asked++;
	work(token);
	*ret_count = fake_device()->reset_count;
	return fake_device()->absent ? ERR_NO_TOKEN : OK;
}

static enum err fake_may_try_pin(struct token *token)
{
	(void)token;
	return fake_device()->pin_failures + 1 >= fake_device()->pin_allowed ? ERR_PIN_LOCKED : OK;
}

static void pin_hash(const struct secret *pin, uint8_t out[32])
{
	(void)crypto_hash_sha256(out, secret_reveal(pin).data, secret_len(pin));
}

static enum err fake_create(struct token *token, const struct token_create *create,
                            struct token_blob *ret_blob, uint8_t ret_point[P256_POINT_LEN])
{
	struct token_blob blob = {
		.parent = 1, .parent_name_len = 4, .public_area_len = 1, .private_area_len = BLOB_LEN
	};

	(void)token;
	if (fake_device()->absent)
		return ERR_NO_TOKEN;
	blob.private_area[BLOB_KIND] = (uint8_t)create->kind;
	blob.private_area[BLOB_HAS_PIN] = create->pin != NULL;
	if (create->pin)
		pin_hash(create->pin, blob.private_area + BLOB_PIN_HASH);
	if (create->kind == KEY_KIND_P256)
		p256_make(blob.private_area + BLOB_SECRET, ret_point);
	else
		memcpy(blob.private_area + BLOB_SECRET, secret_reveal(create->sealed).data, 32);
	*ret_blob = blob;
	return OK;
}

static enum err fake_load(struct token *token, const struct token_load *load, struct token_key **ret_key)
{
	struct token_key *key;

	if (fake_device()->absent)
		return ERR_NO_TOKEN;
	if (load->blob->private_area_len != BLOB_LEN || load->blob->private_area[BLOB_KIND] != load->kind)
		return ERR_TOKEN_STATE;
	key = calloc(1, sizeof(*key));
	if (!key)
		return ERR_NOMEM;
	memcpy(key->blob, load->blob->private_area, BLOB_LEN);
	key->generation = token->generation;
	fake_device()->loaded++;
	*ret_key = key;
	return OK;
}

static void fake_unload(struct token *token, struct token_key *key)
{
	(void)token;
	fake_device()->loaded--;
	free(key);
}

/* What every use of a key has in common. A key from before the device was opened again must never be seen here. */
static enum err use(struct token *token, const struct token_key *key, const struct secret *pin)
{
	struct fake_device *device = fake_device();
	uint8_t hash[32];

	if (key->generation != token->generation)
		abort();
	device->commands++;
	work(token);
	if (device->absent || device->lose_once) {
		device->lose_once = false;
		return ERR_NO_TOKEN;
	}
	if (device->fail) {
		enum err err = device->fail;

		device->fail = OK;
		return err;
	}
	if (!key->blob[BLOB_HAS_PIN])
		return OK;
	if (!pin)
		return ERR_PIN_NEEDED;
	pin_hash(pin, hash);
	if (memcmp(hash, key->blob + BLOB_PIN_HASH, 32) == 0)
		return OK;
	device->pin_failures++;
	return ERR_PIN_WRONG;
}

static enum err fake_ecdh(struct token *token, struct token_key *key, const struct secret *pin,
                          const uint8_t point[P256_POINT_LEN], struct secret **ret_x)
{
	CLEANUP(secret_freep) struct secret *x = NULL;
	enum err err = use(token, key, pin);

	if (!err)
		err = secret_new(32, &x);
	if (!err && !p256_ecdh(key->blob + BLOB_SECRET, point, secret_fill(x)))
		err = ERR_BAD_CIPHERTEXT;
	if (!err)
		*ret_x = TAKE(x);
	return err;
}

static enum err fake_unseal(struct token *token, struct token_key *key, const struct secret *pin,
                            struct secret **ret_sealed)
{
	enum err err = use(token, key, pin);

	return err ? err : secret_new_from(bytes_of(key->blob + BLOB_SECRET, 32), ret_sealed);
}

const struct token_ops fake_token_ops = {
	.scheme = "fake",
	.prepare = fake_prepare,
	.open = fake_open,
	.meanwhile = fake_meanwhile,
	.reopen = fake_reopen,
	.close = fake_close,
	.status = fake_status,
	.reset_count = fake_reset_count,
	.may_try_pin = fake_may_try_pin,
	.create = fake_create,
	.load = fake_load,
	.unload = fake_unload,
	.ecdh = fake_ecdh,
	.unseal = fake_unseal,
};
