/* The commands: one table of names, words and handlers. */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WORDS_MAX = 8 };
#define WDIOC_SETTIMEOUT 0xc0045706u /* linux/watchdog.h, which musl-tools does not bring */

struct request {
    char **words; /* words[0] is the command's name */
    uint64_t numbers[WORDS_MAX];
    const struct caller *from;
    char *answer;
};

#define ANSWER(r, ...) snprintf((r)->answer, ANSWER_MAX_BYTES, __VA_ARGS__)

static bool do_stat(struct request *r)
{
    struct timespec wall;

    clock_gettime(CLOCK_REALTIME, &wall);
    ANSWER(r,
           "spins=%llu dirtied=%llu dirty_mb=%llu ticks=%llu monotonic=%.6f wall=%lld.%06ld uptime=%.2f cpus=%u "
           "mem_kb=%llu mem_free_kb=%llu mem_available_kb=%llu flood_sent=%llu flood_received=%llu echoed=%llu",
           (unsigned long long)spin_count(), (unsigned long long)dirtied_pages(),
           (unsigned long long)dirty_region_mb(), (unsigned long long)tick_count(), (double)monotonic_ns() / 1e9,
           (long long)wall.tv_sec, wall.tv_nsec / 1000, (double)monotonic_ns() / 1e9, online_cpus(),
           (unsigned long long)meminfo_kb("MemTotal"), (unsigned long long)meminfo_kb("MemFree"),
           (unsigned long long)meminfo_kb("MemAvailable"), (unsigned long long)flood_sent_bytes(),
           (unsigned long long)flood_received_bytes(), (unsigned long long)echoed_bytes());
    return true;
}

static bool do_dirty(struct request *r)
{
    dirty(r->numbers[1], r->numbers[2], r->answer);
    return true;
}

static bool do_spin(struct request *r)
{
    spin((unsigned)r->numbers[1], 0, 0, r->answer);
    return true;
}

static bool do_spin_yield(struct request *r)
{
    if (r->numbers[2] == 0 || r->numbers[3] > r->numbers[2])
        ANSWER(r, "error PERIOD_US must be at least 1 and BUSY_US no more than it");
    else
        spin((unsigned)r->numbers[1], r->numbers[2], r->numbers[3], r->answer);
    return true;
}

static bool do_tick(struct request *r)
{
    set_tick_ms((unsigned)r->numbers[1]);
    ANSWER(r, "ok=1 tick=%llu", (unsigned long long)r->numbers[1]);
    return true;
}

static bool do_flood(struct request *r)
{
    struct in_addr to;

    if (inet_pton(AF_INET, r->words[1], &to) != 1 || r->numbers[2] == 0)
        ANSWER(r, "error flood wants an IPv4 address and a port");
    else
        flood(to, (unsigned)r->numbers[2], r->numbers[3], r->numbers[4], r->answer);
    return true;
}

/* Flushes what is dirty and gives the answer a moment to leave before the machine does. */
static void prepare_end(struct request *r)
{
    sync();
    send_answer(r->from, "ok=1");
    usleep(50000);
}

static bool do_poweroff(struct request *r)
{
    prepare_end(r);
    say("wirt-tiny poweroff");
    reboot(RB_POWER_OFF);
    return false;
}

static bool do_reboot(struct request *r)
{
    prepare_end(r);
    say("wirt-tiny reboot");
    reboot(RB_AUTOBOOT);
    return false;
}

static bool do_panic(struct request *r)
{
    prepare_end(r);
    write_file("/proc/sys/kernel/sysrq", "1");
    write_file("/proc/sysrq-trigger", "c");
    return false;
}

static bool do_watchdog(struct request *r)
{
    int timeout_s = (int)r->numbers[1];
    int fd = open("/dev/watchdog", O_WRONLY | O_CLOEXEC);

    /* Left open on purpose: closing it might stop it. */
    if (fd < 0)
        ANSWER(r, "error no watchdog: %s", strerror(errno));
    else if (timeout_s > 0 && ioctl(fd, (int)WDIOC_SETTIMEOUT, &timeout_s) != 0)
        ANSWER(r, "error the watchdog is running but refuses that timeout: %s", strerror(errno));
    else
        ANSWER(r, "ok=1");
    return true;
}

static bool do_settime(struct request *r)
{
    struct timespec now = {.tv_sec = (time_t)r->numbers[1]};

    if (clock_settime(CLOCK_REALTIME, &now) == 0)
        ANSWER(r, "ok=1");
    else
        ANSWER(r, "error %s", strerror(errno));
    return true;
}

/* ---- what takes long runs in a thread of its own, one at a time; the echo goes on meanwhile ---- */

struct long_job {
    struct caller to;
    enum { MEMORY, DISK, SPEED } what;
    struct disk_job disk;
    struct speed_job speed;
};

static _Atomic bool job_running;

static void *run_long_job(void *argument)
{
    struct long_job *job = argument;
    char answer[ANSWER_MAX_BYTES];

    if (job->what == MEMORY)
        verify_memory(answer);
    else if (job->what == DISK)
        run_disk_job(&job->disk, answer);
    else
        run_speed_job(&job->speed, answer);
    job_running = false;
    send_answer(&job->to, answer);
    if (job->to.stream)
        close(job->to.fd);
    free(job);
    return NULL;
}

