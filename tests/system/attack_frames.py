"""Frames that an enemy sends: floods and forgeries against the guest, by name. Every function takes a
Target and gives a list of frames; chosen by a fixed seed, with right checksums unless that is the point."""

import random
import socket
import struct
from dataclasses import dataclass

from tests.system.guest import GUEST, HOST, MAC
from tests.system.raw_tcp import ACK, FIN, PSH, RST, SYN, checksum

GUEST_MAC = bytes.fromhex(MAC.replace(":", ""))
ENEMY_MAC = bytes.fromhex("02000000bad1")
HOST6, GUEST6 = "fd00:44::1", "fd00:44::2"
LINK_LOCAL = "fe80::5054:ff:fe0b:1ac0"  # of MAC
ALL_NODES, ALL_NODES_MAC = "ff02::1", bytes.fromhex("333300000001")
BROADCAST = b"\xff" * 6
URG = 32
COUNT = 1500  # different frames of an attack


@dataclass
class Target:
    """What is attacked: the port, and the ports of a good client's open connections."""
    port: int
    client_port: int  # over IPv4, from HOST
    client_port6: int  # over IPv6, from HOST6


TABLE = {}


def attack(function):
    TABLE[function.__name__] = function
    return function


def build(name, target):
    return TABLE[name](target)


# --- packets ---


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ethernet(payload, kind=0x0800, to=GUEST_MAC, source=ENEMY_MAC):
    return to + source + struct.pack("!H", kind) + payload


