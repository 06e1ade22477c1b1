#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <sys/types.h>

namespace trireme::storage {

using WriteCall = ssize_t (*)(int, const void*, size_t);

struct WriteResult {
  size_t written = 0;
  int error = 0;  ///< errno; 0: all is written
};

/// Writes all bytes, through interruptions and short writes. Fault site "storage.write".
WriteResult write_all(int fd, const void* data, size_t bytes);
/// The same by another call than the system's, for tests.
WriteResult write_all(int fd, const void* data, size_t bytes, WriteCall call);

/// Makes a file that must not exist; returns its descriptor, or -errno. Fault site "storage.open".
int create_file(const char* path);

/// Lays out the next `bytes` of a new file at once, where the file system can; its size does not
/// change. Returns 0 or errno of a lack of space. Nothing else is an error: the writes will tell.
int reserve_space(int fd, int64_t bytes);

/// Lets the disk begin with bytes that were written, while others are. Returns at once.
void begin_writeback(int fd, int64_t from, int64_t bytes);

/// fsync; returns 0 or errno. A failed one is not tried again: the kernel has dropped the bytes.
/// Fault site "storage.fsync".
int sync_file(int fd);

/// Closes whatever happens; returns 0 or errno. Fault site "storage.close".
int close_file(int fd);

/// The errno that a fault set for `site` acts out; 0: none.
int fault_at(std::string_view site);

}  // namespace trireme::storage
