// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "tests/choices.h"

namespace kaq_test {

// What follows the search, on any grids: training, common phases, data carriers, windows, levels.
void fuzz_grids(Choices &choices, Random &random);

} // namespace kaq_test
