// The native runtime in C: memory, copies between rows of different strides, and the thread pool that runs a program.
// A string, because tsc copies no .c files; compiled and cached like any generated unit.
//
// Every thread calls the program's one entry with its number (SPMD, static partition) and meets the others at barriers.
// A thread that waits spins shortly, as the next kernel is usually microseconds away; where there are more threads than
// cores it spins hardly at all and gives its core away a few times instead; then it sleeps, on the counter itself where
// the system can (futex). So more threads than cores, or other work on the machine, cost time but never stall. Threads sleep between runs; a sleeping
// thread does not keep a process from ending, and the library pins itself in memory, for unloading it at exit would
// take the code from under them. The caller of mallard_run only sleeps: it runs on a small stack of koffi's.
export const POOL_SOURCE = String.raw`
#define _GNU_SOURCE
#include <dlfcn.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
/* Of linux/futex.h, which not every C library brings. */
enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 };
#endif

/* ---- memory: zeroed, aligned to 64 bytes, counted ---- */

enum { ALIGN = 64, LARGE = 1 << 20, HUGE_PAGE = 1 << 21 };
static atomic_int_fast64_t live_bytes;

static uint64_t rounded(uint64_t bytes) {
  uint64_t unit = bytes >= LARGE ? 4096 : ALIGN;
  return ((bytes ? bytes : 1) + unit - 1) / unit * unit;
}

void *mallard_alloc(uint64_t bytes) {
  uint64_t size = rounded(bytes);
  void *p;
  if (bytes >= LARGE) {
    /* Pages come zeroed and only when they are touched. */
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
    if (size >= HUGE_PAGE) madvise(p, size, MADV_HUGEPAGE);
#endif
#ifdef MADV_DONTFORK
    /* Processes are only started to run a compiler: none of them needs this, and marking it all to be copied takes longer
       than the compiler's start. */
    madvise(p, size, MADV_DONTFORK);
#endif
  } else {
    if (posix_memalign(&p, ALIGN, size)) return NULL;
    memset(p, 0, size);
  }
  atomic_fetch_add(&live_bytes, (int64_t)size);
  return p;
}

void mallard_free(void *p, uint64_t bytes) {
  if (!p) return;
  uint64_t size = rounded(bytes);
  if (bytes >= LARGE) munmap(p, size);
  else free(p);
  atomic_fetch_sub(&live_bytes, (int64_t)size);
}

/* Returns what was freed to the system, where the C library keeps it otherwise. */
void mallard_trim(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

int64_t mallard_memory(void) { return atomic_load(&live_bytes); }

/* dst[i·dst_stride] = src[i·src_stride] for all index tuples i below counts: blocks of bytes, strides in bytes. */
void mallard_copy(char *dst, const char *src, int rank, const int64_t *counts, const int64_t *dst_stride,
                  const int64_t *src_stride, uint64_t block) {
  int64_t i[32] = {0};
  if (rank > 32) return;
  for (int a = 0; a < rank; a++)
    if (counts[a] == 0) return;
  for (;;) {
    memcpy(dst, src, block);
    int a = rank - 1;
    for (; a >= 0; a--) {
      dst += dst_stride[a], src += src_stride[a];
      if (++i[a] < counts[a]) break;
      dst -= dst_stride[a] * counts[a], src -= src_stride[a] * counts[a];
      i[a] = 0;
    }
    if (a < 0) return;
  }
}

int mallard_pin(void) {
  Dl_info info;
  if (!dladdr((void *)mallard_pin, &info)) return 0;
  return dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE | RTLD_NOLOAD) != NULL;
}

/* ---- waiting for a counter to move on ---- */

typedef struct {
  _Alignas(64) atomic_uint count; /* as a whole turn of it passes no waiter by, it may wrap */
  atomic_int sleepers;
#ifndef __linux__
  pthread_mutex_t lock;
  pthread_cond_t wake;
#endif
} Event;
typedef struct {
  int spins, yields;
} Patience;

/* Both sides are sequentially consistent: a sleeper announces itself before it reads the counter, the other side moves
   the counter before it looks for sleepers, so one of the two sees the other. */
#ifdef __linux__
static void event_init(Event *e) {
  atomic_init(&e->count, 0);
  atomic_init(&e->sleepers, 0);
}
static void event_free(Event *e) { (void)e; }
static void event_sleep(Event *e, unsigned seen) {
  atomic_fetch_add(&e->sleepers, 1);
  /* Returns at once where the counter is no longer what was seen. */
  while (atomic_load(&e->count) == seen) syscall(SYS_futex, &e->count, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
  atomic_fetch_sub(&e->sleepers, 1);
}
static void event_advance(Event *e) {
  atomic_fetch_add(&e->count, 1);
  if (atomic_load(&e->sleepers) > 0) syscall(SYS_futex, &e->count, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}
#else
static void event_init(Event *e) {
  atomic_init(&e->count, 0);
  atomic_init(&e->sleepers, 0);
  pthread_mutex_init(&e->lock, NULL);
  pthread_cond_init(&e->wake, NULL);
}
static void event_free(Event *e) {
  pthread_cond_destroy(&e->wake);
  pthread_mutex_destroy(&e->lock);
}
static void event_sleep(Event *e, unsigned seen) {
  pthread_mutex_lock(&e->lock);
  atomic_fetch_add(&e->sleepers, 1);
  while (atomic_load(&e->count) == seen) pthread_cond_wait(&e->wake, &e->lock);
  atomic_fetch_sub(&e->sleepers, 1);
  pthread_mutex_unlock(&e->lock);
}
static void event_advance(Event *e) {
  atomic_fetch_add(&e->count, 1);
  if (atomic_load(&e->sleepers) > 0) {
    pthread_mutex_lock(&e->lock);
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);
  }
}
#endif
static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
}
static void event_wait(Event *e, unsigned seen, Patience p) {
  for (int i = 0; i < p.spins; i++) {
    if (atomic_load_explicit(&e->count, memory_order_acquire) != seen) return;
    relax();
  }
  for (int i = 0; i < p.yields; i++) {
    sched_yield();
    if (atomic_load_explicit(&e->count, memory_order_acquire) != seen) return;
  }
  event_sleep(e, seen);
}

/* ---- the pool ---- */

typedef void (*Entry)(void *const *buffers, const int32_t *extents, int tid, int nthreads, void *scratch,
                      void (*barrier)(void *), void *barrier_arg);
typedef struct Pool Pool;
typedef struct {
  _Alignas(64) Pool *pool;
  int tid;
  unsigned turn; /* barriers passed: its own sense, to compare with the pool's */
  void *scratch;
  pthread_t thread;
} Worker;
struct Pool {
  int n;
  Patience patience;
  pid_t pid;
  atomic_int stop;
  atomic_int expected; /* runs that have been promised and have not left yet */
  pthread_mutex_t one_run;
  Event start, done, turn;
  _Alignas(64) atomic_int arriving; /* threads still missing at the barrier */
  _Alignas(64) atomic_int running;
  Entry entry;
  void *const *buffers;
  const int32_t *extents;
  uint64_t scratch_bytes;
  Worker *workers;
};

static void barrier(void *arg) {
  Worker *w = arg;
  Pool *p = w->pool;
  if (p->n == 1) return;
  unsigned seen = w->turn++;
  if (atomic_fetch_sub_explicit(&p->arriving, 1, memory_order_acq_rel) == 1) {
    atomic_store_explicit(&p->arriving, p->n, memory_order_relaxed);
    event_advance(&p->turn);
  } else
    event_wait(&p->turn, seen, p->patience);
}

static void *worker_main(void *arg) {
  Worker *w = arg;
  Pool *p = w->pool;
#ifdef __linux__
  char name[16] = "mallard";
  pthread_setname_np(pthread_self(), name);
#endif
  for (unsigned seen = 0;; seen++) {
    event_wait(&p->start, seen, p->patience);
    if (atomic_load(&p->stop)) return NULL;
    p->entry(p->buffers, p->extents, w->tid, p->n, w->scratch, barrier, w);
    if (atomic_fetch_sub_explicit(&p->running, 1, memory_order_acq_rel) == 1) event_advance(&p->done);
  }
}

enum { OK = 0, NO_MEMORY = 1, STOPPED = 2, FORKED = 3 };

static void stop_threads(Pool *p, int started) {
  atomic_store(&p->stop, 1);
  event_advance(&p->start);
  for (int t = 0; t < started; t++) pthread_join(p->workers[t].thread, NULL);
}
static void release(Pool *p) {
  for (int t = 0; t < p->n; t++) mallard_free(p->workers[t].scratch, p->scratch_bytes);
  event_free(&p->start), event_free(&p->done), event_free(&p->turn);
  pthread_mutex_destroy(&p->one_run);
  mallard_free(p->workers, sizeof(Worker) * (uint64_t)p->n);
  mallard_free(p, sizeof(Pool));
}

Pool *mallard_pool_create(int n, int spins, int yields) {
  Pool *p = mallard_alloc(sizeof(Pool));
  if (!p) return NULL;
  p->workers = mallard_alloc(sizeof(Worker) * (uint64_t)n);
  if (!p->workers) return mallard_free(p, sizeof(Pool)), NULL;
  p->n = n, p->patience = (Patience){spins, yields}, p->pid = getpid();
  atomic_init(&p->stop, 0), atomic_init(&p->expected, 0), atomic_init(&p->running, 0), atomic_init(&p->arriving, n);
  pthread_mutex_init(&p->one_run, NULL);
  event_init(&p->start), event_init(&p->done), event_init(&p->turn);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 8 << 20); /* musl gives 128 KiB */
  /* Signals are for the threads that were there before. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int t = 0;
  for (; t < n; t++) {
    p->workers[t].pool = p, p->workers[t].tid = t;
    if (pthread_create(&p->workers[t].thread, &attr, worker_main, &p->workers[t])) break;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  if (t == n) return p;
  stop_threads(p, t);
  release(p);
  return NULL;
}

/* Before each mallard_run, by who may destroy the pool: the run itself may begin later, on a thread of its own. */
void mallard_pool_expect(Pool *p) { atomic_fetch_add(&p->expected, 1); }

static int run(Pool *p, Entry entry, void *const *buffers, const int32_t *extents, uint64_t scratch_bytes) {
  if (getpid() != p->pid) return FORKED; /* a forked child has our memory but none of our threads */
  pthread_mutex_lock(&p->one_run);
  int status = atomic_load(&p->stop) ? STOPPED : OK;
  if (status == OK && scratch_bytes > p->scratch_bytes) {
    for (int t = 0; t < p->n; t++) {
      mallard_free(p->workers[t].scratch, p->scratch_bytes);
      p->workers[t].scratch = NULL;
    }
    p->scratch_bytes = scratch_bytes;
    for (int t = 0; t < p->n && status == OK; t++)
      if (!(p->workers[t].scratch = mallard_alloc(scratch_bytes))) status = NO_MEMORY;
    if (status != OK) {
      for (int t = 0; t < p->n; t++) {
        mallard_free(p->workers[t].scratch, scratch_bytes);
        p->workers[t].scratch = NULL;
      }
      p->scratch_bytes = 0;
    }
  }
  if (status == OK) {
    p->entry = entry, p->buffers = buffers, p->extents = extents;
    unsigned seen = atomic_load(&p->done.count);
    atomic_store(&p->running, p->n);
    event_advance(&p->start);
    event_wait(&p->done, seen, (Patience){0, 0});
  }
  pthread_mutex_unlock(&p->one_run);
  return status;
}

int mallard_run(Pool *p, Entry entry, void *const *buffers, const int32_t *extents, uint64_t scratch_bytes) {
  int status = run(p, entry, buffers, extents, scratch_bytes);
  atomic_fetch_sub(&p->expected, 1); /* the last that it touches of the pool */
  return status;
}

/* Waits for a run in progress, ends and joins the threads, and lets runs that have not begun find that out. */
void mallard_pool_destroy(Pool *p) {
  if (getpid() != p->pid) return;
  pthread_mutex_lock(&p->one_run);
  stop_threads(p, p->n);
  pthread_mutex_unlock(&p->one_run);
  while (atomic_load(&p->expected) > 0) usleep(50);
  release(p);
}
`;
