#pragma once

#include "data/hdf5_file.h"

#include <mutex>
#include <utility>

#define H5_USE_110_API
#include <hdf5.h>

// The one file that includes hdf5.h: for the sources behind hdf5_file.h only.
namespace trireme::data {

/// The library's lock, with its habit of printing errors turned off.
class Library {
 public:
  Library() : lock_(hdf5_mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

 private:
  std::lock_guard<std::mutex> lock_;
};

/// Owns an identifier of the library. Used, and destroyed, under its lock.
class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(closer_, other.closer_);
    return *this;
  }
  ~Handle() { close(); }
  operator hid_t() const { return id_; }
  [[nodiscard]] bool valid() const { return id_ >= 0; }
  herr_t close() { return id_ >= 0 ? closer_(std::exchange(id_, -1)) : 0; }

 private:
  hid_t id_;
  Closer closer_;
};

}  // namespace trireme::data
