// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nltap DEVICE FILE: writes each netlink message that DEVICE, an nlmon that is up, shows to FILE, until SIGTERM.
 *
 * A message is its length and its protocol (NETLINK_GENERIC, ...), of 32 bits each, then its bytes. It says
 * "listening" when none is missed any more, and at its end how many there were. Exit 1 when one was lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define QUEUE (64 << 20)

static volatile sig_atomic_t ended;
static unsigned char message[1 << 20];

static void on_signal(int sig)
{
	ended = 1;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_on(const char *device)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex(device),
	};
	int size = QUEUE, fd;

	if (!at.sll_ifindex)
		die(device);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die(device);
	return fd;
}

/* All that has come so far. */
static void take(int fd, FILE *out, const char *file)
{
	for (;;) {
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &len);
		uint32_t head[2];

		if (n < 0 && errno == EAGAIN)
			return;
		if (n >= 0 && (size_t)n > sizeof(message))
			errno = EMSGSIZE;
		if (n < 0 || (size_t)n > sizeof(message))
			die("receive");
		head[0] = n;
		head[1] = ntohs(from.sll_protocol);
		if (fwrite(head, sizeof(head), 1, out) != 1 || fwrite(message, 1, n, out) != (size_t)n)
			die(file);
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct tpacket_stats st;
	socklen_t len = sizeof(st);
	sigset_t block, before;
	struct pollfd fd = { .events = POLLIN };
	FILE *out;

	if (argc != 3) {
		fprintf(stderr, "usage: nltap DEVICE FILE\n");
		return 2;
	}
	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &before);
	sigaction(SIGTERM, &sa, NULL);
	out = fopen(argv[2], "we");
	if (!out)
		die(argv[2]);
	fd.fd = listen_on(argv[1]);
	puts("listening");
	fflush(stdout);
	while (!ended) {
		if (ppoll(&fd, 1, NULL, &before) < 0 && errno != EINTR)
			die("poll");
		take(fd.fd, out, argv[2]);
	}
	if (getsockopt(fd.fd, SOL_PACKET, PACKET_STATISTICS, &st, &len))
		die(argv[1]);
	if (fclose(out))
		die(argv[2]);
	/* those that were lost are counted in both */
	printf("%u messages, %u of them lost\n", st.tp_packets, st.tp_drops);
	return st.tp_drops != 0;
}
