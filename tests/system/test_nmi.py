"""A non-maskable interrupt prints the threads, and the machine goes on."""

import socket
import time


def test_an_nmi_prints_the_threads_while_a_client_is_served(boot, tmp_path):
    monitor = tmp_path / "monitor"
    guest = boot("redis", "user", extra=["-monitor", f"unix:{monitor},server=on,wait=off"])
    guest.wait_redis()
    with socket.socket(socket.AF_UNIX) as s, guest.redis() as redis:
        s.connect(str(monitor))
        for n in range(20):
            s.sendall(b"nmi\n")
            for i in range(50):
                assert redis.call("SET", f"key:{i}", str(n)) == "OK"
            time.sleep(0.01)
        assert redis.call("GET", "key:49") == "19"
    report = guest.text[guest.text.index("non-maskable interrupt"):]
    assert "rip " in report and "thread 1 (" in report and "blocked" in report
    assert " #1 0xffffffff" in report, "a backtrace of a thread that waits"
    assert "panic" not in guest.text


def test_an_nmi_does_not_end_an_image_of_one_thread(boot, tmp_path):
    monitor = tmp_path / "monitor"
    guest = boot("system-wait_signal", extra=["-monitor", f"unix:{monitor},server=on,wait=off"])
    guest.wait_console("waiting")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(monitor))
        for n in range(3):
            s.sendall(b"nmi\n")
            guest.wait_console(r"(?s)(non-maskable interrupt: rip [0-9a-f]{16} rsp [0-9a-f]{16}.*){%d}" % (n + 1), 5)
    guest.interrupt()
    guest.wait_console("signal 2")
    assert guest.wait_end() == 0 and "panic" not in guest.text
