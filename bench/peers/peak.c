/* The machine's own limit as a process that is asked for slices: a line `LANES SECONDS` is answered with GFLOP/s of
   independent fused multiply-adds on vectors of so many floats in registers, on the given number of threads, several
   readings in about that long. The first line printed lists the widths that are instructions here. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STEPS = 200000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
/* Contracted to fma: this file is compiled in GNU mode. */
#define WORK(LANES, CHAINS) \
  typedef float vec##LANES __attribute__((vector_size(LANES * 4))); \
  static void *work##LANES(void *out) { \
    volatile float nearly = 0.999f, small = 1e-6f; \
    vec##LANES x = nearly - (vec##LANES){0}, y = small - (vec##LANES){0}, s[CHAINS]; \
    for (int i = 0; i < CHAINS; i++) s[i] = (float)i - (vec##LANES){0}; \
    for (long k = 0; k < STEPS; k++) { \
      _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) s[i] = s[i] * x + y; \
    } \
    float sum = 0; \
    for (int i = 0; i < CHAINS; i++) sum += s[i][0]; \
    *(float *)out = sum; \
    return NULL; \
  }
WORK(4, 12)
WORK(8, 12)
WORK(16, 12)

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 1, lanes;
  if (threads < 1 || threads > 1024) return 2;
#if defined(__AVX512F__)
  printf("8 16\n");
#elif defined(__AVX__)
  printf("8\n");
#else
  printf("4\n");
#endif
  fflush(stdout);
  double seconds;
  while (scanf("%d %lf", &lanes, &seconds) == 2) {
    void *(*work)(void *) = lanes == 16 ? work16 : lanes == 8 ? work8 : work4;
    double end = now() + seconds;
    for (int reading = 0; reading < 3 || now() < end; reading++) {
      pthread_t t[1024];
      float out[1024];
      double start = now();
      for (int i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, work, &out[i])) return 4;
      for (int i = 0; i < threads; i++) pthread_join(t[i], NULL);
      printf("%.3f ", 2.0 * lanes * 12 * STEPS * threads / (now() - start) / 1e9);
    }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
