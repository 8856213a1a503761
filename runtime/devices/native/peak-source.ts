// The machine's own limits in C, as a program of its own that is asked for readings. A string, because tsc copies no .c
// files. The compiler may contract here: what is measured is the fused multiply-add.
//
// A line `WHAT SIZE SECONDS` on standard input is answered with a line of readings, several in about that long, of all
// threads together:
//   fma LANES    GFLOP/s of independent fused multiply-adds on vectors of so many floats in registers
//   read KIB     GB/s of reading so much memory a thread, over and over
//   triad KIB    GB/s of a[i] = b[i] + s·c[i] over so much memory a thread, all three arrays together (STREAM counts so: what
//                a store fetches before it writes is not counted)
// The first line printed lists the vector widths that are instructions here.
export const PEAK_SOURCE = String.raw`
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_THREADS = 1024, STEPS = 200000, WIDE = 16 };
static int threads;
static atomic_int arrived;
static const char *task;
static long size;
struct worker { float *memory; long held; double start, end, work; float result; int id; };
static struct worker workers[MOST_THREADS];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
#define WORK(LANES, CHAINS) \
  typedef float vec##LANES __attribute__((vector_size(LANES * 4))); \
  static float fma##LANES(void) { \
    volatile float nearly = 0.999f, small = 1e-6f; \
    vec##LANES x = nearly - (vec##LANES){0}, y = small - (vec##LANES){0}, s[CHAINS]; \
    for (int i = 0; i < CHAINS; i++) s[i] = (float)i - (vec##LANES){0}; \
    for (long k = 0; k < STEPS; k++) { \
      _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) s[i] = s[i] * x + y; \
    } \
    float sum = 0; \
    for (int i = 0; i < CHAINS; i++) sum += s[i][0]; \
    return sum; \
  }
WORK(4, 12)
WORK(8, 12)
WORK(16, 12)

/* Blocks of eight vectors: enough independent sums to hide an addition's latency. */
static float read_all(const float *m, long n) {
  const vec16 *v = (const vec16 *)m;
  vec16 s[8];
  memset(s, 0, sizeof s);
  for (long i = 0; i + 8 <= n / WIDE; i += 8) {
    _Pragma("GCC unroll 8") for (int j = 0; j < 8; j++) s[j] += v[i + j];
  }
  float sum = 0;
  for (int j = 0; j < 8; j++) sum += s[j][0];
  return sum;
}
static void triad(float *m, long n) {
  long part = n / 3 / WIDE;
  volatile float factor = 0.5f;
  vec16 *a = (vec16 *)m, *b = a + part, *c = b + part, f = factor - (vec16){0};
  for (long i = 0; i < part; i++) a[i] = b[i] + f * c[i];
}

static void *run(void *given) {
  struct worker *w = given;
  int fma = strcmp(task, "fma") == 0, reads = strcmp(task, "read") == 0;
  long n = fma ? 0 : size * 1024 / (long)sizeof(float);
  if (w->held != n) {
    free(w->memory), w->memory = NULL;
    if (n > 0 && posix_memalign((void **)&w->memory, 64, (size_t)n * sizeof(float))) exit(4);
    for (long i = 0; i < n; i++) w->memory[i] = (float)(i % 7) * 0.125f; /* by this thread: its own memory on machines with several */
    w->held = n;
  }
  /* Many passes over little memory, so that one reading takes milliseconds. */
  long passes = fma ? 1 : 1 + 64 * 1024 / (size > 0 ? size : 1);
  if (n > 0) w->result = read_all(w->memory, n);
  atomic_fetch_add(&arrived, 1);
  while (atomic_load(&arrived) < threads) {}
  w->start = now();
  if (fma) w->result = size == 16 ? fma16() : size == 8 ? fma8() : fma4();
  else
    for (long p = 0; p < passes; p++) {
      if (reads) w->result += read_all(w->memory, n);
      else triad(w->memory, n);
    }
  w->end = now();
  w->work = fma ? 2.0 * size * 12 * STEPS : (double)passes * (double)(reads ? n / (8 * WIDE) * 8 * WIDE : n / 3 / WIDE * 3 * WIDE) * sizeof(float);
  return NULL;
}

int main(int argc, char **argv) {
  threads = argc > 1 ? atoi(argv[1]) : 1;
  if (threads < 1 || threads > MOST_THREADS) return 2;
#if defined(__AVX512F__)
  printf("8 16\n");
#elif defined(__AVX__)
  printf("8\n");
#else
  printf("4\n");
#endif
  fflush(stdout);
  char what[16];
  double seconds;
  while (scanf("%15s %ld %lf", what, &size, &seconds) == 3) {
    task = what;
    double end = now() + seconds;
    for (int reading = 0; reading < 3 || now() < end; reading++) {
      pthread_t t[MOST_THREADS];
      atomic_store(&arrived, 0);
      for (int i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, run, &workers[i])) return 4;
      double first = 0, last = 0, work = 0;
      for (int i = 0; i < threads; i++) {
        pthread_join(t[i], NULL);
        struct worker *w = &workers[i];
        first = i == 0 || w->start < first ? w->start : first;
        last = w->end > last ? w->end : last;
        work += w->work;
      }
      printf("%.3f ", work / (last - first) / 1e9);
    }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
`;
