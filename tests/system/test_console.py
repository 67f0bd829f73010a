"""What is typed on the console reaches the application."""


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
