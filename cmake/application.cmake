# Applications. A recipe (apps/NAME/recipe.cmake) is one call:
#
#   oblako_app(NAME hello SOURCES hello.c)
#   oblako_app(NAME redis FETCH redis BUILD make -C src redis-server ... PRODUCT src/redis-server
#              ARGS "redis-server /etc/redis.conf" ROOT root PORT 6379 PROBE redis MEMORY 64)
#
# SOURCES: C and C++ files compiled against musl. FETCH/BUILD/PRODUCT: a source of scripts/sources.txt,
# built in a copy of its own with CC=oblako-cc and CXX=oblako-c++ (compilers that link to one relocatable
# object).
# ARGS: argv, with shell-like quotes; default NAME. ROOT: folder of files for the image's /.
# `{memory/16}` in ARGS, and in those files that EXPAND names by their paths within ROOT, is a part of
# the machine's memory, in bytes (core/boot/memory_expressions.cc).
# STACK_PROTECTOR buffers: canaries only in functions with arrays of characters on the stack (-fstack-protector);
# none: in none; default: also in those that give the address of a local away (-fstack-protector-strong).
# ALLOCATOR dense: malloc with size classes in steps of 8 bytes (libc/malloc/dense.cc).
# PORT, PROBE (redis, http, tcp, none), MEMORY (MB): what `make run` needs to know.
# -malign-data=abi: arrays aligned as the ABI asks, not as GCC 4.8 expected them.
set(app_flags -O2 ${dense_code} -malign-data=abi -g -fno-pie -ffunction-sections -fdata-sections -fcf-protection=none
  ${stack_protector} -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -ffile-prefix-map=${MUSL_DIR}=musl)
set(app_includes -nostdinc -isystem${MUSL_DIR}/include -isystem${gcc_include})

# libstdc++'s headers, with ours over those of its files that are made for glibc (libc/cplusplus).
set(app_cxx_includes -nostdinc -isystem${CMAKE_SOURCE_DIR}/libc/cplusplus/include
  -isystem/usr/include/c++/${gcc_version} -isystem/usr/include/x86_64-linux-gnu/c++/${gcc_version}
  -isystem/usr/include/c++/${gcc_version}/backward
  -isystem${MUSL_DIR}/include -isystem${gcc_include})

