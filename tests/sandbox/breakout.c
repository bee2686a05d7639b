/* Stands in for a QEMU that its guest has taken over: tries one thing that it must not be able to do.
 *
 *   breakout WHAT [ARGUMENT...]
 *
 * Exit status: 0 it could; 1 it could not, and says why; 2 it was asked nonsense. Everything is bounded, and aims only
 * at what the test has planted. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* linux/capability.h, which musl has not */
#define CAP_SYS_MODULE 16
struct cap_header { unsigned version; int pid; };
struct cap_data { unsigned effective, permitted, inheritable; };

static int could(const char *what) { printf("could: %s\n", what); return 0; }
static int refused(const char *what) { printf("refused: %s: %s\n", what, strerror(errno)); return 1; }

static int try_read(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY);
    return fd >= 0 && read(fd, &byte, 1) == 1 ? could(path) : refused(path);
}

static int try_write(const char *path) {
    int fd = open(path, O_WRONLY);
    return fd >= 0 && pwrite(fd, "breakout", 8, 0) == 8 ? could(path) : refused(path);
}

/* In any directory that there is. */
static int try_create(const char *path) {
    const char *places[] = {path, "/breakout", "/dev/breakout", "/tmp/breakout", "/usr/share/qemu/breakout"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (open(places[i], O_WRONLY | O_CREAT | O_EXCL, 0600) >= 0) {
            unlink(places[i]);
            return could(places[i]);
        }
    return refused("create a file anywhere");
}

static int try_unix(const char *path, int abstract) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path + abstract, path, sizeof address.sun_path - 2);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path) + !abstract;
    return connect(fd, (struct sockaddr *)&address, length) == 0 ? could(path) : refused(path);
}

static int try_tcp(const char *ip, const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, ip, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? could("connect") : refused("connect");
}

static int try_family(int family, int type) {
    return socket(family, type, 0) >= 0 ? could("open the socket") : refused("open the socket");
}

static int try_interface(const char *name) {
    return if_nametoindex(name) != 0 ? could(name) : refused(name);
}

static int try_signal(pid_t pid) {
    if (pid <= 1) return 2;
    return kill(pid, SIGUSR1) == 0 ? could("signal") : refused("signal");
}

static int try_ptrace(pid_t pid) {
    if (pid <= 1) return 2;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) return refused("ptrace");
    return could("ptrace"); /* let go when we end */
}

static int try_memory_of(pid_t pid, unsigned long address) {
    char byte;
    struct iovec ours = {&byte, 1}, theirs = {(void *)address, 1};
    return process_vm_readv(pid, &ours, 1, &theirs, 1, 0) == 1 ? could("read memory") : refused("read memory");
}

static unsigned long long effective(void) {
    struct cap_header header = {0x20080522, 0};
    struct cap_data data[2] = {{0}};
    syscall(SYS_capget, &header, data);
    return data[0].effective | (unsigned long long)data[1].effective << 32;
}

/* The right to is enough to know: nothing is ever loaded. */
static int try_module(void) {
    if (effective() >> CAP_SYS_MODULE & 1) return could("CAP_SYS_MODULE");
    if (syscall(SYS_init_module, NULL, 0, "") == 0 || errno != EPERM) return could("init_module was not refused");
    return refused("load a module");
}

static int try_capability(void) {
    errno = EPERM;
    return effective() != 0 ? could("have a capability") : refused("have a capability");
}

static int try_mount(const char *path) {
    const char *places[] = {path, "/dev", "/"};
    for (int i = 0; i < 3; i++)
        if (mount("breakout", places[i], "tmpfs", 0, "size=4k") == 0) {
            umount2(places[i], MNT_DETACH);
            return could(places[i]);
        }
    return refused("mount");
}

static int try_mknod(const char *path) {
    const char *places[] = {path, "/breakout", "/dev/breakout", "/tmp/breakout"};
    for (int i = 0; i < 4; i++)
        if (mknod(places[i], S_IFCHR | 0600, makedev(1, 3)) == 0) {
            unlink(places[i]);
            return could(places[i]);
        }
    return refused("make a device node");
}

static int try_namespace(int flags) {
    if (unshare(flags) == 0) return could("unshare");
    errno = 0;
    pid_t child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    if (child > 0) { waitpid(child, NULL, 0); return could("clone"); }
    return refused("a namespace of its own");
}

static int try_setuid(void) {
    if (setuid(0) == 0 || setresuid(-1, 0, -1) == 0) return could("become root");
    return refused("become root");
}

/* PATH is a program that says 0 when its effective uid is 0. */
static int try_setuid_program(const char *path) {
    execl(path, path, "am-i-root", NULL);
    return refused(path);
}

static int am_i_root(void) {
    errno = EPERM;
    return geteuid() == 0 ? could("am root") : refused("am not root");
}

static int try_memory(int mib) {
    for (int i = 0; i < mib; i++) {
        char *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) return refused("memory");
        memset(page, 1, 1 << 20);
    }
    return could("memory");
}

