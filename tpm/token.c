#include "tpm/token.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include "common/encoding.h"
#include "tpm/crypto_ready.h"
#include "tpm/error.h"

static enum err token_prepare(const char *uri, struct token_sandbox *ret_sandbox)
{
	const struct tcti_driver *driver;
	const char *configuration;
	enum err err = tcti_driver_find(uri, &driver, &configuration);

	if (!err)
		err = tcti_sandbox(uri, ret_sandbox);
	if (!err)
		err = tcti_load(driver);
	/* No configuration file decides what cryptography this process uses, and none has to be read in the sandbox. */
	if (!err && OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		err = ERR_NOMEM;
	return err ? err : tpm_crypto_ready();
}

static void token_free(struct token *token)
{
	if (!token)
		return;
	tpm_device_close(token);
	free(token->uri);
	free(token);
}

static enum err token_open(const char *uri, struct token **ret_token)
{
	struct token *token = calloc(1, sizeof(*token));
	enum err err;

	if (!token)
		return ERR_NOMEM;
	token->session = ESYS_TR_NONE;
	token->persistent.object.tr = ESYS_TR_NONE;
	token->transient.object.tr = ESYS_TR_NONE;
	token->uri = strdup(uri);
	err = token->uri ? tcti_driver_find(token->uri, &token->driver, &token->configuration) : ERR_NOMEM;
	if (!err)
		err = tpm_device_open(token);
	if (err) {
		token_free(token);
		return err;
	}
	*ret_token = token;
	return OK;
}

static void token_meanwhile(struct token *token, const struct token_meanwhile *meanwhile)
{
	token->meanwhile = meanwhile;
	shim_meanwhile(token->shim, meanwhile);
}

static enum err token_reopen(struct token *token)
{
	tpm_device_close(token);
	return tpm_device_open(token);
}

/* Nothing of ours stays, not even what a broken connection has left. */
static void token_close(struct token *token)
{
	uint32_t count;

	if (token->broken && token_reopen(token) == OK)
		(void)!tpm_reset_count(token, &count);
	if (token->esys && !token->broken) {
		while (token->loaded)
			tpm_object_drop(token, token->loaded);
		tpm_session_flush(token);
		tpm_device_shutdown(token);
	}
	token_free(token);
}

/* ---- status ---- */

static uint32_t property(const TPMS_TAGGED_PROPERTY *properties, size_t count, TPM2_PT wanted)
{
	for (size_t i = 0; i < count; i++)
		if (properties[i].property == wanted)
			return properties[i].value;
	return 0;
}

/* Four characters in a number, padded with blanks or NULs; what could not be shown is left out. */
static void append_text(char *out, size_t out_len, uint32_t value)
{
	size_t len = strlen(out);

	for (int shift = 24; shift >= 0 && len + 1 < out_len; shift -= 8) {
		char c = (char)(value >> shift & 0xff);

		if (c > 0x20 && c < 0x7f)
			out[len++] = c;
	}
	out[len] = '\0';
}

static enum err status_maker(struct token *token, struct token_status *status)
{
	TPMS_TAGGED_PROPERTY properties[8];
	char maker[8] = "", model[24] = "";
	size_t count = 8;
	uint32_t firmware;
	enum err err = tpm_properties(token, TPM2_PT_MANUFACTURER, properties, &count);

	if (err)
		return err;
	append_text(maker, sizeof(maker), property(properties, count, TPM2_PT_MANUFACTURER));
	for (TPM2_PT part = TPM2_PT_VENDOR_STRING_1; part <= TPM2_PT_VENDOR_STRING_4; part++)
		append_text(model, sizeof(model), property(properties, count, part));
	firmware = property(properties, count, TPM2_PT_FIRMWARE_VERSION_1);
	(void)snprintf(status->manufacturer, sizeof(status->manufacturer), "%s %s %u.%u", maker, model,
	               firmware >> 16, firmware & 0xffff);
	return OK;
}

/* From TPM2_PT_PERMANENT on as far as TPM2_PT_LOCKOUT_INTERVAL. */
#define LOCKOUT_PROPERTIES (TPM2_PT_LOCKOUT_INTERVAL - TPM2_PT_PERMANENT + 1)

static enum err status_lockout(struct token *token, struct token_status *status)
{
	TPMS_TAGGED_PROPERTY properties[LOCKOUT_PROPERTIES];
	size_t count = LOCKOUT_PROPERTIES;
	enum err err = tpm_properties(token, TPM2_PT_PERMANENT, properties, &count);

