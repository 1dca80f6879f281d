/* Runs a program and stops it, or makes it fail, at the n-th change of a folder.
 *
 *     faults FOLDER PROGRAM [ARGUMENT...]
 *
 * The program and its children run under a seccomp filter that hands every system call that may change a file to this
 * process, which lets it through or does what it was told on standard input, one order a line:
 *
 *     count            change number 0 is the next one; nothing is done to any
 *     kill N           the program is killed with SIGKILL instead of change number N
 *     fail N E C       changes number N to N+C-1 fail with errno E, unless they remove something, which takes no space
 *     path N E C TEXT  as fail, counting only changes of paths that contain TEXT
 *     trace            tells every change, `change CALL PATH`, of a renaming `change CALL OLD NEW`
 *     report           answers with the number of changes since the last order, and how many of them were failed
 *
 * The variable FAULTS_ORDER may hold the first order. Answers, `started PID` and `killed CALL PATH` go to standard output. A preloaded library would be simpler, but Rust's rustix
 * makes system calls without libc.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a call says which file it changes. */
enum place { DESCRIPTOR, PATH, PATH_AT };

static const struct call {
	int number;
	enum place place;
	int argument;
	const char *name;
} calls[] = {
	{ SYS_write, DESCRIPTOR, 0, "write" },
	{ SYS_writev, DESCRIPTOR, 0, "writev" },
	{ SYS_pwrite64, DESCRIPTOR, 0, "pwrite64" },
	{ SYS_pwritev, DESCRIPTOR, 0, "pwritev" },
	{ SYS_ftruncate, DESCRIPTOR, 0, "ftruncate" },
	{ SYS_fallocate, DESCRIPTOR, 0, "fallocate" },
	{ SYS_fsync, DESCRIPTOR, 0, "fsync" },
	{ SYS_fdatasync, DESCRIPTOR, 0, "fdatasync" },
	{ SYS_copy_file_range, DESCRIPTOR, 2, "copy_file_range" },
	{ SYS_sendfile, DESCRIPTOR, 0, "sendfile" },
	{ SYS_openat, PATH_AT, 1, "openat" },
	{ SYS_rename, PATH, 1, "rename" },
	{ SYS_renameat, PATH_AT, 3, "renameat" },
	{ SYS_renameat2, PATH_AT, 3, "renameat2" },
	{ SYS_linkat, PATH_AT, 3, "linkat" },
	{ SYS_link, PATH, 1, "link" },
	{ SYS_unlink, PATH, 0, "unlink" },
	{ SYS_unlinkat, PATH_AT, 1, "unlinkat" },
	{ SYS_rmdir, PATH, 0, "rmdir" },
	{ SYS_mkdir, PATH, 0, "mkdir" },
	{ SYS_mkdirat, PATH_AT, 1, "mkdirat" },
	{ SYS_utimensat, PATH_AT, 1, "utimensat" },
};
enum { CALLS = sizeof calls / sizeof *calls };

static const char *folder;
static pid_t child;

/* What to do to the next changes. */
static struct {
	enum { NOTHING, KILL, FAIL, TRACE } action;
	long from, count, seen, failed;
	int error;
	char text[PATH_MAX];
} order;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static int install_filter(void)
{
	struct sock_filter filter[CALLS + 12];
	int length = 0, at;
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (at = 0; at < CALLS; at++) {
		/* Two more instructions stand between these and the notification. */
		int left = CALLS - at - 1 + 1;
		if (calls[at].number == SYS_openat)
			left = CALLS - at - 1 + 2;
		filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[at].number, left, 0);
	}
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	/* Opening changes something if it may create or empties. */
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]));
	filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_CREAT | O_TRUNC, 0, 1);
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { .len = length, .filter = filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("PR_SET_NO_NEW_PRIVS");
	int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	if (listener < 0)
		die("seccomp");
	return listener;
}

static void send_descriptor(int socket, int descriptor)
{
	char byte = 0, control[CMSG_SPACE(sizeof descriptor)] = { 0 };
	struct iovec piece = { &byte, 1 };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof descriptor);
	memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
	if (sendmsg(socket, &message, 0) != 1)
		die("sendmsg");
}

static int receive_descriptor(int socket)
{
	int descriptor;
	char byte, control[CMSG_SPACE(sizeof descriptor)];
	struct iovec piece = { &byte, 1 };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
		die("recvmsg");
	memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof descriptor);
	return descriptor;
}

/* Reads a text in the caller's memory. */
static void read_text(pid_t pid, unsigned long address, char path[PATH_MAX])
{
	/* Up to the end of the page, then the next one: the text may end before memory does. */
	size_t length = 0;
	while (length < PATH_MAX - 1) {
		size_t piece = 4096 - (address + length) % 4096;
		if (piece > PATH_MAX - 1 - length)
			piece = PATH_MAX - 1 - length;
		struct iovec here = { path + length, piece }, there = { (void *)(address + length), piece };
		ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
		if (got <= 0)
			break;
		if (memchr(path + length, 0, got))
			return;
		length += got;
	}
	path[length] = 0;
}

