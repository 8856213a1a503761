// What stands around exported kernels: a pool of threads, an example and its Makefile.
import { elements } from "../../lower/expr.js";
import type { CArgument, Exported } from "./exported.js";

/** Threads sleep between runs. Barriers are passed by spinning, and give the processor away when that takes long. */
export function launcherOf(e: Exported): string {
  const { name, title } = e.about;
  const extents = e.extents.length > 0;
  const run = `${name}_thread(pool->arrays, ${extents ? "pool->extents, " : ""}pool->workspace, tid, pool->n_threads, barrier, pool)`;
  return `/* ${title}: threads and memory for its kernels. */
#define _POSIX_C_SOURCE 200809L
#include "${name}.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct worker {
  struct ${name}_pool *pool;
  pthread_t thread;
  int tid;
};
struct ${name}_pool {
  int n_threads, stop;
  unsigned long runs; /* so far; under lock */
  int working;        /* threads that have not finished this run; under lock */
  pthread_mutex_t lock;
  pthread_cond_t begin, end;
  atomic_int arrived;
  atomic_ulong turn;
  const struct ${name}_arrays *arrays;
${extents ? `  const struct ${name}_extents *extents;\n` : ""}  void *workspace;
  struct worker workers[];
};

static void barrier(void *argument) {
  struct ${name}_pool *pool = argument;
  if (pool->n_threads == 1) return;
  unsigned long turn = atomic_load(&pool->turn);
  if (atomic_fetch_add(&pool->arrived, 1) == pool->n_threads - 1) {
    atomic_store(&pool->arrived, 0);
    atomic_fetch_add(&pool->turn, 1);
    return;
  }
  for (int spins = 0; atomic_load(&pool->turn) == turn; spins++)
    if (spins > 2000) sched_yield();
}

static void *work(void *argument) {
  struct worker *worker = argument;
  struct ${name}_pool *pool = worker->pool;
  const int tid = worker->tid;
  for (unsigned long seen = 0;; seen++) {
    pthread_mutex_lock(&pool->lock);
    while (pool->runs == seen && !pool->stop) pthread_cond_wait(&pool->begin, &pool->lock);
    const int stop = pool->stop;
    pthread_mutex_unlock(&pool->lock);
    if (stop) return NULL;
    ${run};
    pthread_mutex_lock(&pool->lock);
    if (--pool->working == 0) pthread_cond_signal(&pool->end);
    pthread_mutex_unlock(&pool->lock);
  }
}

static void stop(struct ${name}_pool *pool, int started) {
  pthread_mutex_lock(&pool->lock);
  pool->stop = 1;
  pthread_cond_broadcast(&pool->begin);
  pthread_mutex_unlock(&pool->lock);
  for (int t = 1; t < started; t++) pthread_join(pool->workers[t].thread, NULL);
  pthread_cond_destroy(&pool->begin);
  pthread_cond_destroy(&pool->end);
  pthread_mutex_destroy(&pool->lock);
  free(pool->workspace);
  free(pool);
}

${name}_pool *${name}_open(int n_threads) {
  if (n_threads < 1) return NULL;
  struct ${name}_pool *pool = calloc(1, sizeof *pool + sizeof(struct worker) * (size_t)n_threads);
  if (!pool) return NULL;
  pool->n_threads = n_threads;
  if (posix_memalign(&pool->workspace, 64, ${name}_workspace_bytes(n_threads))) {
    free(pool);
    return NULL;
  }
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->begin, NULL);
  pthread_cond_init(&pool->end, NULL);
  for (int t = 1; t < n_threads; t++) {
    pool->workers[t] = (struct worker){.pool = pool, .tid = t};
    if (pthread_create(&pool->workers[t].thread, NULL, work, &pool->workers[t])) {
      stop(pool, t);
      return NULL;
    }
  }
  return pool;
}

void ${name}_run(${name}_pool *pool, const struct ${name}_arrays *arrays${extents ? `, const struct ${name}_extents *extents` : ""}) {
  const int tid = 0;
  pthread_mutex_lock(&pool->lock);
  pool->arrays = arrays;
${extents ? "  pool->extents = extents;\n" : ""}  pool->working = pool->n_threads - 1;
  pool->runs++;
  pthread_cond_broadcast(&pool->begin);
  pthread_mutex_unlock(&pool->lock);
  ${run};
  pthread_mutex_lock(&pool->lock);
  while (pool->working > 0) pthread_cond_wait(&pool->end, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

void ${name}_close(${name}_pool *pool) {
  if (pool) stop(pool, pool->n_threads);
}
`;
}

