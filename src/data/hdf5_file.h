#pragma once

#include "data/element.h"
#include "data/file_description.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

// The one door to the HDF5 library, which is not safe for threads: everything here takes the
// process's one lock.
namespace trireme::data {

/// Held during any use of the library, and while forking a child that will use it.
[[nodiscard]] std::mutex& hdf5_mutex();

/// Reads the structure of the file, not its data. May crash on a damaged file: see run_isolated.
/// Links to other files, groups other than `checksums`, and data outside of the file are not
/// followed. Errors: data_damaged if it is no HDF5 file or truncated.
[[nodiscard]] FileDescription describe_hdf5(const std::string& path);

/// Reads one data set through the library: chunked, compressed, compact or big-endian ones. Safe
/// for threads.
class Hdf5Reader {
 public:
  Hdf5Reader(const std::string& path, const DatasetDescription& dataset);
  ~Hdf5Reader();
  /// Copies rows [first, first + count) to `out` in native byte order. Error data_damaged if the
  /// library cannot.
  void read(int64_t first, int64_t count, std::byte* out) const;

 private:
  struct Handles;
  std::string path_;
  std::string name_;
  std::unique_ptr<Handles> handles_;
};

/// Writes one file: the same calls give the same bytes (no times, no user names). Errors are of
/// kind storage.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::string& path);
  ~Hdf5Writer();

  /// A data set at the root; `compress` 0 lays it out contiguously, 1 to 9 in chunks of about 1 MiB
  /// with deflate. Returns its number.
  size_t create(const std::string& name, Element element, const std::vector<int64_t>& shape,
                int compress = 0);
  void attribute(size_t dataset, const Attribute& attribute);
  /// Appends `count` rows; all rows of the shape must have been appended before `finish`.
  void append(size_t dataset, const void* rows, int64_t count);
  /// Writes the checksums and closes the file.
  void finish();

 private:
  struct Open;
  std::unique_ptr<Open> open_;
};

}  // namespace trireme::data
