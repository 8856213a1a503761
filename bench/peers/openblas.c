/* OpenBLAS's product as a process that is asked for slices: a line `N SECONDS` on standard input is answered with the
   seconds of each call of sgemm, [N,N]·[N,N], for about that long. The library is opened at run time, so that neither
   its headers nor the development package are needed. The first line printed names it. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef void (*Gemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                     float beta, float *c, int ldc);
enum { ROW_MAJOR = 101, PLAIN = 111, MOST = 4096 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  void *lib = NULL;
  const char *names[] = {"libopenblas.so.0", "libopenblas.so", "libopenblas.dylib"};
  for (int i = 0; i < 3 && !lib; i++) lib = dlopen(names[i], RTLD_NOW);
  if (!lib) { fprintf(stderr, "there is no libopenblas.so.0 here (Debian: apt-get install libopenblas0)\n"); return 3; }
  Gemm gemm = (Gemm)dlsym(lib, "cblas_sgemm");
  void (*set_threads)(int) = (void (*)(int))dlsym(lib, "openblas_set_num_threads");
  char *(*config)(void) = (char *(*)(void))dlsym(lib, "openblas_get_config");
  char *(*core)(void) = (char *(*)(void))dlsym(lib, "openblas_get_corename");
  if (!gemm || !set_threads || !config || !core) { fprintf(stderr, "libopenblas lacks cblas_sgemm or its own functions\n"); return 3; }
  set_threads(argc > 1 ? atoi(argv[1]) : 1);
  printf("%.60s, kernels for %s\n", config(), core());
  fflush(stdout);
  int n, held = 0;
  double seconds;
  float *a = NULL, *b = NULL, *c = NULL;
  while (scanf("%d %lf", &n, &seconds) == 2) {
    if (n < 1 || n > MOST) return 2;
    if (n != held) {
      size_t bytes = sizeof(float) * (size_t)n * (size_t)n;
      free(a), free(b), free(c);
      if (posix_memalign((void **)&a, 64, bytes) || posix_memalign((void **)&b, 64, bytes) || posix_memalign((void **)&c, 64, bytes)) return 4;
      for (long i = 0; i < (long)n * n; i++) a[i] = (float)(i % 13) / 13 - 0.5f, b[i] = (float)(i % 7) / 7 - 0.5f, c[i] = 0;
      held = n;
    }
    double end = now() + seconds;
    int calls = 0;
    for (double start = now(); calls < 3 || start < end; calls++) {
      gemm(ROW_MAJOR, PLAIN, PLAIN, n, n, n, 1, a, n, b, n, 0, c, n);
      double after = now();
      printf("%.9f ", after - start);
      start = after;
    }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
