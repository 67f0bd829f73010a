# redis 7.0.15 as Debian packages it, with the C library's allocator (ours). Like on jemalloc, there
# are blocks of 24 bytes and no sizes in front of blocks: 84 bytes a small key, against 108.
oblako_app(NAME redis
  FETCH redis
  BUILD make -C src redis-server MALLOC=libc USE_SYSTEMD=no BUILD_TLS=no uname_S=Linux V=1
    OPTIMIZATION=-O2 REDIS_CFLAGS=-DUSE_MALLOC_USABLE_SIZE
  PRODUCT src/redis-server
  ARGS "redis-server /etc/redis.conf"
  ROOT root
  ALLOCATOR dense
  PORT 6379 PROBE redis MEMORY 64)
