#include "data/hdf5_file.h"

#include <trireme/core/error.h>

#include "data/block_hasher.h"
#include "data/hdf5_library.h"
#include "data/hdf5_output.h"
#include "storage/write_error.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

namespace trireme::data {
namespace {

constexpr int64_t block_bytes = int64_t{1} << 20;
constexpr int64_t max_links = 4096;
constexpr const char* checksum_group = "checksums";

/// The innermost message of the library's error stack.
std::string reason() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        auto& message = *static_cast<std::string*>(out);
        if (message.empty() && error->desc != nullptr) message = error->desc;
        return 0;
      },
      &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "the HDF5 library gives no reason" : text;
}

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::data_damaged, fmt::format("{}: {}: {}", path, what, reason()),
              std::string(remake_hint));
}

[[noreturn]] void write_failed(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::storage, fmt::format("{}: {} failed: {}", path, what, reason()),
              "check free space and permissions of the folder");
}

hid_t native_type(Element element) {
  switch (element) {
    case Element::u8:
      return H5T_NATIVE_UINT8;
    case Element::i8:
      return H5T_NATIVE_INT8;
    case Element::u16:
      return H5T_NATIVE_UINT16;
    case Element::i16:
      return H5T_NATIVE_INT16;
    case Element::u32:
      return H5T_NATIVE_UINT32;
    case Element::i32:
      return H5T_NATIVE_INT32;
    case Element::u64:
      return H5T_NATIVE_UINT64;
    case Element::i64:
      return H5T_NATIVE_INT64;
    case Element::f32:
      return H5T_NATIVE_FLOAT;
    case Element::f64:
      return H5T_NATIVE_DOUBLE;
    case Element::other:
      break;
  }
  return -1;
}

Element element_of(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  const size_t size = H5Tget_size(type);
  if (kind == H5T_INTEGER || kind == H5T_ENUM) {  // h5py stores bool as an enumeration of int8
    bool is_signed = true;
    if (kind == H5T_ENUM) {
      const Handle base(H5Tget_super(type), H5Tclose);
      is_signed = H5Tget_sign(base) != H5T_SGN_NONE;
    } else {
      is_signed = H5Tget_sign(type) != H5T_SGN_NONE;
    }
    switch (size) {
      case 1:
        return is_signed ? Element::i8 : Element::u8;
      case 2:
        return is_signed ? Element::i16 : Element::u16;
      case 4:
        return is_signed ? Element::i32 : Element::u32;
      case 8:
        return is_signed ? Element::i64 : Element::u64;
      default:
        return Element::other;
    }
  }
  if (kind == H5T_FLOAT && size == 4) return Element::f32;
  if (kind == H5T_FLOAT && size == 8) return Element::f64;
  return Element::other;
}

Handle open_file(const std::string& path) {
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(
      access, false, true);  // NFS and Lustre often have no locks; the files are never written here
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), H5Fclose);
  if (!file.valid()) damaged(path, "not an HDF5 file, or truncated");
  return file;
}

std::vector<std::string> dataset_names(hid_t file) {
  std::vector<std::string> names;
  hsize_t index = 0;
  H5Literate(
      file, H5_INDEX_NAME, H5_ITER_INC, &index,
      [](hid_t, const char* name, const H5L_info_t* info, void* out) -> herr_t {
        auto& list = *static_cast<std::vector<std::string>*>(out);
        if (info->type == H5L_TYPE_HARD) list.emplace_back(name);
        return static_cast<int64_t>(list.size()) < max_links ? 0 : 1;
      },
      &names);
  return names;
}

std::string read_string(hid_t attribute, hid_t type) {
  if (H5Tis_variable_str(type) > 0) {
    char* text = nullptr;
    if (H5Aread(attribute, type, static_cast<void*>(&text)) < 0 || text == nullptr) return {};
    std::string value(text);
    H5free_memory(text);
    return value;
  }
  const size_t size = H5Tget_size(type);
  if (size > 65536) return {};
  std::string value(size, '\0');
  if (H5Aread(attribute, type, value.data()) < 0) return {};
  return value.c_str();  // up to the first padding zero
}

