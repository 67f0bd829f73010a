# The kernel: every source under arch/, core/ and drivers/ plus lwIP and zlib's inflate, in one archive
# from which an image takes what it reaches; and a stub for every system call of Linux.
execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -print-file-name=include
  OUTPUT_VARIABLE gcc_include OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -dumpversion
  OUTPUT_VARIABLE gcc_version OUTPUT_STRIP_TRAILING_WHITESPACE)

# Boost.Intrusive's containers are part of the kernel's structures: a version that nobody tried may
# lay them out, or cost, differently.
set(boost_header /usr/include/boost/version.hpp)
if(NOT EXISTS ${boost_header})
  message(FATAL_ERROR "there is no Boost (${boost_header}): scripts/setup.sh installs it")
endif()
file(STRINGS ${boost_header} boost_version REGEX "^#define BOOST_VERSION ")
string(REGEX REPLACE "[^0-9]" "" boost_version "${boost_version}")
if(boost_version LESS 107400)
  message(FATAL_ERROR "Boost 1.74 or later is needed, and ${boost_header} is of ${boost_version}")
elseif(NOT boost_version EQUAL 107400)
  message(WARNING "Boost is ${boost_version}; the kernel is tested with 1.74 (107400)")
endif()

# No padding in front of functions, loops and jump targets, which -O2 would put there: a seventh of
# the code it makes, to be loaded by every image and run through by many loops. Linux does not pad
# its loops and jump targets either.
set(dense_code -fno-align-functions -fno-align-jumps -fno-align-loops)
set(kernel_flags
  -ffreestanding -mgeneral-regs-only -mno-red-zone -mcmodel=kernel -fno-pie -Os -g
  -ffunction-sections -fdata-sections -fcf-protection=none
  # One canary for all of the kernel, which runs with the application's FS (core/log/stack_guard.cc).
  ${stack_protector} -mstack-protector-guard=global
  -fno-asynchronous-unwind-tables -fno-unwind-tables -fno-omit-frame-pointer
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -ffile-prefix-map=${LWIP_DIR}=lwip
  -ffile-prefix-map=${ZLIB_DIR}=zlib -ffile-prefix-map=${MUSL_DIR}=musl
  -DZ_SOLO # zlib without its own allocator and files
  -nostdinc)
set(kernel_cxx_flags ${kernel_flags}
  -fno-exceptions -fno-rtti -fno-threadsafe-statics -Wall -Wextra -Werror
  # libstdc++'s freestanding headers over musl's: the version test belongs to glibc.
  "-D__GLIBC_PREREQ(a,b)=0"
  -isystem/usr/include/c++/${gcc_version} -isystem/usr/include/x86_64-linux-gnu/c++/${gcc_version})
if(OBLAKO_CHECKS)
  list(APPEND kernel_cxx_flags -DOBLAKO_CHECKS)
endif()
set(kernel_includes -isystem${gcc_include} -isystem${MUSL_DIR}/include)

file(GLOB_RECURSE kernel_sources CONFIGURE_DEPENDS
  "${CMAKE_SOURCE_DIR}/arch/x64/*.cc" "${CMAKE_SOURCE_DIR}/arch/x64/*.S"
  "${CMAKE_SOURCE_DIR}/core/*.cc" "${CMAKE_SOURCE_DIR}/core/*.S" "${CMAKE_SOURCE_DIR}/drivers/*.cc")
add_library(kernel_cxx OBJECT ${kernel_sources})
target_include_directories(kernel_cxx PRIVATE "${CMAKE_SOURCE_DIR}")
target_compile_options(kernel_cxx PRIVATE
  $<$<COMPILE_LANGUAGE:CXX>:${kernel_cxx_flags} ${kernel_includes} -idirafter/usr/include>
  $<$<COMPILE_LANGUAGE:ASM>:-ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -g>)
