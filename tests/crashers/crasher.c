/* Crashes on purpose: crasher abort|segv|divide [SLEEP_SECONDS] [HEAP_BYTES]
 *
 * The heap block begins and ends with a 16-byte marker whose text is made at run time, so that it is
 * nowhere in the executable: a core that holds both ends holds the heap. `threads` crashers are in
 * crasher_threads.c. Compiled statically it runs in an empty container.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

volatile int zero = 0;

static void marker(char *where, const char *end) {
    char reversed[17];
    snprintf(reversed, sizeof reversed, "%s-%s", end, "pmuderoc-yek"); /* read backwards */
    for (int i = 0; i < 16; i++)
        where[i] = reversed[15 - i];
}

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
    char *heap = malloc(size);
    if (heap == NULL)
        return 3;
    memset(heap, 0x5a, size);
    marker(heap, "tra");
    marker(heap + size - 16, "dne");
    return crash_here(argc > 1 ? argv[1] : "abort") + heap[size / 2];
}
