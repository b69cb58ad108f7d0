#include "tests/fake/swtpm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX 4096U

static void must(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

int swtpm_available(void)
{
	return access("/usr/bin/swtpm", X_OK) == 0;
}

static int swtpm_connect(const struct swtpm *swtpm)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0, "socket");
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", swtpm->socket);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

static void wait_for_socket(const struct swtpm *swtpm)
{
	const struct timespec pause = { 0, 5000000 };

	for (int i = 0; i < 1000; i++) {
		int fd = swtpm_connect(swtpm);

		if (fd >= 0) {
			(void)close(fd);
			return;
		}
		(void)nanosleep(&pause, NULL);
	}
	must(0, "swtpm did not start");
}

void swtpm_start(struct swtpm *swtpm)
{
	char state[96], server[128], control[128];

	(void)snprintf(state, sizeof(state), "dir=%s", swtpm->directory);
	(void)snprintf(server, sizeof(server), "type=unixio,path=%s", swtpm->socket);
	(void)snprintf(control, sizeof(control), "type=unixio,path=%s.ctrl", swtpm->socket);
	swtpm->pid = fork();
	must(swtpm->pid >= 0, "fork");
	if (swtpm->pid == 0) {
		int null = open("/dev/null", O_RDWR);

		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
		(void)close_range(3, ~0U, 0);
		(void)alarm(120);
		(void)execl("/usr/bin/swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server",
		            server, "--ctrl", control, "--flags", "not-need-init,startup-clear", NULL);
		_exit(127);
	}
	wait_for_socket(swtpm);
}

void swtpm_new(struct swtpm *swtpm)
{
	memset(swtpm, 0, sizeof(*swtpm));
	(void)snprintf(swtpm->directory, sizeof(swtpm->directory), "/tmp/tokend-swtpm.XXXXXX");
	must(mkdtemp(swtpm->directory) != NULL, "mkdtemp");
	(void)snprintf(swtpm->socket, sizeof(swtpm->socket), "%s/s", swtpm->directory);
	(void)snprintf(swtpm->uri, sizeof(swtpm->uri), "tpm:swtpm:path=%s", swtpm->socket);
	swtpm_start(swtpm);
}

void swtpm_stop(struct swtpm *swtpm, int orderly)
{
	char name[96];

	if (orderly)
		must(swtpm_command(swtpm, "8001 00000145 0000", NULL, NULL) == 0, "TPM2_Shutdown");
	(void)kill(swtpm->pid, SIGKILL);
	(void)waitpid(swtpm->pid, NULL, 0);
	(void)unlink(swtpm->socket);
	(void)snprintf(name, sizeof(name), "%s.ctrl", swtpm->socket);
	(void)unlink(name);
}

void swtpm_free(struct swtpm *swtpm)
{
	static const char *const files[] = { "tpm2-00.permall", "tpm2-00.volatilestate", ".lock" };
	char name[128];

	swtpm_stop(swtpm, 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(name, sizeof(name), "%s/%s", swtpm->directory, files[i]);
		(void)unlink(name);
	}
	(void)rmdir(swtpm->directory);
}

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t len = 0;
	unsigned byte;

	for (; *hex; hex++) {
		if (*hex == ' ')
			continue;
		must(sscanf(hex, "%2x", &byte) == 1, "hexadecimal");
		out[len++] = (uint8_t)byte;
		hex++;
	}
	return len;
}

