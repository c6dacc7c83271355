# slicerMacroBuildScriptedModule(NAME name SCRIPTS file... [RESOURCES file...] [WITH_GENERIC_TESTS] ...)
#
# Files are named relative to the CMakeLists.txt that calls, and keep that relative path below qt-scripted-modules, in
# the build tree and in the installed tree. A macro, like Slicer's: what it sets is seen by the caller.

macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY_SLICER "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})

  if(MY_SLICER_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: unknown keywords: ${MY_SLICER_UNPARSED_ARGUMENTS}")
  endif()
  if(MY_SLICER_WITH_SUBDIR)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: the stand-in for Slicer has no WITH_SUBDIR")
  endif()
  foreach(required IN ITEMS NAME SCRIPTS)
    if(NOT MY_SLICER_${required})
      message(FATAL_ERROR "slicerMacroBuildScriptedModule: ${required} is missing")
    endif()
  endforeach()

  set(_module_copies "")
  foreach(_module_list IN ITEMS SCRIPTS RESOURCES)
    foreach(_module_file IN LISTS MY_SLICER_${_module_list})
      if(IS_ABSOLUTE "${_module_file}" OR _module_file MATCHES "(^|/)\\.\\.(/|$)")
        message(FATAL_ERROR "slicerMacroBuildScriptedModule(${_module_list}): '${_module_file}' leaves its folder")
      endif()
      set(_module_source "${CMAKE_CURRENT_SOURCE_DIR}/${_module_file}")
      if(NOT EXISTS "${_module_source}" OR IS_DIRECTORY "${_module_source}")
        message(FATAL_ERROR "slicerMacroBuildScriptedModule(${_module_list}) given nonexistent file '${_module_file}'")
      endif()
      set(_module_copy "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${_module_file}")
      add_custom_command(
        OUTPUT "${_module_copy}"
        COMMAND "${CMAKE_COMMAND}" -E copy "${_module_source}" "${_module_copy}"
        DEPENDS "${_module_source}"
        COMMENT "Copying ${_module_file}"
        VERBATIM
        )
      list(APPEND _module_copies "${_module_copy}")
    endforeach()
  endforeach()
  add_custom_target(Copy${MY_SLICER_NAME}PythonFiles ALL DEPENDS ${_module_copies})

  # As in Slicer the whole folder is installed: whatever else lies there goes to the user too.
  install(
    DIRECTORY "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/"
    DESTINATION "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}"
    COMPONENT RuntimeLibraries
    USE_SOURCE_PERMISSIONS
    )

  if(BUILD_TESTING AND MY_SLICER_WITH_GENERIC_TESTS)
    set(_module_test "qSlicer${MY_SLICER_NAME}ModuleGenericTest")
    file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/${_module_test}.py" "# Slicer writes a test here that loads the module.\n")
    slicer_add_python_unittest(
      SCRIPT "${CMAKE_CURRENT_BINARY_DIR}/${_module_test}.py"
      SLICER_ARGS --no-main-window --disable-cli-modules
                  --additional-module-path "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}"
      TESTNAME_PREFIX nomainwindow_
      )
  endif()
endmacro()