def ip4(payload, source, protocol, target=GUEST, fragment=0, identifier=0, ttl=64):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identifier, fragment, ttl, protocol,
                       0) + packed(source) + packed(target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(payload, source, next_header, target=GUEST6, hops=255):
    return struct.pack("!IHBB", 6 << 28, len(payload), next_header, hops) + packed(source) + \
        packed(target) + payload


def pseudo(source, target, protocol, length):
    source, target = packed(source), packed(target)
    if len(source) == 4:
        return source + target + struct.pack("!BBH", 0, protocol, length)
    return source + target + struct.pack("!II", length, protocol)


def tcp(source, sport, dport, flags, seq=0, ack=0, target=GUEST, options=b"", data=b"",
        window=65535):
    options += b"\1" * (-len(options) % 4)
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, (5 + len(options) // 4) << 4, flags,
                          window, 0, 0) + options + data
    total = checksum(pseudo(source, target, 6, len(segment)) + segment)
    return segment[:16] + struct.pack("!H", total) + segment[18:]


def udp(source, sport, dport, data, target=GUEST):
    datagram = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    total = checksum(pseudo(source, target, 17, len(datagram)) + datagram) or 0xFFFF
    return datagram[:6] + struct.pack("!H", total) + datagram[8:]


def icmp4(kind, code, body):
    message = struct.pack("!BBH", kind, code, 0) + body
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def icmp6(kind, code, body, source, target=GUEST6):
    message = struct.pack("!BBH", kind, code, 0) + body
    total = checksum(pseudo(source, target, 58, len(message)) + message)
    return message[:2] + struct.pack("!H", total) + message[4:]


def tcp4(source, sport, dport, flags, target=GUEST, **how):
    return ethernet(ip4(tcp(source, sport, dport, flags, target=target, **how), source, 6, target))


def tcp6(source, sport, dport, flags, target=GUEST6, **how):
    return ethernet(ip6(tcp(source, sport, dport, flags, target=target, **how), source, 6, target),
                    0x86DD)


def message6(kind, code, body, source, target=GUEST6, to=GUEST_MAC):
    return ethernet(ip6(icmp6(kind, code, body, source, target), source, 58, target), 0x86DD, to)


class Chance(random.Random):
    def word(self):
        return self.getrandbits(32)

    def high_port(self):
        return self.randrange(1024, 65536)

    def far(self):
        """An address behind the gateway."""
        return "%d.%d.%d.%d" % (self.choice((11, 23, 45, 93, 150, 200)), self.randrange(256),
                                self.randrange(256), self.randrange(1, 255))

    def near(self):
        """An address on the link that nobody has."""
        return "172.44.0.%d" % self.randrange(10, 250)

    def far6(self):
        return "2001:db8:%x::%x" % (self.randrange(1, 65536), self.randrange(1, 65536))

    def near6(self):
        return "fd00:44::%x:%x" % (self.randrange(1, 65536), self.randrange(1, 65536))

    def local6(self):
        return "fe80::%x:%x" % (self.randrange(1, 65536), self.randrange(1, 65536))


def many(make, count=COUNT, seed=1):
    """What make(chance, n) gives, one frame or a list of them, for each n."""
    chance, frames = Chance(seed), []
    for n in range(count):
        made = make(chance, n)
        frames += made if isinstance(made, list) else [made]
    return frames


# --- TCP: connections that do not exist ---

MSS = b"\2\4\5\xb4\4\2\1\1\1\3\3\7"


@attack
def syn_far(t):
    return many(lambda c, n: tcp4(c.far(), c.high_port(), t.port, SYN, seq=c.word(), options=MSS))


@attack
def syn_near(t):
    return many(lambda c, n: tcp4(c.near(), c.high_port(), t.port, SYN, seq=c.word(), options=MSS))


@attack
def syn6_far(t):
    return many(lambda c, n: tcp6(c.far6(), c.high_port(), t.port, SYN, seq=c.word(), options=MSS))


@attack
def syn6_near(t):
    return many(lambda c, n: tcp6(c.near6(), c.high_port(), t.port, SYN, seq=c.word(), options=MSS))


@attack
def acknowledgements_for_cookies(t):
    return many(lambda c, n: [tcp4(c.far(), c.high_port(), t.port, SYN, seq=c.word()),
                              tcp4(c.far(), c.high_port(), t.port, ACK, seq=c.word(), ack=c.word())],
                COUNT // 2)


@attack
def stray_segments(t):
    return many(lambda c, n: tcp4(c.far(), c.high_port(), c.choice((t.port, 1, 4444)),
                                  c.choice((ACK, RST, FIN | ACK, PSH | ACK, 0, 63)), seq=c.word(),
                                  ack=c.word(), data=b"x" * c.randrange(100)))


@attack
def closed_ports(t):
    return many(lambda c, n: tcp4(c.far(), c.high_port(), c.randrange(7000, 60000), SYN))


@attack
def broken_tcp_options(t):
    return many(lambda c, n: tcp4(c.far(), c.high_port(), t.port, SYN, seq=c.word(),
                                  options=c.randbytes(4 * c.randrange(1, 11))))


# --- TCP: in a good client's name, by guess ---


def forged(flags, **how):
    def make(t):
        def pair(c, n):
            fields = {k: v(c) for k, v in how.items()}
            return [tcp4(HOST, t.client_port, t.port, flags, seq=c.word(), ack=c.word(), **fields),
                    tcp6(HOST6, t.client_port6, t.port, flags, seq=c.word(), ack=c.word(), **fields)]
        return many(pair, COUNT // 2)
    return make


def sack_blocks(c):
    return b"\5\x22" + struct.pack("!8I", *(c.word() for _ in range(8)))


for _name, _make in {
        "forged_rst": forged(RST), "forged_syn": forged(SYN), "forged_fin": forged(FIN | ACK),
        "forged_sack": forged(ACK, options=sack_blocks),
        "forged_data_out_of_order": forged(ACK | PSH, data=lambda c: b"y" * 1000),
        "forged_urgent": forged(ACK | URG, data=lambda c: b"!")}.items():
    TABLE[_name] = _make


# --- fragments ---


def fragments4(c, size=2400, cut=1200, last=True, overlap=0):
    source, identifier = c.far(), c.getrandbits(16)
    whole = udp(source, c.high_port(), 9, c.randbytes(size - 8))
    made = [ip4(whole[:cut], source, 17, fragment=0x2000, identifier=identifier)]
    if last:
        made.append(ip4(whole[cut - overlap:], source, 17, fragment=(cut - overlap) // 8,
                        identifier=identifier))
    return [ethernet(p) for p in made]


def fragments6(c, size=2400, cut=1200, last=True, overlap=0):
    source, identifier = c.far6(), c.word()
    whole = udp(source, c.high_port(), 9, c.randbytes(size - 8), GUEST6)

    def fragment(at, data, more):
        return ethernet(ip6(struct.pack("!BBHI", 17, 0, at | more, identifier) + data, source, 44),
                        0x86DD)

    made = [fragment(0, whole[:cut], 1)]
    return made + ([fragment(cut - overlap, whole[cut - overlap:], 0)] if last else [])


@attack
def fragments_complete(t):
    return many(lambda c, n: fragments4(c), 300)


@attack
def fragments_incomplete(t):
    return many(lambda c, n: fragments4(c, last=False), 600)


@attack
def fragments_overlapping(t):
    return many(lambda c, n: fragments4(c, overlap=8 * c.randrange(1, 29)), 300)


@attack
def fragments_tiny_and_far(t):
    return many(lambda c, n: ethernet(ip4(c.randbytes(8), c.far(), c.choice((6, 17)),
                                          fragment=c.choice((0x2000, 0)) | c.getrandbits(13),
                                          identifier=c.getrandbits(3))))


@attack
def fragments6_complete(t):
    return many(lambda c, n: fragments6(c), 300)


@attack
def fragments6_incomplete(t):
    return many(lambda c, n: fragments6(c, last=False), 600)


@attack
def fragments6_overlapping(t):
    return many(lambda c, n: fragments6(c, overlap=8 * c.randrange(1, 29)), 300)


@attack
def fragments6_atomic(t):
    def make(c, n):
        source = c.far6()
        segment = tcp(source, c.high_port(), t.port, SYN, target=GUEST6)
        return ethernet(ip6(struct.pack("!BBHI", 6, 0, 0, c.word()) + segment, source, 44), 0x86DD)
    return many(make)


# --- headers ---


@attack
def extension_headers(t):
    def make(c, n):
        source, kinds = c.far6(), [c.choice((0, 43, 60, 60, 59, 135)) for _ in range(c.randrange(1, 30))]
        body = tcp(source, c.high_port(), t.port, SYN, target=GUEST6)
        following = 6
        for kind in reversed(kinds):
            body = struct.pack("!BB", following, 0) + c.choice(
                (b"\1\4\0\0\0\0", b"\xc2\4\0\0\0\0", b"\1\x7f\0\0\0\0", c.randbytes(6))) + body
            following = kind
        return ethernet(ip6(body, source, following), 0x86DD)
    return many(make)


@attack
def broken_headers(t):
    def make(c, n):
        good = c.choice((tcp4(c.far(), c.high_port(), t.port, SYN),
                         tcp6(c.far6(), c.high_port(), t.port, SYN)))
        at = c.randrange(12, len(good))
        return (good[:at] + c.randbytes(1) + good[at + 1:])[:c.choice((len(good), c.randrange(14, 74)))]
    return many(make)


@attack
def martians(t):
    sources = ["0.0.0.0", "127.0.0.1", "240.1.2.3", "255.255.255.255", "224.0.0.1", "172.44.0.255", GUEST]

    def make(c, n):
        source, source6 = c.choice(sources), c.choice(("::", "::1", "ff02::1", GUEST6, LINK_LOCAL))
        return [tcp4(source, c.high_port(), t.port, SYN),
                ethernet(ip4(icmp4(8, 0, c.randbytes(40)), source, 1)),
                ethernet(ip4(udp(source, 7, 4000, b"x"), source, 17)),
                tcp6(source6, c.high_port(), t.port, SYN)]
    return many(make, COUNT // 4)


@attack
def land(t):
    return many(lambda c, n: [tcp4(GUEST, t.port, t.port, SYN, seq=c.word()),
                              tcp6(GUEST6, t.port, t.port, SYN, seq=c.word())], COUNT // 2)


@attack
def udp_flood(t):
    return many(lambda c, n: ethernet(ip4(udp(s := c.far(), c.high_port(), c.high_port(),
                                              c.randbytes(1000)), s, 17)))


@attack
def ping_flood(t):
    def make(c, n):
        source, source6 = c.far(), c.far6()
        return [ethernet(ip4(icmp4(8, 0, c.randbytes(1400)), source, 1)),
                message6(128, 0, c.randbytes(1400), source6)]
    return many(make, COUNT // 2)


# --- ICMP errors about connections, and redirects ---


def quoted4(c, t):
    """The head of a segment that the guest may have sent to the client, with a guessed number."""
    sport = c.choice((t.client_port, c.high_port()))
    return ip4(tcp(GUEST, t.port, sport, ACK, seq=c.word(), target=HOST)[:8], GUEST, 6, HOST)


def quoted6(c, t):
    sport = c.choice((t.client_port6, c.high_port()))
    return ip6(tcp(GUEST6, t.port, sport, ACK, seq=c.word(), target=HOST6), GUEST6, 6, HOST6)


@attack
def too_big(t):
    def make(c, n):
        mtu = c.choice((0, 1, 48, 67, 68, 256, 1279, 1280, 1400, 65535))
        return [ethernet(ip4(icmp4(3, 4, struct.pack("!HH", 0, mtu) + quoted4(c, t)), c.far(), 1)),
                message6(2, 0, struct.pack("!I", mtu) + quoted6(c, t), c.far6())]
    return many(make, COUNT // 2)


@attack
def unreachable(t):
    def make(c, n):
        return [ethernet(ip4(icmp4(c.choice((3, 11, 12, 4)), c.randrange(16),
                                   bytes(4) + quoted4(c, t)), c.far(), 1)),
                message6(c.choice((1, 3, 4)), c.randrange(8), bytes(4) + quoted6(c, t), c.far6())]
    return many(make, COUNT // 2)


@attack
def redirects(t):
    def make(c, n):
        new = c.local6()
        return [ethernet(ip4(icmp4(5, 1, packed(c.near()) + quoted4(c, t)), HOST, 1)),
                message6(137, 0, bytes(4) + packed(new) + packed(HOST6) + b"\2\1" + c.randbytes(6),
                         c.local6())]
    return many(make, COUNT // 2)


# --- the link ---


def arp(operation, sender_mac, sender, target_mac, target, to=BROADCAST):
    return ethernet(struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender_mac + packed(sender) +
                    target_mac + packed(target), 0x0806, to)


@attack
def arp_requests(t):
    return many(lambda c, n: arp(1, c.randbytes(6), c.near(), bytes(6), GUEST))


@attack
def arp_replies(t):
    return many(lambda c, n: arp(2, c.randbytes(6), c.choice((c.near(), c.far())), GUEST_MAC, GUEST,
                                 GUEST_MAC))


@attack
def arp_claims_of_our_address(t):
    return many(lambda c, n: arp(c.choice((1, 2)), c.randbytes(6), GUEST, bytes(6), GUEST))


@attack
def neighbour_solicitations(t):
    return many(lambda c, n: message6(135, 0, bytes(4) + packed(c.choice((GUEST6, LINK_LOCAL))) +
                                      b"\1\1" + c.randbytes(6), c.near6()))


@attack
def neighbour_advertisements(t):
    return many(lambda c, n: message6(136, 0, struct.pack("!I", 0x20000000) +
                                      packed(s := c.near6()) + b"\2\1" + c.randbytes(6), s))


@attack
def neighbour_claims_of_our_address(t):
    return many(lambda c, n: message6(136, 0, struct.pack("!I", 0x20000000) +
                                      packed(c.choice((GUEST6, LINK_LOCAL))) + b"\2\1" +
                                      c.randbytes(6), c.local6(), ALL_NODES, ALL_NODES_MAC))


@attack
def router_advertisements(t):
    def make(c, n):
        prefix = b"\3\4\x40\xc0" + struct.pack("!III", 3600, 3600, 0) + \
            packed("2001:db8:%x::" % c.randrange(65536))
        servers = b"\x19\3\0\0" + struct.pack("!I", 600) + packed(c.far6())
        body = struct.pack("!BBHII", c.randrange(256), 0, c.randrange(9000), c.word(), 0)
        return message6(134, 0, body + prefix + servers + b"\5\1\0\0" +
                        struct.pack("!I", c.choice((0, 48, 1280, 1500, 1 << 31))), c.local6(),
                        ALL_NODES, ALL_NODES_MAC)
    return many(make)


# --- services ---


@attack
def dhcp_forgeries(t):
    def make(c, n):
        head = struct.pack("!BBBBIHH", 2, 1, 6, 0, c.word(), 0, 0) + bytes(4) + packed(c.near()) + \
            packed(HOST) + bytes(4) + GUEST_MAC + bytes(10 + 192)
        options = b"\x63\x82\x53\x63\x35\1" + bytes([c.choice((2, 5, 6))]) + b"\x33\4\0\0\0\1" + \
            c.randbytes(c.randrange(40))
        return ethernet(ip4(udp(HOST, 67, 68, head + options), HOST, 17))
    return many(make)


@attack
def dns_forgeries(t):
    return many(lambda c, n: ethernet(ip4(udp(HOST, 53, c.high_port(), struct.pack(
        "!HHHHHH", c.getrandbits(16), 0x8180, 1, 1, 0, 0) + c.randbytes(60)), HOST, 17)))
