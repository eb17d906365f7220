// io_uring as few plain functions: liburing's are inline and want _GNU_SOURCE.
#ifndef CLOOP_RING_H
#define CLOOP_RING_H

#include <stddef.h>
#include <stdint.h>

struct cloop_ring;
struct cloop_address;

struct cloop_ring_event {
    uint64_t data;
    int32_t result;
    int32_t hasMore;  // the operation goes on (multishot)
};

// Bytes of a send's block: struct msghdr, then the slices at CLOOP_RING_SLICES.
enum { CLOOP_RING_SLICES = 64, CLOOP_RING_BLOCK = 64 + 64 * 16 };

// 0, or a negative errno when the kernel has no ring for us.
int cloop_ring_make(struct cloop_ring **ring, unsigned entries);
void cloop_ring_end(struct cloop_ring *ring);

// Each queues one operation, whose event carries `data`: 0, or -EBUSY when there is no room even after submitting.
// Memory stays as it is until the event.
int cloop_ring_receive(struct cloop_ring *ring, int descriptor, void *memory, size_t capacity,
                       uint64_t data);
// `block` holds the slices; `first` and `count` say which are to go.
int cloop_ring_send(struct cloop_ring *ring, int descriptor, void *block, int first, int count,
                    uint64_t data);
int cloop_ring_accept(struct cloop_ring *ring, int descriptor, uint64_t data);
int cloop_ring_connect(struct cloop_ring *ring, int descriptor,
                       const struct cloop_address *address, uint64_t data);
int cloop_ring_poll(struct cloop_ring *ring, int descriptor, uint32_t events, uint64_t data);
// Cancels the operation that was queued with `target`; its own event carries 0.
int cloop_ring_cancel(struct cloop_ring *ring, uint64_t target);

// Submits what is queued.
int cloop_ring_submit(struct cloop_ring *ring);
// Submits, then waits for an event for at most `nanoseconds`; negative: for ever. A time-out or a signal is 0.
int cloop_ring_wait(struct cloop_ring *ring, int64_t nanoseconds);
// Takes up to `max` events.
int cloop_ring_take(struct cloop_ring *ring, struct cloop_ring_event *events, int max);

#endif