	if (err)
		return err;
	status->in_lockout = property(properties, count, TPM2_PT_PERMANENT) & TPMA_PERMANENT_INLOCKOUT;
	status->pin_tries_left = (int)tpm_pin_tries(property(properties, count, TPM2_PT_LOCKOUT_COUNTER),
	                                            property(properties, count, TPM2_PT_MAX_AUTH_FAIL));
	status->pin_recovery = property(properties, count, TPM2_PT_LOCKOUT_INTERVAL);
	return OK;
}

/* A TPM has no serial number; its storage root key's Name tells it from others, once a key was used. */
static void status_serial(const struct token *token, struct token_status *status)
{
	const struct tpm_parent *parent = token->persistent.known ? &token->persistent : &token->transient;

	if (parent->known && parent->name.size >= 10)
		hex_encode(bytes_of(parent->name.name + 2, 8), status->serial);
}

/* Whether the keys that are kept for it are this device's own is seen from it. Where no slot is free that stays unknown. */
static enum err status_parent(struct token *token, struct token_status *status)
{
	TPM2B_NAME name;
	enum err err = tpm_parent_look(token, &name);

	if (err || name.size > sizeof(status->parent_name))
		return token->broken ? err : OK;
	status->parent = TPM_SRK_HANDLE;
	status->parent_name_len = name.size;
	memcpy(status->parent_name, name.name, name.size);
	return OK;
}

static enum err token_status(struct token *token, struct token_status *ret_status)
{
	struct token_status status = { .present = true, .simulation = token->driver->simulation };
	enum err err = tpm_reset_count(token, &status.reset_count);

	if (!err)
		err = status_maker(token, &status);
	if (!err)
		err = status_lockout(token, &status);
	if (!err)
		err = status_parent(token, &status);
	if (err)
		return err;
	status_serial(token, &status);
	status.commands = token->commands_before + shim_commands(token->shim);
	*ret_status = status;
	return OK;
}

/* ---- the vtable: nothing is asked of a context that is broken ---- */

static enum err checked_status(struct token *token, struct token_status *ret_status)
{
	return token->broken ? ERR_NO_TOKEN : token_status(token, ret_status);
}

static enum err checked_reset_count(struct token *token, uint32_t *ret_count)
{
	return token->broken ? ERR_NO_TOKEN : tpm_reset_count(token, ret_count);
}

static enum err checked_may_try_pin(struct token *token)
{
	return token->broken ? ERR_NO_TOKEN : tpm_may_try_pin(token);
}

static enum err checked_create(struct token *token, const struct token_create *create,
                               struct token_blob *ret_blob, uint8_t ret_point[P256_POINT_LEN])
{
	return token->broken ? ERR_NO_TOKEN : tpm_create(token, create, ret_blob, ret_point);
}

static enum err checked_load(struct token *token, const struct token_load *load, struct token_key **ret_key)
{
	return token->broken ? ERR_NO_TOKEN : tpm_load(token, load, ret_key);
}

static enum err checked_ecdh(struct token *token, struct token_key *key, const struct secret *pin,
                             const uint8_t point[P256_POINT_LEN], struct secret **ret_x)
{
	return token->broken ? ERR_NO_TOKEN : tpm_ecdh(token, key, pin, point, ret_x);
}

static enum err checked_unseal(struct token *token, struct token_key *key, const struct secret *pin,
                               struct secret **ret_sealed)
{
	return token->broken ? ERR_NO_TOKEN : tpm_unseal(token, key, pin, ret_sealed);
}

static void token_unload(struct token *token, struct token_key *key)
{
	tpm_object_drop(token, &key->object);
	free(key);
}

const struct token_ops tpm_token_ops = {
	.scheme = "tpm",
	.prepare = token_prepare,
	.open = token_open,
	.remember = tpm_sweep_remember,
	.meanwhile = token_meanwhile,
	.reopen = token_reopen,
	.close = token_close,
	.status = checked_status,
	.reset_count = checked_reset_count,
	.may_try_pin = checked_may_try_pin,
	.create = checked_create,
	.load = checked_load,
	.unload = token_unload,
	.ecdh = checked_ecdh,
	.unseal = checked_unseal,
};
