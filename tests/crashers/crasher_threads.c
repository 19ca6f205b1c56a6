/* Crashes in one of many threads: crasher_threads [THREADS [exit]]; the others sleep, the main
   thread waits or, with `exit`, has gone by pthread_exit. SIGSEGV in crash_here. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "heap.h"

volatile int *nowhere = NULL;

__attribute__((noinline)) void crash_here(void) { *nowhere = 1; }

static void *sleeper(void *unused) {
    for (;;)
        pause();
    return unused;
}

static void *victim(void *unused) {
    usleep(100000); /* let the sleepers go to sleep */
    crash_here();
    return unused;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 8;
    char *heap = marked_heap(1 << 20);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    for (int i = 1; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, sleeper, NULL) != 0) {
            perror("crasher_threads");
            return 3;
        }
    }
    pthread_t thread;
    if (pthread_create(&thread, &small, victim, NULL) != 0)
        return 3;
    if (argc > 2)
        pthread_exit(NULL);
    pthread_join(thread, NULL);
    return heap[0];
}
