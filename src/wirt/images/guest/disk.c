/* Writes and checks a disk with content that follows from a seed and the place on the disk alone, so that any part can
 * be checked later, by another incarnation or from the host. */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_BYTES = 256 * 1024, SECTOR_BYTES = 512 };
#define BLKGETSIZE64 0x80081272u /* linux/fs.h, which musl-tools does not bring */

/* SplitMix64 (Steele, Lea, Flood 2014) of the seed and the word's index on the disk. */
static uint64_t disk_word(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct pass {
    int fd;
    uint64_t *chunk;
    uint64_t spent_ns;      /* in reads and writes, without the making of the content */
    uint64_t wrong_at;      /* first byte that differs, or UINT64_MAX */
    int error;
};

static bool move_chunk(struct pass *pass, const struct disk_job *job, uint64_t offset, size_t size)
{
    for (size_t at = 0; at < size;) {
        char *here = (char *)pass->chunk + at;
        off_t place = (off_t)(offset + at);
        ssize_t n = job->verify ? pread(pass->fd, here, size - at, place) : pwrite(pass->fd, here, size - at, place);

        if (n <= 0) {
            pass->error = n == 0 ? EIO : errno;
            return false;
        }
        at += (size_t)n;
    }
    return true;
}

static void compare_chunk(struct pass *pass, const struct disk_job *job, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < size / 8 && pass->wrong_at == UINT64_MAX; i++) {
        uint64_t expected = disk_word(job->seed, offset / 8 + i);
        const unsigned char *found = (unsigned char *)&pass->chunk[i], *right = (unsigned char *)&expected;

        for (unsigned b = 0; b < 8 && pass->wrong_at == UINT64_MAX; b++)
            if (found[b] != right[b])
                pass->wrong_at = offset + i * 8 + b;
    }
}

static void run_pass(struct pass *pass, const struct disk_job *job)
{
    for (uint64_t done = 0; done < job->bytes && pass->wrong_at == UINT64_MAX;) {
        uint64_t offset = job->offset + done, left = job->bytes - done;
        size_t size = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;

        for (size_t i = 0; !job->verify && i < size / 8; i++)
            pass->chunk[i] = disk_word(job->seed, offset / 8 + i);
        uint64_t start = monotonic_ns();
        bool moved = move_chunk(pass, job, offset, size);
        pass->spent_ns += monotonic_ns() - start;
        if (!moved)
            return;
        if (job->verify)
            compare_chunk(pass, job, offset, size);
        done += size;
    }
    uint64_t start = monotonic_ns();
    if (!job->verify && fsync(pass->fd) != 0)
        pass->error = errno;
    pass->spent_ns += monotonic_ns() - start;
}

static int open_disk(const struct disk_job *job)
{
    char path[NAME_MAX_BYTES + 8];
    int flags = (job->verify ? O_RDONLY : O_RDWR) | O_CLOEXEC;

    snprintf(path, sizeof path, "/dev/%s", job->device);
    /* Past the page cache if the device can: what is checked is the disk and not the guest's memory. */
    int fd = open(path, flags | O_DIRECT);
    return fd >= 0 ? fd : open(path, flags);
}

static void report(const struct pass *pass, const struct disk_job *job, char *answer)
{
    double mb_per_s = pass->spent_ns == 0 ? 0 : (double)job->bytes / 1048576.0 / ((double)pass->spent_ns / 1e9);

    if (pass->error != 0)
        snprintf(answer, ANSWER_MAX_BYTES, "error %s: %s", job->device, strerror(pass->error));
    else if (pass->wrong_at != UINT64_MAX)
        snprintf(answer, ANSWER_MAX_BYTES, "ok=0 bytes=%llu first_wrong=%llu", (unsigned long long)job->bytes,
                 (unsigned long long)pass->wrong_at);
    else
        snprintf(answer, ANSWER_MAX_BYTES, "ok=1 bytes=%llu mb_s=%.2f", (unsigned long long)job->bytes, mb_per_s);
}

void run_disk_job(const struct disk_job *job, char *answer)
{
    struct pass pass = {.wrong_at = UINT64_MAX};
    uint64_t size = 0;

    if (job->offset % SECTOR_BYTES != 0 || job->bytes % SECTOR_BYTES != 0 || job->bytes == 0) {
        snprintf(answer, ANSWER_MAX_BYTES, "error OFFSET and BYTES must be multiples of %d", SECTOR_BYTES);
        return;
    }
    pass.fd = open_disk(job);
    if (pass.fd < 0 || ioctl(pass.fd, (int)BLKGETSIZE64, &size) != 0)
        snprintf(answer, ANSWER_MAX_BYTES, "error %s: %s", job->device, strerror(errno));
    else if (job->offset > size || job->bytes > size - job->offset)
        snprintf(answer, ANSWER_MAX_BYTES, "error %s has %llu bytes", job->device, (unsigned long long)size);
    else if (posix_memalign((void **)&pass.chunk, 4096, CHUNK_BYTES) != 0)
        snprintf(answer, ANSWER_MAX_BYTES, "error not enough memory");
    else {
        run_pass(&pass, job);
        report(&pass, job, answer);
    }
    free(pass.chunk);
    if (pass.fd >= 0)
        close(pass.fd);
}
