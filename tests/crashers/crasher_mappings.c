/* Maps every kind of memory that a core can hold, writes "NAME START END" for each to the file
   named by the first argument, and aborts. The second: "segments" for 70,000 of them instead. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB (1024UL * 1024)
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static FILE *list;

static void fill(char *start, size_t size, unsigned seed) {
    for (size_t at = 0; at < size; at++) {
        seed = seed * 1664525 + 1013904223;
        start[at] = (char)(seed >> 24);
    }
}

static char *map(const char *name, size_t size, int flags, int fd) {
    char *start = mmap(0, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (start == MAP_FAILED) return 0; /* no such memory on this machine */
    fprintf(list, "%s %lx %lx\n", name, (unsigned long)start, (unsigned long)start + size);
    return start;
}

static char *anonymous(const char *name, size_t size) {
    return map(name, size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

static int file(const char *path, size_t size) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *data = malloc(size);
    fill(data, size, 5);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) exit(3);
    free(data);
    return fd;
}

static void *thread(void *barrier) {
    volatile char own[20000];
    fill((char *)own, sizeof own, 11);
    pthread_barrier_wait(barrier);
    for (;;) pause();
    return 0;
}

static void register_missing(char *start, size_t size) {
    int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {
        .range = {.start = (unsigned long)start, .len = size}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range)) return;
}

static void many_segments(void) {
    size_t count = 70000;
    char *start = anonymous("segments", count * PAGE);
    for (size_t number = 0; number < count; number++) {
        start[number * PAGE] = (char)(number | 1);
        if (number % 2 && mprotect(start + number * PAGE, PAGE, PROT_READ)) exit(4);
    }
}

static void by_a_child(char *start, size_t size) {
    if (fork() == 0) {
        fill(start, size, 21);
        _exit(0);
    }
    wait(0);
}

static void every_kind(const char *directory) {
    char path[8192], *start;
    size_t size = 6 * MIB;
    volatile char sink;
    start = anonymous("dense", size); fill(start, size, 1);
    start = anonymous("sparse", 128 * MIB);
    for (size_t at = 0; at < 128 * MIB; at += 3 * MIB + PAGE) fill(start + at, 100, (unsigned)at);
    start = anonymous("alternating", size);
    for (size_t at = 0; at < size; at += 2 * PAGE) fill(start + at, PAGE, (unsigned)at);
    start = anonymous("zeros", size); memset(start, 0, size);
    start = anonymous("read-only-touched", size);
    for (size_t at = 0; at < size; at += PAGE) sink = start[at];
    anonymous("untouched", 16 * MIB);
    start = anonymous("huge-pages", 4 * size); madvise(start, 4 * size, MADV_HUGEPAGE);
    fill(start + 3 * MIB, MIB / 2, 3);
    start = anonymous("no-access", size); fill(start, MIB, 4); mprotect(start, size, PROT_NONE);
    start = anonymous("no-access-untouched", size); mprotect(start, size, PROT_NONE);
    start = anonymous("write-only", size); fill(start, MIB, 4); mprotect(start, size, PROT_WRITE);
    start = anonymous("not-dumped", size); fill(start, size, 5); madvise(start, size, MADV_DONTDUMP);
    start = anonymous("given-back", size); fill(start, size, 6);
    madvise(start + MIB, 2 * MIB, MADV_DONTNEED);
    start = anonymous("freed", size); fill(start, size, 6); madvise(start + MIB, MIB, MADV_FREE);
    start = anonymous("guarded", size); fill(start, size, 7);
    madvise(start + MIB, MIB, MADV_GUARD_INSTALL);
    start = anonymous("locked", MIB); mlock(start, MIB); fill(start, 100, 8);
    start = anonymous("mergeable", size); memset(start, 7, size); madvise(start, size, MADV_MERGEABLE);
    start = anonymous("named", size); fill(start, MIB, 9);
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, size, "heap of ours");
    start = anonymous("swapped", size); fill(start, size, 10); madvise(start, size, MADV_PAGEOUT);
    start = anonymous("copied-on-write", size); fill(start, size, 12);
    if (fork() == 0) { alarm(20); for (;;) pause(); }
    fill(start + MIB, MIB, 13);
    start = anonymous("faults-handled-by-a-user", size); fill(start, MIB, 14);
    register_missing(start + 2 * MIB, 2 * MIB);
    start = map("shared-faults-handled-by-a-user", size, MAP_SHARED | MAP_ANONYMOUS, -1);
    register_missing(start, size);
    start = map("shared", size, MAP_SHARED | MAP_ANONYMOUS, -1); fill(start, MIB, 15);
    start = map("shared-touched-by-another", size, MAP_SHARED | MAP_ANONYMOUS, -1);
    by_a_child(start + MIB, MIB);
    int fd = memfd_create("memory file", 0);
    if (ftruncate(fd, size)) exit(5);
    map("memory-file", size, MAP_SHARED, fd);
    map("private-of-a-memory-file", size, MAP_PRIVATE, fd);
    fill(path, 100, 16);
    if (pwrite(fd, path, 100, MIB) != 100) exit(5);
    snprintf(path, sizeof path, "%s/file", directory);
    fd = file(path, size);
    map("file", size, MAP_SHARED, fd);
    start = map("private-of-a-file", size, MAP_PRIVATE, fd); fill(start + MIB, MIB, 17);
    snprintf(path, sizeof path, "%s/cut", directory);
    fd = file(path, size);
    map("shared-of-a-cut-file", size, MAP_SHARED, fd);
    start = map("private-of-a-cut-file", size, MAP_PRIVATE, fd); fill(start, PAGE, 18);
    if (ftruncate(fd, 2 * MIB + 100)) exit(6);
    start = map("huge-table", 4 * MIB, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
    if (start) fill(start, MIB, 19);
    (void)sink;
}

int main(int count, char **words) {
    list = fopen(words[1], "w");
    int filter = open("/proc/self/coredump_filter", O_WRONLY);
    if (!list || filter < 0 || write(filter, "0x7f", 4) != 4) return 2;
    pthread_barrier_t barrier;
    pthread_t own;
    pthread_barrier_init(&barrier, 0, 4);
    for (int number = 0; number < 3; number++) pthread_create(&own, 0, thread, &barrier);
    pthread_barrier_wait(&barrier);
    if (count > 2) many_segments();
    else every_kind(dirname(strdup(words[1])));
    fclose(list);
    abort();
}
