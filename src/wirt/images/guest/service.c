/* Echo over TCP and UDP on port 7 (RFC 862), with commands for the agent on the same port.
 *
 * One thread, no call that waits for a peer: what a peer does can't hold up the echo of another, and the echo's gap is
 * what measures a migration. Everything that comes in is untrusted; every buffer is bounded. */
#include "guest.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 60, OUT_MAX_BYTES = 16384, DATAGRAM_MAX_BYTES = 65536 };

struct connection {
    int fd;
    size_t line_used, out_used;
    bool in_line;             /* past the first bytes of a line that is no command */
    char line[LINE_MAX_BYTES]; /* the beginning of what may yet become a command */
    char out[OUT_MAX_BYTES];
};

static int udp_fd, listen_fd;
static struct connection connections[CONNECTIONS_MAX];
static int connection_count;
static _Atomic uint64_t flood_received, echoed;

static const char command_prefix[] = "wirt ";
static const char flood_prefix[] = "wirt-flood ";
enum { PREFIX_BYTES = sizeof command_prefix - 1 };

uint64_t flood_received_bytes(void)
{
    return flood_received;
}

uint64_t echoed_bytes(void)
{
    return echoed;
}

static int bound_socket(int type)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(ECHO_PORT)};
    int one = 1;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) != 0)
        return -1;
    return fd;
}

int open_service(void)
{
    udp_fd = bound_socket(SOCK_DGRAM);
    listen_fd = bound_socket(SOCK_STREAM);
    return udp_fd < 0 || listen_fd < 0 || listen(listen_fd, 32) != 0 ? -1 : 0;
}

/* Also called by the threads of long jobs, which hold a duplicate of a connection's descriptor. */
void send_answer(const struct caller *to, const char *text)
{
    char line[ANSWER_MAX_BYTES + 2];
    size_t length = (size_t)snprintf(line, sizeof line, "%s\n", text);

    if (!to->stream) {
        sendto(udp_fd, line, length, MSG_DONTWAIT, (const struct sockaddr *)&to->peer, sizeof to->peer);
        return;
    }
    for (size_t at = 0; at < length;) {
        struct pollfd writable = {.fd = to->fd, .events = POLLOUT};
        ssize_t n = send(to->fd, line + at, length - at, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            at += (size_t)n;
        else if (errno != EAGAIN || poll(&writable, 1, 2000) <= 0)
            return; /* a peer that does not read for two seconds loses its answer */
    }
}

static void serve_datagram(void)
{
    static char data[DATAGRAM_MAX_BYTES];
    struct caller from = {.fd = udp_fd};
    socklen_t size = sizeof from.peer;
    ssize_t n = recvfrom(udp_fd, data, sizeof data, 0, (struct sockaddr *)&from.peer, &size);

    /* Two echo services must not be talked into answering one another for ever. */
    if (n <= 0 || from.peer.sin_port == htons(ECHO_PORT))
        return;
    if (n >= (ssize_t)sizeof flood_prefix - 1 && memcmp(data, flood_prefix, sizeof flood_prefix - 1) == 0) {
        flood_received += (uint64_t)n;
        return;
    }
    if (n >= PREFIX_BYTES && memcmp(data, command_prefix, PREFIX_BYTES) == 0) {
        char line[LINE_MAX_BYTES], answer[ANSWER_MAX_BYTES] = "error too long";

        if (n < LINE_MAX_BYTES) {
            memcpy(line, data, (size_t)n);
            line[n] = '\0';
            if (!run_command(line + PREFIX_BYTES, &from, answer))
                return;
        }
        send_answer(&from, answer);
        return;
    }
    echoed += (uint64_t)n;
    sendto(udp_fd, data, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&from.peer, size);
}

static bool put_out(struct connection *c, const char *data, size_t n)
{
    if (n > sizeof c->out - c->out_used)
        return false;
    memcpy(c->out + c->out_used, data, n);
    c->out_used += n;
    return true;
}

static bool flush_out(struct connection *c)
{
    ssize_t n = c->out_used == 0 ? 0 : send(c->fd, c->out, c->out_used, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->out_used -= (size_t)n;
    memmove(c->out, c->out + n, c->out_used);
    return true;
}

static bool finish_line(struct connection *c)
{
    struct caller from = {.fd = c->fd, .stream = true};
    char answer[ANSWER_MAX_BYTES];

    c->line[c->line_used] = '\0';
    c->line_used = 0;
    if (!run_command(c->line + PREFIX_BYTES, &from, answer))
        return true;
    return put_out(c, answer, strlen(answer)) && put_out(c, "\n", 1);
}

/* Echoes byte for byte, but holds back the start of a line for as long as it could be a command. */
static bool take_byte(struct connection *c, char byte)
{
    if (c->in_line) {
        c->in_line = byte != '\n';
        return put_out(c, &byte, 1);
    }
    if (c->line_used == sizeof c->line - 1)
        return false;
    c->line[c->line_used++] = byte;
    if (c->line_used <= PREFIX_BYTES) {
        if (byte == command_prefix[c->line_used - 1])
            return true;
        size_t held = c->line_used;
        c->in_line = byte != '\n';
        c->line_used = 0;
        return put_out(c, c->line, held);
    }
    return byte != '\n' || finish_line(c);
}

static bool serve_connection(struct connection *c, short events)
{
    char data[2048]; /* read only while `out` is empty; a peer whose answers overflow `out` is dropped */

    if (c->out_used > 0)
        return (events & POLLOUT) == 0 ? (events & (POLLERR | POLLHUP)) == 0 : flush_out(c);
    ssize_t n = read(c->fd, data, sizeof data);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    echoed += (uint64_t)n;
    for (ssize_t i = 0; i < n; i++)
        if (!take_byte(c, data[i]))
            return false;
    return flush_out(c);
}

static void accept_connection(void)
{
    int one = 1, idle_s = 60;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (connection_count == CONNECTIONS_MAX) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* Peers vanish when a test kills them; their slots must come back. */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    struct connection *c = &connections[connection_count++];
    c->fd = fd;
    c->line_used = c->out_used = 0;
    c->in_line = false;
}

_Noreturn void run_service(void)
{
    struct pollfd polled[CONNECTIONS_MAX + 2];

    for (;;) {
        int n = connection_count;

        polled[0] = (struct pollfd){.fd = udp_fd, .events = POLLIN};
        polled[1] = (struct pollfd){.fd = listen_fd, .events = POLLIN};
        for (int i = 0; i < n; i++)
            polled[i + 2] = (struct pollfd){.fd = connections[i].fd,
                                            .events = connections[i].out_used > 0 ? POLLOUT : POLLIN};
        if (poll(polled, (nfds_t)n + 2, -1) < 0)
            continue;
        if (polled[0].revents != 0)
            serve_datagram();
        for (int i = n - 1; i >= 0; i--)
            if (polled[i + 2].revents != 0 && !serve_connection(&connections[i], polled[i + 2].revents)) {
                close(connections[i].fd);
                connections[i] = connections[--connection_count];
            }
        if (polled[1].revents != 0)
            accept_connection();
    }
}
