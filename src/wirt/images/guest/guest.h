/* What the parts of the tiny guest know of each other.
 *
 * One static program is the whole user space beside busybox. As process 1 it mounts, loads modules, brings up the
 * network and keeps a shell on the console (init.c). Its child, the agent, echoes, ticks and makes load on command
 * (agent.c and the rest): a fault there must not become a kernel panic, which is itself something that tests ask for.
 */
#ifndef WIRT_GUEST_H
#define WIRT_GUEST_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ECHO_PORT = 7,
    LINE_MAX_BYTES = 512,  /* longest command line that is read */
    ANSWER_MAX_BYTES = 768,
    NAME_MAX_BYTES = 64,
};

/* ---- params.c: the kernel command line, and SMBIOS strings where firmware started us ---- */

struct params {
    char ip[32];    /* ADDR/PREFIX, "none", or empty for DHCP */
    char gw[16];
    char hostname[NAME_MAX_BYTES];
    char dirty[32]; /* MB:MB/s */
    char flood[64]; /* ADDR:PORT:MBIT/s:SECONDS */
    char spin[8];
    unsigned tick_ms;
    bool shell;
};

void read_params(struct params *p);

/* ---- text.c: strict parsing, files, the console, clocks ---- */

/* Decimal digits only, at most `most`. */
bool parse_number(const char *text, uint64_t most, uint64_t *value);
/* Splits `line` in place at blanks; -1 when there are more than `most` words. */
int split_words(char *line, char **words, int most);
ssize_t read_file(const char *path, char *buffer, size_t size);
bool write_file(const char *path, const char *text);
uint64_t meminfo_kb(const char *key);
/* Comma-separated entries of a sysfs directory, "none" when there are none. Returns how many. */
int list_directory(const char *path, bool (*keep)(const char *), char *text, size_t size);
unsigned online_cpus(void);
void open_console(void);
/* One whole line in one write, so that lines of several threads never mix. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t monotonic_ns(void);
void sleep_until_ns(uint64_t when_ns);

/* ---- network.c ---- */

void start_network(const struct params *p);
bool is_network_card(const char *name);
/* "ADDR/PREFIX" of the first card, or "none". */
void first_address(char *ip, size_t size);

/* ---- agent.c: the worker process; never returns ---- */

_Noreturn void run_agent(const struct params *p, int ready_fd);
bool is_disk(const char *name);
void set_tick_ms(unsigned ms);
uint64_t tick_count(void);
/* A CPU brought online, or taken offline, as the host has said (`told`). False with errno: it can't be. */
bool switch_cpu(int64_t number, bool online, bool told);

/* ---- service.c: echo, and commands on the same port ---- */

struct caller {
    int fd;
    bool stream; /* TCP: `fd` is the connection; else answer `peer` from the shared datagram socket */
    struct sockaddr_in peer;
};

int open_service(void);
_Noreturn void run_service(void);
void send_answer(const struct caller *to, const char *text);
uint64_t flood_received_bytes(void);
uint64_t echoed_bytes(void);

/* ---- channel.c: a thread; SIGIO must be blocked in all of them ---- */

void *serve_channel(void *unused);

/* ---- client.c: what the shell calls `wirt` and `ticks` ---- */

int run_client(int argc, char **argv);

/* ---- commands.c ---- */

/* Runs the command in `line` (without the leading "wirt "). False: the answer follows later, from another thread. */
bool run_command(char *line, const struct caller *from, char *answer);

/* ---- load.c, flood.c, disk.c: each fills `answer` ---- */

enum { SPIN_MAX = 64 };

void spin(unsigned threads, uint64_t period_us, uint64_t busy_us, char *answer);
uint64_t spin_count(void);

void dirty(uint64_t mb, uint64_t mb_per_s, char *answer);
uint64_t dirtied_pages(void);
uint64_t dirty_region_mb(void);
void verify_memory(char *answer);

void flood(struct in_addr to, unsigned port, uint64_t mbit_per_s, uint64_t seconds, char *answer);
uint64_t flood_sent_bytes(void);

struct disk_job {
    char device[NAME_MAX_BYTES];
    uint64_t offset, bytes, seed;
    bool verify;
};
void run_disk_job(const struct disk_job *job, char *answer);

/* ---- speed.c: fills `answer` ---- */

enum { DEPTH_MAX = 32 };

struct speed_job {
    char device[NAME_MAX_BYTES];
    bool write, random;
    size_t block_bytes;
    unsigned depth; /* requests under way at once */
    uint64_t ms;
};
void run_speed_job(const struct speed_job *job, char *answer);

#endif
