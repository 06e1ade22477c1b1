#include <trireme/core/error.h>
#include <trireme/report/comparison.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::report {
namespace {

using Json = nlohmann::json;

class Compared : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(root_); }

  /// 40 windows of steps that take `seconds` with some noise.
  RunPaths run(const std::string& name, double seconds, double noise, double loss_offset = 0,
               const std::string& config = "run:\n  dir: a\noptim:\n  lr: 0.1\n", int steps = 400,
               double memory = 1 << 30) {
    const RunPaths paths{root_ / name};
    std::filesystem::create_directories(paths.root);
    std::ofstream metrics(paths.metrics());
    std::mt19937_64 random(std::hash<std::string>()(name));
    std::normal_distribution<double> scatter(1, noise);
    for (int step = 10; step <= steps; step += 10) {
      const double took = seconds * scatter(random);
      Json record = {{"step", step},
                     {"loss", 1 + 5 * std::exp(-step / 100.0) + (step > 200 ? loss_offset : 0)},
                     {"step_seconds", took},
                     {"samples_per_second", 32 / took}};
      record["phases"]["forward"]["mean"] = took;
      record["memory"]["peak"]["max"] = memory;
      record["memory"]["rss"]["max"] = memory;
      if (step == nan_at_) record["loss"] = nullptr;
      metrics << record.dump() << '\n';
    }
    metrics << R"({"step": 410, "lo)";
    std::ofstream(paths.config()) << config;
    return paths;
  }
  static const ComparedFigure& figure(const Comparison& comparison, const std::string& what) {
    for (const ComparedFigure& one : comparison.figures)
      if (one.what == what) return one;
    throw std::runtime_error("no figure " + what);
  }

  int nan_at_ = -1;
  std::filesystem::path root_ =
      std::filesystem::path(testing::TempDir()) / ("comparison_" + std::to_string(getpid()));
};

TEST_F(Compared, EqualRunsAreTheSame) {
  const Comparison same = compare_runs(run("a", 0.1, 0.02), run("b", 0.1, 0.02));
  EXPECT_FALSE(same.regressed);
  EXPECT_EQ(same.common_steps, 40);
  EXPECT_FALSE(same.first_different_step);
  EXPECT_THAT(same.configuration, testing::IsEmpty());
  for (const ComparedFigure& one : same.figures)
    EXPECT_EQ(one.verdict, ComparedFigure::Verdict::same) << one.what;
  EXPECT_THAT(comparison_text(same), testing::HasSubstr("equal in all bits at all 40"));
}

TEST_F(Compared, ASlowerRunIsARegression) {
  const RunPaths slow = run("slow", 0.11, 0.02), fast = run("fast", 0.1, 0.02);
  const Comparison worse = compare_runs(slow, fast);
  EXPECT_TRUE(worse.regressed);
  EXPECT_EQ(figure(worse, "step_seconds").verdict, ComparedFigure::Verdict::worse);
  EXPECT_NEAR(figure(worse, "step_seconds").change, 0.1, 0.02);
  EXPECT_EQ(figure(worse, "samples_per_second").verdict, ComparedFigure::Verdict::worse);
  EXPECT_EQ(figure(worse, "memory.peak").verdict, ComparedFigure::Verdict::same);
  const Comparison better = compare_runs(fast, slow);
  EXPECT_FALSE(better.regressed);
  EXPECT_EQ(figure(better, "phases.forward").verdict, ComparedFigure::Verdict::better);
  EXPECT_FALSE(compare_runs(slow, fast, 0.2).regressed);
  const Json json = Json::parse(comparison_json(worse));
  EXPECT_EQ(json.at("regressed"), true);
  EXPECT_EQ(json.at("losses").at("common_steps"), 40);
}

TEST_F(Compared, NoiseIsNoRegression) {
  const Comparison noisy = compare_runs(run("x", 0.108, 0.3), run("y", 0.1, 0.3));
  EXPECT_EQ(figure(noisy, "step_seconds").verdict, ComparedFigure::Verdict::same);
  EXPECT_GT(figure(noisy, "step_seconds").noise, 0.05);
}

TEST_F(Compared, LossesAndConfigurations) {
  const Comparison other =
      compare_runs(run("a", 0.1, 0.02, 0.5, "run:\n  dir: b\noptim:\n  lr: 0.2\n  beta: 1\n"),
                   run("b", 0.1, 0.02));
  EXPECT_EQ(other.first_different_step, 210);
  EXPECT_GT(other.largest_loss_difference, 0.2);
  EXPECT_EQ(figure(other, "loss").verdict, ComparedFigure::Verdict::worse);
  ASSERT_EQ(other.configuration.size(), 2U);
  EXPECT_EQ(other.configuration[0].key, "optim.beta");
  EXPECT_EQ(other.configuration[0].baseline, "absent");
  EXPECT_EQ(other.configuration[1].key, "optim.lr");
  EXPECT_EQ(other.configuration[1].run, "0.2");
}