static int try_fork(int count) {
    pid_t children[64];
    int made = 0, error = 0;
    if (count > 64) return 2;
    for (; made < count; made++) {
        pid_t child = fork();
        if (child == 0) { pause(); _exit(0); }
        if (child < 0) { error = errno; break; }
        children[made] = child;
    }
    for (int i = 0; i < made; i++) { kill(children[i], SIGKILL); waitpid(children[i], NULL, 0); }
    errno = error;
    return made == count ? could("fork") : refused("fork");
}

/* Writes COUNT bytes at OFFSET of an inherited descriptor; in pieces, as one may fit where all do not. */
static int try_grow(int fd, long offset, long count) {
    static char data[65536];
    if (count > 64L << 20) return 2;
    for (long done = 0; done < count;) {
        ssize_t n = offset < 0 ? write(fd, data, sizeof data) : pwrite(fd, data, sizeof data, offset + done);
        if (n <= 0) return refused("write there");
        done += n;
    }
    return could("write there");
}

static int try_processes(void) {
    DIR *proc = opendir("/proc");
    if (proc == NULL) return refused("/proc");
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        int pid = atoi(entry->d_name);
        if (pid > 0 && pid != getpid()) return could("see another process");
    }
    errno = ENOENT;
    return refused("see another process");
}

/* A directory among the descriptors would be a way out by "..". */
static int try_directories(void) {
    struct stat about;
    for (int fd = 0; fd < 1024; fd++)
        if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) return could("reach a directory by descriptor");
    errno = ENOTDIR;
    return refused("reach a directory by descriptor");
}

static int list_descriptors(void) {
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd);
    return 0;
}

/* One frame of an experimental type (IEEE 802) to everybody, out of the interface that is named. */
static int try_frame(const char *interface) {
    unsigned char frame[60] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 0x88, 0xb5, 'o', 'u', 't'};
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    if (fd < 0) return refused("make a packet socket");
    to.sll_ifindex = (int)if_nametoindex(interface);
    if (to.sll_ifindex == 0) return refused("find the interface");
    return sendto(fd, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to) < 0 ? refused("send a frame")
                                                                                     : could("send a frame");
}

static int try_environment(const char *name) {
    errno = ENOENT;
    return getenv(name) != NULL ? could(name) : refused(name);
}

static int try_raise_limit(void) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_FSIZE, &limit) == 0 ? could("raise a limit") : refused("raise a limit");
}

static int try_core(const char *unused) {
    struct rlimit limit;
    (void)unused;
    getrlimit(RLIMIT_CORE, &limit);
    errno = EPERM;
    return limit.rlim_max > 4096 ? could("dump core") : refused("dump core");
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "", *a = count > 2 ? words[2] : "", *b = count > 3 ? words[3] : "";
    setbuf(stdout, NULL);
    if (!strcmp(what, "read")) return try_read(a);
    if (!strcmp(what, "write")) return try_write(a);
    if (!strcmp(what, "create")) return try_create(a);
    if (!strcmp(what, "unix")) return try_unix(a, 0);
    if (!strcmp(what, "abstract")) return try_unix(a, 1);
    if (!strcmp(what, "tcp")) return try_tcp(a, b);
    if (!strcmp(what, "packet")) return try_family(AF_PACKET, SOCK_RAW);
    if (!strcmp(what, "frame")) return try_frame(a);
    if (!strcmp(what, "vsock")) return try_family(AF_VSOCK, SOCK_STREAM);
    if (!strcmp(what, "netlink")) return try_family(AF_NETLINK, SOCK_RAW);
    if (!strcmp(what, "interface")) return try_interface(a);
    if (!strcmp(what, "signal")) return try_signal(atoi(a));
    if (!strcmp(what, "ptrace")) return try_ptrace(atoi(a));
    if (!strcmp(what, "memory-of")) return try_memory_of(atoi(a), strtoul(b, NULL, 0));
    if (!strcmp(what, "module")) return try_module();
    if (!strcmp(what, "capability")) return try_capability();
    if (!strcmp(what, "mount")) return try_mount(a);
    if (!strcmp(what, "mknod")) return try_mknod(a);
    if (!strcmp(what, "user-namespace")) return try_namespace(CLONE_NEWUSER);
    if (!strcmp(what, "network-namespace")) return try_namespace(CLONE_NEWNET);
    if (!strcmp(what, "setuid")) return try_setuid();
    if (!strcmp(what, "setuid-program")) return try_setuid_program(a);
    if (!strcmp(what, "am-i-root")) return am_i_root();
    if (!strcmp(what, "memory")) return try_memory(atoi(a));
    if (!strcmp(what, "fork")) return try_fork(atoi(a));
    if (!strcmp(what, "grow")) return try_grow(atoi(a), atol(b), atol(count > 4 ? words[4] : "0"));
    if (!strcmp(what, "processes")) return try_processes();
    if (!strcmp(what, "directories")) return try_directories();
    if (!strcmp(what, "descriptors")) return list_descriptors();
    if (!strcmp(what, "environment")) return try_environment(a);
    if (!strcmp(what, "raise-limit")) return try_raise_limit();
    if (!strcmp(what, "core")) return try_core(a);
    if (!strcmp(what, "exit")) return atoi(a);
    if (!strcmp(what, "crash")) abort();
    if (!strcmp(what, "wait")) { pause(); return 0; }
    fprintf(stderr, "breakout: what is %s?\n", what);
    return 2;
}
