#include "tokend/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static enum err drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[2] = { { 0 }, { 0 } };

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return ERR_SYSTEM;
	return syscall(SYS_capset, &header, none) < 0 ? ERR_SYSTEM : OK;
}

enum err sandbox_drop_privileges(const char *name, uid_t uid, gid_t gid)
{
	if (name &&
	    (initgroups(name, gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
		return ERR_SYSTEM;
	/* Changing the user made the process look harmless to others again. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return ERR_SYSTEM;
	return drop_capabilities();
}

/* Refused without a word, so that a library that tries takes its other way. */
static const int refused[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(process_madvise),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(kill),
	SCMP_SYS(tkill),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(kcmp),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(fsopen),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(setuid),
	SCMP_SYS(setgid),
	SCMP_SYS(setreuid),
	SCMP_SYS(setregid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setresgid),
	SCMP_SYS(setgroups),
	SCMP_SYS(capset),
	SCMP_SYS(personality),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(reboot),
	SCMP_SYS(swapon),
	SCMP_SYS(quotactl),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(open_by_handle_at),
};

/* Threads are made by clone(2), whose flags a filter can see; clone3(2)'s it cannot, so libc is told that there is none. */
static int add_rules(scmp_filter_ctx filter)
{
	int problem = 0;

	for (size_t i = 0; !problem && i < sizeof(refused) / sizeof(refused[0]); i++)
		problem = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	if (!problem)
		problem = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (!problem)
		problem = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
		                           SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	/* Only local sockets: the journal, the service manager, the name service. */
	if (!problem)
		problem = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
		                           SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0));
	return problem;
}

enum err sandbox_filter(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int problem;

	if (!filter)
		return ERR_SYSTEM;
	problem = add_rules(filter);
	/* A program of another architecture's system calls is none of ours. */
	if (!problem)
		problem = seccomp_load(filter);
	seccomp_release(filter);
	return problem ? ERR_SYSTEM : OK;
}
