/* Load on the processor and on memory, of a kind whose effects can be counted and checked. */
#include "guest.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- processor ---- */

enum { SPIN_STEPS = 10000 };

/* On its own cache line each, or the counting itself would be what is measured. */
static struct {
    _Atomic uint64_t count;
    char pad[56];
} spinners[SPIN_MAX];

static pthread_mutex_t spin_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t spin_changed = PTHREAD_COND_INITIALIZER;
static unsigned spinners_started;
static _Atomic unsigned spinners_wanted;
static _Atomic uint64_t spin_period_ns, spin_busy_ns;

static void spin_once(unsigned index)
{
    volatile uint64_t x = index;

    for (int i = 0; i < SPIN_STEPS; i++)
        x = x * 6364136223846793005u + 1;
    atomic_fetch_add_explicit(&spinners[index].count, 1, memory_order_relaxed);
}

/* With a period it works for the busy time at the start of each and sleeps through the rest: a guest that tries to be
 * asleep whenever a scheduler samples it. */
static void *run_spinner(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;

    for (;;) {
        uint64_t period = spin_period_ns, start = monotonic_ns();

        if (index >= spinners_wanted) {
            pthread_mutex_lock(&spin_lock);
            while (index >= spinners_wanted)
                pthread_cond_wait(&spin_changed, &spin_lock);
            pthread_mutex_unlock(&spin_lock);
        } else if (period == 0) {
            spin_once(index);
        } else {
            start -= start % period;
            while (monotonic_ns() < start + spin_busy_ns)
                spin_once(index);
            sleep_until_ns(start + period);
        }
    }
    return NULL;
}

void spin(unsigned threads, uint64_t period_us, uint64_t busy_us, char *answer)
{
    pthread_t thread;
    bool started = true;

    spin_period_ns = period_us * 1000;
    spin_busy_ns = busy_us * 1000;
    pthread_mutex_lock(&spin_lock);
    spinners_wanted = threads;
    /* Threads are never ended, only parked: a new wish can't meet the remains of an old one. */
    while (started && spinners_started < threads) {
        started = pthread_create(&thread, NULL, run_spinner, (void *)(uintptr_t)spinners_started) == 0;
        spinners_started += started;
    }
    pthread_cond_broadcast(&spin_changed);
    pthread_mutex_unlock(&spin_lock);
    snprintf(answer, ANSWER_MAX_BYTES, started ? "ok=1 spin=%u" : "error only %u threads could be started",
             started ? threads : spinners_started);
}

uint64_t spin_count(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < SPIN_MAX; i++)
        sum += spinners[i].count;
    return sum;
}

/* ---- memory ----
 *
 * Pages are written in turn, for ever. Every 64th byte of page `p` holds a number made of `p` and of how often it has
 * been written; that number is known from `round` and `cursor` alone, so that a page which a migration left at an
 * older content is found out although it looks sound by itself. */

enum { PAGE_BYTES = 4096, WORDS_APART = 8, WORDS = PAGE_BYTES / 8, PAGES_PER_MB = 256, MARGIN_MB = 12 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started;
    uint64_t *base;
    uint64_t pages, cursor, round, pages_per_s;
} region = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static _Atomic uint64_t dirtied;
static _Atomic bool verifying;

static uint64_t page_word(uint64_t page, uint64_t times_written, unsigned word)
{
    uint64_t x = page * 0x9e3779b97f4a7c15u + times_written * 0xbf58476d1ce4e5b9u + word;

    x ^= x >> 29;
    return x * 0x94d049bb133111ebu;
}

static uint64_t times_written(uint64_t page)
{
    return region.round + (page < region.cursor);
}

static void write_next_page(void)
{
    uint64_t page = region.cursor, times = region.round + 1;
    uint64_t *at = region.base + page * WORDS;

    for (unsigned w = 0; w < WORDS; w += WORDS_APART)
        at[w] = page_word(page, times, w);
    dirtied++;
    if (++region.cursor == region.pages) {
        region.cursor = 0;
        region.round++;
    }
}

/* Writes some pages; returns for how long they should have lasted at the wanted rate. The first round is the filling
 * and as fast as can be. */
