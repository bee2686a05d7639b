/* The QEMU guest agent's protocol on its virtio port (QEMU docs/interop/qemu-ga-ref), as much of it as wirt uses.
 *
 * The port is read without blocking. A signal tells of bytes, and of a host that comes or goes: waiting with poll()
 * would spin while no host is connected.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define PORT_NAME "org.qemu.guest_agent.0"
#define PORTS "/sys/class/virtio-ports"
#define CPUS "/sys/devices/system/cpu"
#define FREEZE_FS 0xc0045877u /* FIFREEZE and FITHAW of linux/fs.h, which musl-tools does not bring */
#define THAW_FS 0xc0045878u

enum {
    REQUEST_MAX = 4096,
    REPLY_MAX = 4096,
    FROZEN_MAX = 16,
    PORT_WAIT_MS = 10000, /* the port appears a moment after its driver */
    HELD_S = 10,          /* nobody holds the file systems for longer */
    DELIMITER = 0xff,
};

static int port_fd = -1;
static bool frozen;
static uint64_t frozen_until_ns;
static int frozen_fds[FROZEN_MAX];
static int n_frozen;

/* ---- JSON, strictly as far as it is looked at ---- */

static const char *skip_blank(const char *c)
{
    return c + strspn(c, " \t\r\n");
}

/* The end of the string that begins at the quote `c`, behind its closing quote; NULL if it has none. */
static const char *skip_string(const char *c)
{
    for (c++; *c != '"'; c++) {
        if (*c == '\\')
            c++;
        if (*c == '\0')
            return NULL;
    }
    return c + 1;
}

static const char *skip_value(const char *c)
{
    int depth = 0;

    c = skip_blank(c);
    do {
        if (*c == '"') {
            if ((c = skip_string(c)) == NULL)
                return NULL;
            continue;
        }
        if (*c == '{' || *c == '[')
            depth++;
        else if (*c == '}' || *c == ']')
            depth--;
        else if (*c == '\0')
            return NULL;
        c++;
    } while (depth > 0 || (depth == 0 && *c != '\0' && strchr(",}] \t\r\n", *c) == NULL));
    return depth == 0 ? c : NULL;
}

/* The value of `key` in the object that begins at `c`, or NULL. */
static const char *member(const char *c, const char *key)
{
    size_t length = strlen(key);

    if (c == NULL || *(c = skip_blank(c)) != '{')
        return NULL;
    for (c = skip_blank(c + 1); *c == '"'; c = skip_blank(c + 1)) {
        const char *name = c + 1, *end = skip_string(c);

        if (end == NULL || *(c = skip_blank(end)) != ':')
            return NULL;
        c = skip_blank(c + 1);
        if ((size_t)(end - 1 - name) == length && strncmp(name, key, length) == 0)
            return c;
        if ((c = skip_value(c)) == NULL || *(c = skip_blank(c)) != ',')
            return NULL;
    }
    return NULL;
}

static bool number_of(const char *value, int64_t *number)
{
    char *end;

    if (value == NULL || (*value != '-' && (*value < '0' || *value > '9')))
        return false;
    errno = 0;
    *number = strtoll(value, &end, 10);
    return errno == 0 && *end != '\0' && strchr(",} \t\r\n", *end) != NULL;
}

/* ---- the commands: each writes what it returns, or false and why ---- */

