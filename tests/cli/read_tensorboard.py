# SPDX-License-Identifier: Apache-2.0
"""Reads a TensorBoard event file with nothing but the documentation of its formats: TFRecord framing with masked
CRC-32C, and the wire format of protocol buffers. Fails where anything is not as documented; prints what it found.
Where TensorBoard itself is installed, its loader must find the same."""
import glob
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    while data:
        length, check = struct.unpack_from("<QI", data)
        assert check == masked(data[:8]), "checksum of a length"
        body = data[12 : 12 + length]
        (check,) = struct.unpack_from("<I", data, 12 + length)
        assert len(body) == length and check == masked(body), "checksum of a record"
        yield body
        data = data[16 + length :]


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """The fields of a message, a list of values by number."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif key & 7 == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            assert key & 7 == 2, "wire type"
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
            assert len(value) == length
        found.setdefault(key >> 3, []).append(value)
    return found


def histogram(data):
    found = fields(data)
    bounds, counts = (struct.unpack("<%dd" % (len(found[i][0]) // 8), found[i][0]) for i in (6, 7))
    least, most, number, total = (found[i][0] for i in (1, 2, 3, 4))
    assert len(bounds) == len(counts) and list(bounds) == sorted(bounds)
    assert sum(counts) == number and least <= total / number <= most <= bounds[-1] and least < bounds[0]
    assert counts[0] > 0 and counts[-1] > 0
    return number


assert crc32c(b"123456789") == 0xE3069283
(path,) = glob.glob(sys.argv[1] + "/events.out.tfevents.*")
events = [fields(record) for record in records(open(path, "rb").read())]
assert events[0][3] == [b"brain.Event:2"] and 5 not in events[0]
scalars, histograms, clock = {}, {}, events[0][1][0]
for event in events[1:]:
    assert event[1][0] >= clock - 1000
    for value in map(fields, fields(event[5][0])[1]):
        tag = value[1][0].decode()
        if 2 in value:
            scalars.setdefault(tag, []).append((event[2][0], value[2][0]))
        else:
            histograms.setdefault(tag, []).append((event[2][0], histogram(value[5][0])))
for kind, found in ("scalar", scalars), ("histogram", histograms):
    for tag, values in sorted(found.items()):
        steps = [step for step, _ in values]
        assert steps == sorted(steps), tag
        print(kind, tag, *("%d:%.3g" % value for value in values))

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    sys.exit()
accumulator = EventAccumulator(path, size_guidance={"scalars": 0, "histograms": 0})
accumulator.Reload()
for tag, values in scalars.items():
    assert [(event.step, event.value) for event in accumulator.Scalars(tag)] == values, tag
for tag, values in histograms.items():
    assert [event.step for event in accumulator.Histograms(tag)] == [step for step, _ in values], tag
