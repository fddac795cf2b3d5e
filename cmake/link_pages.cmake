# SPDX-License-Identifier: GPL-3.0-or-later
# Run by `cmake --install`: links each block to its page. GRC opens absolute addresses only, and where the pages are is
# known last.
get_filename_component(prefix "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
string(REPLACE " " "%20" pages "file://${prefix}/share/doc/gr-kaq/blocks")
set(sources ${CMAKE_CURRENT_LIST_DIR}/../grc)
file(GLOB names RELATIVE ${sources} ${sources}/*.block.yml)
foreach(name ${names})
    get_filename_component(block ${name} NAME_WE)
    file(APPEND "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share/gnuradio/grc/blocks/${name}"
         "doc_url: ${pages}/${block}.html\n")
endforeach()
