/* Writes down what a process writes to files in a folder, and when it syncs them, so that a test can
 * build what a loss of power leaves: LD_PRELOAD, without a change to the program. Each entry of the
 * trace is one write: kind, length of the path, path, offset, length, data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;

static int path_of(int fd, char *path, size_t size) {
    const char *folder = getenv("UNSYNCED_FOLDER");
    char link[64];
    if (!folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strncmp(path, folder, strlen(folder)) == 0 && !strstr(path, "-shm");
}

static void put(char kind, const char *path, uint64_t offset, const void *data, uint64_t length) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = dlsym(RTLD_NEXT, "write");
    if (trace < 0) trace = open(getenv("UNSYNCED_TRACE"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    uint64_t head[3] = { strlen(path), offset, length };
    next(trace, &kind, 1);
    next(trace, head, sizeof head);
    next(trace, path, head[0]);
    if (length && data) next(trace, data, length);
}

#define TRACED(fd, kind, offset, data, length) do { char path[4096]; \
    if (path_of(fd, path, sizeof path)) { pthread_mutex_lock(&lock); \
        put(kind, path, offset, data, length); pthread_mutex_unlock(&lock); } } while (0)

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = dlsym(RTLD_NEXT, "pwrite64");
    ssize_t done = next(fd, data, length, offset);
    if (done > 0) TRACED(fd, 'w', (uint64_t)offset, data, (uint64_t)done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}

ssize_t write(int fd, const void *data, size_t length) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = dlsym(RTLD_NEXT, "write");
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = next(fd, data, length);
    if (done > 0 && offset >= 0) TRACED(fd, 'w', (uint64_t)offset, data, (uint64_t)done);
    return done;
}

int ftruncate64(int fd, off64_t length) {
    static int (*next)(int, off64_t);
    if (!next) next = dlsym(RTLD_NEXT, "ftruncate64");
    int done = next(fd, length);
    if (done == 0) TRACED(fd, 't', (uint64_t)length, 0, 0);
    return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fsync(int fd) {
    static int (*next)(int);
    if (!next) next = dlsym(RTLD_NEXT, "fsync");
    int done = next(fd);
    if (done == 0) TRACED(fd, 's', 0, 0, 0);
    return done;
}

int fdatasync(int fd) {
    static int (*next)(int);
    if (!next) next = dlsym(RTLD_NEXT, "fdatasync");
    int done = next(fd);
    if (done == 0) TRACED(fd, 's', 0, 0, 0);
    return done;
}
