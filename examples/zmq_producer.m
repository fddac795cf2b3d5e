% SPDX-License-Identifier: GPL-3.0-or-later
% Sends received samples and channel estimates to a detector in a GNU Radio flowgraph, over ZMQ, in Octave with its
% package zeromq (apt install octave-zeromq):
%
%     octave --no-gui zmq_producer.m tcp://127.0.0.1:5555 100
%
% The flowgraph is zmq_testbed.grc with 2 antennas, 2 streams, one subcarrier and QPSK. docs/guide/zmq-testbed.md has
% the wire format. What you receive takes the place of `receive`. MATLAB has no ZMQ of its own: the functions `frame`
% and below run there as they are, for a binding of your choice.
1;

function bytes = big(value)  % as PMTs have numbers
  bytes = typecast(swapbytes(value(:).'), "uint8");
end

function bytes = pmt_symbol(name)
  bytes = [uint8(2), big(uint16(length(name))), uint8(name)];
end

function bytes = pmt_c32vector(values)
  parts = single([real(values(:).'); imag(values(:).')]);
  bytes = [uint8([10, 10]), big(uint32(numel(values))), uint8([1, 0]), big(parts)];
end

function bytes = pmt_shape(varargin)
  bytes = [uint8(12), big(uint32(3))];
  for k = 1:3
    bytes = [bytes, uint8(3), big(int32(varargin{k}))];
  end
end

function bytes = estimate(item, h, noise_var, number)  % the tag mimo_channel; h: (antennas, streams)
  entry = @(key, value) [uint8([9, 7]), pmt_symbol(key), value];
  bytes = [typecast(uint64(item), "uint8"), pmt_symbol("mimo_channel"), ...
           entry("h", pmt_c32vector(h.')), ...  % C order: the streams of an antenna are next to each other
           entry("shape", pmt_shape(1, rows(h), columns(h))), ...
           entry("noise_var", [uint8(4), big(double(noise_var))]), ...
           entry("seq", [uint8(11), big(uint64(number))]), ...
           uint8(6), uint8(1)];
end

function bytes = frame(first, h, y, noise_var, number)  % y: (items, antennas)
  samples = y.';
  parts = single([real(samples(:).'); imag(samples(:).')]);
  bytes = [typecast(uint16(hex2dec("5ff0")), "uint8"), uint8(1), typecast(uint64(first), "uint8"), ...
           typecast(uint64(1), "uint8"), estimate(first, h, noise_var, number), typecast(parts(:).', "uint8")];
end

function [h, y] = receive(packet)  % a made-up receiver: QPSK over a channel that turns from packet to packet
  h = exp(1i * packet) * [1, 0.3 * exp(2i); 0.3 * exp(1i), 1];
  item = (0:13).';
  imaginary = 1 - 2 * mod(floor(item / 2), 2);
  x = [1 - 2 * mod(item, 2), 1 - 2 * mod(item + 1, 2)] + 1i * [imaginary, imaginary];
  y = x / sqrt(2) * h.';
end

pkg load zeromq
arguments = argv();
socket = zmq_socket(ZMQ_PUSH);
if !zmq_bind(socket, arguments{1})
  error("%s: cannot be bound", arguments{1});
end
for packet = 0:str2double(arguments{2}) - 1
  [h, y] = receive(packet);
  bytes = frame(packet * rows(y), h, y, 1e-3, packet);
  while zmq_send(socket, bytes) < 0  % nobody has connected yet
    pause(0.05);
  end
end
pause(1);  % until all was sent
zmq_close(socket);
