# SPDX-License-Identifier: GPL-3.0-or-later
# find_package(gr-kaq): the kernels, without GNU Radio and Python, as kaq::kernels
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/gr-kaqTargets.cmake)