static bool say_that(char *reply, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Always true, so that a command can end with it. */
static bool say_that(char *reply, const char *format, ...)
{
    va_list words;

    va_start(words, format);
    vsnprintf(reply, REPLY_MAX, format, words);
    va_end(words);
    return true;
}

static bool do_ping(const char *arguments, char *reply)
{
    (void)arguments;
    return say_that(reply, "{}");
}

static bool do_sync(const char *arguments, char *reply)
{
    int64_t id;

    if (!number_of(member(arguments, "id"), &id)) {
        say_that(reply, "it needs an id, which is a number");
        return false;
    }
    return say_that(reply, "%lld", (long long)id);
}

static int thaw(void)
{
    int thawed = 0;

    for (; n_frozen > 0; close(frozen_fds[--n_frozen]))
        thawed += ioctl(frozen_fds[n_frozen - 1], THAW_FS, 0) == 0;
    frozen = false;
    return thawed;
}

/* Every file system on a disk that is mounted to be written, once. The last one mounted comes first: it may lie in a
 * file of one that was mounted before. */
static bool freeze(char *reply)
{
    struct mntent *entry;
    int fds[FROZEN_MAX], n = 0;
    FILE *mounts = setmntent("/proc/self/mounts", "r");

    while (mounts != NULL && (entry = getmntent(mounts)) != NULL && n < FROZEN_MAX)
        if (strncmp(entry->mnt_fsname, "/dev/", 5) == 0 && hasmntopt(entry, "rw") != NULL &&
            (fds[n] = open(entry->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0)
            n++;
    if (mounts != NULL)
        endmntent(mounts);
    frozen = true;
    frozen_until_ns = monotonic_ns() + HELD_S * 1000000000ull;
    while (n > 0) {
        int fd = fds[--n];

        /* EBUSY: frozen already, by another mount of the same; EOPNOTSUPP: it can't be. */
        if (ioctl(fd, FREEZE_FS, 0) == 0) {
            frozen_fds[n_frozen++] = fd;
            continue;
        }
        int error = errno;
        close(fd);
        if (error == EBUSY || error == EOPNOTSUPP)
            continue;
        say_that(reply, "a file system can't be frozen: %s", strerror(error));
        for (; n > 0; n--)
            close(fds[n - 1]);
        thaw();
        return false;
    }
    return true;
}

static bool do_freeze(const char *arguments, char *reply)
{
    (void)arguments;
    if (frozen) {
        say_that(reply, "the file systems are frozen already");
        return false;
    }
    return freeze(reply) && say_that(reply, "%d", n_frozen);
}

static bool do_thaw(const char *arguments, char *reply)
{
    (void)arguments;
    return say_that(reply, "%d", thaw());
}

static bool do_status(const char *arguments, char *reply)
{
    (void)arguments;
    return say_that(reply, frozen ? "\"frozen\"" : "\"thawed\"");
}

static bool do_set_time(const char *arguments, char *reply)
{
    int64_t ns;

    if (!number_of(member(arguments, "time"), &ns) || ns < 0) {
        say_that(reply, "it needs a time, in nanoseconds since the epoch");
        return false;
    }
    struct timespec now = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    if (clock_settime(CLOCK_REALTIME, &now) != 0) {
        say_that(reply, "the clock can't be set: %s", strerror(errno));
        return false;
    }
    return say_that(reply, "{}");
}

static bool do_get_time(const char *arguments, char *reply)
{
    struct timespec now;

    (void)arguments;
    clock_gettime(CLOCK_REALTIME, &now);
    return say_that(reply, "%lld%09ld", (long long)now.tv_sec, now.tv_nsec);
}

static bool do_osinfo(const char *arguments, char *reply)
{
    struct utsname system;

    (void)arguments;
    uname(&system);
    return say_that(reply,
                    "{\"id\": \"wirt-tiny\", \"name\": \"wirt-tiny\", \"pretty-name\": \"wirt's tiny guest\", "
                    "\"kernel-release\": \"%s\", \"machine\": \"%s\"}",
                    system.release, system.machine);
}

static int prefix_of(struct in_addr mask)
{
    return __builtin_popcount(mask.s_addr);
}

/* One card as an object; 0 if there is no room for it. */
static int describe_card(int fd, const char *name, char *text, size_t size)
{
    struct ifreq request = {0};
    struct sockaddr_in in;
    char path[300], mac[32], address[160] = "";

    snprintf(path, sizeof path, "/sys/class/net/%s/address", name);
    if (read_file(path, mac, sizeof mac) < 0)
        mac[0] = '\0';
    mac[strcspn(mac, "\n")] = '\0';
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, SIOCGIFADDR, &request) == 0) {
        char ip[INET_ADDRSTRLEN];

        memcpy(&in, &request.ifr_addr, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, ip, sizeof ip);
        ioctl(fd, SIOCGIFNETMASK, &request);
        memcpy(&in, &request.ifr_netmask, sizeof in);
        snprintf(address, sizeof address,
                 "{\"ip-address-type\": \"ipv4\", \"ip-address\": \"%s\", \"prefix\": %d}", ip,
                 prefix_of(in.sin_addr));
    }
    int length = snprintf(text, size, "{\"name\": \"%s\", \"hardware-address\": \"%s\", \"ip-addresses\": [%s]}", name,
                          mac, address);
    return length < 0 || (size_t)length >= size ? 0 : length;
}

static bool do_interfaces(const char *arguments, char *reply)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    DIR *cards = opendir("/sys/class/net");
    struct dirent *card;
    size_t used = 1;

    (void)arguments;
    reply[0] = '[';
    while (fd >= 0 && cards != NULL && (card = readdir(cards)) != NULL) {
        if (card->d_name[0] == '.' || used + 3 > REPLY_MAX)
            continue;
        /* Two bytes before for the comma, one behind for the bracket. */
        int length = describe_card(fd, card->d_name, reply + used + (used > 1 ? 2 : 0), REPLY_MAX - used - 3);
        if (length == 0)
            continue;
        if (used > 1) {
            memcpy(reply + used, ", ", 2);
            used += 2;
        }
        used += (size_t)length;
    }
    if (cards != NULL)
        closedir(cards);
    close(fd);
    reply[used] = ']';
    reply[used + 1] = '\0';
    return true;
}

