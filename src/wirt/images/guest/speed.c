/* How fast a disk is: requests past the page cache, as many under way at once as there are threads, for a while. */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BLKGETSIZE64 0x80081272u /* linux/fs.h, which musl-tools does not bring */

/* What all threads share. */
struct course {
    const struct speed_job *job;
    int fd;
    uint64_t blocks; /* that the disk has */
    uint64_t end_ns;
    _Atomic uint64_t next, done;
    _Atomic int error;
};

struct runner {
    pthread_t thread;
    struct course *course;
    uint64_t state;
    bool started;
};

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool move_block(const struct course *course, void *buffer, uint64_t block)
{
    const struct speed_job *job = course->job;
    off_t place = (off_t)(block * job->block_bytes);
    ssize_t n = job->write ? pwrite(course->fd, buffer, job->block_bytes, place)
                           : pread(course->fd, buffer, job->block_bytes, place);

    return n == (ssize_t)job->block_bytes;
}

static void *run(void *argument)
{
    struct runner *runner = argument;
    struct course *course = runner->course;
    const struct speed_job *job = course->job;
    uint64_t *buffer = NULL;

    if (posix_memalign((void **)&buffer, 4096, job->block_bytes) != 0) {
        course->error = ENOMEM;
        return NULL;
    }
    /* No zeroes, which some that store them leave out. */
    for (size_t i = 0; i < job->block_bytes / 8; i++)
        buffer[i] = draw(&runner->state);
    while (course->error == 0 && monotonic_ns() < course->end_ns) {
        uint64_t block = job->random ? draw(&runner->state) : course->next++;

        errno = 0;
        if (!move_block(course, buffer, block % course->blocks))
            course->error = errno == 0 ? EIO : errno;
        else
            course->done++;
    }
    free(buffer);
    return NULL;
}

/* Writes count once they last. */
static uint64_t run_all(struct course *course)
{
    struct runner runners[DEPTH_MAX] = {0};
    uint64_t start = monotonic_ns();

    course->end_ns = start + course->job->ms * 1000000u;
    for (unsigned i = 0; i < course->job->depth; i++) {
        runners[i].course = course;
        runners[i].state = i + 1;
        runners[i].started = pthread_create(&runners[i].thread, NULL, run, &runners[i]) == 0;
        if (!runners[i].started)
            course->error = EAGAIN;
    }
    for (unsigned i = 0; i < course->job->depth; i++)
        if (runners[i].started)
            pthread_join(runners[i].thread, NULL);
    if (course->job->write && fsync(course->fd) != 0)
        course->error = errno;
    return monotonic_ns() - start;
}

static int open_direct(const struct speed_job *job, uint64_t *size)
{
    char path[NAME_MAX_BYTES + 8];
    int fd;

    snprintf(path, sizeof path, "/dev/%s", job->device);
    fd = open(path, (job->write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, (int)BLKGETSIZE64, size) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void run_speed_job(const struct speed_job *job, char *answer)
{
    struct course course = {.job = job};
    uint64_t size = 0;

    if (job->block_bytes % 512 != 0 || job->block_bytes == 0 || job->depth == 0 || job->ms == 0) {
        snprintf(answer, ANSWER_MAX_BYTES, "error BLOCK must be a multiple of 512, DEPTH and MS at least 1");
        return;
    }
    course.fd = open_direct(job, &size);
    course.blocks = size / job->block_bytes;
    if (course.fd < 0 || course.blocks == 0) {
        snprintf(answer, ANSWER_MAX_BYTES, "error %s: %s", job->device,
                 course.fd < 0 ? strerror(errno) : "it is smaller than one block");
    } else {
        double seconds = (double)run_all(&course) / 1e9;
        uint64_t done = course.done;

        if (course.error != 0)
            snprintf(answer, ANSWER_MAX_BYTES, "error %s: %s", job->device, strerror(course.error));
        else
            snprintf(answer, ANSWER_MAX_BYTES, "ok=1 requests=%llu seconds=%.3f mib_s=%.2f per_s=%.1f",
                     (unsigned long long)done, seconds,
                     (double)(done * job->block_bytes) / 1048576.0 / seconds, (double)done / seconds);
    }
    if (course.fd >= 0)
        close(course.fd);
}
