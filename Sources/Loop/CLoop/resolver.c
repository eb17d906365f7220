#define _GNU_SOURCE
#include "cresolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { ADDRESSES_MAX = 32, ADDRESS_SIZE = 64 };

struct cloop_resolver {
    ares_channel channel;
    void *owner;
    cloop_resolver_interest interest;
    cloop_resolver_answer answer;
};

struct query {
    struct cloop_resolver *resolver;
    uint64_t number;
};

static pthread_once_t libraryOnce = PTHREAD_ONCE_INIT;
static int libraryStatus;
static void start_library(void) { libraryStatus = ares_library_init(ARES_LIB_INIT_ALL); }

static void socket_changed(void *data, ares_socket_t descriptor, int readable, int writable) {
    struct cloop_resolver *resolver = data;
    resolver->interest(resolver->owner, descriptor, readable, writable);
}

struct cloop_resolver *cloop_resolver_make(void *owner, cloop_resolver_interest interest,
                                           cloop_resolver_answer answer, int timeoutMilliseconds,
                                           int tries) {
    pthread_once(&libraryOnce, start_library);
    if (libraryStatus != ARES_SUCCESS) return NULL;
    struct cloop_resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL) return NULL;
    resolver->owner = owner;
    resolver->interest = interest;
    resolver->answer = answer;
    char lookups[] = "fb";  // files, then the servers
    struct ares_options options = {
        .timeout = timeoutMilliseconds,
        .tries = tries,
        .sock_state_cb = socket_changed,
        .sock_state_cb_data = resolver,
        .lookups = lookups,
    };
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS;
    if (ares_init_options(&resolver->channel, &options, mask) != ARES_SUCCESS) {
        free(resolver);
        return NULL;
    }
    return resolver;
}

void cloop_resolver_end(struct cloop_resolver *resolver) {
    ares_destroy(resolver->channel);
    free(resolver);
}

static void answered(void *data, int status, int timeouts, struct ares_addrinfo *found) {
    (void)timeouts;
    struct query *query = data;
    struct cloop_resolver *resolver = query->resolver;
    char texts[ADDRESSES_MAX][ADDRESS_SIZE];
    const char *pointers[ADDRESSES_MAX];
    int count = 0;
    for (struct ares_addrinfo_node *node = found ? found->nodes : NULL;
         node != NULL && count < ADDRESSES_MAX; node = node->ai_next) {
        if (node->ai_family != AF_INET && node->ai_family != AF_INET6) continue;
        if (getnameinfo(node->ai_addr, node->ai_addrlen, texts[count], ADDRESS_SIZE, NULL, 0,
                        NI_NUMERICHOST) != 0)
            continue;
        int known = 0;
        for (int i = 0; i < count; i++) known |= strcmp(texts[i], texts[count]) == 0;
        if (known) continue;
        pointers[count] = texts[count];
        count++;
    }
    if (found != NULL) ares_freeaddrinfo(found);
    const char *reason = status == ARES_SUCCESS ? "no address" : ares_strerror(status);
    resolver->answer(resolver->owner, query->number, pointers, count, reason);
    free(query);
}

int cloop_resolver_ask(struct cloop_resolver *resolver, uint64_t number, const char *name) {
    struct query *query = malloc(sizeof *query);
    if (query == NULL) return -ENOMEM;
    *query = (struct query){.resolver = resolver, .number = number};
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(resolver->channel, name, NULL, &hints, answered, query);
    return 0;
}

void cloop_resolver_process(struct cloop_resolver *resolver, int readable, int writable) {
    ares_process_fd(resolver->channel, readable < 0 ? ARES_SOCKET_BAD : readable,
                    writable < 0 ? ARES_SOCKET_BAD : writable);
}

int64_t cloop_resolver_timeout(struct cloop_resolver *resolver) {
    struct timeval room, *next = ares_timeout(resolver->channel, NULL, &room);
    if (next == NULL) return -1;
    return (int64_t)next->tv_sec * 1000 + (next->tv_usec + 999) / 1000;
}

int cloop_resolver_use_server(struct cloop_resolver *resolver, const char *server) {
    return ares_set_servers_ports_csv(resolver->channel, server) == ARES_SUCCESS ? 0 : -EINVAL;
}

int cloop_is_numeric(const char *name) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(name, NULL, &hints, &found) != 0) return 0;
    freeaddrinfo(found);
    return 1;
}
