"""The guest of images/paths.c, and the other side of a path: it makes ICMP errors of both families."""

import contextlib
import socket
import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem,
                                ICMPv6TimeExceeded, IPv6)
from scapy.packet import Raw
from scapy.utils import checksum

from tests.system.guest import GUEST
from tests.system.raw_peer import GUEST6, Connection, Peer, Peer6, payload_of

ECHO, SOURCE, STREAM = 7, 19, 20
SOURCE_DATA = bytes(i % 251 for i in range(32768))
SHORT = 0.4
HEADERS = {4: 40, 6: 60}  # of IP and TCP
LEAST = {4: 552, 6: 1280}
ROUTER = {4: "192.0.2.66", 6: "2001:db8::66"}  # who reports; it need not be known


@pytest.fixture(scope="module")
def paths(boot_once):
    """One device without segmentation: what a frame holds is what goes over the wire."""
    guest = boot_once("system-paths", "tap", limit=300, options="ip6=fd00:44::2/64",
                      nic="host_tso4=off,host_tso6=off")
    with guest.inside():
        guest.namespace.with_ipv6("tap0")
    guest.wait_console("ready")
    return guest


class Path:
    """The way from the guest to an address of ours that was not there before."""

    _number = 20

    def __init__(self, guest, version):
        self.guest, self.version = guest, version
        Path._number += 1
        self.ours = f"172.44.0.{Path._number}" if version == 4 else f"fd00:44::{Path._number:x}"
        self.theirs = GUEST if version == 4 else GUEST6
        self.nobody = "172.44.0.250" if version == 4 else "fd00:44::ffff"
        self.everybody = "172.44.0.255" if version == 4 else "ff02::1"
        self.peer = (Peer if version == 4 else Peer6)(guest, address=self.ours)

    def close(self):
        self.peer.close()

    def address(self, text):
        """As it lies in packets."""
        return socket.inet_pton(socket.AF_INET if self.version == 4 else socket.AF_INET6, text)

    def mss(self, mtu):
        return mtu - HEADERS[self.version]

    def segment(self, c, offset=0, size=1500, **fields):
        """The headers of a packet that the guest has sent on a connection, its number `offset`
        beyond the first that we have not acknowledged."""
        tcp = TCP(**{"sport": c.port, "dport": c.our_port, "flags": "A",
                     "seq": (c.ack + offset) & 0xFFFFFFFF} | fields)
        return self._from_guest(tcp, 6, size)

    def datagram(self, sport, dport, size):
        """The headers of one of `size` bytes that the guest has sent."""
        header = UDP(sport=sport, dport=dport, len=size + 8, chksum=0)
        return self._from_guest(header, 17, size + (28 if self.version == 4 else 48))

    def is_fragment(self, packet):
        if self.version == 4:
            return packet.frag != 0 or bool(packet.flags.MF)
        return packet.nh == 44

    def sum_is_right(self, datagram):
        """UDP's checksum, over all of it."""
        header = self.address(self.theirs) + self.address(self.ours) + \
            struct.pack("!II", len(datagram), 17)
        return checksum(header + datagram) == 0

    def sizes_of(self, number_of_bytes, packets):
        """The lengths of the packets that a datagram to us comes in, as they lie on the wire, and
        whether any of them may be cut further."""
        sizes, may_be_cut, seen = [], False, 0
        for p in packets:
            if self.version == 4 and p.proto == 17:
                sizes.append(p.len)
                may_be_cut |= not p.flags.DF
                seen += p.len - 20
            elif self.version == 6 and p.nh in (17, 44):
                sizes.append(p.plen + 40)
                seen += p.plen - 8 * (p.nh == 44)
            if seen >= number_of_bytes + 8:
                break
        return sizes, may_be_cut

    def _from_guest(self, header, protocol, size):
        if self.version == 4:
            ip = IP(src=self.theirs, dst=self.ours, proto=protocol, len=size, flags="DF", id=7)
        else:
            ip = IPv6(src=self.theirs, dst=self.ours, nh=protocol, plen=size - 40)
        return bytes(ip / header)

    def error(self, kind, quoted, code=0, mtu=0, checksum=None, to=None):
        """Sends an ICMP error: "too big", "unreachable", "exceeded" or "problem"."""
        if self.version == 4:
            types = {"too big": 3, "unreachable": 3, "exceeded": 11, "problem": 12}
            report = ICMP(type=types[kind], code=4 if kind == "too big" else code, nexthopmtu=mtu,
                          chksum=checksum)
            ip = IP(src=ROUTER[4], dst=to or self.theirs)
            quoted = quoted[:28]
        else:
            report = {"too big": ICMPv6PacketTooBig(mtu=mtu),
                      "unreachable": ICMPv6DestUnreach(code=code),
                      "exceeded": ICMPv6TimeExceeded(code=code),
                      "problem": ICMPv6ParamProblem(code=code)}[kind]
            report.cksum = checksum
            ip = IPv6(src=ROUTER[6], dst=to or self.theirs)
        self.peer.send(ip / report / Raw(quoted))

    def too_big(self, quoted, mtu):
        self.error("too big", quoted, mtu=mtu)

    def ask(self, what):
        """The guest's answer to a command. What came before it is `peer.skipped`."""
        return self.peer.tell(what)

    def connection(self, port=ECHO, **how):
        c = Connection(self.peer, port, **how)
        c.syn = c.open(options=[("MSS", 1460)])
        return c

    def in_flight(self, port=SOURCE):
        """A connection on which much is under way, and nothing of it acknowledged."""
        c = self.connection(port)
        assert c.wait(lambda t: t.seq != c.ack and len(payload_of(t.underlayer)) > 1300)
        return c

    def fetch(self, c, count):
        """The next octets in order, acknowledged; and the sizes of the segments they came in."""
        data, sizes = b"", []
        while len(data) < count:
            t = c.wait(lambda t: (c.ack - t.seq) & 0xFFFFFFFF < len(payload_of(t.underlayer)))
            assert t, f"nothing comes after {len(data)} octets"
            assert not any(self.is_fragment(p) for p in self.peer.skipped)
            piece = payload_of(t.underlayer)
            sizes.append(len(piece))
            data += piece[(c.ack - t.seq) & 0xFFFFFFFF:]
            c.ack = (t.seq + len(piece)) & 0xFFFFFFFF
            c.send("A")
        return data, sizes


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def path(paths, request):
    with contextlib.closing(Path(paths, request.param)) as path:
        yield path
        assert path.ask("how") is not None, "the guest does not answer any more"
