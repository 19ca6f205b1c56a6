/* Crashes with a large address space of which little is used:
 *
 *     crasher_sparse GIB [PIECES PIECE_BYTES [wait]]
 *
 * PIECES parts of PIECE_BYTES each are written, at equal distances; by default a byte in each GiB.
 * wait: then it says so by a byte on standard output, and crashes when standard input ends.
 * It costs its pod next to no memory, and whoever reads its core as a stream GIB of zeros.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Words of which half the bytes are the same: they compress as a heap does. */
static void fill(char *start, size_t size) {
    uint64_t value = (uintptr_t)start;
    for (size_t at = 0; at + 16 <= size; at += 16) {
        value = value * 6364136223846793005u + 1442695040888963407u;
        uint32_t part = (uint32_t)(value >> 40);
        memcpy(start + at, &part, sizeof part);
        memcpy(start + at + 8, &start, sizeof start);
    }
    start[0] = 0x5a;
}

int main(int argc, char **argv) {
    size_t gib = argc > 1 ? (size_t)atoll(argv[1]) : 1;
    size_t pieces = argc > 3 ? (size_t)atoll(argv[2]) : gib;
    size_t piece = argc > 3 ? (size_t)atoll(argv[3]) : 1;
    size_t size = gib << 30;
    char *space = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) {
        perror("crasher_sparse: mmap");
        return 3;
    }
    for (size_t number = 0; number < pieces; number++)
        fill(space + size / pieces * number, piece);
    char byte = '.';
    if (argc > 4 && (write(1, &byte, 1) != 1 || read(0, &byte, 1) != 0))
        return 3;
    abort();
}
