#define _GNU_SOURCE
#include "cloop.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct cloop_event) == sizeof(struct epoll_event), "layout of epoll_event");
_Static_assert(offsetof(struct cloop_event, data) == offsetof(struct epoll_event, data),
               "layout of epoll_event");
_Static_assert(CLOOP_IN == EPOLLIN && CLOOP_OUT == EPOLLOUT && CLOOP_ERR == EPOLLERR &&
               CLOOP_HUP == EPOLLHUP, "epoll's bits");
_Static_assert(sizeof(((struct cloop_address *)0)->bytes) >= sizeof(struct sockaddr_storage),
               "room for any address");

#define RESULT(call) ((call) < 0 ? -errno : 0)

// epoll(7)

int cloop_epoll_create(void) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    return epoll < 0 ? -errno : epoll;
}

static int epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return RESULT(epoll_ctl(epoll, operation, descriptor, &event));
}

int cloop_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t data) {
    return epoll_control(epoll, EPOLL_CTL_ADD, descriptor, events, data);
}

int cloop_epoll_change(int epoll, int descriptor, uint32_t events, uint64_t data) {
    return epoll_control(epoll, EPOLL_CTL_MOD, descriptor, events, data);
}

int cloop_epoll_remove(int epoll, int descriptor) {
    return epoll_control(epoll, EPOLL_CTL_DEL, descriptor, 0, 0);
}

int cloop_epoll_wait(int epoll, struct cloop_event *events, int max, int milliseconds) {
    int count = epoll_wait(epoll, (struct epoll_event *)events, max, milliseconds);
    if (count >= 0) return count;
    return errno == EINTR ? 0 : -errno;
}

// Sockets

int cloop_address_tcp(struct cloop_address *address, const char *host, uint16_t port) {
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    memset(address, 0, sizeof *address);
    if (getaddrinfo(host, service, &hints, &found) != 0 || found == NULL) return -EINVAL;
    int fits = found->ai_addrlen <= sizeof address->bytes;
    if (fits) {
        memcpy(address->bytes, found->ai_addr, found->ai_addrlen);
        address->length = (uint32_t)found->ai_addrlen;
        address->family = found->ai_family;
    }
    freeaddrinfo(found);
    return fits ? 0 : -EINVAL;
}

int cloop_address_unix(struct cloop_address *address, const char *path) {
    struct sockaddr_un *local = (struct sockaddr_un *)address->bytes;
    size_t length = strlen(path);
    memset(address, 0, sizeof *address);
    if (length == 0 || length >= sizeof local->sun_path) return -ENAMETOOLONG;
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, length + 1);
    address->length = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    address->family = AF_UNIX;
    return 0;
}

int cloop_socket(int family, int blocks) {
    int type = SOCK_STREAM | SOCK_CLOEXEC | (blocks ? 0 : SOCK_NONBLOCK);
    int descriptor = socket(family, type, 0);
    if (descriptor < 0) return -errno;
    if (family != AF_UNIX) {
        int on = 1;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    return descriptor;
}

int cloop_bind(int descriptor, const struct cloop_address *address) {
    int on = 1;
    if (address->family != AF_UNIX)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return RESULT(bind(descriptor, (const struct sockaddr *)address->bytes, address->length));
}

int cloop_listen(int descriptor, int backlog) {
    return RESULT(listen(descriptor, backlog));
}

int cloop_accept(int descriptor) {
    int accepted = accept4(descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return accepted < 0 ? -errno : accepted;
}

int cloop_connect(int descriptor, const struct cloop_address *address) {
    return RESULT(connect(descriptor, (const struct sockaddr *)address->bytes, address->length));
}

int cloop_probe_unix(const struct cloop_address *address) {
    // Connecting to a file that is no socket is refused too (unix(7)); it must not pass for a stale one.
    struct stat status;
    const struct sockaddr_un *local = (const struct sockaddr_un *)address->bytes;
    if (lstat(local->sun_path, &status) < 0) return -errno;
    if (!S_ISSOCK(status.st_mode)) return -ENOTSOCK;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    int result = cloop_connect(descriptor, address);
    close(descriptor);
    return result;
}

int cloop_socket_error(int descriptor) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return -errno;
    return -error;
}

int cloop_local_port(int descriptor) {
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    memset(&storage, 0, sizeof storage);
    if (getsockname(descriptor, (struct sockaddr *)&storage, &length) < 0) return -errno;
    if (storage.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&storage)->sin_port);
    if (storage.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&storage)->sin6_port);
    return 0;
}

int cloop_option(int descriptor, int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    if (getsockopt(descriptor, level, name, &value, &length) < 0) return -errno;
    return value;
}

int cloop_set_buffers(int descriptor, int sendBytes, int receiveBytes) {
    if (sendBytes > 0 &&
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &sendBytes, sizeof sendBytes) < 0)
        return -errno;
    if (receiveBytes > 0 &&
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBytes, sizeof receiveBytes) < 0)
        return -errno;
    return 0;
}