# For size, but for what a request passes through: most of the kernel runs once or seldom, and code
# that is not there need not be loaded either. The frame pointer stays untouched where there are no
# frames, so that backtraces go on at the caller's caller.
set(kernel_fast_sources
  "arch/x64/(apic|context|interrupts|vector_state)"
  "core/fs/(packed_root|path|pseudo)"
  "core/mem/(app_memory|heap|io_buffers|string)"
  "core/net/(checksum|fast_path|interface|poller|pools|port|send_buffer|shared_address|socket|stack|transmit)"
  "core/net/(syn_queue|tcp_[^o].*|time_wait|timers|udp_socket)"
  "core/random/.*"
  "core/posix/(boundary|epoll|fd_table|file|futex|pipe|poll_set)"
  "core/posix/sys_(epoll|eventfd|futex|poll|read|select|socket_io|socket_messages|transfer|write|clock)"
  "core/sched/.*"
  "core/time/.*"
  "drivers/virtio/(net|net_receive|net_transmit|virtqueue)")
set(fast_sources ${kernel_sources})
string(JOIN "|" fast_pattern ${kernel_fast_sources})
list(FILTER fast_sources INCLUDE REGEX "/(${fast_pattern})\\.cc$")
set_source_files_properties(${fast_sources} PROPERTIES
  COMPILE_OPTIONS "-O2;${dense_code};-fomit-frame-pointer;-ffixed-rbp")
if(EXISTS "${CMAKE_SOURCE_DIR}/core/net/lwip.cmake")
  include("${CMAKE_SOURCE_DIR}/core/net/lwip.cmake")
  target_compile_options(kernel_cxx PRIVATE -I${CMAKE_SOURCE_DIR}/core/net/lwip -isystem${LWIP_DIR}/src/include)
endif()

# inflate only: the packed root files are compressed on the host.
set(ZLIB_SOURCES ${ZLIB_DIR}/inflate.c ${ZLIB_DIR}/inftrees.c ${ZLIB_DIR}/inffast.c
  ${ZLIB_DIR}/zutil.c ${ZLIB_DIR}/adler32.c ${ZLIB_DIR}/crc32.c)
target_include_directories(kernel_cxx PRIVATE ${ZLIB_DIR})
add_library(kernel_c OBJECT ${LWIP_SOURCES} ${ZLIB_SOURCES})
target_include_directories(kernel_c PRIVATE "${CMAKE_SOURCE_DIR}" ${LWIP_INCLUDES} ${ZLIB_DIR})
# Prefixed names, so that an application's own zlib is not taken for the kernel's.
target_compile_definitions(kernel_c PRIVATE Z_PREFIX)
target_compile_options(kernel_c PRIVATE ${kernel_flags} ${kernel_includes} -std=gnu11 -w)

# The kernel has its own memcpy and friends. They get names of their own here, so that neither side of
# the line ever links to the other's.
set(KERNEL_ARCHIVE "${CMAKE_BINARY_DIR}/libkernel.a")
add_custom_command(OUTPUT "${KERNEL_ARCHIVE}"
  COMMAND "${CMAKE_SOURCE_DIR}/scripts/make_kernel_archive.sh" "${KERNEL_ARCHIVE}"
    "${CMAKE_SOURCE_DIR}/arch/x64/kernel_symbols.txt"
    "$<TARGET_OBJECTS:kernel_cxx>" "$<TARGET_OBJECTS:kernel_c>"
  COMMAND_EXPAND_LISTS
  DEPENDS $<TARGET_OBJECTS:kernel_cxx> $<TARGET_OBJECTS:kernel_c>
    "${CMAKE_SOURCE_DIR}/scripts/make_kernel_archive.sh"
    "${CMAKE_SOURCE_DIR}/arch/x64/kernel_symbols.txt"
  COMMENT "Kernel archive" VERBATIM)

# One object a stub, so that the linker takes exactly those that are reached; and the number table.
set(STUB_ARCHIVE "${CMAKE_BINARY_DIR}/libstubs.a")
set(CALL_TABLE "${CMAKE_BINARY_DIR}/syscall_table.o")
add_custom_command(OUTPUT "${STUB_ARCHIVE}" "${CALL_TABLE}"
  COMMAND "${CMAKE_SOURCE_DIR}/scripts/make_syscall_stubs.py" "${MUSL_DIR}/lib/syscalls.txt"
    "${STUB_ARCHIVE}" "${CALL_TABLE}"
  DEPENDS "${CMAKE_SOURCE_DIR}/scripts/make_syscall_stubs.py" "${MUSL_DIR}/lib/syscalls.txt"
  COMMENT "System-call stubs" VERBATIM)
add_custom_target(kernel DEPENDS "${KERNEL_ARCHIVE}" "${STUB_ARCHIVE}" "${CALL_TABLE}")
