// The system calls of the loop, as C functions with one convention: the result, or a negative errno.
//
// They are C because accept4, epoll, signalfd and their kin need _GNU_SOURCE, which no header that Swift
// imports may define (it would change fd_set under Glibc's feet); only the .c files here define it.
// None of them keeps state; whoever calls owns the descriptors and the memory.
#ifndef CLOOP_H
#define CLOOP_H

#include <stddef.h>
#include <stdint.h>
#include <postgresql/libpq-fe.h>

// Same layout as struct epoll_event, which is packed on x86-64 (epoll_event(3type)).
#if defined(__x86_64__)
#define CLOOP_PACKED __attribute__((packed))
#else
#define CLOOP_PACKED
#endif
struct cloop_event {
    uint32_t events;
    uint64_t data;
} CLOOP_PACKED;

enum { CLOOP_IN = 0x001, CLOOP_OUT = 0x004, CLOOP_ERR = 0x008, CLOOP_HUP = 0x010 };

int cloop_epoll_create(void);
int cloop_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t data);
int cloop_epoll_change(int epoll, int descriptor, uint32_t events, uint64_t data);
int cloop_epoll_remove(int epoll, int descriptor);
// Events taken; an interrupted wait counts as none. A negative timeout waits for ever.
int cloop_epoll_wait(int epoll, struct cloop_event *events, int max, int milliseconds);

// A sockaddr of either family.
struct cloop_address {
    uint64_t bytes[16];
    uint32_t length;
    int32_t family;
};
// Numeric IPv4 or IPv6 (with scope); -EINVAL for anything else.
int cloop_address_tcp(struct cloop_address *address, const char *host, uint16_t port);
int cloop_address_unix(struct cloop_address *address, const char *path);
// A stream socket, close-on-exec; TCP with TCP_NODELAY and SO_KEEPALIVE, which the sockets that a listener accepts
// inherit.
int cloop_socket(int family, int blocks);
int cloop_bind(int descriptor, const struct cloop_address *address);
int cloop_listen(int descriptor, int backlog);
int cloop_accept(int descriptor);
int cloop_connect(int descriptor, const struct cloop_address *address);
// 0 when something answers on the socket file, -ECONNREFUSED when it is stale, other errors as they come.
int cloop_probe_unix(const struct cloop_address *address);
// The pending error of a socket (SO_ERROR) as a negative errno, else 0.
int cloop_socket_error(int descriptor);
int cloop_local_port(int descriptor);
int cloop_option(int descriptor, int level, int name);
int cloop_set_buffers(int descriptor, int sendBytes, int receiveBytes);
// Numeric host and port of the other side as text, "" for a Unix socket; 0 or a negative errno.
int cloop_peer(int descriptor, char *text, size_t capacity, uint16_t *port);
int64_t cloop_receive(int descriptor, void *memory, size_t capacity);
// One gathered send without SIGPIPE; `slices` has the layout of struct iovec.
int64_t cloop_send(int descriptor, const void *slices, int count);
int cloop_shutdown_send(int descriptor);
int cloop_close(int descriptor);
int cloop_descriptor_check(int descriptor);
int cloop_set_blocking(int descriptor, int blocks);
// A new number for the socket behind `descriptor`, which becomes another, unconnected socket: a library that still
// holds the old number can close it, and say goodbye on it, without reaching the peer.
int cloop_detach(int descriptor);

// Blocks `signals` for this thread and gives a descriptor to read them from.
int cloop_signal_descriptor(const int *signals, int count);
// The next signal's number, or -EAGAIN.
int cloop_signal_read(int descriptor);
void cloop_signal_restore(const int *signals, int count);
int cloop_pidfd(int process);
// Reaps: 1 and its wait status, 0 while it runs, or a negative errno.
int cloop_reap(int process, int *status);

uint64_t cloop_monotonic_nanoseconds(void);
uint64_t cloop_wall_microseconds(void);
uint64_t cloop_process_cpu_nanoseconds(void);
uint64_t cloop_thread_cpu_nanoseconds(void);
int cloop_random(void *memory, size_t count);
// Children that are spawned later have the other processors, if there are any.
int cloop_pin(int processor);
void cloop_leave_pinned_processor(void);
int64_t cloop_raise_descriptor_limit(void);
int cloop_set_descriptor_limit(uint64_t soft);
int64_t cloop_descriptor_limit(void);

// How to start a child; strings are borrowed for the call.
struct cloop_spawn {
    const char *path;
    char *const *arguments;    // NULL-terminated, the program's name first
    char *const *environment;  // NULL-terminated
    const char *directory;     // NULL: stay
    int setUser;               // change to `user` and `group` (and drop the other groups)
    uint32_t user, group;
    int input, output, errors;  // descriptors to become 0, 1, 2; negative: inherit
    int ownGroup;               // a process group of its own, so that ^C does not reach it
    int deathSignal;            // what the child gets when we die (PR_SET_PDEATHSIG); 0: nothing
};
// The process id, or the negative errno of what failed, up to and with execve.
int cloop_spawn_start(const struct cloop_spawn *plan);
char *const *cloop_environment(void);
int cloop_pipe(int descriptors[2]);

#endif
