#include <trireme/core/error.h>
#include <trireme/device/backend.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>

#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>

namespace trireme::device {
namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::string, Backend*, std::less<>> by_name;
};

/// Never destroyed: back ends are used until the process ends.
Registry& registry() {
  static auto* const all = new Registry;
  return *all;
}

/// Of the library or the program that holds this function.
std::filesystem::path own_folder() {
  Dl_info info{};
  void* extra = nullptr;
  const bool found = dladdr1(reinterpret_cast<const void*>(&own_folder), &info, &extra, RTLD_DL_LINKMAP) != 0;
  const auto* map = static_cast<const link_map*>(extra);
  // The program's own entry has no name.
  const char* file = found && map != nullptr && *map->l_name != '\0' ? map->l_name : "/proc/self/exe";
  return std::filesystem::canonical(file).parent_path();
}

std::filesystem::path library_of(std::string_view name) {
  const char* named = std::getenv("TRIREME_BACKEND_DIR");
  const std::filesystem::path folder = named != nullptr && *named != '\0' ? std::filesystem::path(named) : own_folder();
  return folder / fmt::format("libtrireme_{}.so", name);
}

/// Names become part of a path.
bool is_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string loader_error() {
  const char* text = dlerror();
  return text == nullptr ? "the loader gave no reason" : text;
}

Backend* open(std::string_view name) {
  const std::filesystem::path file = library_of(name);
  if (!is_installed(name))
    throw Error(ErrorKind::environment, fmt::format("this build has no '{}' back end: there is no {}", name, file.string()),
                "build it where its toolkit is (launch/build), or set device.type: cpu");
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: LibTorch keeps what it registers
  if (library == nullptr)
    throw Error(ErrorKind::environment, fmt::format("the '{}' back end cannot be loaded: {}", name, loader_error()),
                "a library that it needs is missing or of another release: 'launch/setup --gpu' installs them, 'launch/build' "
                "builds the back end for them");
  auto* entry = reinterpret_cast<BackendEntry*>(dlsym(library, backend_entry));
  if (entry == nullptr)
    throw Error(ErrorKind::environment, fmt::format("{} is no back end: {}", file.string(), loader_error()),
                "build it together with this program: launch/build");
  Backend* backend = entry(TRIREME_VERSION);
  if (backend == nullptr)
    throw Error(ErrorKind::environment, fmt::format("{} is of another version than this program, {}", file.string(), TRIREME_VERSION),
                "build both together: launch/build");
  return backend;
}

}  // namespace

Graph::~Graph() = default;
Backend::~Backend() = default;

void Backend::begin_range(const char*) {}
void Backend::end_range() {}
void Backend::record_memory_history(MemoryHistory) {}
bool Backend::save_memory_snapshot(const std::string&) {
  return false;
}

bool Backend::reaches(int from, int to) const {
  return from == to;
}

bool is_installed(std::string_view name) {
  std::error_code ignored;
  return is_name(name) && std::filesystem::exists(library_of(name), ignored);
}

Backend& load_backend(std::string_view name) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  if (const auto found = all.by_name.find(name); found != all.by_name.end()) return *found->second;
  Backend* backend = open(name);
  all.by_name.emplace(name, backend);
  return *backend;
}

Backend* backend_of(c10::DeviceType type) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  for (const auto& [name, backend] : all.by_name)
    if (backend->type() == type) return backend;
  return nullptr;
}

}  // namespace trireme::device
