#include <trireme/core/error.h>
#include <trireme/parallel/gradient_reducer.h>

#include "parallel/traffic.h"
#include "parallel/unused_parameters.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace trireme::parallel {

namespace {

void check_parameter(const core::Parameter& p, const at::Device& device) {
  check(p.tensor.defined() && p.tensor.is_leaf() && p.tensor.requires_grad(),
        "only trained leaves are reduced: '" + p.name + "'");
  check(p.tensor.is_non_overlapping_and_dense(),
        "parameters are dense in memory: '" + p.name + "'");
  check(p.tensor.device() == device, "all parameters are on one device: '" + p.name + "'");
}

}  // namespace

GradientReducer::GradientReducer(comm::CommunicatorPtr communicator, core::ParameterSet parameters,
                                 const BucketSizes& sizes, at::ScalarType reduce)
    : communicator_(std::move(communicator)),
      parameters_(std::move(parameters)),
      plan_(plan_buckets(core::elements_of_each(parameters_), sizes)),
      reduce_(reduce),
      traffic_(std::make_unique<Traffic>()),
      ready_(parameters_.size(), false) {
  check(!parameters_.empty(), "there are parameters to reduce");
  check(reduce == at::kFloat || reduce == at::kBFloat16, "gradients travel as float32 or bfloat16");
  const at::Device device = parameters_.front().tensor.device();
  const auto options = at::TensorOptions(device).dtype(at::kFloat);
  flat_ = {at::zeros({plan_.elements}, options)};
  unused_ = std::make_unique<UnusedParameters>(device, *communicator_);
  touched_ = at::zeros({static_cast<int64_t>(parameters_.size())}, at::kFloat);
  if (reduce_ != at::kFloat && communicator_->size() > 1)
    staging_ = at::empty({plan_.elements}, options.dtype(reduce_));

  views_.resize(parameters_.size());
  for (const Bucket& bucket : plan_.buckets)
    for (const Slot& slot : bucket.slots) {
      core::Parameter& p = parameters_[slot.parameter];
      check_parameter(p, device);
      views_[slot.parameter] =
          flat_[0].as_strided(p.tensor.sizes(), p.tensor.strides(), slot.offset);
      // AccumulateGrad adds in place into whatever is there, in float32 also for bfloat16
      // parameters.
      p.tensor.mutable_grad() = views_[slot.parameter];
    }
  for (size_t i = 0; i < parameters_.size(); ++i)
    hooks_.push_back(autograd::on_gradient_accumulated(
        parameters_[i].tensor, [this, i](const at::Tensor&) { gradient_ready(i); }));
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::check_bound(size_t parameter) const {
  const at::Tensor& gradient = parameters_[parameter].tensor.grad();
  if (gradient.defined() &&
      gradient.unsafeGetTensorImpl() == views_[parameter].unsafeGetTensorImpl())
    return;
  throw Error(ErrorKind::plugin_failed,
              "the gradient of parameter '" + parameters_[parameter].name +
                  "' was replaced by another tensor, which would never be reduced",
              "do not run backward with create_graph, and clear gradients in place instead of "
              "assigning new ones");
}

void GradientReducer::begin_backward(bool last_micro_step) {
  check(phase_ != Phase::reducing, "finish() comes after the last micro-step");
  for (size_t i = 0; i < parameters_.size(); ++i) check_bound(i);
  phase_ = last_micro_step ? Phase::reducing : Phase::accumulating;
  if (!last_micro_step) return;
  ready_.assign(parameters_.size(), false);
  awaited_.clear();
  for (const Bucket& bucket : plan_.buckets) awaited_.push_back(bucket.slots.size());
}

void GradientReducer::gradient_ready(size_t parameter) {
  check(phase_ != Phase::idle, "begin_backward() comes before backward");
  check_bound(parameter);
  touched_.mutable_data_ptr<float>()[parameter] = 1.0F;
  if (phase_ != Phase::reducing) return;
  if (ready_[parameter])
    throw Error(ErrorKind::plugin_failed,
                "parameter '" + parameters_[parameter].name +
                    "' received a second gradient after its reduction may have begun",
                "run backward once a micro-step");
  ready_[parameter] = true;
  --awaited_[plan_.bucket_of[parameter]];
  launch_ready();
}

void GradientReducer::launch_ready() {
  // A complete bucket waits for those before it, so that all ranks launch in one order.
  while (flights_.size() < plan_.buckets.size() && awaited_[flights_.size()] == 0)
    launch(flights_.size());
}

at::Tensor GradientReducer::values_of(const Bucket& bucket) const {
  return flat_[0].narrow(0, bucket.offset, bucket.elements);
}

void GradientReducer::launch(size_t index) {
  const Bucket& bucket = plan_.buckets[index];
  at::Tensor values = values_of(bucket);
  Flight flight;
  if (staging_.defined()) {
    flight.staged = staging_.narrow(0, bucket.offset, bucket.elements);
    flight.staged.copy_(values);
    values = flight.staged;
  }
  flight.work = communicator_->all_reduce(values);
  flights_.push_back(std::move(flight));
}

ReduceReport GradientReducer::finish() {
  check(phase_ == Phase::reducing, "finish() comes once, after the last micro-step");
  const at::NoGradGuard no_grad;
  ReduceReport report;
  report.buckets_in_backward = static_cast<int64_t>(flights_.size());
  while (flights_.size() < plan_.buckets.size()) launch(flights_.size());

  unused_->begin(touched_);
  for (size_t i = 0; i < flights_.size(); ++i) {
    const at::Tensor values = values_of(plan_.buckets[i]);
    const Flight& flight = flights_[i];
    traffic_->wait(flight.work, flight.staged.defined() ? flight.staged : values);
    if (flight.staged.defined()) values.copy_(flight.staged);
  }
  unused_->name(parameters_, *traffic_, report);
  traffic_->tell(report);
  end_step();
  return report;
}

bool GradientReducer::abandon() {
  end_step();
  return true;
}

void GradientReducer::end_step() {
  std::fill_n(touched_.mutable_data_ptr<float>(), touched_.numel(), 0.0F);
  flights_.clear();
  phase_ = Phase::idle;
}

}  // namespace trireme::parallel
