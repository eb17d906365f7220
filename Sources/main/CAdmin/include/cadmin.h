#ifndef CADMIN_H
#define CADMIN_H

#include <stddef.h>
#include <stdint.h>

/// libmicrohttpd behind plain functions: its start is variadic and its facts come in a union, which Swift cannot read.
typedef struct cadmin_daemon cadmin_daemon;
/// One request that waits for its answer; valid inside the callback only.
typedef struct cadmin_request cadmin_request;

/// Called for each request, inside `cadmin_run`. It must answer with `cadmin_answer`.
typedef void (*cadmin_callback)(void *_Nullable owner, cadmin_request *_Nonnull request,
                                const char *_Nonnull method, const char *_Nonnull path);

/// Listens on a numeric address (IPv4 or IPv6) and serves without a thread of its own.
/// Returns NULL and sets `error` to an errno when the address cannot be used.
cadmin_daemon *_Nullable cadmin_start(const char *_Nonnull address, uint16_t port,
                                      unsigned connections_max, unsigned idle_seconds,
                                      cadmin_callback _Nonnull callback, void *_Nullable owner,
                                      int *_Nonnull error);

/// The epoll descriptor that is readable when `cadmin_run` has work.
int cadmin_descriptor(cadmin_daemon *_Nonnull daemon);

/// The port that is listened on; useful when 0 was asked for.
uint16_t cadmin_port(cadmin_daemon *_Nonnull daemon);

/// Milliseconds until `cadmin_run` is due at the latest; -1 when nothing is due.
int64_t cadmin_timeout(cadmin_daemon *_Nonnull daemon);

/// Does what is ready, without waiting.
void cadmin_run(cadmin_daemon *_Nonnull daemon);

/// Answers; the bytes are copied. `allow` is the value of an Allow header, or NULL.
void cadmin_answer(cadmin_request *_Nonnull request, unsigned status, const char *_Nonnull content_type,
                   const char *_Nullable allow, const void *_Nonnull bytes, size_t count);

/// Closes every connection and the socket.
void cadmin_stop(cadmin_daemon *_Nonnull daemon);

/// Writes all of it in one write(2) where the kernel takes it so; 1 is standard output, 2 standard error. What cannot
/// be written is lost: there is nobody to tell.
void cadmin_write(int descriptor, const void *_Nonnull bytes, size_t count);

#endif