/* The path that the call changes, or an empty text. Relative ones count as outside of the folder. */
static void find_path(const struct seccomp_notif *call, const struct call *kind, char path[PATH_MAX])
{
	if (kind->place == DESCRIPTOR) {
		char link[64];
		snprintf(link, sizeof link, "/proc/%d/fd/%d", call->pid, (int)call->data.args[kind->argument]);
		ssize_t length = readlink(link, path, PATH_MAX - 1);
		path[length < 0 ? 0 : length] = 0;
		return;
	}
	read_text(call->pid, call->data.args[kind->argument], path);
}

static void tell(const struct seccomp_notif *call, const struct call *kind, const char *path)
{
	char old[PATH_MAX] = "";
	/* The old name stands as far before the new one as a folder's descriptor takes. */
	if (!strncmp(kind->name, "rename", 6))
		read_text(call->pid, call->data.args[kind->place == PATH_AT ? 1 : 0], old);
	printf("change %s %s %s\n", kind->name, *old ? old : path, *old ? path : "");
	fflush(stdout);
}

static void answer(int listener, const struct seccomp_notif *call)
{
	struct seccomp_notif_resp response = { .id = call->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
	const struct call *kind = calls;
	char path[PATH_MAX];
	while (kind->number != call->data.nr)
		kind++;
	find_path(call, kind, path);
	size_t length = strlen(folder);
	if (!strncmp(path, folder, length) && (path[length] == '/' || !path[length]) && strstr(path, order.text)) {
		long number = order.seen++;
		if (order.action == TRACE)
			tell(call, kind, path);
		if (order.action == KILL && number == order.from) {
			printf("killed %s %s\n", kind->name, path);
			fflush(stdout);
			kill(child, SIGKILL);
			order.action = NOTHING;
			/* The call must not happen any more: it is answered by the process's death. */
			return;
		}
		int removes = kind->number == SYS_unlink || kind->number == SYS_unlinkat || kind->number == SYS_rmdir;
		if (order.action == FAIL && !removes && number >= order.from && number - order.from < order.count) {
			order.failed++;
			response.flags = 0;
			response.error = -order.error;
			fprintf(stderr, "failed %s %s with %s\n", kind->name, path, strerror(order.error));
		}
	}
	/* Fails if the caller has been killed meanwhile. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static void obey(char *line)
{
	char word[16] = "", text[PATH_MAX] = "";
	long from = 0, count = 0;
	int error = 0;
	sscanf(line, "%15s %ld %d %ld %4000s", word, &from, &error, &count, text);
	if (strcmp(word, "report")) {
		memset(&order, 0, sizeof order);
		order.action = !strcmp(word, "kill") ? KILL : !strcmp(word, "count") ? NOTHING : !strcmp(word, "trace") ? TRACE : FAIL;
		order.from = from;
		order.count = count;
		order.error = error;
		strcpy(order.text, text);
	}
	printf("%ld %ld\n", order.seen, order.failed);
	fflush(stdout);
}

/* Reads what there is of orders; false at their end. */
static int read_orders(void)
{
	static char buffer[PATH_MAX + 64];
	static size_t length;
	ssize_t got = read(0, buffer + length, sizeof buffer - 1 - length);
	if (got <= 0)
		return 0;
	length += got;
	buffer[length] = 0;
	char *end;
	while ((end = strchr(buffer, '\n'))) {
		*end++ = 0;
		obey(buffer);
		length -= end - buffer;
		memmove(buffer, end, length + 1);
	}
	return 1;
}

int main(int count, char **arguments)
{
	if (count < 3) {
		fprintf(stderr, "usage: faults FOLDER PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	folder = arguments[1];
	char *first = getenv("FAULTS_ORDER");
	if (first)
		obey(first);
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int nothing = open("/dev/null", O_RDWR);
		dup2(nothing, 0);
		dup2(2, 1);
		send_descriptor(pair[1], install_filter());
		execv(arguments[2], arguments + 2);
		die(arguments[2]);
	}
	close(pair[1]);
	int listener = receive_descriptor(pair[0]);
	close(pair[0]);
	printf("started %d\n", child);
	fflush(stdout);
	struct pollfd events[2] = { { listener, POLLIN, 0 }, { 0, POLLIN, 0 } };
	for (;;) {
		if (poll(events, 2, -1) < 0 && errno != EINTR)
			die("poll");
		if (events[1].revents && !read_orders()) {
			kill(child, SIGKILL);
			break;
		}
		if (events[0].revents & POLLIN) {
			struct seccomp_notif call = { 0 };
			if (!ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
				answer(listener, &call);
		}
		if (events[0].revents & (POLLHUP | POLLERR))
			break;
	}
	int status;
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
