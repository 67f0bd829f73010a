# iperf 2 as Debian packages it. `make run APP=iperf ARGS=-s` serves, ARGS='-c ADDRESS' is the client; UDP
# with -u, the other way with -R, both with --full-duplex. A server uses memory it has freed, on Linux
# too, when a connection closes without a word (hence no probe) or a client comes with -d or -r.
# Debian's tarball is without service.c, which is for Windows alone.
oblako_app(NAME iperf
  FETCH iperf
  BUILD sh -c "touch src/service.c && ./configure --host=x86_64-linux-musl PTHREAD_CFLAGS=-pthread && make"
  PRODUCT src/iperf
  ARGS "iperf"
  PORT 5001 PROBE none MEMORY 64)
