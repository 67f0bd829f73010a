"""What is typed on the console reaches the application."""

import socket

import pytest

CONTROL_C, END = b"\x03", b"\x04"
RING = 4095  # characters that wait for a reader


def fnv1a(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return f"{value:016x}"


def long_line(size):
    """No two pieces of it are alike."""
    return b"".join(b"%d " % i for i in range(size))[:size]



def test_typed_lines(boot):
    guest = boot("system-typed", limit=60)
    guest.wait_console("ready 1")
    guest.type(b"first line\r")
    guest.wait_console(r"read 11 \[first line\]")
    guest.wait_console("poll before 0")
    guest.wait_console("ready 2")
    guest.type(b"abc")  # no line yet: nothing to read
    guest.type(b"def\n")
    guest.wait_console("poll 1 POLLIN")
    guest.wait_console(r"part \[abcd\]")
    guest.wait_console(r"stdio \[ef\]")
    guest.wait_console("ready 3")
    guest.type(b"\x04")
    guest.wait_console("end 0")
    assert guest.wait_end(30) == 0


@pytest.mark.parametrize("machine, size", [("microvm", 65536), ("q35", 100)])
def test_a_line_that_is_longer_than_the_ring_arrives_whole(boot, machine, size):
    guest = boot("system-typed", machine=machine, args=f"all {size}", limit=90)
    guest.wait_console("ready")
    text = long_line(100_000 if machine == "microvm" else 20_000) + b"\n"
    guest.type(text + END)
    assert guest.wait_end(60) == 0
    assert f"all {len(text)} {fnv1a(text)}" in guest.text
    assert "dropped" not in guest.text


def test_a_long_line_on_the_virtio_console(boot, tmp_path):
    path = str(tmp_path / "console")
    guest = boot("system-typed", args="all 1000", limit=60, extra=[
        "-device", "virtio-serial-device", "-chardev", f"socket,id=second,path={path},server=on,wait=off",
        "-device", "virtconsole,chardev=second"])
    guest.wait_console("ready")
    text = long_line(20_000) + b"\n"
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(text + END)
        assert guest.wait_end(30) == 0
    assert f"all {len(text)} {fnv1a(text)}" in guest.text


def test_nobody_reads_and_control_c_still_gets_through(boot):
    guest = boot("system-typed", args="late", limit=60)
    guest.wait_console("ready")
    text = long_line(20_000)
    guest.type(text + b"\n" + CONTROL_C)
    guest.wait_console("begun")
    guest.type(b"next\n" + END)
    assert guest.wait_end(30) == 0
    kept = text[:RING] + b"\nnext\n"  # of what is dropped, the line's end is kept
    assert f"all {len(kept)} {fnv1a(kept)}" in guest.text
    assert guest.text.count("console input is dropped") == 1
