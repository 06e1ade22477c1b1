#include "parallel/flat_gradients.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

namespace trireme::parallel {

FlatGradients::FlatGradients(comm::CommunicatorPtr shards, comm::CommunicatorPtr replicas,
                             const core::ParameterSet& parameters, const ShardPlan& plan,
                             const Settings& settings, Traffic& traffic)
    : shards_(std::move(shards)),
      replicas_(std::move(replicas)),
      parameters_(parameters),
      plan_(plan),
      settings_(settings),
      traffic_(traffic),
      arrived_(parameters.size(), false),
      touched_(parameters.size(), false) {
  check(settings.reduce == at::kFloat || settings.reduce == at::kBFloat16,
        "gradients travel as float32 or bfloat16");
  const auto options = parameters_.front().tensor.options().dtype(at::kFloat).requires_grad(false);
  if (settings_.whole) {
    whole_ = at::zeros({plan_.elements}, options);
    shard_ = whole_.narrow(0, plan_.shard * shards_->rank(), plan_.shard);
    for (size_t i = 0; i < parameters_.size(); ++i) {
      views_.push_back(slot(whole_, i));
      parameters_[i].tensor.mutable_grad() = views_.back();
    }
  } else {
    shard_ = at::zeros({plan_.shard}, options);
  }
  for (size_t i = 0; i < parameters_.size(); ++i)
    hooks_.push_back(autograd::on_gradient_accumulated(
        parameters_[i].tensor, [this, i](const at::Tensor&) { gradient_ready(i); }));
}

at::Tensor FlatGradients::slot(const at::Tensor& flat, size_t parameter) const {
  const Slot& where = plan_.slots[parameter];
  return flat.narrow(0, where.offset, where.elements).view(parameters_[parameter].tensor.sizes());
}

void FlatGradients::check_bound(size_t parameter) const {
  const at::Tensor& gradient = parameters_[parameter].tensor.grad();
  const bool bound = settings_.whole
                         ? gradient.defined() && gradient.unsafeGetTensorImpl() ==
                                                     views_[parameter].unsafeGetTensorImpl()
                         : !gradient.defined();
  if (bound) return;
  throw Error(ErrorKind::plugin_failed,
              "the gradient of parameter '" + parameters_[parameter].name +
                  "' was set by something else than backward, and would never be reduced",
              "do not run backward with create_graph, and do not assign gradients");
}

void FlatGradients::begin(bool last_micro_step) {
  for (size_t i = 0; i < parameters_.size(); ++i) check_bound(i);
  last_ = last_micro_step;
  reduced_ = false;
  arrived_.assign(arrived_.size(), false);
}

void FlatGradients::gradient_ready(size_t parameter) {
  if (arrived_[parameter] || reduced_)
    throw Error(ErrorKind::plugin_failed,
                "parameter '" + parameters_[parameter].name +
                    "' received a second gradient after its reduction may have begun",
                "run backward once a micro-step");
  arrived_[parameter] = true;
  touched_[parameter] = true;
  if (settings_.whole)
    check_bound(parameter);
  else
    take(parameter);
}

/// Moves the gradient that autograd left at the parameter to what will travel.
void FlatGradients::take(size_t parameter) {
  settle();  // what the micro-step before left under way
  if (!travelling_.defined()) {
    travelling_ = at::empty({plan_.elements}, shard_.options().dtype(settings_.reduce));
    zero_gaps();
  }
  at::Tensor& gradient = parameters_[parameter].tensor.mutable_grad();
  const at::Tensor place = slot(travelling_, parameter);
  if (gradient.is_sparse())
    place.zero_().add_(gradient);
  else
    place.copy_(gradient);
  gradient.reset();
}

void FlatGradients::zero_gaps() {
  int64_t end = 0;
  for (const Slot& where : plan_.slots) {
    if (where.offset > end) travelling_.narrow(0, end, where.offset - end).zero_();
    end = where.offset + where.elements;
  }
  if (plan_.elements > end) travelling_.narrow(0, end, plan_.elements - end).zero_();
}

void FlatGradients::reduce() {
  if (std::exchange(reduced_, true)) return;
  if (settings_.whole && !last_) return;
  if (settings_.whole) {
    travelling_ = settings_.reduce == at::kFloat ? whole_ : whole_.to(settings_.reduce);
  } else if (!travelling_.defined()) {
    travelling_ = at::zeros({plan_.elements}, shard_.options().dtype(settings_.reduce));
  } else {
    for (size_t i = 0; i < parameters_.size(); ++i)
      if (!arrived_[i]) slot(travelling_, i).zero_();
  }
  const bool in_place = settings_.reduce == at::kFloat && (fresh_ || settings_.whole);
  if (!in_place) arriving_ = at::empty({plan_.shard}, travelling_.options());
  reducing_last_ = last_;
  reducing_ = shards_->reduce_scatter(in_place ? shard_ : arriving_, travelling_);
}

void FlatGradients::settle() {
  if (!reducing_) return;
  traffic_.wait(reducing_, travelling_);
  reducing_ = nullptr;
  travelling_.reset();
  if (arriving_.defined()) {
    // What whole gradients travel as was made of the shard itself.
    if (fresh_ || settings_.whole)
      shard_.copy_(arriving_);
    else
      shard_.add_(arriving_);
    arriving_.reset();
  }
  fresh_ = false;
  if (settings_.whole) {
    // The optimizer clears the shard when it has used it.
    const int64_t begin = plan_.shard * shards_->rank(), end = begin + plan_.shard;
    whole_.narrow(0, 0, begin).zero_();
    whole_.narrow(0, end, plan_.elements - end).zero_();
  }
  if (reducing_last_ && replicas_->size() > 1) adding_replicas_ = replicas_->all_reduce(shard_);
}

void FlatGradients::finish() {
  if (adding_replicas_) traffic_.wait(adding_replicas_, shard_);
  adding_replicas_ = nullptr;
  fresh_ = true;
}

}  // namespace trireme::parallel
