// SPDX-License-Identifier: GPL-3.0-or-later
#include "preparation.h"

#include <string_view>

namespace speed {

Preparation preparation_of(const kaq::Kernel &kernel) {
#if defined(__x86_64__)
    const std::string_view name = kernel.name;
    if (name == "avx512vnni")
        return preparation_avx512vnni;
    if (name == "avx2")
        return preparation_avx2;
#endif
    (void)kernel;
    return nullptr;
}

} // namespace speed
