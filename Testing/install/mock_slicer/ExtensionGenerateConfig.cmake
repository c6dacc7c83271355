# Writes the extension's description, which Slicer's extension manager shows, into the build tree.

set(_description "")
foreach(_field IN ITEMS NAME HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if("${EXTENSION_${_field}}" STREQUAL "")
    message(FATAL_ERROR "EXTENSION_${_field} is not set")
  endif()
  string(TOLOWER "${_field}" _key)
  string(APPEND _description "${_key} ${EXTENSION_${_field}}\n")
endforeach()
file(WRITE "${CMAKE_BINARY_DIR}/${EXTENSION_NAME}.s4ext" "${_description}")
