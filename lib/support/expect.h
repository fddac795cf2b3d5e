// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of what a user gives: expect(count <= 4, "at most 4 streams expected; ", count, " given").
#pragma once

#include <sstream>
#include <stdexcept>

namespace kaq {

// Throws std::invalid_argument if the condition does not hold. The parts of the text are only put together then.
template <typename... Parts>
void expect(bool condition, const Parts &...parts) {
    if (condition) [[likely]]
        return;
    std::ostringstream text;
    (text << ... << parts);
    throw std::invalid_argument(text.str());
}

// `value` once its check() found nothing: for the initializers of constructors.
template <typename T>
T checked(T value) {
    value.check();
    return value;
}

} // namespace kaq