TEST_F(Compared, GoodputIsShownAndNoRegression) {
  const RunPaths a = run("a", 0.1, 0.02), b = run("b", 0.1, 0.02);
  std::ofstream(a.goodput()) << R"({"goodput": 0.4})";
  std::ofstream(b.goodput()) << R"({"goodput": 0.9})";
  const Comparison compared = compare_runs(a, b);
  EXPECT_FALSE(compared.regressed);
  EXPECT_EQ(figure(compared, "goodput").run, 0.4);
  EXPECT_EQ(figure(compared, "goodput").verdict, ComparedFigure::Verdict::same);
}

TEST_F(Compared, MemoryMayDifferALittleWhateverTheTolerance) {
  const double gib = 1 << 30;
  const RunPaths base = run("base", 0.1, 1e-3);
  const auto with = [&](const std::string& name, double memory) {
    return compare_runs(run(name, 0.1, 1e-3, 0, "", 400, memory), base, 0);
  };
  EXPECT_EQ(figure(with("few", gib * 1.003), "memory.peak").verdict, ComparedFigure::Verdict::same);
  const Comparison more = with("more", gib * 1.03);
  EXPECT_EQ(figure(more, "memory.peak").verdict, ComparedFigure::Verdict::worse);
  EXPECT_EQ(figure(more, "memory.rss").verdict, ComparedFigure::Verdict::same);
  EXPECT_EQ(figure(with("much", gib * 1.2), "memory.rss").verdict, ComparedFigure::Verdict::worse);
}

TEST_F(Compared, ARunOfOneWindowIsTooShortToJudge) {
  const std::string config = "optim:\n  lr: 0.1\n";
  const Comparison brief =
      compare_runs(run("a", 0.3, 1e-3, 0, config, 10), run("b", 0.1, 1e-3, 0, config, 10));
  EXPECT_FALSE(brief.regressed);
  EXPECT_EQ(figure(brief, "step_seconds").verdict, ComparedFigure::Verdict::too_short);
  EXPECT_EQ(figure(brief, "memory.peak").verdict, ComparedFigure::Verdict::too_short);
  EXPECT_EQ(figure(brief, "loss").verdict, ComparedFigure::Verdict::too_short);
  EXPECT_THAT(comparison_text(brief), testing::HasSubstr("too short to judge (tolerance"));
  EXPECT_TRUE(compare_runs(run("c", 0.3, 1e-3, 0, config, 30), run("d", 0.1, 1e-3, 0, config, 30))
                  .regressed);
}

TEST_F(Compared, ALossThatIsNotFiniteIsADifferenceAndSparesTheOthers) {
  nan_at_ = 100;
  const RunPaths skipped = run("a", 0.1, 1e-3, 0.5);
  nan_at_ = -1;
  const Comparison late = compare_runs(skipped, run("b", 0.1, 1e-3));
  EXPECT_EQ(late.first_different_step, 100);
  EXPECT_GT(late.largest_at_step, 200);
  EXPECT_GT(late.largest_loss_difference, 0.2);
  nan_at_ = 400;
  const RunPaths last = run("c", 0.1, 1e-3);
  nan_at_ = -1;
  const Comparison one = compare_runs(last, run("d", 0.1, 1e-3));
  EXPECT_EQ(one.first_different_step, 400);
  EXPECT_EQ(one.largest_at_step, -1);
  EXPECT_EQ(figure(one, "loss").verdict, ComparedFigure::Verdict::same);
  EXPECT_THAT(comparison_text(one),
              testing::HasSubstr("from step 400 on (40 common steps) finite"));
}

TEST_F(Compared, TextsOfFilesCannotSteerTheTerminal) {
  const std::string text = comparison_text(
      compare_runs(run("a", 0.1, 1e-3, 0, "x\u202ey: 1\nz: \"\\u009b2J\"\n"), run("b", 0.1, 1e-3)));
  EXPECT_THAT(text, testing::HasSubstr("x?y"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("\u202e")));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("\u009b")));
}

TEST_F(Compared, AFolderWithoutMetricsIsRefused) {
  const RunPaths good = run("a", 0.1, 0.02);
  try {
    (void)compare_runs(good, RunPaths{root_ / "none"});
    FAIL() << "compared";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input_missing);
    EXPECT_THAT(error.message(), testing::HasSubstr("none"));
  }
  const RunPaths empty{root_ / "empty"};
  std::filesystem::create_directories(empty.root);
  std::ofstream(empty.metrics()) << "no json\n";
  try {
    (void)compare_runs(empty, good);
    FAIL() << "compared";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
  }
}

}  // namespace
}  // namespace trireme::report
