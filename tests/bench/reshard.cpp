// A training state that one number of ranks saved in shards, read by another number of ranks:
//   mpirun -np 4 bench_reshard save FOLDER [--mib N] [--tensors N]
//   mpirun -np 2 bench_reshard load FOLDER [--mib N] [--tensors N] [--turns N]
// Every tensor is cut along dimension 0, each rank holds one part of each. A figure of `load` is
// what all ranks together read and verify in the time of the slowest.
#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/checkpoint/writer.h>
#include <trireme/comm/world.h>
#include <trireme/core/error.h>

#include "bench/blocks.h"

#include <filesystem>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

using namespace trireme;

namespace {

/// This rank's part of a square tensor; the values say where in it they belong.
struct Part {
  std::string name;
  int64_t side;
  core::Box box;
  at::Tensor expected;
};

std::vector<Part> parts_of(const comm::Communicator& ranks, const bench::Arguments& arguments) {
  const int64_t tensors = arguments.number("tensors", 60);
  const double elements = static_cast<double>(arguments.number("mib", 500) << 20) / 4 /
                          static_cast<double>(3 * tensors);
  const int64_t side = std::llround(std::sqrt(elements)) / 8 * 8;
  const int64_t rows = side / ranks.size();
  check(rows * ranks.size() == side, "the ranks hold equal parts: 1, 2, 4 or 8 of them");
  std::vector<Part> parts;
  for (const std::string part : {"model/", "optim/moment/", "optim/square_moment/"})
    for (int64_t i = 0; i < tensors; ++i) {
      const int64_t first = ranks.rank() * rows;
      const at::Tensor values = at::arange(first * side, (first + rows) * side, at::kFloat);
      parts.push_back({part + "p" + std::to_string(i),
                       side,
                       {{first, 0}, {rows, side}},
                       values.view({rows, side}).add(i)});
    }
  return parts;
}

double mib_of(const std::vector<Part>& parts, int ranks) {
  double bytes = 0;
  for (const Part& part : parts) bytes += static_cast<double>(part.expected.nbytes());
  return bytes * ranks / (1 << 20);
}

void save(const std::vector<Part>& parts, comm::Communicator& ranks,
          const std::filesystem::path& folder) {
  checkpoint::Writer writer;
  for (const Part& part : parts)
    writer.shard(part.name, {part.side, part.side}, part.box, part.expected);
  (void)writer.commit(ranks, {folder, 0, "bench", nlohmann::json::object()});
}

/// Seconds of each turn; the memory that is read into is there already.
std::vector<double> load(const std::vector<Part>& parts, comm::Communicator& ranks,
                         const std::filesystem::path& checkpoint, int64_t turns) {
  std::vector<at::Tensor> loaded;
  for (const Part& part : parts) loaded.push_back(at::zeros_like(part.expected));
  std::vector<double> seconds;
  for (int64_t turn = 0; turn < turns; ++turn) {
    ranks.barrier()->wait();
    const bench::Clock clock;
    const checkpoint::Reader reader(checkpoint);
    for (size_t i = 0; i < parts.size(); ++i) reader.read(parts[i].name, parts[i].box, loaded[i]);
    ranks.barrier()->wait();
    seconds.push_back(clock.seconds());
  }
  for (size_t i = 0; i < parts.size(); ++i)
    check(loaded[i].equal(parts[i].expected), "what is read is what was saved: " + parts[i].name);
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Arguments arguments(argc, argv);
  const std::string& what = arguments.words().at(0);
  const std::filesystem::path folder = arguments.words().at(1);
  at::set_num_threads(1);
  const std::unique_ptr<comm::World> world = comm::join_world();
  comm::Communicator& ranks = *world->all();
  const std::vector<Part> parts = parts_of(ranks, arguments);
  const double mib = mib_of(parts, ranks.size());
  nlohmann::json figures = {{"ranks", ranks.size()}, {"mib", mib}};
  if (what == "save") {
    save(parts, ranks, folder);
  } else {
    const auto seconds =
        load(parts, ranks, checkpoint::Store(folder).path_of(0), arguments.number("turns", 5));
    figures["mib_per_second"] =
        bench::summary(bench::changed(seconds, [mib](double s) { return mib / s; }));
  }
  if (ranks.rank() == 0) bench::report("reshard", figures);
  world->finalize();
}
