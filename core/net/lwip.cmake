# The part of lwIP that is compiled into the kernel archive, and what finds its configuration.
# Expects LWIP_DIR. Nothing of it is linked unless the application reaches a socket call.
set(LWIP_INCLUDES
  ${CMAKE_CURRENT_LIST_DIR}/lwip
  ${LWIP_DIR}/src/include)

set(LWIP_SOURCES
  ${LWIP_DIR}/src/core/def.c
  ${LWIP_DIR}/src/core/inet_chksum.c
  ${LWIP_DIR}/src/core/ip.c
  ${LWIP_DIR}/src/core/mem.c
  ${LWIP_DIR}/src/core/netif.c
  ${LWIP_DIR}/src/core/pbuf.c
  ${LWIP_DIR}/src/core/tcp.c
  ${LWIP_DIR}/src/core/tcp_in.c
  ${LWIP_DIR}/src/core/tcp_out.c
  ${LWIP_DIR}/src/core/udp.c
  ${LWIP_DIR}/src/core/ipv4/dhcp.c
  ${LWIP_DIR}/src/core/ipv4/etharp.c
  ${LWIP_DIR}/src/core/ipv4/icmp.c
  ${LWIP_DIR}/src/core/ipv4/ip4.c
  ${LWIP_DIR}/src/core/ipv4/ip4_addr.c
  ${LWIP_DIR}/src/core/ipv4/ip4_frag.c
  ${LWIP_DIR}/src/core/ipv6/ethip6.c
  ${LWIP_DIR}/src/core/ipv6/icmp6.c
  ${LWIP_DIR}/src/core/ipv6/inet6.c
  ${LWIP_DIR}/src/core/ipv6/ip6.c
  ${LWIP_DIR}/src/core/ipv6/ip6_addr.c
  ${LWIP_DIR}/src/core/ipv6/ip6_frag.c
  ${LWIP_DIR}/src/core/ipv6/nd6.c
  ${LWIP_DIR}/src/netif/ethernet.c)

# lwIP's functions are short and many: without frames of their own they take a tenth fewer
# instructions. The frame pointer stays untouched, so backtraces go on at lwIP's caller.
set_source_files_properties(${LWIP_SOURCES} PROPERTIES
  COMPILE_OPTIONS "-fomit-frame-pointer;-ffixed-rbp")
# For speed where segments and datagrams pass; the rest of lwIP is for size like most of the kernel.
set(lwip_fast ${LWIP_SOURCES})
list(FILTER lwip_fast INCLUDE REGEX
  "/(inet_chksum|ip|pbuf|tcp|tcp_in|tcp_out|udp|etharp|ip4|ip4_addr|ethip6|ip6|ip6_addr|mem)\\.c$")
set_property(SOURCE ${lwip_fast} APPEND PROPERTY COMPILE_OPTIONS -O2 ${dense_code})
