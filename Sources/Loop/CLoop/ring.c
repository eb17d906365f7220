#define _GNU_SOURCE
#include "cring.h"
#include "cloop.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct cloop_ring {
    struct io_uring ring;
    // The kernel has DEFER_TASKRUN (6.1), and so what came before it, IORING_RECVSEND_POLL_FIRST (5.19) too.
    int isModern;
};

_Static_assert(sizeof(struct msghdr) <= CLOOP_RING_SLICES, "msghdr lies before the slices");
_Static_assert(sizeof(struct iovec) == 16, "a slice is an iovec");

int cloop_ring_make(struct cloop_ring **made, unsigned entries) {
    static const unsigned choices[] = {
        IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_COOP_TASKRUN, 0};
    struct cloop_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) return -ENOMEM;
    int result = -ENOSYS;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        struct io_uring_params parameters = {
            .flags = choices[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = entries * 8,
        };
        result = io_uring_queue_init_params(entries, &ring->ring, &parameters);
        if (result == 0) {
            // EXT_ARG: waiting with a time-out; NODROP: no event is lost when the queue is full.
            unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
            if ((parameters.features & needed) != needed) {
                io_uring_queue_exit(&ring->ring);
                result = -ENOSYS;
                break;
            }
            ring->isModern = i == 0;
            *made = ring;
            return 0;
        }
        if (result != -EINVAL) break;
    }
    free(ring);
    return result;
}

void cloop_ring_end(struct cloop_ring *ring) {
    io_uring_queue_exit(&ring->ring);
    free(ring);
}

static struct io_uring_sqe *entry(struct cloop_ring *ring) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    if (sqe != NULL) return sqe;
    io_uring_submit(&ring->ring);
    return io_uring_get_sqe(&ring->ring);
}

int cloop_ring_receive(struct cloop_ring *ring, int descriptor, void *memory, size_t capacity,
                       uint64_t data) {
    struct io_uring_sqe *sqe = entry(ring);
    if (sqe == NULL) return -EBUSY;
    if (capacity > INT32_MAX) capacity = INT32_MAX;
    io_uring_prep_recv(sqe, descriptor, memory, capacity, 0);
    // The next request is seldom there when its receive is queued: do not try in vain.
    if (ring->isModern) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    io_uring_sqe_set_data64(sqe, data);
    return 0;
}

int cloop_ring_send(struct cloop_ring *ring, int descriptor, void *block, int first, int count,
                    uint64_t data) {
    struct io_uring_sqe *sqe = entry(ring);
    if (sqe == NULL) return -EBUSY;
    struct iovec *slices = (struct iovec *)((char *)block + CLOOP_RING_SLICES) + first;
    // WAITALL: the kernel goes on after a partial send by itself where it can.
    int flags = MSG_NOSIGNAL | MSG_WAITALL;
    if (count == 1) {
        size_t length = slices->iov_len < INT32_MAX ? slices->iov_len : INT32_MAX;
        io_uring_prep_send(sqe, descriptor, slices->iov_base, length, flags);
    } else {
        struct msghdr *message = block;
        memset(message, 0, sizeof *message);
        message->msg_iov = slices;
        message->msg_iovlen = (size_t)count;
        io_uring_prep_sendmsg(sqe, descriptor, message, (unsigned)flags);
    }
    io_uring_sqe_set_data64(sqe, data);
    return 0;
}

int cloop_ring_accept(struct cloop_ring *ring, int descriptor, uint64_t data) {
    struct io_uring_sqe *sqe = entry(ring);
    if (sqe == NULL) return -EBUSY;
    io_uring_prep_multishot_accept(sqe, descriptor, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, data);
    return 0;
}

int cloop_ring_connect(struct cloop_ring *ring, int descriptor,
                       const struct cloop_address *address, uint64_t data) {
    struct io_uring_sqe *sqe = entry(ring);
    if (sqe == NULL) return -EBUSY;
    io_uring_prep_connect(sqe, descriptor, (const struct sockaddr *)address->bytes,
                          address->length);
    io_uring_sqe_set_data64(sqe, data);
    return 0;
}

int cloop_ring_poll(struct cloop_ring *ring, int descriptor, uint32_t events, uint64_t data) {
    struct io_uring_sqe *sqe = entry(ring);
    if (sqe == NULL) return -EBUSY;
    io_uring_prep_poll_add(sqe, descriptor, events);
    io_uring_sqe_set_data64(sqe, data);
    return 0;
}

int cloop_ring_cancel(struct cloop_ring *ring, uint64_t target) {
    struct io_uring_sqe *sqe = entry(ring);
    if (sqe == NULL) return -EBUSY;
    io_uring_prep_cancel64(sqe, target, 0);
    io_uring_sqe_set_data64(sqe, 0);
    return 0;
}

int cloop_ring_submit(struct cloop_ring *ring) {
    if (io_uring_sq_ready(&ring->ring) == 0) return 0;
    int result = io_uring_submit(&ring->ring);
    return result < 0 && result != -EINTR && result != -EBUSY && result != -EAGAIN ? result : 0;
}

int cloop_ring_wait(struct cloop_ring *ring, int64_t nanoseconds) {
    struct io_uring_cqe *event = NULL;
    int result;
    if (nanoseconds < 0) {
        result = io_uring_submit_and_wait(&ring->ring, 1);
    } else {
        struct __kernel_timespec limit = {
            .tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
        result = io_uring_submit_and_wait_timeout(&ring->ring, &event, 1, &limit, NULL);
    }
    // BUSY and AGAIN: too many events wait; taking them makes room.
    int isFine = result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
                 result == -EAGAIN;
    return isFine ? 0 : result;
}

int cloop_ring_take(struct cloop_ring *ring, struct cloop_ring_event *events, int max) {
    struct io_uring_cqe *event;
    unsigned head;
    int count = 0;
    io_uring_for_each_cqe(&ring->ring, head, event) {
        if (count == max) break;
        events[count].data = event->user_data;
        events[count].result = event->res;
        events[count].hasMore = (event->flags & IORING_CQE_F_MORE) != 0;
        count++;
    }
    io_uring_cq_advance(&ring->ring, (unsigned)count);
    return count;
}
