/* Process 1: mounts, modules, network, the agent, a shell on the console. */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>


static void mount_all(void)
{
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    mount("tmpfs", "/tmp", "tmpfs", 0, "size=16m");
    mkdir("/dev/pts", 0755);
    mount("devpts", "/dev/pts", "devpts", 0, NULL);
}

static void load_module(const char *name)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "/modules/%s.ko", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    /* ENODEV: a driver that wants its hardware, say Xen's, and finds none. That is no news. */
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != ENODEV && errno != EEXIST))
        say("wirt-tiny can't load module %s: %s", name, strerror(errno));
    close(fd);
}

/* The builder resolved what depends on what and wrote the names in the order in which they load. */
static void load_modules(void)
{
    char text[4096];
    char *names[128];

    if (read_file("/modules/order", text, sizeof text) < 0)
        return;
    int n = split_words(text, names, 128);
    for (int i = 0; i < n; i++)
        load_module(names[i]);
}

static pid_t start_agent(const struct params *p)
{
    int ready[2];
    char byte;

    if (pipe2(ready, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        close(ready[0]);
        run_agent(p, ready[1]);
    }
    close(ready[1]);
    /* The shell's prompt must not stand before the `ready` line. The end of the file means that the agent died. */
    if (read(ready[0], &byte, 1) != 1)
        say("wirt-tiny agent did not start");
    close(ready[0]);
    return pid;
}

/* /dev/console can't be a controlling terminal; the real device behind it can. */
static void open_terminal(void)
{
    char text[256], path[300];

    if (read_file("/sys/class/tty/console/active", text, sizeof text) <= 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    char *last = strrchr(text, ' ');
    snprintf(path, sizeof path, "/dev/%s", last == NULL ? text : last + 1);
    int fd = open(path, O_RDWR);
    if (fd < 0)
        return;
    ioctl(fd, TIOCSCTTY, 1);
    for (int i = 0; i < 3; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
}

static pid_t start_shell(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    setsid();
    open_terminal();
    /* Until a line is waiting there is no shell, and so no prompt in the midst of what others read from the console.
     * That first line stays where it is: the shell will read it. */
    poll(&input, 1, -1);
    if (chdir("/") != 0)
        _exit(1);
    execl("/bin/busybox", "-sh", (char *)NULL);
    _exit(127);
}

/* Reaps everything, for orphans are ours; gives the console a new shell when the old one has left. */
static _Noreturn void reap(bool shell, pid_t agent)
{
    pid_t shell_pid = shell ? start_shell() : -1;

    for (;;) {
        int status = 0;
        pid_t pid = wait(&status);

        if (pid < 0)
            pause();
        else if (pid == agent)
            say("wirt-tiny agent ended with status %d", status);
        else if (pid == shell_pid) {
            sleep(1); /* a console that ends every shell at once must not keep us busy */
            shell_pid = start_shell();
        }
    }
}

int main(int argc, char **argv)
{
    struct params params;

    if (getpid() != 1)
        return run_client(argc, argv);
    umask(022);
    setenv("PATH", "/bin", 1);
    setenv("HOME", "/", 1);
    setenv("TERM", "vt102", 1);
    mount_all();
    load_modules();
    open_console();
    /* Memory that is plugged in later is used at once, as a guest's administrator would expect. */
    write_file("/sys/devices/system/memory/auto_online_blocks", "online");
    read_params(&params);
    if (sethostname(params.hostname, strlen(params.hostname)) != 0)
        say("wirt-tiny can't set hostname=%s", params.hostname);
    start_network(&params);
    reap(params.shell, start_agent(&params));
}
