/* `wirt COMMAND ...` and `ticks on|off|MS` for whoever sits at the guest's shell: one datagram to the agent and back. */
#include "guest.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static bool build_line(int argc, char **argv, char *line, size_t size)
{
    const char *name = strrchr(argv[0], '/');

    name = name == NULL ? argv[0] : name + 1;
    snprintf(line, size, "wirt");
    if (strcmp(name, "ticks") == 0) {
        const char *word = argc > 1 ? argv[1] : "on";

        word = strcmp(word, "on") == 0 ? "1000" : strcmp(word, "off") == 0 ? "0" : word;
        return snprintf(line, size, "wirt tick %s", word) < (int)size;
    }
    for (int i = 1; i < argc; i++) {
        if (strlen(line) + strlen(argv[i]) + 2 > size)
            return false;
        strcat(line, " ");
        strcat(line, argv[i]);
    }
    return argc > 1;
}

int run_client(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(ECHO_PORT)};
    struct timeval patience = {.tv_sec = 600};
    char line[LINE_MAX_BYTES], answer[ANSWER_MAX_BYTES];

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (argc < 1 || !build_line(argc, argv, line, sizeof line)) {
        dprintf(2, "usage: wirt COMMAND [WORD ...] | ticks on|off|MS\n");
        return 2;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 || send(fd, line, strlen(line), 0) < 0) {
        dprintf(2, "the agent can't be reached\n");
        return 1;
    }
    ssize_t n = recv(fd, answer, sizeof answer, 0);
    if (n <= 0) {
        dprintf(2, "the agent did not answer\n");
        return 1;
    }
    answer[n - 1] = '\0';
    printf("%s\n", answer);
    return strncmp(answer, "error", 5) == 0;
}
