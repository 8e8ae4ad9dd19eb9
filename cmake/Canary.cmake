# atlasflow_canary(NAME lost_sync MAIN sim_main.cpp SOURCE storage/log/rocksdb_event_log.cpp
#                  DEFINE ATLAS_CANARY_LOST_SYNC LINK atlasflow::sim ...)
#
# The executable canary_NAME: the main program with one known bug, which whoever runs it must find.
# SOURCE is the one production file that holds the bug under DEFINE; it alone is compiled again. Its
# object is linked before the libraries, so each of its symbols is defined by the time the linker comes
# to the archive that holds the good one, whose object is therefore not pulled; were it pulled
# nevertheless, every symbol would be defined twice, and the link would fail. So there is no canary
# that is silently without its bug. Paths are absolute or from the calling folder; canaries of one MAIN
# share its object.
function(atlasflow_canary)
  cmake_parse_arguments(arg "" "NAME;MAIN;SOURCE;DEFINE" "LINK" ${ARGN})
  foreach(name NAME MAIN SOURCE DEFINE LINK)
    if(NOT arg_${name})
      message(FATAL_ERROR "atlasflow_canary: ${name} is missing")
    endif()
  endforeach()
  foreach(name MAIN SOURCE)
    get_filename_component(arg_${name} ${arg_${name}} ABSOLUTE)
  endforeach()
  file(STRINGS ${arg_SOURCE} guards REGEX "#ifn?def ${arg_DEFINE}$")
  if(NOT guards)
    message(FATAL_ERROR "atlasflow_canary: ${arg_SOURCE} has no #ifdef ${arg_DEFINE}")
  endif()

  string(MD5 main_id ${arg_MAIN})
  set(main canary_main_${main_id})
  if(NOT TARGET ${main})
    add_library(${main} OBJECT ${arg_MAIN})
    target_link_libraries(${main} PRIVATE atlasflow_options ${arg_LINK})
  endif()

  add_library(canary_${arg_NAME}_bug OBJECT ${arg_SOURCE})
  target_compile_definitions(canary_${arg_NAME}_bug PRIVATE ${arg_DEFINE})
  target_link_libraries(canary_${arg_NAME}_bug PRIVATE atlasflow_options ${arg_LINK})

  add_executable(canary_${arg_NAME}
    $<TARGET_OBJECTS:${main}> $<TARGET_OBJECTS:canary_${arg_NAME}_bug>)
  target_link_libraries(canary_${arg_NAME} PRIVATE atlasflow_options ${arg_LINK})
endfunction()
