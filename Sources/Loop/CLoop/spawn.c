#define _GNU_SOURCE
#include "cloop.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

// fork and execve rather than posix_spawn: the child must change its user and ask for a death signal, and neither
// is a spawn attribute. The child of a threaded process may only call async-signal-safe functions, and does.

// Moves `from` to the descriptor `to`, which the exec keeps.
static int place(int from, int to) {
    if (from < 0) return 0;
    if (from == to) return fcntl(to, F_SETFD, 0);
    return dup2(from, to) < 0 ? -1 : 0;
}

// Descriptors below 3 could be overwritten while they are placed: move them up first.
static int lifted(int descriptor) {
    if (descriptor < 0 || descriptor > 2) return descriptor;
    return fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
}

static int prepare(const struct cloop_spawn *plan, pid_t parent) {
    if (plan->ownGroup && setpgid(0, 0) < 0) return -1;
    int input = lifted(plan->input), output = lifted(plan->output), errors = lifted(plan->errors);
    if (place(input, 0) < 0 || place(output, 1) < 0 || place(errors, 2) < 0) return -1;
    if (plan->setUser) {
        if (setgroups(0, NULL) < 0) return -1;
        if (setresgid(plan->group, plan->group, plan->group) < 0) return -1;
        if (setresuid(plan->user, plan->user, plan->user) < 0) return -1;
    }
    if (plan->directory != NULL && chdir(plan->directory) < 0) return -1;
    if (plan->deathSignal != 0) {
        // After the change of user, which clears it (prctl(2)); the parent may have died before.
        if (prctl(PR_SET_PDEATHSIG, plan->deathSignal) < 0) return -1;
        if (getppid() != parent) {
            errno = ESRCH;
            return -1;
        }
    }
    // Whatever else the process has open, made by libraries without O_CLOEXEC, is not the child's, which may live long.
    // Kernels before 5.11 do not know this; there it is left to the libraries.
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    // A processor that the process has for itself is not for its children to share.
    cloop_leave_pinned_processor();
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

char *const *cloop_environment(void) { return environ; }

int cloop_spawn_start(const struct cloop_spawn *plan) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) return -errno;
    // No handler of the parent may run in the child before its mask is its own.
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        // The report stays clear of 0, 1 and 2, which are about to be replaced.
        int out = fcntl(report[1], F_DUPFD_CLOEXEC, 3);
        if (out < 0) _exit(127);
        if (prepare(plan, parent) == 0) execve(plan->path, plan->arguments, plan->environment);
        int error = errno;
        ssize_t ignored = write(out, &error, sizeof error);
        (void)ignored;
        _exit(127);
    }
    int forkError = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (child < 0) {
        close(report[0]);
        return -forkError;
    }
    // The pipe closes at the exec; a number in it is the errno of what failed.
    int error = 0;
    ssize_t count;
    do count = read(report[0], &error, sizeof error);
    while (count < 0 && errno == EINTR);
    close(report[0]);
    if (count != (ssize_t)sizeof error) return child;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    return error > 0 ? -error : -EIO;
}
