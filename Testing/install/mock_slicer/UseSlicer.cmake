# What an extension includes after finding Slicer: the extension's name, testing, and the macros for scripted modules.

if(NOT DEFINED EXTENSION_NAME)
  set(EXTENSION_NAME "${PROJECT_NAME}")
endif()

option(BUILD_TESTING "Test the extension" ON)
if(BUILD_TESTING)
  enable_testing()
endif()

include("${CMAKE_CURRENT_LIST_DIR}/ScriptedModule.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/PythonTesting.cmake")
