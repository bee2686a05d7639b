/* Brings up loopback and the first network card: a given address by ioctl, or DHCP through busybox. */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

bool is_network_card(const char *name)
{
    /* tunl0, sit0 and their like come with the kernel; cards are named by it eth0 and up. */
    return strncmp(name, "eth", 3) == 0;
}

static bool first_card(char *name, size_t size)
{
    char names[256];

    if (list_directory("/sys/class/net", is_network_card, names, sizeof names) == 0)
        return false;
    snprintf(name, size, "%.*s", (int)strcspn(names, ","), names);
    return true;
}

static void set_address(struct ifreq *request, struct in_addr address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = address};

    memcpy(&request->ifr_addr, &in, sizeof in);
}

static bool bring_up(int fd, const char *card)
{
    struct ifreq request = {0};

    strncpy(request.ifr_name, card, IFNAMSIZ - 1);
    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return false;
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    return ioctl(fd, SIOCSIFFLAGS, &request) == 0;
}

static bool add_address(int fd, const char *card, struct in_addr address, unsigned prefix)
{
    struct ifreq request = {0};
    struct in_addr mask = {.s_addr = prefix == 0 ? 0 : htonl(~0u << (32 - prefix))};

    strncpy(request.ifr_name, card, IFNAMSIZ - 1);
    set_address(&request, address);
    if (ioctl(fd, SIOCSIFADDR, &request) < 0)
        return false;
    set_address(&request, mask);
    return ioctl(fd, SIOCSIFNETMASK, &request) == 0;
}

static bool add_gateway(int fd, struct in_addr gateway)
{
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = gateway}, any = {.sin_family = AF_INET};

    memcpy(&route.rt_gateway, &to, sizeof to);
    memcpy(&route.rt_dst, &any, sizeof any);
    memcpy(&route.rt_genmask, &any, sizeof any);
    return ioctl(fd, SIOCADDRT, &route) == 0;
}

static bool parse_prefix(const char *text, struct in_addr *address, unsigned *prefix)
{
    char copy[32];
    char *slash;
    uint64_t bits;

    snprintf(copy, sizeof copy, "%s", text);
    if ((slash = strchr(copy, '/')) == NULL)
        return false;
    *slash = '\0';
    if (inet_pton(AF_INET, copy, address) != 1 || !parse_number(slash + 1, 32, &bits))
        return false;
    *prefix = (unsigned)bits;
    return true;
}

static void configure_static(int fd, const char *card, const struct params *p)
{
    struct in_addr address, gateway;
    unsigned prefix;

    if (!parse_prefix(p->ip, &address, &prefix)) {
        say("wirt-tiny ip=%s is not ADDR/PREFIX", p->ip);
        return;
    }
    if (!add_address(fd, card, address, prefix))
        say("wirt-tiny can't set %s on %s: %s", p->ip, card, strerror(errno));
    if (p->gw[0] != '\0' && (inet_pton(AF_INET, p->gw, &gateway) != 1 || !add_gateway(fd, gateway)))
        say("wirt-tiny can't use gw=%s", p->gw);
}

/* udhcpc tries for a few seconds and then, with a lease or without, goes on in the background: `ready` is never held
 * up for long, and the lease is kept. */
static void configure_dhcp(const char *card)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        int quiet = open("/dev/null", O_RDWR);

        for (int i = 0; i < 3; i++)
            dup2(quiet, i);
        execl("/bin/busybox", "udhcpc", "-i", card, "-b", "-t", "4", "-T", "1", "-s", "/etc/udhcpc", (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        say("wirt-tiny can't ask DHCP for an address of %s", card);
}

void first_address(char *ip, size_t size)
{
    char card[IFNAMSIZ];
    struct ifreq request = {0};
    struct sockaddr_in address, mask;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(ip, size, "none");
    if (fd >= 0 && first_card(card, sizeof card)) {
        memcpy(request.ifr_name, card, sizeof card);
        if (ioctl(fd, SIOCGIFADDR, &request) == 0) {
            memcpy(&address, &request.ifr_addr, sizeof address);
            ioctl(fd, SIOCGIFNETMASK, &request);
            memcpy(&mask, &request.ifr_netmask, sizeof mask);
            snprintf(ip, size, "%s/%d", inet_ntoa(address.sin_addr), __builtin_popcount(mask.sin_addr.s_addr));
        }
    }
    close(fd);
}

void start_network(const struct params *p)
{
    char card[IFNAMSIZ];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    bring_up(fd, "lo");
    if (strcmp(p->ip, "none") != 0 && first_card(card, sizeof card)) {
        if (!bring_up(fd, card))
            say("wirt-tiny can't bring up %s: %s", card, strerror(errno));
        else if (p->ip[0] != '\0')
            configure_static(fd, card, p);
        else
            configure_dhcp(card);
    }
    close(fd);
}
