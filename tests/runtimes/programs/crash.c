#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "segv"))
        *(volatile int *)0 = 1;
    abort();
}
