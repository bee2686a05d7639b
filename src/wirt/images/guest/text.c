/* Strict parsing, small files, the console, clocks. */
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int console_fd = -1;

bool parse_number(const char *text, uint64_t most, uint64_t *value)
{
    uint64_t n = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        unsigned digit = (unsigned)(*text - '0');

        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *value = n;
    return n <= most;
}

int split_words(char *line, char **words, int most)
{
    char *rest = NULL;
    int n = 0;

    for (char *w = strtok_r(line, " \t\r\n", &rest); w != NULL; w = strtok_r(NULL, " \t\r\n", &rest)) {
        if (n == most)
            return -1;
        words[n++] = w;
    }
    return n;
}

ssize_t read_file(const char *path, char *buffer, size_t size)
{
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    while (used < size - 1) {
        ssize_t n = read(fd, buffer + used, size - 1 - used);

        if (n <= 0)
            break;
        used += (size_t)n;
    }
    close(fd);
    buffer[used] = '\0';
    return (ssize_t)used;
}

bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t length = strlen(text);

    if (fd < 0)
        return false;
    bool done = write(fd, text, length) == (ssize_t)length;
    close(fd);
    return done;
}

uint64_t meminfo_kb(const char *key)
{
    char text[4096];
    char *at;

    if (read_file("/proc/meminfo", text, sizeof text) < 0 || (at = strstr(text, key)) == NULL)
        return 0;
    return strtoull(at + strlen(key) + 1, NULL, 10);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

int list_directory(const char *path, bool (*keep)(const char *), char *text, size_t size)
{
    enum { MOST = 32 };
    char names[MOST][NAME_MAX_BYTES];
    int n = 0;
    DIR *dir = opendir(path);

    for (struct dirent *e; dir != NULL && n < MOST && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && strlen(e->d_name) < NAME_MAX_BYTES && keep(e->d_name))
            strcpy(names[n++], e->d_name);
    if (dir != NULL)
        closedir(dir);
    qsort(names, (size_t)n, NAME_MAX_BYTES, by_name);
    snprintf(text, size, "%s", n == 0 ? "none" : "");
    for (int i = 0; i < n && strlen(text) + strlen(names[i]) + 2 < size; i++) {
        strcat(text, i == 0 ? "" : ",");
        strcat(text, names[i]);
    }
    return n;
}

unsigned online_cpus(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 0;
    return (unsigned)CPU_COUNT(&set);
}

void open_console(void)
{
    /* hvc0 appears a moment after its module, so try for a second. */
    for (int i = 0; console_fd < 0 && i < 50; i++) {
        console_fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (console_fd < 0)
            usleep(20000);
    }
    /* Firmware and GRUB leave a line unfinished; ours must start at the beginning of one. */
    if (console_fd >= 0 && write(console_fd, "\n", 1) != 1)
        console_fd = -1;
}

void say(const char *format, ...)
{
    char line[ANSWER_MAX_BYTES];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (n < 0 || console_fd < 0)
        return;
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    for (int at = 0; at < n;) {
        ssize_t wrote = write(console_fd, line + at, (size_t)(n - at));

        if (wrote <= 0 && errno != EINTR && errno != EAGAIN)
            return;
        at += wrote > 0 ? (int)wrote : 0;
    }
}

uint64_t monotonic_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void sleep_until_ns(uint64_t when_ns)
{
    struct timespec t = {.tv_sec = (time_t)(when_ns / 1000000000u), .tv_nsec = (long)(when_ns % 1000000000u)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}
