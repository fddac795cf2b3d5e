// SPDX-License-Identifier: GPL-3.0-or-later
// A Kernel from an instruction set: the float stages as compiled for it, and the integer layers over its registers.
#pragma once

#include "detection/instruction_set.h"
#include "detection/integer_layers.h"
#include "detection/prepare_channels.h"
#include "detection/squared_norm.h"
#include "detection/vector_stages.h"

namespace kaq {
namespace {

template <InstructionSet Isa>
constexpr Kernel make_kernel(const char *name) {
    using Layout = typename Isa::Layout;
    return {name,         native_lanes,   scratch_floats, Layout::bytes, squared_norm, prepare_channels<Layout>,
            Layout::pack, Layout::unpack, filter,         layers<Isa>,   llrs,         output};
}

} // namespace
} // namespace kaq
