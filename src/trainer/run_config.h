#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <trireme/data/config.h>
#include <trireme/debug/config.h>
#include <trireme/device/config.h>
#include <trireme/guard/config.h>
#include "model/config.h"
#include <trireme/optim/config.h>
#include <trireme/optim/schedule.h>
#include <trireme/optim/weight_average.h>
#include <trireme/parallel/config.h>
#include <trireme/precision/config.h>
#include <trireme/telemetry/config.h>

namespace trireme::trainer {

struct RunSection {
  std::string dir = "runs/default";
  int64_t seed = 42;
  std::string resume = "auto";
  std::string profile = "development";
  bool deterministic = false;
  template <class B>
  void bind(B& b) {
    b.key("dir", dir).doc("folder that receives everything the run writes");
    b.key("seed", seed).doc("root of all randomness").at_least(0).identity();
    b.key("deterministic", deterministic)
        .doc("on GPUs: only algorithms that give the same bits every time, where there is a choice; on CPUs the framework's own operations "
             "always do, and LibTorch's are held to it");
    b.key("resume", resume).doc("auto: from the newest valid checkpoint of run.dir, if any; never; or the path of a checkpoint");
    b.key("profile", profile)
        .doc("what the run is for: production refuses debug switches, from the start and while it runs")
        .one_of({"development", "production"});
  }
};

struct TrainSection {
  std::optional<int64_t> steps;
  std::optional<int64_t> epochs;
  int64_t batch_size = 8;
  std::optional<int64_t> accumulate;
  std::optional<int64_t> global_batch;
  double max_grad_norm = 1.0;
  std::optional<std::string> graph;
  std::optional<std::string> compile;
  template <class B>
  void bind(B& b) {
    b.key("steps", steps).doc("optimizer steps of the run; give this or epochs").unit("steps").at_least(1);
    b.key("epochs", epochs).doc("passes over the training data; give this or steps").unit("epochs").at_least(1);
    b.key("batch_size", batch_size).doc("samples of one rank and micro-step").unit("samples").at_least(1);
    b.key("accumulate", accumulate).doc("micro-steps of an optimizer step; null: as global_batch needs, else 1").at_least(1);
    b.key("global_batch", global_batch)
        .doc("samples of an optimizer step over all ranks and micro-steps; null: batch_size x ranks x accumulate")
        .unit("samples")
        .at_least(1);
    b.key("graph", graph)
        .doc("on GPUs: repeat a step's work as one graph, without the host's part; auto: where it can be, with the reason logged where it "
             "cannot; null: as train.compile and device.optimization_level say")
        .one_of({"auto", "on", "off"});
    b.key("compile", compile)
        .doc("the modes of torch.compile by what they mean here: off: eager; default: graphs where they can be; reduce-overhead: graphs, or "
             "an error; max-autotune: graphs, and algorithms chosen by timing; null: as device.optimization_level says")
        .one_of({"off", "default", "reduce-overhead", "max-autotune"});
    b.key("max_grad_norm", max_grad_norm).doc("gradients are clipped to this global norm; 0: never").at_least(0.0).identity();
  }
};

struct EvalSection {
  std::optional<int64_t> every_steps;
  bool at_end = true;
  std::optional<int64_t> batch_size;
  std::string metric = "loss";
  std::string mode = "min";
  std::optional<int64_t> patience;
  template <class B>
  void bind(B& b) {
    b.key("every_steps", every_steps).doc("steps between two evaluations; null: none during the run").unit("steps").at_least(1);
    b.key("at_end", at_end).doc("evaluate after the last step");
    b.key("batch_size", batch_size).doc("samples of one rank at a time; null: as in training").unit("samples").at_least(1);
    b.key("metric", metric).doc("what early stopping and schedule plateau go by: loss, or a metric of the model").identity();
    b.key("mode", mode).doc("whether less or more of it is better").one_of({"min", "max"}).identity();
    b.key("patience", patience).doc("evaluations without improvement before the run ends; null: never").at_least(0);
  }
};

struct CheckpointSection {
  std::optional<int64_t> every_steps = 100;
  std::optional<double> every_minutes;
  int64_t keep_last = 3;
  int64_t keep_best = 0;
  std::optional<int64_t> keep_every_steps;
  bool async = true;
  bool read_back = true;
  std::optional<std::string> staging_dir;
  std::string on_failure = "continue";
  template <class B>
  void bind(B& b) {
    b.key("every_steps", every_steps).doc("steps between two checkpoints; null: only at the end and on request").unit("steps").at_least(1);
    b.key("every_minutes", every_minutes).doc("a checkpoint is due so long after the last one, too; null: never for that reason").unit("min").above(0.0);
    b.key("keep_last", keep_last).doc("older checkpoints are deleted once a newer one is complete").at_least(1);
    b.key("keep_best", keep_best)
        .doc("the best checkpoints by eval.metric are kept besides, and an evaluation that is among the best is saved")
        .at_least(0);
    b.key("keep_every_steps", keep_every_steps).doc("checkpoints whose step it divides are kept for ever; null: none").unit("steps").at_least(1);
    b.key("async", async).doc("write in the background, while the steps go on");
    b.key("read_back", read_back).doc("read what was written once more, from the disk, before the checkpoint counts as saved");
    b.key("staging_dir", staging_dir)
        .doc("an existing folder on a fast disk of each machine: each rank writes its part there first, which frees the memory for the "
             "next checkpoint, and copies it from there to run.dir; null: straight to run.dir");
    b.key("on_failure", on_failure)
        .doc("what a checkpoint that cannot be written does to a run under way: warn and go on, or end it; at the end of the run it "
             "always is an error")
        .one_of({"continue", "stop"});
  }
};

/// The whole configuration of a run. Each section's struct lies beside its component.
struct RunConfig {
  RunSection run;
  device::DeviceConfig device;
  model::ModelConfig model;
  data::DataConfig data;
  TrainSection train;
  EvalSection eval;
  optim::OptimConfig optim;
  optim::EmaConfig ema;
  optim::ScheduleConfig schedule;
  precision::PrecisionConfig precision;
  parallel::ParallelConfig parallel;
  CheckpointSection checkpoint;
  telemetry::TelemetryConfig telemetry;
  debug::DebugConfig debug;
  guard::GuardConfig guard;

  template <class B>
  void bind(B& b) {
    b.section("run", run);
    b.section("device", device);
    b.section("model", model);
    b.section("data", data);
    b.section("train", train);
    b.section("eval", eval);
    b.section("optim", optim);
    b.section("ema", ema);
    b.section("schedule", schedule);
    b.section("precision", precision);
    b.section("parallel", parallel);
    b.section("checkpoint", checkpoint);
    b.section("telemetry", telemetry);
    b.section("debug", debug);
    b.section("guard", guard);
  }
};

}  // namespace trireme::trainer
