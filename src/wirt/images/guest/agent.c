/* The agent: ticks, the power button, CPUs that are plugged in, and the thread that serves the network. */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

/* From linux/input.h and linux/netlink.h, which musl-tools does not bring. */
enum { EV_KEY = 1, KEY_POWER = 116, NETLINK_KOBJECT_UEVENT = 15 };

struct input_event {
    long seconds, microseconds;
    uint16_t type, code;
    int32_t value;
};

struct netlink_address {
    uint16_t family, pad;
    uint32_t port, groups;
};

static pthread_mutex_t tick_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t tick_changed;
static unsigned tick_ms;
static uint64_t ticks;

bool is_disk(const char *name)
{
    return strncmp(name, "loop", 4) != 0 && strncmp(name, "ram", 3) != 0;
}

void set_tick_ms(unsigned ms)
{
    pthread_mutex_lock(&tick_lock);
    tick_ms = ms;
    pthread_cond_signal(&tick_changed);
    pthread_mutex_unlock(&tick_lock);
}

uint64_t tick_count(void)
{
    pthread_mutex_lock(&tick_lock);
    uint64_t n = ticks;
    pthread_mutex_unlock(&tick_lock);
    return n;
}

static void *run_ticks(void *unused)
{
    uint64_t due = monotonic_ns();

    (void)unused;
    pthread_mutex_lock(&tick_lock);
    for (;;) {
        while (tick_ms == 0) {
            pthread_cond_wait(&tick_changed, &tick_lock);
            due = monotonic_ns();
        }
        uint64_t now = monotonic_ns(), period = (uint64_t)tick_ms * 1000000u;

        if (now >= due) {
            uint64_t n = ++ticks;

            /* What was missed while stopped is not made up for. */
            due = now - due > period ? now + period : due + period;
            pthread_mutex_unlock(&tick_lock);
            say("tick %llu mono=%.3f", (unsigned long long)n, (double)now / 1e9);
            pthread_mutex_lock(&tick_lock);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
        if (pthread_cond_timedwait(&tick_changed, &tick_lock, &until) == 0)
            due = monotonic_ns();
    }
    return NULL;
}

static void power_off(void)
{
    say("wirt-tiny power button");
    sync();
    reboot(RB_POWER_OFF);
}

/* ACPI's power button is an input device; there may be one of its fixed and one of its device form. */
static struct pollfd buttons[8];
static nfds_t n_buttons;

/* Before `ready` is said: what is pressed after that must be heard. */
static void open_power_buttons(void)
{
    for (int i = 0; i < 32 && n_buttons < 8; i++) {
        char path[64], name[64];

        snprintf(path, sizeof path, "/sys/class/input/event%d/device/name", i);
        if (read_file(path, name, sizeof name) <= 0 || strstr(name, "Power Button") == NULL)
            continue;
        snprintf(path, sizeof path, "/dev/input/event%d", i);
        if ((buttons[n_buttons].fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0)
            buttons[n_buttons++].events = POLLIN;
    }
}

static void *watch_power_buttons(void *unused)
{
    struct input_event event;

    (void)unused;
    while (n_buttons > 0 && poll(buttons, n_buttons, -1) > 0)
        for (nfds_t i = 0; i < n_buttons; i++)
            if (buttons[i].revents != 0 && read(buttons[i].fd, &event, sizeof event) == sizeof event &&
                event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
                power_off();
    return NULL;
}

static pthread_mutex_t cpu_lock = PTHREAD_MUTEX_INITIALIZER;
static bool told_of_cpus;

bool switch_cpu(int64_t number, bool online, bool told)
{
    char path[64];
    bool done = true;

    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%lld/online", (long long)number);
    pthread_mutex_lock(&cpu_lock);
    told_of_cpus |= told;
    if (told || !told_of_cpus)
        done = write_file(path, online ? "1" : "0");
    pthread_mutex_unlock(&cpu_lock);
    return done;
}

/* A CPU that is plugged in stays unused until someone writes to its `online`; elsewhere udev does. Only the moment of
 * plugging counts, so that a CPU which a person took offline stays so; and none is brought up unasked any more once the
 * host has said which are to be used. */
static void *watch_cpus(void *unused)
{
    struct netlink_address address = {.family = AF_NETLINK, .groups = 1};
    char event[4096];
    unsigned cpu;
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

    (void)unused;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return NULL;
    for (;;) {
        ssize_t n = recv(fd, event, sizeof event - 1, 0);

        if (n <= 0)
            continue; /* the kernel dropped events: nothing to be done about it */
        event[n] = '\0';
        if (sscanf(event, "add@/devices/system/cpu/cpu%u", &cpu) != 1)
            continue;
        switch_cpu(cpu, true, false);
    }
}

static void start_thread(void *(*body)(void *))
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, body, NULL) != 0)
        say("wirt-tiny can't start a thread");
    else
        pthread_detach(thread);
}

static void start_load(const char *command, const char *arguments)
{
    struct caller nobody = {.fd = -1, .stream = true};
    char line[LINE_MAX_BYTES], answer[ANSWER_MAX_BYTES];

    if (arguments[0] == '\0')
        return;
    snprintf(line, sizeof line, "%s %s", command, arguments);
    for (char *c = line; *c != '\0'; c++)
        *c = *c == ':' ? ' ' : *c;
    if (run_command(line, &nobody, answer) && strncmp(answer, "error", 5) == 0)
        say("wirt-tiny %s=%s: %s", command, arguments, answer);
}

static void say_ready(void)
{
    char ip[64], nics[256], disks[256], up[64];
    struct utsname system;
    int cards = list_directory("/sys/class/net", is_network_card, nics, sizeof nics);

    first_address(ip, sizeof ip);
    list_directory("/sys/block", is_disk, disks, sizeof disks);
    uname(&system);
    if (read_file("/proc/uptime", up, sizeof up) < 0)
        up[0] = '\0';
    up[strcspn(up, " ")] = '\0';
    say("wirt-tiny ready cpus=%u mem_kb=%llu ip=%s nics=%d disks=%s kernel=%s up=%s", online_cpus(),
        (unsigned long long)meminfo_kb("MemTotal"), ip, cards, disks, system.release, up);
}

_Noreturn void run_agent(const struct params *p, int ready_fd)
{
    pthread_condattr_t monotonic;
    sigset_t port_signal;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&port_signal);
    sigaddset(&port_signal, SIGIO);
    sigprocmask(SIG_BLOCK, &port_signal, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&tick_changed, &monotonic);
    if (open_service() != 0) {
        say("wirt-tiny can't serve port %d: %s", ECHO_PORT, strerror(errno));
        exit(1);
    }
    open_power_buttons();
    start_thread(watch_power_buttons);
    start_thread(watch_cpus);
    start_thread(serve_channel);
    start_load("dirty", p->dirty);
    start_load("spin", p->spin);
    start_load("flood", p->flood);
    say_ready();
    if (write(ready_fd, "r", 1) != 1)
        exit(1);
    close(ready_fd);
    set_tick_ms(p->tick_ms);
    start_thread(run_ticks);
    run_service();
}
