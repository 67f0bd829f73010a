"""A host of our own on the guest's network, made of packets (scapy): it does what no real stack
would. It has its own addresses, so that the kernel's stack keeps out of it."""

import contextlib
import select
import socket
import struct
import time

from scapy.config import conf
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from tests.system.guest import GUEST, MAC

conf.verb = 0
ADDRESS, OUR_MAC = "172.44.0.9", "02:00:00:00:00:09"
ADDRESS6, GUEST6 = "fd00:44::9", "fd00:44::2"
SOL_PACKET, PACKET_VNET_HDR = 263, 15
VNET_HEADER, VNET_NEEDS_CHECKSUM = struct.Struct("=BBHHHH"), 1  # struct virtio_net_hdr
PATIENCE = 20  # seconds; how long anything that must come may take


def pseudo_sum(ip, length):
    """What stands in a TCP checksum's place that the device is to fill in (RFC 9293, 3.1)."""
    words = struct.pack("!4s4sHH", socket.inet_aton(ip.src), socket.inet_aton(ip.dst), 6, length)
    total = sum(struct.unpack("!6H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Peer:
    _port = 20000  # of all peers together: old connections may live on

    def __init__(self, guest, offloads=False, address=ADDRESS):
        """With offloads the guest gets TCP as from another stack on its host: without a checksum
        to verify, which is what the short way in takes (core/net/tcp_predict.cc)."""
        self.offloads, self.address = offloads, address
        with guest.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            if offloads:
                self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            self.socket.bind(("tap0", 0))
        # The guest learns our address from being asked, and again whenever it asks itself.
        self.send_frame(Ether(src=OUR_MAC, dst=MAC) /
                        ARP(op=1, hwsrc=OUR_MAC, psrc=address, pdst=GUEST))

    def close(self):
        self.socket.close()

    def send_frame(self, frame):
        header = b""
        if self.offloads:
            header = VNET_HEADER.pack(0, 0, 0, 0, 0, 0)
            # Not where a test has a checksum of its own in mind.
            if IP in frame and TCP in frame and frame[TCP].chksum is None and not frame[IP].frag \
                    and not frame[IP].flags.MF and frame[IP].chksum is None:
                built = Ether(bytes(frame))
                start = 14 + built[IP].ihl * 4
                length = len(built) - start
                built[TCP].chksum = pseudo_sum(built[IP], length)
                frame = built
                header = VNET_HEADER.pack(VNET_NEEDS_CHECKSUM, 0, 0, 0, start, 16)
        self.socket.send(header + bytes(frame))

    def send(self, packet):
        self.send_frame(Ether(src=OUR_MAC, dst=MAC) / packet)

    def frames(self, timeout):
        """What the guest sends until the time is over."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return
            data, about = self.socket.recvfrom(70000)
            if about[2] != socket.PACKET_OUTGOING:
                yield Ether(data[VNET_HEADER.size if self.offloads else 0:])

    def packets(self, timeout):
        """IP packets from the guest to us until the time is over; answers its ARP."""
        for frame in self.frames(timeout):
            if ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst == self.address:
                self.send_frame(Ether(src=OUR_MAC, dst=MAC) / ARP(
                    op=2, hwsrc=OUR_MAC, psrc=self.address, hwdst=MAC, pdst=GUEST))
            elif IP in frame and frame[IP].dst == self.address:
                yield frame[IP]

    def wait(self, wanted, timeout=PATIENCE):
        """The first packet for which wanted(packet) is true, or None; those before are `skipped`."""
        self.skipped = []
        with contextlib.closing(self.packets(timeout)) as packets:
            for packet in packets:
                if wanted(packet):
                    return packet
                self.skipped.append(packet)
        return None

    def ip(self, **fields):
        return IP(**{"src": self.address, "dst": GUEST} | fields)

    def port(self):
        Peer._port += 1
        return Peer._port

    def tell(self, text):
        """A command to the guest's application; its answer as a number. Asked again if need be,
        for a datagram may be lost to a full table of neighbours."""
        port = self.port()
        for _ in range(3):
            self.send(self.ip() / UDP(sport=port, dport=5000) / Raw(text.encode()))
            answer = self.wait(lambda p: UDP in p and p[UDP].dport == port, 10)
            if answer:
                return int(bytes(answer[UDP].payload)[:answer[UDP].len - 8])
        raise AssertionError(f"no answer to {text!r}")

    def ping(self, payload=b"x" * 32, timeout=PATIENCE, sequence=None, **fields):
        """True if an echo request is answered with its payload."""
        sequence = sequence or self.port()
        self.send(self.ip() / ICMP(type=8, id=1, seq=sequence, **fields) / Raw(payload))
        return self.wait(lambda p: ICMP in p and p[ICMP].seq == sequence and
                         bytes(p[ICMP].payload)[:len(payload)] == payload, timeout) is not None


def payload_of(packet):
    """The TCP data, without the padding of a short frame."""
    behind_ip = packet.plen if IPv6 in packet else packet.len - packet.ihl * 4
    length = behind_ip - packet[TCP].dataofs * 4
    return bytes(packet[TCP].payload)[:length]


class Peer6(Peer):
    """The same over IPv6."""

    def __init__(self, guest, address=ADDRESS6):
        super().__init__(guest)
        self.address = address

    def ip(self, **fields):
        return IPv6(**{"src": self.address, "dst": GUEST6} | fields)

    def answer_solicitation(self, frame, address):
        """True if the guest asked for who has this address; it is us."""
        asked = ICMPv6ND_NS in frame and frame[ICMPv6ND_NS].tgt == address
        if asked:
            self.send_frame(Ether(src=OUR_MAC, dst=MAC) /
                            IPv6(src=address, dst=frame[IPv6].src, hlim=255) /
                            ICMPv6ND_NA(tgt=address, R=0, S=1, O=1) /
                            ICMPv6NDOptDstLLAddr(lladdr=OUR_MAC))
        return asked

    def packets(self, timeout):
        """IPv6 packets from the guest to us until the time is over; answers its solicitations."""
        for frame in self.frames(timeout):
            if self.answer_solicitation(frame, self.address):
                continue
            if IPv6 in frame and frame[IPv6].dst == self.address:
                yield frame[IPv6]


class Connection:
    """Our end of a connection. Nothing happens by itself: what is sent is what a test sends."""

    def __init__(self, peer, port, first=None, our_port=None):
        self.peer, self.port = peer, port
        self.our_port = our_port or peer.port()
        self.seq = 0xFFFFFF00 if first is None else first  # ours next; about to wrap
        self.ack = 0  # the guest's next, all before it was seen
        self.window = 65535

    def send(self, flags="A", data=b"", seq=None, ack=None, move=True, **fields):
        """One segment. `seq` is an offset from where we are; by default we move on with it."""
        at = (self.seq + (seq or 0)) & 0xFFFFFFFF
        self.peer.send(self.peer.ip() / TCP(
            **{"sport": self.our_port, "dport": self.port, "flags": flags, "seq": at,
               "ack": self.ack if ack is None else ack & 0xFFFFFFFF, "window": self.window} |
            fields) / Raw(data))
        if move and seq is None:
            self.seq = (self.seq + len(data) + flags.count("S") + flags.count("F")) & 0xFFFFFFFF

    def wait(self, wanted=lambda tcp: True, timeout=PATIENCE):
        """The first segment of this connection for which wanted(tcp) is true, or None."""
        found = self.peer.wait(lambda p: TCP in p and p[TCP].dport == self.our_port and
                               p[TCP].sport == self.port and wanted(p[TCP]), timeout)
        return found and found[TCP]

    def open(self, **fields):
        self.send("S", **fields)
        answer = self.wait(lambda t: t.flags.S and t.flags.A)
        assert answer, "no SYN-ACK"
        assert answer.ack == self.seq
        self.ack = (answer.seq + 1) & 0xFFFFFFFF
        self.send("A")
        return answer

    def receive(self, count, acknowledge=True, timeout=PATIENCE):
        """The next `count` bytes in order; acknowledges as it goes."""
        data = b""
        deadline = time.monotonic() + timeout
        while len(data) < count:
            got = []

            def next_in_order(packet):
                if TCP not in packet or packet[TCP].dport != self.our_port:
                    return False
                offset = (self.ack - packet[TCP].seq) & 0xFFFFFFFF
                piece = payload_of(packet)
                if offset < len(piece):
                    got.append(piece[offset:])
                return bool(got)

            if not self.peer.wait(next_in_order, deadline - time.monotonic()):
                break
            data += got[0]
            self.ack = (self.ack + len(got[0])) & 0xFFFFFFFF
            if acknowledge:
                self.send("A")
        return data

    def echoes(self, data):
        """The connection lives: what is sent comes back."""
        self.send("PA", data)
        return self.receive(len(data)) == data
