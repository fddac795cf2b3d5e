// SPDX-License-Identifier: GPL-3.0-or-later
// A USRP without hardware, for UHD: `type=virtual,boards=2,channels=1`. Loading this library registers it. What a
// channel sends is what the same channel of any virtual USRP receives at that time, in this process, and in all that
// have the same file in KAQ_VIRTUAL_AIR.
//
// Other arguments: `unlocked=B` has no reference on board B, `rates=R` has no sample rate but R. What is set is logged,
// with the time if it has to happen at one, and read with kaq_virtual_usrp_log().

#include "device_log.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <uhd/device.hpp>
#include <uhd/exception.hpp>
#include <uhd/property_tree.hpp>
#include <uhd/types/metadata.hpp>
#include <uhd/types/ranges.hpp>
#include <uhd/types/sensors.hpp>
#include <uhd/types/stream_cmd.hpp>
#include <uhd/types/time_spec.hpp>
#include <uhd/usrp/mboard_eeprom.hpp>
#include <uhd/usrp/subdev_spec.hpp>
#include <unistd.h>
#include <utility>
#include <vector>

namespace uhd::rfnoc {
struct action_info;
}

namespace {

using Action = std::shared_ptr<uhd::rfnoc::action_info>; // of streamers from UHD 4.8 on, which have none here
using Sample = std::complex<float>;

constexpr double LEAST_DELAY_S = 0.01; // from send() to the air, where no time is given
constexpr double AHEAD_S = 0.05;       // how far send() may be ahead of the clock
constexpr double LATENCY_S = 1;        // from the air to recv(), so that a busy machine sends in time all the same
constexpr size_t PACKET = 1000;
constexpr size_t MAX_CHANNELS = 8;
constexpr size_t RING = size_t(1) << 20;

// All boards and processes share the oscillator, as with an external reference.
double elapsed() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

DeviceLog device_log;

// What is on the air, by the number of the sample since the clock's epoch.
class Air {
public:
    Air() {
        const char *path = std::getenv("KAQ_VIRTUAL_AIR");
        const int file = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
        if (path && (file < 0 || ftruncate(file, MAX_CHANNELS * RING * sizeof(Sample)) != 0))
            throw std::runtime_error("KAQ_VIRTUAL_AIR cannot be written");
        void *memory = mmap(nullptr, MAX_CHANNELS * RING * sizeof(Sample), PROT_READ | PROT_WRITE,
                            path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, file, 0);
        if (memory == MAP_FAILED)
            throw std::bad_alloc();
        d_samples = static_cast<Sample *>(memory);
    }
    void send(size_t channel, uint64_t at, const Sample *samples, size_t count) {
        for (size_t i = 0; i < count; ++i)
            d_samples[channel * RING + (at + i) % RING] = samples[i];
    }
    // and clears them, so that the ring can be used again
    void receive(size_t channel, uint64_t at, Sample *samples, size_t count) {
        for (size_t i = 0; i < count; ++i)
            samples[i] = std::exchange(d_samples[channel * RING + (at + i) % RING], Sample(0));
    }

private:
    Sample *d_samples;
};

Air air;

// The clock of a board: at first by itself; set at an edge of the PPS, which comes once a second for all.
class Clock {
public:
    explicit Clock(double offset) : d_offset(offset) {}
    double now() const {
        const std::lock_guard lock(d_mutex);
        return offset() + elapsed();
    }
    double last_pps() const {
        const std::lock_guard lock(d_mutex);
        return offset() + std::floor(elapsed());
    }
    void set_next_pps(double time) {
        const std::lock_guard lock(d_mutex);
        d_edge = std::floor(elapsed()) + 1;
        d_next_offset = time - d_edge;
    }
    double to_elapsed(double time) const {
        const std::lock_guard lock(d_mutex);
        return time - offset();
    }

private:
    double offset() const { return elapsed() >= d_edge ? d_next_offset : d_offset; }
    mutable std::mutex d_mutex;
    double d_offset;
    double d_edge = 1e300;
    double d_next_offset = 0;
};

struct Board {
    Board(size_t number, size_t count) : clock(100.0 * number), rates(count, 1e6) {}
    Clock clock;
    std::vector<double> rates;
    double command_time = 0;
};

class Receiver : public uhd::rx_streamer {
public:
    Receiver(std::vector<size_t> channels, Board &board)
        : d_channels(std::move(channels)), d_board(board), d_rate(board.rates.front()) {}
    size_t get_num_channels() const override { return d_channels.size(); }
    size_t get_max_num_samps() const override { return PACKET; }
    void issue_stream_cmd(const uhd::stream_cmd_t &command) override {
        if (command.stream_mode == uhd::stream_cmd_t::STREAM_MODE_STOP_CONTINUOUS) {
            d_running = false;
            return;
        }
        const double at = command.stream_now ? d_board.clock.now() : command.time_spec.get_real_secs();
        if (d_channels.size() > 1 && command.stream_now)
            throw uhd::runtime_error("several channels have to start at a time");
        d_next = uint64_t(d_board.clock.to_elapsed(at) * d_rate);
        d_running = true;
        device_log(command.stream_now ? "receive now" : "receive all channels at one time");
    }
    size_t recv(const buffs_type &buffers, size_t count, uhd::rx_metadata_t &metadata, double timeout, bool) override {
        metadata.reset();
        const double deadline = elapsed() + timeout;
        const size_t packet = std::min(count, PACKET);
        while (!d_running || (elapsed() - LATENCY_S) * d_rate < double(d_next + packet)) {
            if (elapsed() > deadline) {
                metadata.error_code = uhd::rx_metadata_t::ERROR_CODE_TIMEOUT;
                return 0;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        metadata.has_time_spec = true;
        metadata.time_spec = uhd::time_spec_t(d_board.clock.now() - elapsed() + double(d_next) / d_rate);
        for (size_t i = 0; i < d_channels.size(); ++i)
            air.receive(d_channels[i], d_next, static_cast<Sample *>(buffers[i]), packet);
        d_next += packet;
        return packet;
    }
    void post_input_action(const Action &, size_t) {}

private:
    std::vector<size_t> d_channels;
    Board &d_board;
    double d_rate;
    bool d_running = false;
    uint64_t d_next = 0;
};

class Transmitter : public uhd::tx_streamer {
public:
    Transmitter(std::vector<size_t> channels, Board &board)
        : d_channels(std::move(channels)), d_board(board), d_rate(board.rates.front()) {}
    size_t get_num_channels() const override { return d_channels.size(); }
    size_t get_max_num_samps() const override { return PACKET; }
    size_t send(const buffs_type &buffers, size_t count, const uhd::tx_metadata_t &metadata, double) override {
        if (metadata.start_of_burst) {
            const double at = metadata.has_time_spec ? d_board.clock.to_elapsed(metadata.time_spec.get_real_secs())
                                                     : elapsed() + LEAST_DELAY_S;
            d_next = std::max(d_next, uint64_t(at * d_rate));
            d_burst = 0;
            if (metadata.has_time_spec)
                device_log("send all channels at one time");
        }
        while (double(d_next) > (elapsed() + AHEAD_S) * d_rate)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        for (size_t i = 0; i < d_channels.size(); ++i)
            air.send(d_channels[i], d_next, static_cast<const Sample *>(buffers[i]), count);
        d_next += count;
        d_burst += count;
        if (metadata.end_of_burst && d_burst > 0) // gr-uhd ends what has ended once more
            device_log("burst of " + std::to_string(std::exchange(d_burst, 0)));
        return count;
    }
    bool recv_async_msg(uhd::async_metadata_t &, double timeout) override {
        std::this_thread::sleep_for(std::chrono::duration<double>(std::min(timeout, 0.1)));
        return false;
    }
    void post_output_action(const Action &, size_t) {}

private:
    std::vector<size_t> d_channels;
    Board &d_board;
    double d_rate;
    uint64_t d_next = 0;
    uint64_t d_burst = 0;
};

class VirtualUsrp : public uhd::device {
public:
    explicit VirtualUsrp(const uhd::device_addr_t &args)
        : d_num_channels(args.cast<size_t>("channels", 2)), d_fixed_rate(args.cast<double>("rates", 0)) {
        _type = USRP;
        _tree = uhd::property_tree::make();
        _tree->create<std::string>("/name").set("virtual USRP");
        const size_t count = args.cast<size_t>("boards", 1);
        if (count * d_num_channels > MAX_CHANNELS)
            throw uhd::value_error("too many channels");
        const int unlocked = args.cast<int>("unlocked", -1);
        for (size_t b = 0; b < count; ++b)
            d_boards.push_back(std::make_unique<Board>(b, d_num_channels));
        for (size_t b = 0; b < count; ++b)
            add_board(b, int(b) != unlocked);
    }
    uhd::rx_streamer::sptr get_rx_stream(const uhd::stream_args_t &args) override {
        return std::make_shared<Receiver>(checked(args), *d_boards.front());
    }
    uhd::tx_streamer::sptr get_tx_stream(const uhd::stream_args_t &args) override {
        return std::make_shared<Transmitter>(checked(args), *d_boards.front());
    }
    bool recv_async_msg(uhd::async_metadata_t &, double) override { return false; }

private:
    std::vector<size_t> checked(const uhd::stream_args_t &args) const {
        if (args.cpu_format != "fc32")
            throw uhd::value_error("fc32 only");
        for (const size_t channel : args.channels)
            if (channel >= d_boards.size() * d_num_channels)
                throw uhd::index_error("channel " + std::to_string(channel) + " of " +
                                       std::to_string(d_boards.size() * d_num_channels));
        return args.channels;
    }

    void add_board(size_t b, bool locked) {
        Board &board = *d_boards[b];
        const uhd::fs_path root = "/mboards/" + std::to_string(b);
        const std::string name = "board " + std::to_string(b) + ": ";
        _tree->create<std::string>(root / "name").set("virtual");
        _tree->create<uhd::usrp::mboard_eeprom_t>(root / "eeprom").set({});
        _tree->create<double>(root / "tick_rate").set(1e6);
        _tree->create<uhd::time_spec_t>(root / "time/now").set_publisher([&board] {
            return uhd::time_spec_t(board.clock.now());
        });
        _tree->create<uhd::time_spec_t>(root / "time/pps")
            .set_publisher([&board] { return uhd::time_spec_t(board.clock.last_pps()); })
            .add_coerced_subscriber([&board, name](const uhd::time_spec_t &time) {
                board.clock.set_next_pps(time.get_real_secs());
                device_log(name + "time at the next PPS " + std::to_string(time.get_real_secs()));
            });
        _tree->create<uhd::time_spec_t>(root / "time/cmd")
            .add_coerced_subscriber(
                [&board](const uhd::time_spec_t &time) { board.command_time = time.get_real_secs(); });
        for (const char *source : {"clock_source", "time_source"}) {
            _tree->create<std::string>(root / source / "value")
                .set("internal")
                .add_coerced_subscriber(
                    [name, source](const std::string &value) { device_log(name + source + " " + value); });
            _tree->create<std::vector<std::string>>(root / source / "options").set({"internal", "external", "gpsdo"});
        }
        _tree->create<uhd::sensor_value_t>(root / "sensors/ref_locked")
            .set(uhd::sensor_value_t("Ref", locked, "locked", "unlocked"));
        add_direction(b, "rx");
        add_direction(b, "tx");
    }

    void add_direction(size_t b, const std::string &direction) {
        Board &board = *d_boards[b];
        const uhd::fs_path root = "/mboards/" + std::to_string(b);
        uhd::usrp::subdev_spec_t spec;
        _tree->create<int>(root / (direction + "_codecs/A/gains")).set(0); // so that the folder is there
        for (size_t c = 0; c < d_num_channels; ++c) {
            const std::string number = std::to_string(c);
            const std::string name = "board " + std::to_string(b) + ": " + direction + number + " ";
            spec.push_back(uhd::usrp::subdev_spec_pair_t("A", number));
            const uhd::fs_path dsp = root / (direction + "_dsps") / number;
            _tree->create<double>(dsp / "rate/value")
                .set_coercer([this](double rate) { return d_fixed_rate > 0 ? d_fixed_rate : rate; })
                .add_coerced_subscriber([&board, c](double rate) { board.rates[c] = rate; })
                .set(1e6);
            _tree->create<uhd::meta_range_t>(dsp / "rate/range").set(uhd::meta_range_t(1e3, 1e8));
            _tree->create<double>(dsp / "freq/value").set(0);
            _tree->create<uhd::meta_range_t>(dsp / "freq/range").set(uhd::meta_range_t(-1e6, 1e6));
            const uhd::fs_path frontend = root / "dboards/A" / (direction + "_frontends") / number;
            _tree->create<std::string>(frontend / "name").set("virtual");
            _tree->create<double>(frontend / "freq/value")
                .set(1e9)
                .add_coerced_subscriber([&board, name](double frequency) {
                    device_log(name + "frequency " + std::to_string(frequency) +
                               (board.command_time > board.clock.now() ? " at " + std::to_string(board.command_time)
                                                                       : " now"));
                });
            _tree->create<uhd::meta_range_t>(frontend / "freq/range").set(uhd::meta_range_t(1e7, 6e9));
            _tree->create<double>(frontend / "bandwidth/value").set(1e6);
            _tree->create<std::vector<std::string>>(frontend / "antenna/options").set({"TX/RX", "RX2"});
            _tree->create<std::string>(frontend / "antenna/value")
                .set("TX/RX")
                .set_coercer([](const std::string &value) {
                    if (value != "TX/RX" && value != "RX2")
                        throw uhd::value_error("no antenna " + value);
                    return value;
                })
                .add_coerced_subscriber([name](const std::string &value) { device_log(name + "antenna " + value); });
            _tree->create<double>(frontend / "gains/PGA/value").set(0).add_coerced_subscriber([name](double gain) {
                device_log(name + "gain " + std::to_string(gain));
            });
            _tree->create<uhd::meta_range_t>(frontend / "gains/PGA/range").set(uhd::meta_range_t(0, 70, 1));
        }
        _tree->create<uhd::usrp::subdev_spec_t>(root / (direction + "_subdev_spec")).set(spec);
    }

    size_t d_num_channels;
    double d_fixed_rate;
    std::vector<std::unique_ptr<Board>> d_boards;
};

const bool registered = [] {
    uhd::device::register_device(
        [](const uhd::device_addr_t &hint) {
            return hint.get("type", "") == "virtual" ? uhd::device_addrs_t{hint} : uhd::device_addrs_t{};
        },
        [](const uhd::device_addr_t &args) -> uhd::device::sptr { return std::make_shared<VirtualUsrp>(args); },
        uhd::device::USRP);
    return true;
}();

} // namespace

// All lines since the last call; they are valid until the next one.
extern "C" __attribute__((visibility("default"))) const char *kaq_virtual_usrp_log() { return device_log.take(); }