/* A CPU without a file `online` can't be taken offline. */
static bool do_get_vcpus(const char *arguments, char *reply)
{
    DIR *cpus = opendir(CPUS);
    struct dirent *cpu;
    size_t used = 1;
    bool room = true;

    (void)arguments;
    reply[0] = '[';
    while (cpus != NULL && room && (cpu = readdir(cpus)) != NULL) {
        char path[320], online[8];
        unsigned number;
        int end = 0;

        if (sscanf(cpu->d_name, "cpu%u%n", &number, &end) != 1 || cpu->d_name[end] != '\0')
            continue;
        snprintf(path, sizeof path, CPUS "/%s/online", cpu->d_name);
        bool fixed = read_file(path, online, sizeof online) <= 0;
        int length = snprintf(reply + used, REPLY_MAX - used,
                              "%s{\"logical-id\": %u, \"online\": %s, \"can-offline\": %s}", used > 1 ? ", " : "", number,
                              fixed || online[0] == '1' ? "true" : "false", fixed ? "false" : "true");
        used += (size_t)length;
        room = used + 2 <= REPLY_MAX;
    }
    if (cpus != NULL)
        closedir(cpus);
    if (!room) {
        say_that(reply, "there are too many to be told");
        return false;
    }
    reply[used] = ']';
    reply[used + 1] = '\0';
    return true;
}

/* In the order in which they are named; how many of them before the first that failed. */
static bool do_set_vcpus(const char *arguments, char *reply)
{
    const char *c = member(arguments, "vcpus");
    int done = 0;

    if (c == NULL || *c != '[') {
        say_that(reply, "it needs vcpus, which is a list");
        return false;
    }
    for (c = skip_blank(c + 1); *c == '{'; c = skip_blank(c + 1)) {
        const char *online = member(c, "online");
        int64_t number;

        if (online == NULL || !number_of(member(c, "logical-id"), &number) || (c = skip_value(c)) == NULL) {
            say_that(reply, "a vCPU has a logical-id, and is online or not");
            return false;
        }
        errno = 0;
        if (!switch_cpu(number, strncmp(online, "true", 4) == 0, true)) {
            if (done > 0)
                break;
            say_that(reply, "vCPU %lld can't be switched: %s", (long long)number, strerror(errno));
            return false;
        }
        done++;
        if (*(c = skip_blank(c)) != ',')
            break;
    }
    return say_that(reply, "%d", done);
}

/* Nothing is answered, as the protocol has it. */
static bool do_shutdown(const char *arguments, char *reply)
{
    const char *mode = member(arguments, "mode");

    (void)reply;
    thaw();
    sync();
    if (mode != NULL && strncmp(mode, "\"reboot\"", 8) == 0)
        reboot(RB_AUTOBOOT);
    reboot(mode != NULL && strncmp(mode, "\"halt\"", 6) == 0 ? RB_HALT_SYSTEM : RB_POWER_OFF);
    return true;
}

static bool do_info(const char *arguments, char *reply);

