/* Stands before libc's fdatasync, so that a test can hold it up, let it fail, and count its calls.
 *
 * $SYNC_CONTROL is a directory: while it has a file `hold`, calls wait; while it has `fail`, they
 * fail with EIO. Each call adds a byte to `begun` when it comes and to `ended` when it goes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void path_of(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/%s", getenv("SYNC_CONTROL"), name);
}

static int exists(const char *name) {
    char path[4096];
    path_of(path, sizeof path, name);
    return access(path, F_OK) == 0;
}

static void count(const char *name) {
    char path[4096];
    path_of(path, sizeof path, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, ".", 1) != 1)
        abort();
    close(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    count("begun");
    while (exists("hold"))
        usleep(1000);
    int failed = exists("fail") ? -1 : real(fd);
    count("ended");
    if (failed && exists("fail"))
        errno = EIO;
    return failed;
}
