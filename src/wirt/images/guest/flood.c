/* UDP at a given rate, in datagrams that say what they are, so that another tiny guest counts instead of echoing. */
#include "guest.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAYLOAD_BYTES = 1400 };

static _Atomic uint64_t sent;
static _Atomic unsigned generation; /* a new flood, or none, ends the one before */

struct flood_order {
    struct sockaddr_in to;
    uint64_t bytes_per_s, end_ns;
    unsigned generation;
};

static struct flood_order pending;
static pthread_mutex_t pending_lock = PTHREAD_MUTEX_INITIALIZER;

uint64_t flood_sent_bytes(void)
{
    return sent;
}

static void *run_flood(void *unused)
{
    char data[PAYLOAD_BYTES] = "wirt-flood ";
    uint64_t start = monotonic_ns(), total = 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)unused;
    pthread_mutex_lock(&pending_lock);
    struct flood_order order = pending;
    pthread_mutex_unlock(&pending_lock);
    for (uint64_t now = start; fd >= 0 && now < order.end_ns && generation == order.generation; now = monotonic_ns()) {
        uint64_t due = start + (uint64_t)((double)total / (double)order.bytes_per_s * 1e9);

        if (due > now + 1000000u) {
            sleep_until_ns(due < order.end_ns ? due : order.end_ns);
            continue;
        }
        if (sendto(fd, data, sizeof data, 0, (struct sockaddr *)&order.to, sizeof order.to) == sizeof data)
            sent += sizeof data;
        else
            usleep(1000); /* no route, or the queue is full */
        total += sizeof data;
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

void flood(struct in_addr to, unsigned port, uint64_t mbit_per_s, uint64_t seconds, char *answer)
{
    pthread_t thread;

    pthread_mutex_lock(&pending_lock);
    pending = (struct flood_order){
        .to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = to},
        .bytes_per_s = mbit_per_s * 125000u,
        .end_ns = monotonic_ns() + seconds * 1000000000u,
        .generation = ++generation,
    };
    pthread_mutex_unlock(&pending_lock);
    if (mbit_per_s > 0 && seconds > 0) {
        if (pthread_create(&thread, NULL, run_flood, NULL) != 0) {
            snprintf(answer, ANSWER_MAX_BYTES, "error no thread could be started");
            return;
        }
        pthread_detach(thread);
    }
    snprintf(answer, ANSWER_MAX_BYTES, "ok=1 mbit=%llu", (unsigned long long)mbit_per_s);
}
