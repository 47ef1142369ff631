/* Makes fsync and fdatasync fail with EIO for files whose path contains the text in the file named by FSYNC_FAULT.
   Preloaded into a member by the tests; without that file it changes nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int struck(int fd)
{
    char wanted[256], link[64], path[4096];
    const char *name = getenv("FSYNC_FAULT");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    ssize_t length = read(file, wanted, sizeof wanted - 1);
    close(file);
    if (length <= 0)
        return 0;
    wanted[length] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return strstr(path, wanted) != NULL;
}

#define FAULTY(name)                                              \
    int name(int fd)                                              \
    {                                                             \
        static int (*real)(int);                                  \
        if (!real)                                                \
            real = (int (*)(int))dlsym(RTLD_NEXT, #name);         \
        if (struck(fd)) {                                         \
            errno = EIO;                                          \
            return -1;                                            \
        }                                                         \
        return real(fd);                                          \
    }

FAULTY(fsync)
FAULTY(fdatasync)
