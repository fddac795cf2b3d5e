// SPDX-License-Identifier: GPL-3.0-or-later
// Sends received samples and channel estimates to a detector in a GNU Radio flowgraph, over ZMQ, in C:
//
//     cc -O2 -o zmq_producer zmq_producer.c -lzmq -lm
//     ./zmq_producer tcp://127.0.0.1:5555 100
//
// The flowgraph is zmq_testbed.grc with 2 antennas, 2 streams, one subcarrier and QPSK. docs/guide/zmq-testbed.md has
// the wire format. What you receive takes the place of `receive`.
#include <complex.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { NUM_RX = 2, NUM_TX = 2, ITEMS = 14, ROOM = 4096 };

// A frame that grows: little endian in the header and the samples, big endian in what is serialized (PMTs).
struct frame {
    unsigned char bytes[ROOM];
    size_t length;
};

static void put(struct frame *frame, uint64_t value, int count, int is_big) {
    for (int i = 0; i < count; ++i)
        frame->bytes[frame->length++] = (unsigned char)(value >> 8 * (is_big ? count - 1 - i : i));
}

static void put_little(struct frame *frame, uint64_t value, int count) { put(frame, value, count, 0); }

static void put_big(struct frame *frame, uint64_t value, int count) { put(frame, value, count, 1); }

static void put_complex(struct frame *frame, float complex value, int is_big) {
    float parts[2] = {crealf(value), cimagf(value)};
    for (int i = 0; i < 2; ++i) {
        uint32_t bits;
        memcpy(&bits, &parts[i], sizeof bits);
        put(frame, bits, 4, is_big);
    }
}

static void put_symbol(struct frame *frame, const char *name) {
    put_big(frame, 2, 1);
    put_big(frame, strlen(name), 2);
    memcpy(frame->bytes + frame->length, name, strlen(name));
    frame->length += strlen(name);
}

static void put_double(struct frame *frame, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_big(frame, 4, 1);
    put_big(frame, bits, 8);
}

static void put_entry(struct frame *frame, const char *key) {
    put_big(frame, 0x0907, 2);
    put_symbol(frame, key);
}

// The tag `mimo_channel` at an item: h[rx][tx], the noise variance of an antenna, and a sequence number.
static void put_estimate(struct frame *frame, uint64_t item, float complex h[NUM_RX][NUM_TX], double noise_var,
                         uint64_t number) {
    const uint32_t shape[3] = {1, NUM_RX, NUM_TX}; // subcarriers, antennas, streams
    put_little(frame, item, 8);
    put_symbol(frame, "mimo_channel");
    put_entry(frame, "h");
    put_big(frame, 0x0a0a, 2);
    put_big(frame, NUM_RX * NUM_TX, 4);
    put_big(frame, 0x0100, 2);
    for (int rx = 0; rx < NUM_RX; ++rx)
        for (int tx = 0; tx < NUM_TX; ++tx)
            put_complex(frame, h[rx][tx], 1);
    put_entry(frame, "shape");
    put_big(frame, 0x0c, 1);
    put_big(frame, 3, 4);
    for (int i = 0; i < 3; ++i) {
        put_big(frame, 3, 1);
        put_big(frame, shape[i], 4);
    }
    put_entry(frame, "noise_var");
    put_double(frame, noise_var);
    put_entry(frame, "seq");
    put_big(frame, 0x0b, 1);
    put_big(frame, number, 8);
    put_big(frame, 6, 1); // end of the dict
    put_big(frame, 1, 1); // source: false
}

// A made-up receiver: QPSK over a channel that turns from packet to packet.
static void receive(int packet, float complex h[NUM_RX][NUM_TX], float complex y[ITEMS][NUM_RX]) {
    for (int rx = 0; rx < NUM_RX; ++rx)
        for (int tx = 0; tx < NUM_TX; ++tx)
            h[rx][tx] = rx == tx ? cexpf(I * packet) : 0.3f * cexpf(I * (packet + rx + 2 * tx));
    for (int item = 0; item < ITEMS; ++item)
        for (int rx = 0; rx < NUM_RX; ++rx) {
            y[item][rx] = 0;
            for (int tx = 0; tx < NUM_TX; ++tx) {
                const float real = ((item + tx) & 1) ? -1 : 1, imag = ((item >> 1) & 1) ? -1 : 1;
                y[item][rx] += h[rx][tx] * (real + I * imag) / sqrtf(2);
            }
        }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s ADDRESS PACKETS\n", argv[0]);
        return 2;
    }
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_PUSH);
    if (zmq_bind(socket, argv[1])) {
        fprintf(stderr, "%s: %s\n", argv[1], zmq_strerror(zmq_errno()));
        return 1;
    }
    for (int packet = 0; packet < atoi(argv[2]); ++packet) {
        float complex h[NUM_RX][NUM_TX], y[ITEMS][NUM_RX];
        receive(packet, h, y);
        const uint64_t first = (uint64_t)packet * ITEMS;
        struct frame frame = {.length = 0};
        put_little(&frame, 0x5ff0, 2);
        put_little(&frame, 1, 1); // version
        put_little(&frame, first, 8);
        put_little(&frame, 1, 8); // number of tags
        put_estimate(&frame, first, h, 1e-3, (uint64_t)packet);
        for (int item = 0; item < ITEMS; ++item)
            for (int rx = 0; rx < NUM_RX; ++rx)
                put_complex(&frame, y[item][rx], 0);
        if (zmq_send(socket, frame.bytes, frame.length, 0) < 0) {
            fprintf(stderr, "%s\n", zmq_strerror(zmq_errno()));
            return 1;
        }
    }
    zmq_close(socket); // waits until all was sent
    zmq_ctx_term(context);
    return 0;
}