static const struct {
    const char *name;
    bool (*run)(const char *arguments, char *reply);
    bool while_frozen;
} commands[] = {
    {"guest-ping", do_ping, true},
    {"guest-sync", do_sync, true},
    {"guest-sync-delimited", do_sync, true},
    {"guest-info", do_info, true},
    {"guest-fsfreeze-status", do_status, true},
    {"guest-fsfreeze-freeze", do_freeze, true},
    {"guest-fsfreeze-thaw", do_thaw, true},
    {"guest-set-time", do_set_time, false},
    {"guest-get-time", do_get_time, false},
    {"guest-get-osinfo", do_osinfo, false},
    {"guest-network-get-interfaces", do_interfaces, false},
    {"guest-get-vcpus", do_get_vcpus, false},
    {"guest-set-vcpus", do_set_vcpus, false},
    {"guest-shutdown", do_shutdown, false},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static bool do_info(const char *arguments, char *reply)
{
    size_t used = 0;

    (void)arguments;
    used += (size_t)snprintf(reply, REPLY_MAX, "{\"version\": \"wirt-tiny 1\", \"supported_commands\": [");
    for (int i = 0; i < N_COMMANDS; i++)
        used += (size_t)snprintf(reply + used, REPLY_MAX - used,
                                 "%s{\"name\": \"%s\", \"enabled\": %s, \"success-response\": %s}",
                                 i == 0 ? "" : ", ", commands[i].name,
                                 frozen && !commands[i].while_frozen ? "false" : "true",
                                 commands[i].run == do_shutdown ? "false" : "true");
    snprintf(reply + used, REPLY_MAX - used, "]}");
    return true;
}

static bool run_request(const char *request, bool *delimited, char *reply)
{
    const char *name = member(request, "execute");

    for (int i = 0; name != NULL && i < N_COMMANDS; i++) {
        size_t length = strlen(commands[i].name);

        if (strncmp(name + 1, commands[i].name, length) != 0 || name[length + 1] != '"')
            continue;
        *delimited = strcmp(commands[i].name, "guest-sync-delimited") == 0;
        if (!frozen || commands[i].while_frozen)
            return commands[i].run(member(request, "arguments"), reply);
        say_that(reply, "not while the file systems are frozen");
        return false;
    }
    say_that(reply, name == NULL ? "that is no request" : "that command is not known");
    return false;
}

/* ---- the port ---- */

/* A host that has gone or does not read gets no answer: it would be an old one when the next is there. */
static void write_all(const char *text, size_t length)
{
    for (int tries = 0; length > 0 && tries < 200;) {
        ssize_t n = write(port_fd, text, length);

        if (n > 0) {
            text += n;
            length -= (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return;
        } else {
            tries++;
            sleep_until_ns(monotonic_ns() + 10000000u);
        }
    }
}

static void serve_line(const char *request)
{
    static char reply[REPLY_MAX], text[REPLY_MAX + 128];
    bool delimited = false;
    bool done = run_request(request, &delimited, reply);
    const char *format = done ? "%s{\"return\": %s}\n"
                              : "%s{\"error\": {\"class\": \"GenericError\", \"desc\": \"%s\"}}\n";

    snprintf(text, sizeof text, format, done && delimited ? "\xff" : "", reply);
    write_all(text, strlen(text));
}

/* Whole lines of what is in `line`; what is left of it is moved to its front. A delimiter makes all before it void. */
static size_t serve_lines(char *line, size_t used)
{
    size_t start = 0;

    for (size_t i = 0; i < used; i++) {
        if ((unsigned char)line[i] == DELIMITER) {
            start = i + 1;
        } else if (line[i] == '\n') {
            line[i] = '\0';
            if (*skip_blank(line + start) != '\0')
                serve_line(line + start);
            start = i + 1;
        }
    }
    memmove(line, line + start, used - start);
    return used - start;
}

static void wait_for_signal(void)
{
    struct timespec limit = {.tv_sec = 60};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGIO);
    if (frozen) {
        uint64_t now = monotonic_ns(), left = now < frozen_until_ns ? frozen_until_ns - now : 0;

        limit = (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    }
    sigtimedwait(&signals, NULL, &limit);
    if (frozen && monotonic_ns() >= frozen_until_ns)
        thaw();
}

/* The device of the port with the agent's name, which udev elsewhere makes a link to. */
static bool find_port(char *path, size_t size)
{
    DIR *ports = opendir(PORTS);
    struct dirent *port;
    bool found = false;

    while (ports != NULL && !found && (port = readdir(ports)) != NULL) {
        char file[300], name[64];

        snprintf(file, sizeof file, PORTS "/%s/name", port->d_name);
        if (port->d_name[0] == '.' || read_file(file, name, sizeof name) <= 0)
            continue;
        name[strcspn(name, "\n")] = '\0';
        found = strcmp(name, PORT_NAME) == 0;
        snprintf(path, size, "/dev/%s", port->d_name);
    }
    if (ports != NULL)
        closedir(ports);
    return found;
}

static bool open_port(void)
{
    char path[300];

    for (int waited = 0; !find_port(path, sizeof path); waited += 100) {
        if (waited >= PORT_WAIT_MS)
            return false; /* this guest has none */
        sleep_until_ns(monotonic_ns() + 100000000u);
    }
    port_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return port_fd >= 0 && fcntl(port_fd, F_SETOWN, getpid()) == 0 &&
           fcntl(port_fd, F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC) == 0;
}

void *serve_channel(void *unused)
{
    static char line[REQUEST_MAX];
    size_t used = 0;

    (void)unused;
    if (!open_port())
        return NULL;
    for (;;) {
        ssize_t n = read(port_fd, line + used, sizeof line - used);

        if (n > 0) {
            used = serve_lines(line, used + (size_t)n);
            if (used == sizeof line)
                used = 0; /* no request is that long */
            continue;
        }
        if (n == 0)
            used = 0; /* that host has gone */
        wait_for_signal();
    }
}
