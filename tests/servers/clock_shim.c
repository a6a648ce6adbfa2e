/* Preloaded into the agent: the wall clock is off by as much as a file says, and synchronised or not as it says.
 * The file holds two 64-bit numbers: nanoseconds to add, and 1 if the kernel is to say that the clock is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *told;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("CLOCK_SHIM");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *at = file >= 0 ? mmap(0, 16, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
    if (at == MAP_FAILED) abort();
    told = at;
    close(file);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    int result;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    result = real(which, now);
    if (result == 0 && told && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        long long ns = now->tv_sec * 1000000000LL + now->tv_nsec + told[0];
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    (void)zone;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}

int adjtimex(struct timex *state) {
    state->status = told[1] ? 0 : STA_UNSYNC;
    return told[1] ? TIME_OK : TIME_ERROR;
}
