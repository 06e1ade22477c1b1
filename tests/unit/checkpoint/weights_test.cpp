#include "checkpoint/weights.h"

#include <trireme/checkpoint/store.h>

#include "checkpoint/weights_writer.h"
#include "unit/checkpoint/state.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

Manifest manifest_of(const std::map<std::string, at::ScalarType>& tensors) {
  Manifest manifest;
  for (const auto& [name, dtype] : tensors) manifest.tensors[name] = {dtype, {2}, {}};
  return manifest;
}

TEST(ChooseWeights, NamesOfKinds) {
  for (const WeightKind kind : {WeightKind::model, WeightKind::master, WeightKind::ema})
    EXPECT_EQ(weight_kind_of(name_of(kind)), kind);
  EXPECT_FALSE(weight_kind_of("best"));
}

TEST(ChooseWeights, TakesParametersAndBuffersAlone) {
  const Manifest manifest = manifest_of({{"model/w", at::kFloat},
                                         {"model/b", at::kFloat},
                                         {"buffer/count", at::kLong},
                                         {"optim/exp_avg/w", at::kFloat}});
  EXPECT_THAT(choose_weights(manifest, WeightKind::model),
              ElementsAre(ChosenWeight{"b", "model/b"}, ChosenWeight{"count", "buffer/count"},
                          ChosenWeight{"w", "model/w"}));
  EXPECT_EQ(best_kind(manifest), WeightKind::model);
}

TEST(ChooseWeights, MastersStandForLowPrecision) {
  const Manifest manifest = manifest_of(
      {{"model/w", at::kBFloat16}, {"master/w", at::kFloat}, {"model/norm", at::kFloat}});
  EXPECT_EQ(best_kind(manifest), WeightKind::master);
  EXPECT_THAT(choose_weights(manifest, WeightKind::master),
              ElementsAre(ChosenWeight{"norm", "model/norm"}, ChosenWeight{"w", "master/w"}));
  EXPECT_THAT(choose_weights(manifest, WeightKind::model),
              ElementsAre(ChosenWeight{"norm", "model/norm"}, ChosenWeight{"w", "model/w"}));
}

TEST(ChooseWeights, MissingMastersAreListed) {
  const Manifest manifest = manifest_of({{"model/w", at::kBFloat16}, {"model/v", at::kHalf}});
  const Error error = error_of([&] { (void)choose_weights(manifest, WeightKind::master); });
  EXPECT_EQ(error.kind(), ErrorKind::model_refused);
  EXPECT_THAT(error.message(), HasSubstr("v (F16), w (BF16)"));
}

TEST(ChooseWeights, Averages) {
  const Manifest manifest = manifest_of({{"model/w", at::kBFloat16},
                                         {"master/w", at::kFloat},
                                         {"ema/w", at::kFloat},
                                         {"model/frozen", at::kFloat}});
  EXPECT_THAT(choose_weights(manifest, WeightKind::ema),
              ElementsAre(ChosenWeight{"frozen", "model/frozen"}, ChosenWeight{"w", "ema/w"}));
  const Manifest without = manifest_of({{"model/w", at::kFloat}});
  const Error error = error_of([&] { (void)choose_weights(without, WeightKind::ema); });
  EXPECT_EQ(error.kind(), ErrorKind::model_refused);
  EXPECT_THAT(error.message(), HasSubstr("no moving averages"));
}

TEST(WeightsOf, ReadsThemWhole) {
  const test::TemporaryFolder folder;
  const auto reader = std::make_shared<const Reader>(test::write_state(folder.path(), 1, 3).path);
  const auto weights = weights_of(reader, WeightKind::model);
  EXPECT_EQ(weights.size(), 7U);
  for (const storage::LazyTensor& one : weights) {
    const auto tensors = test::tensors_of();
    const bool buffer = tensors.contains("buffer/" + one.name);
    const at::Tensor& expected = tensors.at((buffer ? "buffer/" : "model/") + one.name);
    EXPECT_EQ(one.dtype, expected.scalar_type());
    EXPECT_EQ(one.shape, expected.sizes().vec());
    EXPECT_TRUE(test::same_bytes(one.values(), expected)) << one.name;
  }
}

TEST(WriteWeights, MakesAValidCheckpoint) {
  const test::TemporaryFolder folder;
  std::vector<storage::LazyTensor> tensors;
  int at_once = 0;
  for (const auto& [name, values] : test::tensors_of())
    tensors.push_back({{name, values.scalar_type(), values.sizes().vec()}, [&at_once, values] {
                         ++at_once;
                         return values;
                       }});
  const Store store(folder / "checkpoints");
  write_weights(store.path_of(0), tensors, test::scalars_of(), {{"contents", "weights"}});
  EXPECT_EQ(store.newest_valid(Store::Check::everything).step, 0);
  EXPECT_EQ(at_once, 11) << "empty tensors are not read, others once";
  const Reader reader(store.path_of(0));
  test::expect_state(reader, 3);
  EXPECT_EQ(reader.manifest().extras.at("contents"), "weights");
  const Reader saved(test::write_state(folder / "saved", 0, 2).path);
  EXPECT_EQ(state_hash(reader), state_hash(saved));
}

TEST(Verify, ThreadsFindTheFirstDamagedFileOfMany) {
  const test::TemporaryFolder folder;
  const auto path = test::write_state(folder.path(), 1, 7).path;
  Reader(path).verify();
  for (const char* shard :
       {"shard-00005-of-00007.safetensors", "shard-00002-of-00007.safetensors"}) {
    std::string bytes = test::contents_of(path / shard);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    test::put(path / shard, bytes);
    const Error error = error_of([&] { Reader(path).verify(); });
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
    EXPECT_THAT(error.message(), HasSubstr(shard));
    EXPECT_THAT(error.message(), HasSubstr("tensor '"));
  }
}

}  // namespace
}  // namespace trireme::checkpoint
