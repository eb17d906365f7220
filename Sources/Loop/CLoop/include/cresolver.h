// Name resolution over c-ares, with its descriptors and its timeouts handed to whoever drives it.
#ifndef CLOOP_RESOLVER_H
#define CLOOP_RESOLVER_H

#include <stdint.h>

struct cloop_resolver;

// The library wants to know when `descriptor` is readable or writable; neither: it is about to close it.
typedef void (*cloop_resolver_interest)(void *owner, int descriptor, int readable, int writable);
// An answer: `count` numeric addresses, or none and the reason (a text that lives for ever).
typedef void (*cloop_resolver_answer)(void *owner, uint64_t query, const char *const *addresses,
                                      int count, const char *reason);

// NULL when the library cannot start. `timeoutMilliseconds` is for the first try of one server. /etc/hosts is looked
// at first, then the servers are asked.
struct cloop_resolver *cloop_resolver_make(void *owner, cloop_resolver_interest interest,
                                           cloop_resolver_answer answer, int timeoutMilliseconds,
                                           int tries);
// Fails what is under way (an answer comes for each), forgets its descriptors, ends.
void cloop_resolver_end(struct cloop_resolver *resolver);
// May answer from inside. 0, or -ENOMEM.
int cloop_resolver_ask(struct cloop_resolver *resolver, uint64_t query, const char *name);
// Descriptors that are ready; -1 for none. With none at all it looks at timeouts only.
void cloop_resolver_process(struct cloop_resolver *resolver, int readable, int writable);
// Milliseconds until `process` should run again; -1 when nothing is under way.
int64_t cloop_resolver_timeout(struct cloop_resolver *resolver);
// Asks this server ("127.0.0.1:5353") instead of the system's. 0 or -EINVAL.
int cloop_resolver_use_server(struct cloop_resolver *resolver, const char *server);
// 1 when `name` is a numeric address.
int cloop_is_numeric(const char *name);

#endif
