/* OpenBLAS's product as a process that is asked for slices: a line `TA TB BATCH M N K SECONDS` on standard input is answered
   with the seconds of each product for about that long: BATCH calls of sgemm, C[M,N] = A[M,K]·B[K,N], row-major, with A or B
   stored transposed where TA or TB is 1. The library is opened at run time, so that neither its headers nor the development
   package are needed. The first line printed names it. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef void (*Gemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                     float beta, float *c, int ldc);
enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };
static const long MOST = 1L << 31;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
static float *filled(long n, int period) {
  float *x = NULL;
  if (posix_memalign((void **)&x, 64, sizeof(float) * (size_t)n)) exit(4);
  for (long i = 0; i < n; i++) x[i] = (float)(i % period) / (float)period - 0.5f;
  return x;
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
  int ta, tb, batch, m, n, k;
  long held[3] = {0, 0, 0};
  double seconds;
  float *a = NULL, *b = NULL, *c = NULL;
  while (scanf("%d %d %d %d %d %d %lf", &ta, &tb, &batch, &m, &n, &k, &seconds) == 7) {
    if (m < 1 || n < 1 || k < 1 || batch < 1) return 2;
    const long na = (long)m * k, nb = (long)k * n, nc = (long)m * n;
    if (na > MOST / batch || nb > MOST / batch || nc > MOST / batch) return 2;
    if (na * batch != held[0] || nb * batch != held[1] || nc * batch != held[2]) {
      free(a), free(b), free(c);
      a = filled(held[0] = na * batch, 13), b = filled(held[1] = nb * batch, 7), c = filled(held[2] = nc * batch, 5);
    }
    double end = now() + seconds;
    int calls = 0;
    for (double start = now(); calls < 3 || start < end; calls++) {
      for (int i = 0; i < batch; i++)
        gemm(ROW_MAJOR, ta ? TRANSPOSED : PLAIN, tb ? TRANSPOSED : PLAIN, m, n, k, 1, a + i * na, ta ? m : k, b + i * nb, tb ? k : n, 0, c + i * nc, n);
      double after = now();
      printf("%.9f ", after - start);
      start = after;
    }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
