# How an extension is packed: one archive of what is installed.

if(NOT EXTENSION_NAME STREQUAL PROJECT_NAME)
  message(FATAL_ERROR "The extension '${EXTENSION_NAME}' is built by the project '${PROJECT_NAME}'")
endif()
set(CPACK_GENERATOR "TGZ")
set(CPACK_MONOLITHIC_INSTALL ON)
set(CPACK_PACKAGE_NAME "${EXTENSION_NAME}")
set(CPACK_PACKAGE_FILE_NAME "${EXTENSION_NAME}")
set(CPACK_INCLUDE_TOPLEVEL_DIRECTORY OFF)
include(CPack)