/// Scalars and one-element arrays of numbers and text; others are passed over.
std::vector<Attribute> read_attributes(hid_t object) {
  std::vector<Attribute> attributes;
  const int count = H5Aget_num_attrs(object);
  for (int i = 0; i < std::min(count, 256); ++i) {
    const Handle attribute(H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC,
                                          static_cast<hsize_t>(i), H5P_DEFAULT, H5P_DEFAULT),
                           H5Aclose);
    if (!attribute.valid()) continue;
    std::array<char, 256> name{};
    H5Aget_name(attribute, name.size(), name.data());
    const Handle space(H5Aget_space(attribute), H5Sclose);
    const Handle type(H5Aget_type(attribute), H5Tclose);
    if (H5Sget_simple_extent_npoints(space) != 1) continue;
    int64_t integer = 0;
    double number = 0;
    switch (H5Tget_class(type)) {
      case H5T_INTEGER:
        if (H5Aread(attribute, H5T_NATIVE_INT64, &integer) >= 0)
          attributes.push_back({name.data(), integer});
        break;
      case H5T_FLOAT:
        if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &number) >= 0)
          attributes.push_back({name.data(), number});
        break;
      case H5T_STRING:
        attributes.push_back({name.data(), read_string(attribute, type)});
        break;
      default:
        break;
    }
  }
  return attributes;
}

/// Where contiguous little-endian data lies in the file, or -1.
int64_t mappable_offset(hid_t dataset, hid_t type, Element element) {
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  if (H5Pget_layout(creation) != H5D_CONTIGUOUS) return -1;
  const bool enumeration = H5Tget_class(type) == H5T_ENUM;
  if (!enumeration && H5Tequal(type, native_type(element)) <= 0) return -1;
  if (enumeration && bytes_of(element) > 1) return -1;
  const haddr_t offset = H5Dget_offset(dataset);
  return offset == HADDR_UNDEF ? -1 : static_cast<int64_t>(offset);
}

void refuse_foreign_storage(const std::string& path, const std::string& name, hid_t dataset) {
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  const bool external = H5Pget_external_count(creation) > 0;
  if (external || H5Pget_layout(creation) == H5D_VIRTUAL)
    throw Error(ErrorKind::data_damaged,
                fmt::format("{}: dataset `{}` keeps its data in other files", path, name),
                "copy it into one file, e.g. with h5repack");
  for (int i = 0; i < H5Pget_nfilters(creation); ++i) {
    std::array<char, 64> filter{};
    size_t values = 0;
    unsigned flags = 0;
    unsigned config = 0;
    const H5Z_filter_t id = H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &values,
                                           nullptr, filter.size(), filter.data(), &config);
    if (H5Zfilter_avail(id) <= 0)
      throw Error(ErrorKind::environment,
                  fmt::format("{}: dataset `{}` is compressed with filter {} ({}), which this HDF5 "
                              "library lacks",
                              path, name, static_cast<int>(id), filter.data()),
                  "store it with gzip, or uncompressed, e.g. with h5repack");
  }
}

/// [blocks, 2]: the high and the low half of each hash.
std::vector<storage::Hash128> read_checksums(hid_t group, const std::string& name, uint64_t most) {
  if (H5Lexists(group, name.c_str(), H5P_DEFAULT) <= 0) return {};
  const Handle dataset(H5Dopen2(group, name.c_str(), H5P_DEFAULT), H5Dclose);
  const Handle space(H5Dget_space(dataset), H5Sclose);
  const hssize_t halves = H5Sget_simple_extent_npoints(space);
  if (halves <= 0 || halves % 2 != 0 || static_cast<uint64_t>(halves) > most) return {};
  std::vector<storage::Hash128> sums(static_cast<size_t>(halves) / 2);
  if (H5Dread(dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, sums.data()) < 0)
    return {};
  return sums;
}

