# The C library's resolver, as it is in images (libc/build_musl.sh), for the host: it has the
# library's own headers, and what it asks of the system goes to fuzz_dns.cc under other names.
set(musl ${MUSL_SOURCE_DIR})
set(resolver_sources ${root}/libc/overrides/dns_parse.c)
foreach(name dn_expand dn_skipname getnameinfo inet_aton lookup_ipliteral lookup_name ns_parse
    res_mkquery res_msend res_send)
  list(APPEND resolver_sources ${musl}/src/network/${name}.c)
endforeach()
add_library(resolver OBJECT ${resolver_sources})
# Without the definitions and folders of the kernel's part of this directory.
set_target_properties(resolver PROPERTIES COMPILE_DEFINITIONS "" INCLUDE_DIRECTORIES "")
target_compile_options(resolver PRIVATE -std=c99 -w -nostdinc -ffreestanding -D_XOPEN_SOURCE=700
  -fsanitize=fuzzer-no-link -fsanitize-coverage=trace-pc-guard -fno-builtin)
target_include_directories(resolver PRIVATE ${musl}/arch/x86_64 ${musl}/arch/generic
  ${musl}/src/include ${musl}/src/internal ${musl}/src/network ${musl}/include ${MUSL_INCLUDE_DIR})
foreach(name socket bind connect close sendto recvfrom poll setsockopt getsockname clock_gettime
    pthread_setcancelstate _pthread_cleanup_push _pthread_cleanup_pop getnameinfo dn_expand
    dn_skipname ns_initparse ns_parserr)
  target_compile_definitions(resolver PRIVATE ${name}=musl_${name})
endforeach()