static uint64_t dirty_some(void)
{
    uint64_t rate = region.pages_per_s;
    uint64_t n = region.round == 0 || rate > 12800 ? 128 : rate / 100 + 1;

    for (uint64_t i = 0; i < n; i++)
        write_next_page();
    /* Without a rate the first round is all there is, and it may just have ended. */
    return region.round == 0 || rate == 0 ? 0 : n * 1000000000u / rate;
}

static void *run_dirtier(void *unused)
{
    uint64_t due = 0;

    (void)unused;
    for (;;) {
        pthread_mutex_lock(&region.lock);
        while (region.pages == 0 || (region.round > 0 && region.pages_per_s == 0)) {
            pthread_cond_wait(&region.changed, &region.lock);
            due = 0;
        }
        uint64_t lasts = dirty_some(), now = monotonic_ns();
        pthread_mutex_unlock(&region.lock);

        if (lasts == 0)
            continue;
        /* What was missed is not made up for: after a stop no burst follows. */
        due = due + 100000000u < now ? now + lasts : due + lasts;
        if (due > now)
            sleep_until_ns(due);
    }
    return NULL;
}

static const char *replace_region(uint64_t mb, uint64_t mb_per_s)
{
    pthread_t thread;
    void *base = NULL;

    if (region.base != NULL && mb * PAGES_PER_MB != region.pages) {
        munmap(region.base, region.pages * PAGE_BYTES);
        region.base = NULL;
        region.pages = 0;
    }
    region.pages_per_s = mb_per_s * PAGES_PER_MB;
    if (mb == 0 || region.base != NULL)
        return NULL;
    if ((mb + MARGIN_MB) * 1024 > meminfo_kb("MemAvailable"))
        return "error not enough memory is free";
    base = mmap(NULL, mb << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return "error not enough address space";
    region.base = base;
    region.pages = mb * PAGES_PER_MB;
    region.cursor = region.round = 0;
    if (!region.started)
        region.started = pthread_create(&thread, NULL, run_dirtier, NULL) == 0;
    return region.started ? NULL : "error no thread could be started";
}

void dirty(uint64_t mb, uint64_t mb_per_s, char *answer)
{
    /* The caller serves the echo and must not wait for the whole of a check. */
    if (verifying) {
        snprintf(answer, ANSWER_MAX_BYTES, "error busy");
        return;
    }
    pthread_mutex_lock(&region.lock);
    const char *error = replace_region(mb, mb_per_s);
    pthread_cond_signal(&region.changed);
    pthread_mutex_unlock(&region.lock);
    if (error == NULL)
        snprintf(answer, ANSWER_MAX_BYTES, "ok=1 dirty_mb=%llu", (unsigned long long)mb);
    else
        snprintf(answer, ANSWER_MAX_BYTES, "%s", error);
}

uint64_t dirtied_pages(void)
{
    return dirtied;
}

uint64_t dirty_region_mb(void)
{
    return region.pages / PAGES_PER_MB;
}

static bool page_is_right(uint64_t page)
{
    const uint64_t *at = region.base + page * WORDS;

    for (unsigned w = 0; w < WORDS; w += WORDS_APART)
        if (at[w] != page_word(page, times_written(page), w))
            return false;
    return true;
}

void verify_memory(char *answer)
{
    uint64_t checked = 0, wrong = 0, first = 0;

    verifying = true;
    pthread_mutex_lock(&region.lock);
    for (uint64_t page = 0; page < region.pages; page++) {
        if (times_written(page) == 0)
            continue;
        checked++;
        if (!page_is_right(page) && wrong++ == 0)
            first = page;
    }
    uint64_t round = region.round;
    pthread_mutex_unlock(&region.lock);
    verifying = false;
    int n = snprintf(answer, ANSWER_MAX_BYTES, "ok=%d pages=%llu wrong=%llu round=%llu", wrong == 0,
                     (unsigned long long)checked, (unsigned long long)wrong, (unsigned long long)round);
    if (wrong > 0)
        snprintf(answer + n, (size_t)(ANSWER_MAX_BYTES - n), " first_wrong=%llu", (unsigned long long)first);
}