DatasetDescription describe_dataset(const std::string& path, const std::string& name,
                                    hid_t dataset) {
  DatasetDescription d;
  d.name = name;
  const Handle type(H5Dget_type(dataset), H5Tclose);
  const Handle space(H5Dget_space(dataset), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space);
  if (!type.valid() || rank < 0) damaged(path, fmt::format("dataset `{}`", name));
  std::array<hsize_t, H5S_MAX_RANK> dims{};
  H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  for (int i = 0; i < rank; ++i)
    d.shape.push_back(static_cast<int64_t>(dims[static_cast<size_t>(i)]));
  d.element = element_of(type);
  d.attributes = read_attributes(dataset);
  if (d.element == Element::other) return d;
  refuse_foreign_storage(path, name, dataset);
  d.offset = mappable_offset(dataset, type, d.element);
  return d;
}

void describe_checksums(hid_t file, FileDescription& description) {
  if (H5Lexists(file, checksum_group, H5P_DEFAULT) <= 0) return;
  const Handle group(H5Gopen2(file, checksum_group, H5P_DEFAULT), H5Gclose);
  if (!group.valid()) damaged(description.path, "group `checksums`");
  std::string algorithm;
  for (const Attribute& a : read_attributes(group)) {
    const auto* text = std::get_if<std::string>(&a.value);
    const auto* integer = std::get_if<int64_t>(&a.value);
    if (a.name == "algorithm" && text != nullptr) algorithm = *text;
    if (a.name == "summary" && text != nullptr) description.stored_summary_hash = *text;
    if (a.name == "block_bytes" && integer != nullptr) description.block_bytes = *integer;
  }
  if (algorithm != "xxh3-128" || description.block_bytes < 512)
    throw Error(ErrorKind::data_damaged,
                fmt::format("{}: checksums of unknown kind `{}` over blocks of {} bytes",
                            description.path, algorithm, description.block_bytes),
                std::string(remake_hint));
  const auto most = static_cast<uint64_t>(description.file_bytes);
  for (auto& d : description.datasets) d.checksums = read_checksums(group, d.name, most);
}

}  // namespace

std::mutex& hdf5_mutex() {
  static std::mutex mutex;  // the library's state is the process's
  return mutex;
}

FileDescription describe_hdf5(const std::string& path) {
  const Library library;
  FileDescription description;
  description.path = path;
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) description.file_bytes = status.st_size;
  const Handle file = open_file(path);
  for (const std::string& name : dataset_names(file)) {
    if (name == checksum_group) continue;
    const Handle object(H5Oopen(file, name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.valid()) damaged(path, fmt::format("object `{}`", name));
    if (H5Iget_type(object) == H5I_DATASET)
      description.datasets.push_back(describe_dataset(path, name, object));
  }
  describe_checksums(file, description);
  return description;
}

struct Hdf5Reader::Handles {
  Handle file;
  Handle dataset;
  Handle type;
  std::vector<hsize_t> shape;
};

