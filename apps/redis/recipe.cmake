# redis 7.0.15 as Debian packages it, with the C library's allocator (ours). Like on jemalloc, there
# are blocks of 24 bytes and no sizes in front of blocks: 84 bytes a small key, against 108.
# The limits in redis.conf: the data may be half of memory. While redis uses more than that, the buffers
# of all clients together may be 37 % of it, and the clients with the largest are closed. A client that
# has just sent a part of a request has 48 kB of buffers: there are as many clients as fit. One client's
# replies, and one value, may be a sixth of memory. The file is short because reading it is a part
# of the boot, some 150 instructions a character of a setting.
oblako_app(NAME redis
  FETCH redis
  BUILD make -C src redis-server MALLOC=libc USE_SYSTEMD=no BUILD_TLS=no uname_S=Linux V=1
    OPTIMIZATION=-O2 REDIS_CFLAGS=-DUSE_MALLOC_USABLE_SIZE
  PRODUCT src/redis-server
  ARGS "redis-server /etc/redis.conf"
  ROOT root EXPAND etc/redis.conf
  ALLOCATOR dense
  STACK_PROTECTOR buffers
  PORT 6379 PROBE redis MEMORY 64)
