# Third-party sources and the C library. oblako_fetch(NAME VARIABLE) sets VARIABLE to the unpacked folder.
function(oblako_fetch name variable)
  execute_process(
    COMMAND "${CMAKE_SOURCE_DIR}/scripts/fetch.sh" "${name}"
    OUTPUT_VARIABLE output RESULT_VARIABLE status OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "fetching ${name} failed; run scripts/setup.sh, and see the lines above")
  endif()
  string(REGEX REPLACE ".*\n" "" folder "${output}")
  set(${variable} "${folder}" PARENT_SCOPE)
endfunction()
file(GLOB source_patches CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/patches/*/*.patch")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  "${CMAKE_SOURCE_DIR}/scripts/sources.txt" "${CMAKE_SOURCE_DIR}/libc/build_musl.sh" ${source_patches})

oblako_fetch(musl MUSL_SOURCE_DIR)
oblako_fetch(lwip LWIP_DIR)
oblako_fetch(zlib ZLIB_DIR)

# musl is built at configure time, because everything else needs its headers; the cache makes it cheap.
file(GLOB musl_inputs CONFIGURE_DEPENDS
  "${CMAKE_SOURCE_DIR}/libc/overlay/*" "${CMAKE_SOURCE_DIR}/libc/overrides/*")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${musl_inputs})
message(STATUS "Building the C library (kept in the cache)")
execute_process(
  COMMAND "${CMAKE_SOURCE_DIR}/libc/build_musl.sh" "${MUSL_SOURCE_DIR}" ${stack_protector}
  OUTPUT_VARIABLE output RESULT_VARIABLE status OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "building musl failed")
endif()
string(REGEX REPLACE ".*\n" "" MUSL_DIR "${output}")
