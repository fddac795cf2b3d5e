# SPDX-License-Identifier: GPL-3.0-or-later
# For all that is compiled in a folder that includes this file.
set(KAQ_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
if(KAQ_SANITIZE)
    add_compile_options(-fsanitize=${KAQ_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
    add_link_options(-fsanitize=${KAQ_SANITIZE})
endif()
