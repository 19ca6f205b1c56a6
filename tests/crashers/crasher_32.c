/* A 32-bit program without a C library (there may be none of 32 bits): fills 4 MB of memory with
 * what compresses badly, then writes to an address that is not mapped. Compiled with -m32.
 */
#define SIZE 4000000
static char blob[SIZE];

__attribute__((noinline)) void crash_here(void) { *(volatile int *)0xdead0 = 1; }

void _start(void) {
    for (unsigned i = 0; i < SIZE; i++)
        blob[i] = (char)(i * 2654435761u >> 13);
    crash_here();
}