Hdf5Reader::Hdf5Reader(const std::string& path, const DatasetDescription& d)
    : path_(path), name_(d.name) {
  const Library library;
  Handle file = open_file(path);
  // Random access re-reads a whole chunk for one row unless chunks stay: keep all of a small data
  // set, 256 MiB of a large one.
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  const int64_t cache =
      std::clamp<int64_t>(d.bytes() + block_bytes, 16 * block_bytes, 256 * block_bytes);
  H5Pset_chunk_cache(access, 100'003, static_cast<size_t>(cache), 0.75);
  Handle dataset(H5Dopen2(file, name_.c_str(), access), H5Dclose);
  if (!dataset.valid()) damaged(path, fmt::format("dataset `{}`", name_));
  const Handle stored(H5Dget_type(dataset), H5Tclose);
  Handle type(H5Tget_native_type(stored, H5T_DIR_ASCEND), H5Tclose);
  if (static_cast<int64_t>(H5Tget_size(type)) != bytes_of(d.element))
    damaged(path, fmt::format("dataset `{}` has an unusual number format", name_));
  std::vector<hsize_t> shape(d.shape.begin(), d.shape.end());
  handles_.reset(
      new Handles{std::move(file), std::move(dataset), std::move(type), std::move(shape)});
}

Hdf5Reader::~Hdf5Reader() {
  const Library library;
  handles_.reset();
}

void Hdf5Reader::read(int64_t first, int64_t count, std::byte* out) const {
  if (count == 0) return;
  const Library library;
  std::vector<hsize_t> start(handles_->shape.size(), 0);
  std::vector<hsize_t> size = handles_->shape;
  check(!size.empty(), "only data sets with rows are read");
  start[0] = static_cast<hsize_t>(first);
  size[0] = static_cast<hsize_t>(count);
  const int rank = static_cast<int>(size.size());
  const Handle memory(H5Screate_simple(rank, size.data(), nullptr), H5Sclose);
  const Handle stored(H5Dget_space(handles_->dataset), H5Sclose);
  if (H5Sselect_hyperslab(stored, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr) <
          0 ||
      H5Dread(handles_->dataset, handles_->type, memory, stored, H5P_DEFAULT, out) < 0)
    damaged(path_, fmt::format("dataset `{}`, rows {} to {}", name_, first, first + count - 1));
}

struct Hdf5Writer::Open {
  struct Dataset {
    Handle handle;
    DatasetDescription description;
    BlockHasher hasher{block_bytes};
    int64_t written = 0;
  };
  std::string path;
  Hdf5Output output = {};
  Handle file = {-1, H5Fclose};
  std::vector<Dataset> datasets = {};

  /// Errors of writing show here only, not in what the library returns.
  void check_output(std::string_view operation) const {
    if (output.error() != 0) storage::throw_write_error(path, operation, output.error());
  }
  void put_attribute(hid_t object, const Attribute& attribute) const;
  [[nodiscard]] Handle put_dataset(hid_t parent, const DatasetDescription& d, int compress) const;
};

void Hdf5Writer::Open::put_attribute(hid_t object, const Attribute& attribute) const {
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  Handle type(H5Tcopy(H5T_NATIVE_INT64), H5Tclose);
  const void* data = nullptr;
  if (const auto* integer = std::get_if<int64_t>(&attribute.value)) {
    data = integer;
  } else if (const auto* number = std::get_if<double>(&attribute.value)) {
    type = Handle(H5Tcopy(H5T_NATIVE_DOUBLE), H5Tclose);
    data = number;
  } else {
    const auto& text = std::get<std::string>(attribute.value);
    type = Handle(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type, text.size() + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    data = text.c_str();
  }
  const Handle out(
      H5Acreate2(object, attribute.name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!out.valid() || H5Awrite(out, type, data) < 0)
    write_failed(path, fmt::format("writing attribute `{}`", attribute.name));
}

Handle Hdf5Writer::Open::put_dataset(hid_t parent, const DatasetDescription& d,
                                     int compress) const {
  std::vector<hsize_t> dims(d.shape.begin(), d.shape.end());
  const int rank = static_cast<int>(dims.size());
  const Handle space(H5Screate_simple(rank, dims.data(), nullptr), H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);
  H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
  if (compress > 0 && d.bytes() > 0) {
    const int64_t chunk_rows =
        std::clamp<int64_t>(block_bytes / std::max<int64_t>(d.row_bytes(), 1), 1, d.rows());
    dims[0] = static_cast<hsize_t>(chunk_rows);
    H5Pset_chunk(creation, rank, dims.data());
    H5Pset_shuffle(creation);
    H5Pset_deflate(creation, static_cast<unsigned>(compress));
  } else {
    H5Pset_layout(creation, H5D_CONTIGUOUS);
    H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
  }
  Handle dataset(H5Dcreate2(parent, d.name.c_str(), native_type(d.element), space, H5P_DEFAULT,
                            creation, H5P_DEFAULT),
                 H5Dclose);
  if (!dataset.valid()) write_failed(path, fmt::format("creating dataset `{}`", d.name));
  return dataset;
}

Hdf5Writer::Hdf5Writer(const std::string& path) {
  const Library library;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access, false, true);
  H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110);
  H5Pset_alignment(access, 4096, 4096);  // data on page boundaries for the memory map
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);
  open_.reset(new Open{path});
  open_->output.serve(access);
  open_->file = Handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), H5Fclose);
  open_->check_output("creating the file");
  if (!open_->file.valid()) write_failed(path, "creating the file");
}

