// Saving and loading a training state: how long a save stops the step, how fast it is written, read
// and cut anew for other ranks.
//   bench_checkpoint FOLDER [--mib N] [--tensors N] [--turns N]
// One process. The state is that of AdamW: weights and two moments.
#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/saver.h>
#include <trireme/checkpoint/store.h>
#include <trireme/comm/local.h>

#include "bench/blocks.h"

#include <filesystem>
#include <memory>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <fcntl.h>
#include <unistd.h>

using namespace trireme;
namespace fs = std::filesystem;

namespace {

using State = std::map<std::string, at::Tensor>;

State make_state(int64_t mib, int64_t tensors) {
  const int64_t side = static_cast<int64_t>(
      std::sqrt(static_cast<double>(mib << 20) / 4.0 / static_cast<double>(3 * tensors)));
  State state;
  for (const std::string part : {"model/", "optim/moment/", "optim/square_moment/"})
    for (int64_t i = 0; i < tensors; ++i)
      state[part + "p" + std::to_string(i)] = at::randn({side, side});
  return state;
}

double mib_of(const State& state) {
  double bytes = 0;
  for (const auto& [name, values] : state) bytes += static_cast<double>(values.nbytes());
  return bytes / (1 << 20);
}

checkpoint::Collected collect(const State& state) {
  checkpoint::Writer writer;
  for (const auto& [name, values] : state) writer.replicated(name, values);
  writer.scalar("run/step", int64_t{1});
  return writer.collected();
}

/// What the disk gives: the same bytes in one file, written in pieces of 1 MiB, and fsync.
double raw_seconds(const fs::path& file, const State& state) {
  const bench::Clock clock;
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  for (const auto& [name, values] : state) {
    const auto* data = static_cast<const char*>(values.const_data_ptr());
    for (size_t left = values.nbytes(); left > 0;) {
      const ssize_t written = ::write(fd, data, std::min<size_t>(left, 1 << 20));
      if (written <= 0) throw std::runtime_error("raw write failed");
      data += written;
      left -= static_cast<size_t>(written);
    }
  }
  if (fd < 0 || ::fsync(fd) != 0) throw std::runtime_error("raw fsync failed");
  ::close(fd);
  return clock.seconds();
}

/// The compute of a step that a copy can hide behind: products that fit the cache.
void compute(double seconds) {
  const at::Tensor a = at::randn({256, 256});
  for (const bench::Clock clock; clock.seconds() < seconds;) (void)a.mm(a);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  const fs::path folder = arguments.words().at(0);
  const int64_t turns = arguments.number("turns", 5);
  const State state = make_state(arguments.number("mib", 500), arguments.number("tensors", 60));
  const double mib = mib_of(state);
  at::set_num_threads(1);

  std::vector<double> raw, write, blocked, exposed, read;
  for (int64_t turn = 0; turn < turns; ++turn) {
    raw.push_back(mib / raw_seconds(folder / "raw", state));
    fs::remove(folder / "raw");
    const bench::Clock clock;
    (void)checkpoint::commit(collect(state), *comm::make_local_communicator(),
                             {folder / "whole", turn, "bench", nlohmann::json::object()});
    write.push_back(mib / clock.seconds());
    if (turn > 0) fs::remove_all(checkpoint::Store(folder / "whole").path_of(turn - 1));
  }

  // In the background: what the step waits for at the save, and before its update half a second of
  // compute later; and the same without compute to hide behind.
  checkpoint::Saver saver(comm::make_local_communicator(), {});
  for (int64_t turn = 0; turn < 2 * turns; ++turn) {
    const bool hidden = turn % 2 == 0;
    double seconds = 0;
    {
      const bench::Clock clock;
      saver.begin(collect(state), {folder / "async", turn, "bench", nlohmann::json::object()});
      seconds += clock.seconds();
    }
    if (hidden) compute(0.5);
    {
      const bench::Clock clock;
      saver.wait_copied();
      seconds += clock.seconds();
    }
    (hidden ? blocked : exposed).push_back(1e3 * seconds);
    if (const auto result = saver.finish(); !result || result->error)
      throw std::runtime_error("a save failed");
    fs::remove_all(checkpoint::Store(folder / "async").path_of(turn));
  }

  // Read by a new process's eyes: hashes are checked, memory is there already.
  State loaded;
  for (const auto& [name, values] : state) loaded[name] = at::zeros_like(values);
  const fs::path whole = checkpoint::Store(folder / "whole").path_of(turns - 1);
  for (int64_t turn = 0; turn < turns; ++turn) {
    const bench::Clock clock;
    const checkpoint::Reader reader(whole);
    for (const auto& [name, values] : loaded) reader.read_whole(name, values);
    read.push_back(mib / clock.seconds());
  }
  bench::report("checkpoint", {{"mib", mib},
                               {"raw_mib_per_second", bench::summary(raw)},
                               {"write_mib_per_second", bench::summary(write)},
                               {"blocked_first_ms", blocked.front()},
                               {"blocked_ms", bench::summary(blocked)},
                               {"exposed_copy_ms", bench::summary(exposed)},
                               {"read_mib_per_second", bench::summary(read)}});
}
