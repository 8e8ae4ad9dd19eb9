# llhttp as the target atlasflow::llhttp: libllhttp-dev's library where the distribution has it, else
# the C sources that Debian's node-llhttp ships.
#
# LLHTTP_STRICT_MODE=1 must be set in every translation unit (the header switches on it as well):
# without it llhttp 8.1 takes "\r\n\rX" for the end of the headers and lets chunk lines desync the
# body, which is request smuggling. A distribution's library is therefore taken only from 9.0 on,
# where strict is the default and the macro is gone.

find_path(LLHTTP_INCLUDE_DIR llhttp.h PATH_SUFFIXES llhttp
  PATHS /usr/include /usr/share/include NO_DEFAULT_PATH)
if(NOT LLHTTP_INCLUDE_DIR)
  message(FATAL_ERROR "llhttp.h not found: install node-llhttp (script/bootstrap does)")
endif()
file(STRINGS ${LLHTTP_INCLUDE_DIR}/llhttp.h llhttp_major_line REGEX "^#define LLHTTP_VERSION_MAJOR")
string(REGEX MATCH "[0-9]+" LLHTTP_VERSION_MAJOR "${llhttp_major_line}")
find_library(LLHTTP_LIBRARY llhttp)
set(LLHTTP_SOURCE_DIR /usr/share/llhttp)

if(LLHTTP_LIBRARY AND LLHTTP_VERSION_MAJOR GREATER_EQUAL 9)
  add_library(atlasflow_llhttp INTERFACE)
  target_link_libraries(atlasflow_llhttp INTERFACE ${LLHTTP_LIBRARY})
  target_include_directories(atlasflow_llhttp SYSTEM INTERFACE ${LLHTTP_INCLUDE_DIR})
  target_compile_definitions(atlasflow_llhttp INTERFACE LLHTTP_STRICT_MODE=1)
elseif(EXISTS ${LLHTTP_SOURCE_DIR}/llhttp.c)
  add_library(atlasflow_llhttp STATIC
    ${LLHTTP_SOURCE_DIR}/llhttp.c ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c)
  target_include_directories(atlasflow_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
  target_compile_definitions(atlasflow_llhttp PUBLIC LLHTTP_STRICT_MODE=1)
  target_compile_options(atlasflow_llhttp PRIVATE -w)
else()
  message(FATAL_ERROR "llhttp sources not found: install node-llhttp (script/bootstrap does)")
endif()
add_library(atlasflow::llhttp ALIAS atlasflow_llhttp)

# The check that the macro reaches whoever uses the library: fails the configure step otherwise.
get_target_property(llhttp_definitions atlasflow_llhttp INTERFACE_COMPILE_DEFINITIONS)
if(NOT "LLHTTP_STRICT_MODE=1" IN_LIST llhttp_definitions)
  message(FATAL_ERROR "LLHTTP_STRICT_MODE=1 is not set on atlasflow::llhttp: requests could be smuggled")
endif()