export function exampleOf(e: Exported): string {
  const { name, title } = e.about;
  const extents = e.extents.length > 0;
  const count = (a: CArgument) => Math.max(1, elements(a.buffer));
  /** A field may have any name: variables have a prefix. */
  const variable = (a: CArgument) => `x_${a.field}`;
  const fill = (a: CArgument): string => {
    const at = `${variable(a)}[i]`;
    switch (a.buffer.dtype) {
      case "i32":
        return `${at} = (int32_t)(4 * next())`;
      case "bool":
        return `${at} = next() < 0.5`;
      case "bf16":
      case "f16":
        return `${at} = 0x3c00 + (uint16_t)(64 * next())`; /* small positive numbers in either format */
      default:
        return `${at} = next() - 0.5`;
    }
  };
  const given = e.arguments.filter((a) => a.kind !== "output");
  const made = e.arguments.filter((a) => a.kind === "output");
  return `/* ${title} on random data: time of a run, and a sum of each result, the same for any number of threads. */
#define _POSIX_C_SOURCE 200809L
#include "${name}.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static float next(void) { /* uniform in [0, 1) */
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) / 16777216.0f;
}
static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  const int threads = argc > 1 ? atoi(argv[1]) : 1;
${e.arguments.map((a) => `  ${a.type} *${variable(a)} = calloc(${count(a)}, sizeof *${variable(a)});`).join("\n")}
  if (${e.arguments.map((a) => `!${variable(a)}`).join(" || ") || "0"}) return fprintf(stderr, "out of memory\\n"), 1;
${given.map((a) => `  for (size_t i = 0; i < ${count(a)}; i++) ${fill(a)};`).join("\n")}
  const struct ${name}_arrays arrays = {${e.arguments.map((a) => `.${a.field} = ${variable(a)}`).join(", ")}};
${extents ? `  const struct ${name}_extents extents = {${e.extents.map((x) => `.${x.field} = ${x.max}`).join(", ")}};\n` : ""}  ${name}_pool *pool = ${name}_open(threads);
  if (!pool) return fprintf(stderr, "no memory or threads for %d\\n", threads), 1;
  ${name}_run(pool, &arrays${extents ? ", &extents" : ""}); /* the first touches its memory */
  const int runs = 10;
  const double before = seconds();
  for (int run = 0; run < runs; run++) ${name}_run(pool, &arrays${extents ? ", &extents" : ""});
  printf("%.3f ms a run, %d threads\\n", 1e3 * (seconds() - before) / runs, threads);
  ${name}_close(pool);
${made
  .map(
    (a) =>
      `  {\n    double sum = 0;\n    for (size_t i = 0; i < ${count(a)}; i++) sum += (double)${variable(a)}[i];\n    printf("${a.field}: sum %.9g\\n", sum);\n  }`,
  )
  .join("\n")}
${e.arguments.map((a) => `  free(${variable(a)});`).join("\n")}
  return 0;
}
`;
}

export const makefileOf = (e: Exported): string => `# ${e.about.title}
CC ?= cc
CFLAGS ?= ${e.flags.join(" ")}

example: example.o kernels.o launcher.o
	$(CC) $(CFLAGS) -o $@ $^ -lpthread -lm

%.o: %.c ${e.about.name}.h
	$(CC) $(CFLAGS) -c -o $@ $<

clean:
	rm -f example *.o
.PHONY: clean
`;
