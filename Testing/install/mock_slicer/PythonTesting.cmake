# slicer_add_python_unittest(SCRIPT file [TESTNAME_PREFIX prefix] [SLICER_ARGS argument...])
#
# Adds the test py_<prefix><name of the script>, which runs the script's unittest classes inside Slicer.

macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicer_add_python_unittest: unknown keywords: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(_test_script "${MY_SCRIPT}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  if("${MY_SCRIPT}" STREQUAL "" OR NOT EXISTS "${_test_script}")
    message(FATAL_ERROR "slicer_add_python_unittest: given nonexistent script '${MY_SCRIPT}'")
  endif()
  get_filename_component(_test_name "${MY_SCRIPT}" NAME_WE)
  add_test(
    NAME "py_${MY_TESTNAME_PREFIX}${_test_name}"
    COMMAND "${Slicer_LAUNCHER_EXECUTABLE}" --no-splash --testing ${MY_SLICER_ARGS} --python-code
      "import slicer.testing; slicer.testing.runUnitTest(['${CMAKE_CURRENT_BINARY_DIR}', '${CMAKE_CURRENT_SOURCE_DIR}'], '${_test_name}')"
    )
endmacro()