static uint32_t u32_at(const uint8_t *data)
{
	return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

uint32_t swtpm_command(const struct swtpm *swtpm, const char *hex, uint8_t *answer, size_t *answer_len)
{
	uint8_t body[512], packet[516], response[ANSWER_MAX];
	size_t len = from_hex(hex, body), got = 0;
	int fd = swtpm_connect(swtpm);

	must(fd >= 0, "swtpm is not there");
	memcpy(packet, body, 2);
	memcpy(packet + 6, body + 2, len - 2);
	len += 4;
	packet[2] = packet[3] = 0;
	packet[4] = (uint8_t)(len >> 8);
	packet[5] = (uint8_t)len;
	must(write(fd, packet, len) == (ssize_t)len, "write");
	while (got < 10 || got < u32_at(response + 2)) {
		ssize_t n = read(fd, response + got, sizeof(response) - got);

		must(n > 0, "read");
		got += (size_t)n;
	}
	(void)close(fd);
	if (answer)
		memcpy(answer, response, got);
	if (answer_len)
		*answer_len = got;
	return u32_at(response + 6);
}

/* Count, then handles. */
static void handles(const struct swtpm *swtpm, const char *first, uint8_t answer[static ANSWER_MAX])
{
	char hex[80];

	(void)snprintf(hex, sizeof(hex), "8001 0000017a 00000001 %s 00000020", first);
	must(swtpm_command(swtpm, hex, answer, NULL) == 0, "TPM2_GetCapability");
}

unsigned swtpm_objects(const struct swtpm *swtpm)
{
	uint8_t answer[ANSWER_MAX];

	handles(swtpm, "80000000", answer);
	return u32_at(answer + 15);
}

unsigned swtpm_sessions(const struct swtpm *swtpm)
{
	uint8_t answer[ANSWER_MAX];

	handles(swtpm, "02000000", answer);
	return u32_at(answer + 15);
}

uint32_t swtpm_first_object(const struct swtpm *swtpm)
{
	uint8_t answer[ANSWER_MAX];

	handles(swtpm, "80000000", answer);
	return u32_at(answer + 15) > 0 ? u32_at(answer + 19) : 0;
}

/* A hash sequence is an object that anybody can start without authorisation. */
uint32_t swtpm_take_object(const struct swtpm *swtpm)
{
	uint8_t answer[ANSWER_MAX];

	return swtpm_command(swtpm, "8001 00000186 0000 000b", answer, NULL) == 0 ? u32_at(answer + 10) : 0;
}

uint32_t swtpm_take_session(const struct swtpm *swtpm)
{
	uint8_t answer[ANSWER_MAX];

	return swtpm_command(swtpm,
	                     "8001 00000176 40000007 40000007 0010 00112233445566778899aabbccddeeff 0000 00 "
	                     "0010 000b",
	                     answer, NULL) == 0
	               ? u32_at(answer + 10)
	               : 0;
}

int swtpm_try_flush(const struct swtpm *swtpm, uint32_t handle)
{
	char hex[64];

	(void)snprintf(hex, sizeof(hex), "8001 00000165 %08x", handle);
	return swtpm_command(swtpm, hex, NULL, NULL) == 0;
}

void swtpm_flush(const struct swtpm *swtpm, uint32_t handle)
{
	must(swtpm_try_flush(swtpm, handle), "TPM2_FlushContext");
}

#define NO_AUTHORISATION "00000009 40000009 0000 00 0000"

void swtpm_evict_srk(const struct swtpm *swtpm)
{
	must(swtpm_command(swtpm, "8002 00000120 40000001 81000001 " NO_AUTHORISATION " 81000001", NULL,
	                   NULL) == 0,
	     "TPM2_EvictControl");
}

/* A P-256 key: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, sign. */
void swtpm_occupy_srk(const struct swtpm *swtpm)
{
	uint8_t answer[ANSWER_MAX];
	char hex[160];

	must(swtpm_command(swtpm,
	                   "8002 00000131 40000001 " NO_AUTHORISATION
	                   " 0004 0000 0000 0016 0023 000b 00040072 0000 0010 0010 0003 0010 0000 0000 0000 "
	                   "00000000",
	                   answer, NULL) == 0,
	     "TPM2_CreatePrimary");
	(void)snprintf(hex, sizeof(hex), "8002 00000120 40000001 %08x " NO_AUTHORISATION " 81000001",
	               u32_at(answer + 10));
	must(swtpm_command(swtpm, hex, NULL, NULL) == 0, "TPM2_EvictControl");
	swtpm_flush(swtpm, u32_at(answer + 10));
}

void swtpm_forgive(const struct swtpm *swtpm)
{
	must(swtpm_command(swtpm, "8002 00000139 4000000a " NO_AUTHORISATION, NULL, NULL) == 0,
	     "TPM2_DictionaryAttackLockReset");
}
