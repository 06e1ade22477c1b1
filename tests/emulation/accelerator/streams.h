#pragma once

#include <c10/core/Stream.h>

namespace trireme::emulated {

/// How many devices there are.
[[nodiscard]] int device_count();
/// The calling thread's.
[[nodiscard]] int current_device();
[[nodiscard]] c10::Stream current_stream(int device);
/// One of 32 that take turns, none of them the default one.
[[nodiscard]] c10::Stream stream_from_pool(int device);
void make_current(int device);
void make_current(const c10::Stream& stream);

/// Tells LibTorch about devices, streams and events.
void register_device_guard();

}  // namespace trireme::emulated
