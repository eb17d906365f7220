#define _GNU_SOURCE
#include "cadmin.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct cadmin_daemon {
    struct MHD_Daemon *http;
    cadmin_callback callback;
    void *owner;
};

struct cadmin_request {
    struct MHD_Connection *connection;
    enum MHD_Result result;
};

static enum MHD_Result answer(void *closure, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state) {
    (void)version;
    (void)upload;
    (void)upload_size;
    (void)state;
    cadmin_daemon *daemon = closure;
    cadmin_request request = {connection, MHD_NO};
    daemon->callback(daemon->owner, &request, method, path);
    return request.result;
}

/// A listening socket on a numeric address, or -1 and errno.
static int listen_on(const char *address, uint16_t port) {
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct addrinfo *found = NULL;
    if (getaddrinfo(address, NULL, &hints, &found) != 0 || found == NULL) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    if (found->ai_family == AF_INET) {
        ((struct sockaddr_in *)(void *)found->ai_addr)->sin_port = htons(port);
    } else if (found->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_port = htons(port);
    }
    int on = 1;
    int listener = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener >= 0) {
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(listener, found->ai_addr, found->ai_addrlen) != 0 || listen(listener, 64) != 0) {
            int failure = errno;
            close(listener);
            listener = -1;
            errno = failure;
        }
    }
    freeaddrinfo(found);
    return listener;
}

cadmin_daemon *cadmin_start(const char *address, uint16_t port, unsigned connections_max,
                            unsigned idle_seconds, cadmin_callback callback, void *owner, int *error) {
    *error = 0;
    int listener = listen_on(address, port);
    if (listener < 0) {
        *error = errno;
        return NULL;
    }
    cadmin_daemon *daemon = calloc(1, sizeof *daemon);
    if (daemon == NULL) {
        close(listener);
        *error = ENOMEM;
        return NULL;
    }
    daemon->callback = callback;
    daemon->owner = owner;
    daemon->http = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, &answer, daemon, MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_CONNECTION_LIMIT, connections_max, MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(32 * 1024), MHD_OPTION_END);
    if (daemon->http == NULL) {
        close(listener);
        free(daemon);
        *error = EIO;
        return NULL;
    }
    return daemon;
}

int cadmin_descriptor(cadmin_daemon *daemon) {
    const union MHD_DaemonInfo *fact = MHD_get_daemon_info(daemon->http, MHD_DAEMON_INFO_EPOLL_FD);
    return fact == NULL ? -1 : fact->epoll_fd;
}

uint16_t cadmin_port(cadmin_daemon *daemon) {
    const union MHD_DaemonInfo *fact = MHD_get_daemon_info(daemon->http, MHD_DAEMON_INFO_LISTEN_FD);
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (fact == NULL || getsockname(fact->listen_fd, (struct sockaddr *)&address, &length) != 0) return 0;
    if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
    return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
}

int64_t cadmin_timeout(cadmin_daemon *daemon) {
    MHD_UNSIGNED_LONG_LONG milliseconds = 0;
    if (MHD_get_timeout(daemon->http, &milliseconds) != MHD_YES) return -1;
    return milliseconds > INT64_MAX ? INT64_MAX : (int64_t)milliseconds;
}

void cadmin_run(cadmin_daemon *daemon) { MHD_run(daemon->http); }

void cadmin_answer(cadmin_request *request, unsigned status, const char *content_type, const char *allow,
                   const void *bytes, size_t count) {
    // The library takes a pointer that it may write through, and with this mode never does.
    struct MHD_Response *response =
        MHD_create_response_from_buffer(count, (void *)(uintptr_t)bytes, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) return;
    MHD_add_response_header(response, "Content-Type", content_type);
    if (allow != NULL) MHD_add_response_header(response, "Allow", allow);
    request->result = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
}

void cadmin_stop(cadmin_daemon *daemon) {
    MHD_stop_daemon(daemon->http);
    free(daemon);
}

void cadmin_write(int descriptor, const void *bytes, size_t count) {
    const char *next = bytes;
    while (count > 0) {
        ssize_t written = write(descriptor, next, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        next += written;
        count -= (size_t)written;
    }
}
