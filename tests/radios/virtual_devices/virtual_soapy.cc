// SPDX-License-Identifier: GPL-3.0-or-later
// A radio without hardware, for SoapySDR: `driver=virtual,channels=2`. Sample n of channel c is n + jc. Loading this
// library registers it.
//
// Other arguments: `rates=R` has no sample rate but R. What is set is logged and read with kaq_virtual_soapy_log().

#include "device_log.h"

#include <SoapySDR/Device.hpp>
#include <SoapySDR/Formats.hpp>
#include <SoapySDR/Registry.hpp>
#include <algorithm>
#include <chrono>
#include <complex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

DeviceLog device_log;

std::string channel_name(size_t channel) { return "rx" + std::to_string(channel) + " "; }

class VirtualRadio : public SoapySDR::Device {
public:
    explicit VirtualRadio(const SoapySDR::Kwargs &args) {
        if (args.count("channels"))
            d_num_channels = std::stoul(args.at("channels"));
        if (args.count("rates"))
            d_fixed_rate = std::stod(args.at("rates"));
    }
    std::string getDriverKey() const override { return "virtual"; }
    size_t getNumChannels(int direction) const override { return direction == SOAPY_SDR_RX ? d_num_channels : 0; }
    std::vector<std::string> getStreamFormats(int, size_t) const override { return {SOAPY_SDR_CF32}; }
    std::string getNativeStreamFormat(int, size_t, double &full_scale) const override {
        full_scale = 1;
        return SOAPY_SDR_CF32;
    }

    SoapySDR::Stream *setupStream(int, const std::string &, const std::vector<size_t> &channels,
                                  const SoapySDR::Kwargs &) override {
        d_channels = channels;
        return reinterpret_cast<SoapySDR::Stream *>(this);
    }
    void closeStream(SoapySDR::Stream *) override {}
    size_t getStreamMTU(SoapySDR::Stream *) const override { return 1000; }
    int activateStream(SoapySDR::Stream *, int, long long, size_t) override {
        device_log("start");
        return 0;
    }
    int deactivateStream(SoapySDR::Stream *, int, long long) override {
        device_log("stop");
        return 0;
    }
    int readStream(SoapySDR::Stream *stream, void *const *buffers, size_t count, int &flags, long long &,
                   long) override {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        flags = 0;
        count = std::min(count, getStreamMTU(stream));
        for (size_t i = 0; i < d_channels.size(); ++i) {
            auto *samples = static_cast<std::complex<float> *>(buffers[i]);
            for (size_t n = 0; n < count; ++n)
                samples[n] = {float(d_next + n), float(d_channels[i])};
        }
        d_next += count;
        return int(count);
    }

    std::vector<std::string> listAntennas(int, size_t) const override { return {"A", "B"}; }
    void setAntenna(int, size_t channel, const std::string &name) override {
        device_log(channel_name(channel) + "antenna " + name);
    }
    std::string getAntenna(int, size_t) const override { return "A"; }
    std::vector<std::string> listGains(int, size_t) const override { return {"PGA"}; }
    bool hasGainMode(int, size_t) const override { return true; }
    void setGainMode(int, size_t channel, bool automatic) override {
        device_log(channel_name(channel) + (automatic ? "AGC" : "no AGC"));
    }
    void setGain(int, size_t channel, double gain) override {
        device_log(channel_name(channel) + "gain " + std::to_string(gain));
    }
    SoapySDR::Range getGainRange(int, size_t) const override { return {0, 70}; }
    void setFrequency(int, size_t channel, double frequency, const SoapySDR::Kwargs &) override {
        device_log(channel_name(channel) + "frequency " + std::to_string(frequency));
    }
    double getFrequency(int, size_t) const override { return 0; }
    SoapySDR::RangeList getFrequencyRange(int, size_t) const override { return {{1e7, 6e9}}; }
    void setSampleRate(int, size_t channel, double rate) override {
        d_rate = d_fixed_rate > 0 ? d_fixed_rate : rate;
        device_log(channel_name(channel) + "rate " + std::to_string(d_rate));
    }
    double getSampleRate(int, size_t) const override { return d_rate; }
    SoapySDR::RangeList getSampleRateRange(int, size_t) const override { return {{1e3, 1e8}}; }
    std::vector<std::string> listClockSources() const override { return {"internal", "external"}; }
    std::vector<std::string> listTimeSources() const override { return {"internal", "external"}; }
    void setClockSource(const std::string &source) override { device_log("clock " + source); }
    void setTimeSource(const std::string &source) override { device_log("time " + source); }

private:
    size_t d_num_channels = 2;
    double d_fixed_rate = 0;
    double d_rate = 1e6;
    std::vector<size_t> d_channels;
    size_t d_next = 0;
};

SoapySDR::KwargsList find(const SoapySDR::Kwargs &args) {
    if (!args.count("driver") || args.at("driver") != "virtual")
        return {};
    return {args};
}

SoapySDR::Device *make(const SoapySDR::Kwargs &args) { return new VirtualRadio(args); }

const SoapySDR::Registry registered("virtual", &find, &make, SOAPY_SDR_ABI_VERSION);

} // namespace

// All lines since the last call; they are valid until the next one.
extern "C" __attribute__((visibility("default"))) const char *kaq_virtual_soapy_log() { return device_log.take(); }
