/* Runs a kernel's code once, linked with it: a node without Python, for any processor.
 *
 *     cc -std=c11 -O2 -Wall -Wextra -Werror -static -pthread -o runner runner.c kernel.o -lm
 *     ./runner CASE THREADS > OUTPUTS
 *
 * It needs C11, the POSIX threads and semaphores, and nothing of the processor: kernel.o is a member
 * of a kernel file, targets/TARGET/kernel.o. Static, so that an emulator needs no foreign libraries.
 * No flag matters for bits, since there is no float arithmetic here.
 *
 * CASE (tests/cross/c_runner.py writes it) is little-endian i64 words: the numbers of memory blocks,
 * buffers, dims and steps, and the bytes of scratch; for each block its bytes and kind (0 zeroed,
 * 1 with data, 2 an output); for each buffer its block and offset; the dims; each step's tasks;
 * and then the data of the blocks that have some. OUTPUTS is the bytes of the output blocks.
 * The context that the code takes is described in ir/native_abi.py.
 *
 * Exit codes: 0 good, 1 the code has left another rounding mode, 2 bad usage or CASE, 3 the system
 * has no memory, thread or output left. What is wrong is said on standard error.
 */
#define _POSIX_C_SOURCE 200809L
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void aivm_run(void *context);
extern void aivm_worker(void *context, int64_t thread);
extern void aivm_stop(void *context);

enum { LINE = 64, CONTEXT = 256, RECORD = 128, SEMAPHORE = 64, THREADS_MAX = 64 };

enum { CHANGED = 1, BAD = 2, SYSTEM = 3 };

_Static_assert(sizeof(sem_t) <= RECORD - SEMAPHORE, "a semaphore has its place in a record");
_Static_assert(sizeof(void *) == 8, "addresses are words");

static void require(int good, int code, const char *what) {
    if (good) return;
    fprintf(stderr, "runner: %s\n", what);
    exit(code);
}

static void *memory(int64_t bytes) {
    require(bytes >= 0 && bytes < INT64_MAX - LINE, BAD, "CASE has a size that can't be");
    size_t size = (size_t)(bytes + LINE) / LINE * LINE;
    void *block = aligned_alloc(LINE, size);
    require(block != NULL, SYSTEM, "out of memory");
    return memset(block, 0, size);
}

static void take(FILE *file, void *into, int64_t bytes) {
    require(!bytes || fread(into, (size_t)bytes, 1, file) == 1, BAD, "CASE ends too early");
}

static int64_t *words(FILE *file, int64_t count) {
    require(count >= 0 && count < INT64_MAX / 16, BAD, "CASE has a number that can't be");
    int64_t *table = memory(8 * count);
    take(file, table, 8 * count);
    return table;
}

static int64_t context[CONTEXT / 8] __attribute__((aligned(LINE)));

static void *work(void *thread) {
    aivm_worker(context, (int64_t)(intptr_t)thread);
    return NULL;
}

int main(int count, char **arguments) {
    require(count == 3, BAD, "usage: runner CASE THREADS > OUTPUTS");
    int64_t threads = strtol(arguments[2], NULL, 10);
    require(threads >= 1 && threads <= THREADS_MAX, BAD, "THREADS is not from 1 to 64");
    FILE *file = fopen(arguments[1], "rb");
    require(file != NULL, BAD, "can't open CASE");

    int64_t *sizes = words(file, 5), blocks = sizes[0], buffers = sizes[1];
    int64_t *kinds = words(file, 2 * blocks), *places = words(file, 2 * buffers);
    int64_t *dims = words(file, sizes[2]), *tasks = words(file, sizes[3]);
    char **block = memory(8 * blocks), **buffer = memory(8 * buffers);
    for (int64_t i = 0; i < blocks; i++) {
        block[i] = memory(kinds[2 * i]);
        if (kinds[2 * i + 1] == 1) take(file, block[i], kinds[2 * i]);
    }
    require(fgetc(file) == EOF, BAD, "CASE has more than it says");
    fclose(file);
    for (int64_t i = 0; i < buffers; i++) {
        int64_t which = places[2 * i], offset = places[2 * i + 1];
        require(which >= 0 && which < blocks, BAD, "CASE has a buffer in no block");
        require(offset >= 0 && offset <= kinds[2 * which], BAD, "CASE has a buffer out of its block");
        buffer[i] = block[which] + offset;
    }

    int64_t stride = (sizes[4] + LINE - 1) / LINE * LINE;
    char *records = memory(threads * RECORD);
    for (int64_t i = 0; i < threads; i++) sem_init((sem_t *)(records + i * RECORD + SEMAPHORE), 0, 0);
    int64_t fields[] = {
        threads, (int64_t)buffer, (int64_t)dims, (int64_t)tasks, (int64_t)memory(threads * stride),
        stride, (int64_t)memory(8 * sizes[3]), (int64_t)records,
        (int64_t)sem_wait, (int64_t)sem_post, (int64_t)sched_yield,
    };
    memcpy(context, fields, sizeof fields);

    pthread_t worker[THREADS_MAX];
    for (int64_t i = 1; i < threads; i++)
        require(!pthread_create(&worker[i], NULL, work, (void *)(intptr_t)i), SYSTEM, "no thread");
    fesetround(FE_UPWARD); /* The code sets its own environment, and leaves this one as it was. */
    aivm_run(context);
    int kept = fegetround() == FE_UPWARD;
    fesetround(FE_TONEAREST);
    aivm_stop(context);
    for (int64_t i = 1; i < threads; i++) pthread_join(worker[i], NULL);

    for (int64_t i = 0; i < blocks; i++)
        if (kinds[2 * i + 1] == 2) fwrite(block[i], 1, (size_t)kinds[2 * i], stdout);
    require(!ferror(stdout) && !fflush(stdout), SYSTEM, "can't write OUTPUTS");
    require(kept, CHANGED, "the code has left another rounding mode than it found");
    return 0;
}