static bool start_long_job(struct request *r, struct long_job job)
{
    pthread_t thread;
    struct long_job *copy;

    if (atomic_exchange(&job_running, true)) {
        ANSWER(r, "error busy");
        return true;
    }
    job.to = *r->from;
    /* The connection may be closed, and its number used again, before the answer is there. */
    if (job.to.stream)
        job.to.fd = fcntl(job.to.fd, F_DUPFD_CLOEXEC, 0);
    if ((copy = malloc(sizeof *copy)) != NULL) {
        *copy = job;
        if (pthread_create(&thread, NULL, run_long_job, copy) == 0) {
            pthread_detach(thread);
            return false;
        }
    }
    free(copy);
    if (job.to.stream)
        close(job.to.fd);
    job_running = false;
    ANSWER(r, "error not enough memory");
    return true;
}

static bool do_mem_verify(struct request *r)
{
    return start_long_job(r, (struct long_job){.what = MEMORY});
}

static bool is_device(const char *name)
{
    char path[NAME_MAX_BYTES + 16];
    struct stat found;

    if (strlen(name) >= NAME_MAX_BYTES || strchr(name, '/') != NULL || name[0] == '.')
        return false;
    snprintf(path, sizeof path, "/dev/%s", name);
    return stat(path, &found) == 0 && S_ISBLK(found.st_mode);
}

static bool do_disk(struct request *r)
{
    struct long_job job = {.what = DISK, .disk = {.offset = r->numbers[2], .bytes = r->numbers[3], .seed = r->numbers[4]}};

    if (!is_device(r->words[1])) {
        ANSWER(r, "error no such disk");
        return true;
    }
    strcpy(job.disk.device, r->words[1]);
    job.disk.verify = strcmp(r->words[0], "disk-verify") == 0;
    return start_long_job(r, job);
}

static bool do_disk_speed(struct request *r)
{
    struct long_job job = {.what = SPEED,
                           .speed = {.block_bytes = r->numbers[4], .depth = (unsigned)r->numbers[5], .ms = r->numbers[6]}};

    job.speed.write = strcmp(r->words[2], "write") == 0;
    job.speed.random = strcmp(r->words[3], "random") == 0;
    if (!is_device(r->words[1]))
        ANSWER(r, "error no such disk");
    else if (!job.speed.write && strcmp(r->words[2], "read") != 0)
        ANSWER(r, "error read or write");
    else if (!job.speed.random && strcmp(r->words[3], "seq") != 0)
        ANSWER(r, "error seq or random");
    else {
        strcpy(job.speed.device, r->words[1]);
        return start_long_job(r, job);
    }
    return true;
}

/* `limits` has one entry for each word after the name: the most that a number may be, or 0 for a word that is none. */
static const struct command {
    const char *name;
    bool (*run)(struct request *r);
    const char *usage;
    int words_least, words_most;
    uint64_t limits[WORDS_MAX];
} commands[] = {
    {"stat", do_stat, "", 0, 0, {0}},
    {"dirty", do_dirty, "MB MB/S", 1, 2, {1 << 20, 1 << 20}},
    {"spin", do_spin, "THREADS", 1, 1, {SPIN_MAX}},
    {"spin-yield", do_spin_yield, "THREADS PERIOD_US BUSY_US", 3, 3, {SPIN_MAX, 10000000, 10000000}},
    {"tick", do_tick, "MS", 1, 1, {3600000}},
    {"flood", do_flood, "ADDR PORT MBIT/S SECONDS", 4, 4, {0, 65535, 100000, 86400}},
    {"mem-verify", do_mem_verify, "", 0, 0, {0}},
    {"disk-write", do_disk, "DEVICE OFFSET BYTES SEED", 4, 4, {0, 1ull << 48, 1ull << 40, UINT64_MAX}},
    {"disk-verify", do_disk, "DEVICE OFFSET BYTES SEED", 4, 4, {0, 1ull << 48, 1ull << 40, UINT64_MAX}},
    {"disk-speed", do_disk_speed, "DEVICE read|write seq|random BLOCK DEPTH MS", 6, 6,
     {0, 0, 0, 1 << 20, DEPTH_MAX, 60000}},
    {"settime", do_settime, "UNIXTIME", 1, 1, {1ull << 33}},
    {"watchdog", do_watchdog, "[SECONDS]", 0, 1, {600}},
    {"panic", do_panic, "", 0, 0, {0}},
    {"poweroff", do_poweroff, "", 0, 0, {0}},
    {"reboot", do_reboot, "", 0, 0, {0}},
};

static bool read_numbers(const struct command *command, struct request *r, int words)
{
    if (words - 1 < command->words_least || words - 1 > command->words_most)
        return false;
    for (int i = 1; i < words; i++)
        if (command->limits[i - 1] != 0 && !parse_number(r->words[i], command->limits[i - 1], &r->numbers[i]))
            return false;
    return true;
}

bool run_command(char *line, const struct caller *from, char *answer)
{
    char *words[WORDS_MAX];
    struct request request = {.words = words, .from = from, .answer = answer};
    int n = split_words(line, words, WORDS_MAX);

    for (size_t i = 0; n > 0 && i < sizeof commands / sizeof *commands; i++) {
        const struct command *command = &commands[i];

        if (strcmp(words[0], command->name) != 0)
            continue;
        if (read_numbers(command, &request, n))
            return command->run(&request);
        snprintf(answer, ANSWER_MAX_BYTES, "error usage: %s %s", command->name, command->usage);
        return true;
    }
    snprintf(answer, ANSWER_MAX_BYTES, "error unknown command");
    return true;
}
