// SPDX-License-Identifier: GPL-3.0-or-later
// A Kernel from an instruction set.
#pragma once

#include <algorithm>

#include "detection/instruction_set.h"
#include "detection/integer_access.h"
#include "detection/squared_norm.h"
#include "detection/unfolded_detection.h"
#include "detection/unfolded_preparation.h"

namespace kaq {
namespace {

template <InstructionSet Isa>
std::size_t batch_floats(const Network &network, const Size &size) {
    return UnfoldedLayout(network, size, Isa::streams_per_word).size * native_lanes;
}

template <InstructionSet Isa>
std::size_t scratch_floats(const Network &network, const Size &size) {
    return std::max(PreparationScratch(size, nullptr).floats,
                    detect_scratch<Isa>(network, UnfoldedLayout(network, size, Isa::streams_per_word)));
}

template <InstructionSet Isa>
constexpr Kernel make_kernel(const char *name) {
    return {name,
            native_lanes,
            batch_floats<Isa>,
            scratch_floats<Isa>,
            squared_norms,
            prepare_batch<Isa>,
            detect_batch<Isa>,
            filter_batch<Isa>,
            run_layers<Isa>,
            llrs_of_vector,
            get_integers<Isa>,
            set_integers<Isa>};
}

} // namespace
} // namespace kaq
