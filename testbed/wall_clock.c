/* Let a process go by a wall clock of its own: cc -shared -fPIC -o wall_clock.so wall_clock.c

   LD_PRELOAD=wall_clock.so WALL_CLOCK=FILE, where FILE holds the seconds that the clock is ahead as a 64-bit integer of
   this machine. They may change at any time. The monotonic clock, sleeps and limits stay as they are. */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t zero, *ahead_s = &zero;

__attribute__((constructor)) static void open_file(void) {
  const char *path = getenv("WALL_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *mapped = mmap(NULL, sizeof zero, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) ahead_s = mapped;
  close(fd);
}

int clock_gettime(clockid_t id, struct timespec *found) {
  int code = (int)syscall(SYS_clock_gettime, id, found);
  if (!code && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) found->tv_sec += *ahead_s;
  return code;
}

int gettimeofday(struct timeval *found, void *zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  found->tv_sec = now.tv_sec;
  found->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *found) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (found) *found = now.tv_sec;
  return now.tv_sec;
}
