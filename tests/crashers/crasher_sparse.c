/* Crashes with an address space of many GiB, of which a page in each GiB is used:
 *
 *     crasher_sparse GIB
 *
 * It costs its pod next to no memory, and whoever reads its core as a stream GIB of zeros.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv) {
    size_t gib = argc > 1 ? (size_t)atoll(argv[1]) : 1;
    size_t size = gib << 30;
    char *space = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) {
        perror("crasher_sparse: mmap");
        return 3;
    }
    for (size_t at = 0; at < size; at += (size_t)1 << 30)
        space[at] = 0x5a;
    abort();
}
