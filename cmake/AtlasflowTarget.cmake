# atlasflow_library(NAME SOURCES a.cpp ... [LINK lib ...]): the library of one folder, with the
# project's warnings and sanitizers. Link lines are the enforced form of the folder list in
# docs/architecture.md.

add_library(atlasflow_options INTERFACE)
target_include_directories(atlasflow_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_options(atlasflow_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(atlasflow_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND
   (CMAKE_BUILD_TYPE STREQUAL "Release" OR ATLASFLOW_SANITIZE))
  # With optimization, and with the checks of sanitizers in between, GCC 12 takes strings and
  # variants of the standard library for overruns and uninitialized reads (its bugs 105329 and
  # 80635): told, and no reason to leave a user without a build.
  target_compile_options(atlasflow_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-error=maybe-uninitialized -Wno-error=array-bounds
      -Wno-error=stringop-overflow -Wno-error=stringop-overread -Wno-error=restrict>)
endif()
if(ATLASFLOW_SANITIZE)
  target_compile_options(atlasflow_options INTERFACE
    -fsanitize=${ATLASFLOW_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(atlasflow_options INTERFACE -fsanitize=${ATLASFLOW_SANITIZE})
  if(ATLASFLOW_SANITIZE MATCHES "thread")
    # std::atomic_thread_fence is not modelled by TSan; GCC warns where a library header uses it.
    target_compile_options(atlasflow_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
  endif()
endif()

function(atlasflow_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_library(atlasflow_${name} STATIC ${arg_SOURCES})
  add_library(atlasflow::${name} ALIAS atlasflow_${name})
  target_link_libraries(atlasflow_${name} PUBLIC atlasflow_options ${arg_LINK})
endfunction()

# atlasflow_test(NAME SOURCES a.cpp ... LINK lib ... [LABELS l] [TIMEOUT s]): one GoogleTest
# executable, every TEST its own ctest case, "NAME.Suite.claim". The labels are in tests/README.md.
function(atlasflow_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  list(LENGTH arg_LABELS label_count)
  if(label_count GREATER 1)
    message(FATAL_ERROR "${name}: one label only; gtest_discover_tests would drop the others")
  endif()
  # A whole server with its VMs wants the machine for itself.
  if(arg_LABELS STREQUAL "end_to_end")
    set(serial RUN_SERIAL TRUE)
  elseif(arg_LABELS STREQUAL "build")
    # These look for what a build leaves in the cgroup that all builds of the machine share.
    set(serial RESOURCE_LOCK build)
  endif()
  add_executable(${name}_test ${arg_SOURCES})
  target_link_libraries(${name}_test PRIVATE atlasflow_options ${arg_LINK} GTest::gmock
                                             GTest::gtest_main)
  include(GoogleTest)
  gtest_discover_tests(${name}_test
    TEST_PREFIX ${name}.
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}" ${serial})
endfunction()
