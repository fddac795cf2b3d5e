// SPDX-License-Identifier: GPL-3.0-or-later
// What was set on a virtual device, line by line.
#pragma once

#include <mutex>
#include <string>
#include <utility>

class DeviceLog {
public:
    void operator()(const std::string &line) {
        const std::lock_guard lock(d_mutex);
        d_lines += line + "\n";
    }
    // All lines since the last call; they are valid until the next one.
    const char *take() {
        const std::lock_guard lock(d_mutex);
        d_taken = std::exchange(d_lines, "");
        return d_taken.c_str();
    }

private:
    std::mutex d_mutex;
    std::string d_lines, d_taken;
};