# oblako-cc, oblako-c++: compile against musl; what would be a program is one relocatable object instead,
# which the image link completes.
function(oblako_driver program name)
  set(OBLAKO_COMPILER ${program})
  string(JOIN " " cc_flags ${app_flags} ${ARGN})
  configure_file("${CMAKE_SOURCE_DIR}/cmake/oblako-cc.in" "${CMAKE_BINARY_DIR}/bin/${name}" @ONLY
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endfunction()
set(OBLAKO_CC "${CMAKE_BINARY_DIR}/bin/oblako-cc")
set(OBLAKO_CXX "${CMAKE_BINARY_DIR}/bin/oblako-c++")
oblako_driver(gcc oblako-cc ${app_includes})
oblako_driver(g++ oblako-c++ ${app_cxx_includes})

# Replacements for parts of the C library that a measurement asked for.
file(GLOB libc_replacements CONFIGURE_DEPENDS
  "${CMAKE_SOURCE_DIR}/libc/malloc/*.c" "${CMAKE_SOURCE_DIR}/libc/malloc/*.cc"
  "${CMAKE_SOURCE_DIR}/libc/string/*.c" "${CMAKE_SOURCE_DIR}/libc/string/*.S"
  "${CMAKE_SOURCE_DIR}/libc/cplusplus/*.c")
add_library(libc_replacement STATIC ${libc_replacements} "${CMAKE_SOURCE_DIR}/cmake/empty.c")
# They run before the first thread has its canary.
file(GLOB libc_string "${CMAKE_SOURCE_DIR}/libc/string/*.c")
set_source_files_properties(${libc_string} PROPERTIES COMPILE_OPTIONS -fno-stack-protector)
set_source_files_properties("${CMAKE_SOURCE_DIR}/libc/cplusplus/once.c" PROPERTIES COMPILE_OPTIONS -fexceptions)
target_include_directories(libc_replacement PRIVATE "${CMAKE_SOURCE_DIR}")
target_compile_options(libc_replacement PRIVATE ${app_flags} -Wall -Wextra -Werror
  $<$<COMPILE_LANGUAGE:C>:${app_includes}>
  $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti -fno-threadsafe-statics -nostdinc
    "-D__GLIBC_PREREQ(a,b)=0" -isystem/usr/include/c++/${gcc_version}
    -isystem/usr/include/x86_64-linux-gnu/c++/${gcc_version}
    -isystem${gcc_include} -isystem${MUSL_DIR}/include -idirafter/usr/include>)

include("${CMAKE_SOURCE_DIR}/cmake/recipe.cmake")
function(oblako_app)
  oblako_read_recipe(${ARGN})
  set(work "${CMAKE_BINARY_DIR}/apps/${app_NAME}")
  set(out "${OBLAKO_IMAGES}/${app_NAME}")
  file(MAKE_DIRECTORY "${work}" "${out}")

  set(protector "")
  if(NOT OBLAKO_STACK_PROTECTOR OR app_STACK_PROTECTOR STREQUAL "none")
    set(protector -fno-stack-protector)
  elseif(app_STACK_PROTECTOR STREQUAL "buffers")
    set(protector -fno-stack-protector -fstack-protector)
  endif()

  set(objects "")
  if(app_SOURCES)
    add_library(app_${app_NAME} OBJECT ${app_SOURCES})
    target_compile_options(app_${app_NAME} PRIVATE ${app_flags} ${protector} -Wall
      $<$<COMPILE_LANGUAGE:C>:${app_includes}> $<$<COMPILE_LANGUAGE:CXX>:${app_cxx_includes}>)
    set(objects "$<TARGET_OBJECTS:app_${app_NAME}>")
  else()
    # Fetched when it is built, so that nobody waits for, or fails by, what he does not build.
    file(GLOB patches CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/patches/${app_FETCH}/*.patch")
    set(objects "${work}/${app_NAME}.o")
    string(JOIN " " protector ${protector})
    add_custom_command(OUTPUT "${objects}"
      COMMAND "${CMAKE_COMMAND}" -E env "OBLAKO_FLAGS=${protector}"
        "${CMAKE_SOURCE_DIR}/scripts/build_app.sh" "${app_FETCH}" "${work}/source"
        "${app_PRODUCT}" "${objects}" "${OBLAKO_CC}" "${OBLAKO_CXX}" ${app_BUILD}
      DEPENDS "${OBLAKO_CC}" "${OBLAKO_CXX}" "${CMAKE_SOURCE_DIR}/scripts/build_app.sh"
        "${OBLAKO_RECIPE_DIR}/recipe.cmake" "${CMAKE_SOURCE_DIR}/scripts/sources.txt" ${patches}
      COMMENT "Building ${app_NAME}" VERBATIM)
  endif()

  file(CONFIGURE OUTPUT "${work}/arguments.txt" @ONLY CONTENT "${app_ARGS}")
  set(root_blob "")
  if(app_ROOT)
    set(root_dir "${OBLAKO_RECIPE_DIR}/${app_ROOT}")
    set(root_blob "${work}/root.blob")
    # Names of files may hold anything, semicolons and quotes too, so none comes into a list of ours:
    # the packer looks each time (`root.look` never exists) and leaves the blob if nothing changed.
    add_custom_command(OUTPUT "${root_blob}" "${work}/root.look"
      COMMAND "${CMAKE_SOURCE_DIR}/scripts/pack_root.py" "${root_dir}" "${root_blob}" ${app_EXPAND}
      DEPENDS "${CMAKE_SOURCE_DIR}/scripts/pack_root.py"
        "${CMAKE_SOURCE_DIR}/scripts/memory_expressions.py"
      COMMENT "Looking at ${app_NAME}'s files" VERBATIM)
  endif()

  set(needed "")
  if(app_ALLOCATOR)
    set(needed --need "oblako_malloc_${app_ALLOCATOR}")
  endif()

  file(CONFIGURE OUTPUT "${out}/app.json" @ONLY CONTENT
"{\"name\": \"@app_NAME@\", \"port\": \"@app_PORT@\", \"probe\": \"@app_PROBE@\", \"memory\": \"@app_MEMORY@\"}
")
  add_custom_command(OUTPUT "${out}/${app_NAME}.elf" "${out}/${app_NAME}.elf.debug"
    COMMAND "${CMAKE_SOURCE_DIR}/scripts/link_image.py" --output "${out}/${app_NAME}.elf"
      --script "${CMAKE_SOURCE_DIR}/arch/x64/image.ld" --arguments "${work}/arguments.txt"
      "--root=${root_blob}" --musl "${MUSL_DIR}/lib" --replacement "$<TARGET_FILE:libc_replacement>"
      --kernel "${KERNEL_ARCHIVE}" --stubs "${STUB_ARCHIVE}" --table "${CALL_TABLE}"
      ${needed} "${objects}"
    COMMAND_EXPAND_LISTS
    DEPENDS ${objects} ${root_blob} "${work}/arguments.txt" libc_replacement
      "${KERNEL_ARCHIVE}" "${STUB_ARCHIVE}" "${CALL_TABLE}"
      "${CMAKE_SOURCE_DIR}/arch/x64/image.ld" "${CMAKE_SOURCE_DIR}/arch/x64/frames.ld"
      "${CMAKE_SOURCE_DIR}/scripts/link_image.py" "${CMAKE_SOURCE_DIR}/scripts/elf_object.py"
      "${CMAKE_SOURCE_DIR}/scripts/memory_expressions.py"
    COMMENT "Linking ${app_NAME}.elf" VERBATIM)
  # The kernel's objects are named through the archive only: order-only on the target that makes it.
  add_custom_target(image-${app_NAME} DEPENDS "${out}/${app_NAME}.elf")
  add_dependencies(image-${app_NAME} kernel)
endfunction()

# Sets VARIABLE to what is wrong with the recipe in OBLAKO_RECIPE_DIR, or to nothing.
function(oblako_check_recipe variable)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" "-DOBLAKO_RECIPE_DIR=${OBLAKO_RECIPE_DIR}" "-DOBLAKO_ROOT=${CMAKE_SOURCE_DIR}"
      -P "${CMAKE_SOURCE_DIR}/cmake/recipe.cmake"
    OUTPUT_QUIET ERROR_VARIABLE errors RESULT_VARIABLE status)
  set(wrong "")
  if(NOT status EQUAL 0)
    set(wrong "${errors}")
  endif()
  set(${variable} "${wrong}" PARENT_SCOPE)
endfunction()

# The image of the folder's name says what is wrong instead.
function(oblako_broken_recipe wrong)
  get_filename_component(name "${OBLAKO_RECIPE_DIR}" NAME)
  set(text "${CMAKE_BINARY_DIR}/wrong-${name}.txt")
  file(WRITE "${text}" "${wrong}\n")
  if(NOT TARGET image-${name})
    add_custom_target(image-${name} COMMAND cat "${text}" COMMAND false
      COMMENT "The recipe of ${name} has an error" VERBATIM)
  endif()
endfunction()
