/* A heap block that begins and ends with a 16-byte marker, whose text is made at run time, so that it
 * is nowhere in the executable: a core that holds both ends holds the heap.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void marker(char *where, const char *end) {
    char reversed[17];
    snprintf(reversed, sizeof reversed, "%s-%s", end, "pmuderoc-yek"); /* read backwards */
    for (int i = 0; i < 16; i++)
        where[i] = reversed[15 - i];
}

static char *marked_heap(size_t size) {
    char *heap = malloc(size);
    if (heap == NULL)
        exit(3);
    memset(heap, 0x5a, size);
    marker(heap, "tra");
    marker(heap + size - 16, "dne");
    return heap;
}
