#include "data/hdf5_output.h"

#include <trireme/core/error.h>

#include "storage/system_calls.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

namespace trireme::data {
namespace {

constexpr haddr_t highest_address = (haddr_t{1} << 63) - 1;

struct Target {
  int* error;
};

struct File : H5FD_t {
  int fd = -1;
  haddr_t allocated = 0;
  haddr_t end = 0;
  int* error = nullptr;

  [[nodiscard]] bool failed() const { return *error != 0; }
  void fail(int code) {
    if (!failed()) *error = code;
  }
};

File& file_of(H5FD_t* file) {
  return *static_cast<File*>(file);
}
const File& file_of(const H5FD_t* file) {
  return *static_cast<const File*>(file);
}

H5FD_t* open(const char* name, unsigned, hid_t access, haddr_t) {
  const auto* target = static_cast<const Target*>(H5Pget_driver_info(access));
  if (target == nullptr) return nullptr;
  const int fd = ::open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    *target->error = errno;
    return nullptr;
  }
  auto* file = new File;
  file->fd = fd;
  file->error = target->error;
  return file;
}

herr_t close(H5FD_t* base) {
  const std::unique_ptr<File> file(&file_of(base));
  if (const int error = storage::close_file(file->fd)) file->fail(error);
  return 0;
}

herr_t query(const H5FD_t*, unsigned long* features) {
  *features = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
              H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

/// What was never written, or failed to be, reads as zeros.
herr_t read(H5FD_t* base, H5FD_mem_t, hid_t, haddr_t address, size_t bytes, void* out) {
  const File& file = file_of(base);
  auto* next = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(file.fd, next, bytes, static_cast<off_t>(address));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    next += got;
    bytes -= static_cast<size_t>(got);
    address += static_cast<haddr_t>(got);
  }
  std::memset(next, 0, bytes);
  return 0;
}

herr_t write(H5FD_t* base, H5FD_mem_t, hid_t, haddr_t address, size_t bytes, const void* data) {
  File& file = file_of(base);
  file.end = std::max(file.end, address + bytes);
  if (file.failed()) return 0;
  try {
    if (::lseek(file.fd, static_cast<off_t>(address), SEEK_SET) < 0)
      file.fail(errno);
    else
      file.fail(storage::write_all(file.fd, data, bytes).error);
  } catch (const Error&) {  // an injected fault; nothing may be thrown through the library
    file.fail(EIO);
  }
  return 0;
}

herr_t truncate(H5FD_t* base, hid_t, hbool_t) {
  File& file = file_of(base);
  if (file.end == file.allocated) return 0;
  if (!file.failed() && ::ftruncate(file.fd, static_cast<off_t>(file.allocated)) != 0)
    file.fail(errno);
  file.end = file.allocated;
  return 0;
}

H5FD_class_t driver() {
  H5FD_class_t made{};
#if H5_VERSION_GE(1, 13, 0)
  made.version = H5FD_CLASS_VERSION;
  made.value = static_cast<H5FD_class_value_t>(512);  // the first that anybody may use
#endif
  made.name = "trireme_output";
  made.maxaddr = highest_address;
  made.fc_degree = H5F_CLOSE_WEAK;
  made.fapl_size = sizeof(Target);
  made.open = open;
  made.close = close;
  made.query = query;
  made.get_eoa = [](const H5FD_t* file, H5FD_mem_t) {
    return file_of(file).allocated;
  };
  made.set_eoa = [](H5FD_t* file, H5FD_mem_t, haddr_t address) -> herr_t {
    file_of(file).allocated = address;
    return 0;
  };
  made.get_eof = [](const H5FD_t* file, H5FD_mem_t) {
    return file_of(file).end;
  };
  made.read = read;
  made.write = write;
  made.truncate = truncate;
  const H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;  // as the library's own driver for files
  std::copy(std::begin(map), std::end(map), made.fl_map);
  return made;
}

}  // namespace

Hdf5Output::Hdf5Output() : error_(std::make_unique<int>(0)), driver_(-1, H5FDunregister) {
  static const H5FD_class_t made = driver();
  driver_ = Handle(H5FDregister(&made), H5FDunregister);
}

void Hdf5Output::serve(hid_t access) {
  const Target target{error_.get()};
  check(H5Pset_driver(access, driver_, &target) >= 0, "the HDF5 library takes a file driver");
}

}  // namespace trireme::data