Hdf5Writer::~Hdf5Writer() {
  const Library library;
  open_.reset();
}

size_t Hdf5Writer::create(const std::string& name, Element element,
                          const std::vector<int64_t>& shape, int compress) {
  const Library library;
  DatasetDescription d;
  d.name = name;
  d.element = element;
  d.shape = shape;
  check(!shape.empty() && element != Element::other, "data sets have rows of numbers");
  open_->datasets.push_back({open_->put_dataset(open_->file, d, compress), d});
  return open_->datasets.size() - 1;
}

void Hdf5Writer::attribute(size_t dataset, const Attribute& attribute) {
  const Library library;
  auto& target = open_->datasets.at(dataset);
  open_->put_attribute(target.handle, attribute);
  target.description.attributes.push_back(attribute);
}

void Hdf5Writer::append(size_t dataset, const void* rows, int64_t count) {
  if (count == 0) return;
  const Library library;
  auto& target = open_->datasets.at(dataset);
  const DatasetDescription& d = target.description;
  check(target.written + count <= d.rows(), "more rows appended than the shape has");
  std::vector<hsize_t> start(d.shape.size(), 0);
  std::vector<hsize_t> size(d.shape.begin(), d.shape.end());
  start[0] = static_cast<hsize_t>(target.written);
  size[0] = static_cast<hsize_t>(count);
  const Handle memory(H5Screate_simple(static_cast<int>(size.size()), size.data(), nullptr),
                      H5Sclose);
  const Handle stored(H5Dget_space(target.handle), H5Sclose);
  if (H5Sselect_hyperslab(stored, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr) <
          0 ||
      H5Dwrite(target.handle, native_type(d.element), memory, stored, H5P_DEFAULT, rows) < 0)
    write_failed(open_->path, fmt::format("writing dataset `{}`", d.name));
  open_->check_output(fmt::format("writing dataset `{}`", d.name));
  target.hasher.append(
      {static_cast<const std::byte*>(rows), static_cast<size_t>(count * d.row_bytes())});
  target.written += count;
}

void Hdf5Writer::finish() {
  const Library library;
  const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);
  Handle group(H5Gcreate2(open_->file, checksum_group, H5P_DEFAULT, creation, H5P_DEFAULT),
               H5Gclose);
  if (!group.valid()) write_failed(open_->path, "creating group `checksums`");
  FileDescription file;
  for (auto& target : open_->datasets) {
    check(target.written == target.description.rows(), "rows are missing");
    const std::vector<storage::Hash128> sums = target.hasher.finish();
    DatasetDescription d;
    d.name = target.description.name;
    d.element = Element::u64;
    d.shape = {static_cast<int64_t>(sums.size()), 2};
    Handle dataset = open_->put_dataset(group, d, 0);
    if (!sums.empty() &&
        H5Dwrite(dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, sums.data()) < 0)
      write_failed(open_->path, "writing checksums");
    if (dataset.close() < 0 || target.handle.close() < 0)
      write_failed(open_->path, fmt::format("closing dataset `{}`", d.name));
    file.datasets.push_back(target.description);
  }
  open_->put_attribute(group, {"algorithm", std::string("xxh3-128")});
  open_->put_attribute(group, {"block_bytes", block_bytes});
  open_->put_attribute(group, {"summary", storage::hash_of(summary(file)).hex()});
  if (group.close() < 0 || open_->file.close() < 0) write_failed(open_->path, "closing the file");
  open_->check_output("closing the file");
}

}  // namespace trireme::data