int cloop_peer(int descriptor, char *text, size_t capacity, uint16_t *port) {
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    memset(&storage, 0, sizeof storage);
    text[0] = 0;
    *port = 0;
    if (getpeername(descriptor, (struct sockaddr *)&storage, &length) < 0) return -errno;
    if (storage.ss_family == AF_INET) *port = ntohs(((struct sockaddr_in *)&storage)->sin_port);
    else if (storage.ss_family == AF_INET6)
        *port = ntohs(((struct sockaddr_in6 *)&storage)->sin6_port);
    else return 0;
    int failed = getnameinfo((struct sockaddr *)&storage, length, text, (socklen_t)capacity, NULL,
                             0, NI_NUMERICHOST);
    return failed ? -EINVAL : 0;
}

int64_t cloop_receive(int descriptor, void *memory, size_t capacity) {
    for (;;) {
        ssize_t count = recv(descriptor, memory, capacity, MSG_DONTWAIT);
        if (count >= 0) return count;
        if (errno != EINTR) return -errno;
    }
}

int64_t cloop_send(int descriptor, const void *slices, int count) {
    const struct iovec *vectors = slices;
    struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)count};
    for (;;) {
        ssize_t sent = count == 1
            ? send(descriptor, vectors->iov_base, vectors->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
            : sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) return sent;
        if (errno != EINTR) return -errno;
    }
}

int cloop_shutdown_send(int descriptor) { return RESULT(shutdown(descriptor, SHUT_WR)); }

int cloop_close(int descriptor) { return RESULT(close(descriptor)); }

int cloop_descriptor_check(int descriptor) { return RESULT(fcntl(descriptor, F_GETFD)); }

int cloop_set_blocking(int descriptor, int blocks) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    flags = blocks ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    return RESULT(fcntl(descriptor, F_SETFL, flags));
}

int cloop_detach(int descriptor) {
    int empty = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (empty < 0) return -errno;
    int taken = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    int error = taken < 0 ? errno : 0;
    if (taken >= 0 && dup3(empty, descriptor, O_CLOEXEC) < 0) {
        error = errno;
        close(taken);
    }
    close(empty);
    return error ? -error : taken;
}

int cloop_pipe(int descriptors[2]) { return RESULT(pipe2(descriptors, O_CLOEXEC)); }

// Signals and children

static void signal_set(sigset_t *set, const int *signals, int count) {
    sigemptyset(set);
    for (int i = 0; i < count; i++) sigaddset(set, signals[i]);
}

int cloop_signal_descriptor(const int *signals, int count) {
    sigset_t set;
    signal_set(&set, signals, count);
    int failed = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (failed) return -failed;
    int descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int cloop_signal_read(int descriptor) {
    struct signalfd_siginfo report;
    ssize_t count = read(descriptor, &report, sizeof report);
    if (count == (ssize_t)sizeof report) return (int)report.ssi_signo;
    return count < 0 ? -errno : -EAGAIN;
}

void cloop_signal_restore(const int *signals, int count) {
    sigset_t set;
    signal_set(&set, signals, count);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int cloop_pidfd(int process) {
    long descriptor = syscall(SYS_pidfd_open, process, 0);  // close-on-exec by itself
    return descriptor < 0 ? -errno : (int)descriptor;
}

int cloop_reap(int process, int *status) {
    for (;;) {
        pid_t reaped = waitpid(process, status, WNOHANG);
        if (reaped == process) return 1;
        if (reaped == 0) return 0;
        if (errno != EINTR) return -errno;
    }
}

// Clocks and limits

static uint64_t clock_nanoseconds(clockid_t clock) {
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t cloop_monotonic_nanoseconds(void) { return clock_nanoseconds(CLOCK_MONOTONIC); }
uint64_t cloop_wall_microseconds(void) { return clock_nanoseconds(CLOCK_REALTIME) / 1000; }
uint64_t cloop_process_cpu_nanoseconds(void) {
    return clock_nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
}
uint64_t cloop_thread_cpu_nanoseconds(void) { return clock_nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

int cloop_random(void *memory, size_t count) {
    unsigned char *at = memory;
    while (count > 0) {
        ssize_t got = getrandom(at, count, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        at += got;
        count -= (size_t)got;
    }
    return 0;
}

// Where children run; set once, before there are any.
static cpu_set_t others;
static int hasOthers;

int cloop_pin(int processor) {
    if (processor < 0 || processor >= CPU_SETSIZE) return -EINVAL;
    cpu_set_t set, before;
    if (sched_getaffinity(0, sizeof before, &before) < 0) return -errno;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0) return -errno;
    CPU_CLR(processor, &before);
    others = before;
    hasOthers = CPU_COUNT(&others) > 0;
    return 0;
}

void cloop_leave_pinned_processor(void) {
    if (hasOthers) sched_setaffinity(0, sizeof others, &others);
}

int64_t cloop_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    return (int64_t)limit.rlim_cur;
}

int cloop_set_descriptor_limit(uint64_t soft) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    return RESULT(setrlimit(RLIMIT_NOFILE, &limit));
}

int64_t cloop_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    return (int64_t)limit.rlim_cur;
}
