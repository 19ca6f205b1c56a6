/* Crashes on purpose: crasher abort|segv|divide [SLEEP_SECONDS] [HEAP_BYTES] [wait]
 *
 * wait: once its heap is filled, says so by a byte on standard output, and crashes when standard
 * input ends. Its heap is marked at both ends (heap.h). `threads` crashers are in crasher_threads.c.
 * Compiled statically it runs in an empty container.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap.h"

volatile int zero = 0;

__attribute__((noinline)) int crash_here(const char *how) {
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "divide") == 0)
        return (int)strlen(how) / zero; /* 1 / zero would be compiled without a division */
    if (strcmp(how, "segv") == 0)
        *(volatile int *)(long)zero = 1;
    fprintf(stderr, "crasher: %s: must be abort, segv or divide\n", how);
    return 2;
}

int main(int argc, char **argv) {
    if (argc > 2)
        usleep((useconds_t)(atof(argv[2]) * 1e6));
    size_t size = argc > 3 ? (size_t)atoll(argv[3]) : 1 << 20;
    char *heap = marked_heap(size);
    if (argc > 4) {
        char byte = '.';
        if (write(1, &byte, 1) != 1 || read(0, &byte, 1) != 0)
            return 3;
    }
    return crash_here(argc > 1 ? argv[1] : "abort") + heap[size / 2];
}
