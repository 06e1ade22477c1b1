#include <trireme/autograd/backward.h>
#include <trireme/autograd/hooks.h>
#include <trireme/autograd/unit.h>
#include <trireme/core/error.h>

#include <algorithm>
#include <functional>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

namespace trireme::autograd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Tensors = std::vector<at::Tensor>;
using Forward = std::function<Tensors(const Tensors& inputs, const at::Tensor& w)>;

class OneWeight final : public Block {
 public:
  OneWeight(const BuildContext& context, Forward forward)
      : Block(context), forward_(std::move(forward)) {
    weight_ = parameter_uniform("w", {4, 4}, -1.0, 1.0);
  }
  Tensors forward(const Tensors& inputs) override { return forward_(inputs, weight_); }

 private:
  Forward forward_;
  at::Tensor weight_;
};

Tensors multiply(const Tensors& inputs, const at::Tensor& w) {
  return {at::tanh(at::mm(inputs[0], w))};
}

Unit make_unit(const std::string& name, const Forward& forward = multiply) {
  Unit unit(name, [=](const BuildContext& c) { return std::make_unique<OneWeight>(c, forward); });
  BuildContext context;
  context.random = core::RandomKey(5);
  unit.build(context);
  return unit;
}

at::Tensor weight_of(const Unit& unit) {
  return unit.parameters()[0].tensor;
}

at::Tensor input() {
  return at::sin(at::arange(12, at::kFloat)).reshape({3, 4});
}

// "+a" before and "-a" after the forward of unit a, "[a" and "a]" around its backward, "a.w" when
// its parameter has its gradient.
class Diary final : public UnitAttendant {
 public:
  explicit Diary(std::vector<Unit*> units) : units_(std::move(units)) {
    for (Unit* unit : units_) {
      unit->add_attendant(*this);
      for (const core::Parameter& p : unit->parameters())
        hooks_.push_back(on_gradient_accumulated(
            p.tensor, [this, name = p.name](const at::Tensor&) { write(name); }));
    }
  }
  ~Diary() override {
    for (Unit* unit : units_) unit->remove_attendant(*this);
  }

  void before_forward(Unit& unit) override { write("+" + unit.name()); }
  void after_forward(Unit& unit) override { write("-" + unit.name()); }
  void before_backward(Unit& unit) override { write("[" + unit.name()); }
  void after_backward(Unit& unit) override { write(unit.name() + "]"); }

  std::vector<std::string> take() { return std::exchange(entries_, {}); }
  std::string throw_at;

 private:
  void write(const std::string& entry) {
    entries_.push_back(entry);
    if (entry == throw_at) throw Error(ErrorKind::plugin_failed, "no " + entry);
  }
  std::vector<Unit*> units_;
  std::vector<GradientHook> hooks_;
  std::vector<std::string> entries_;
};

TEST(UnitAttendant, SeesAChainInOrder) {
  Unit a = make_unit("a"), b = make_unit("b"), c = make_unit("c");
  Diary diary({&a, &b, &c});
  for (int step = 0; step < 2; ++step) {
    const at::Tensor loss = c(b(a(input()))).sum();
    EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "+b", "-b", "+c", "-c"));
    backward(loss);
    // The end of a's cannot be told: its input needs no gradient.
    EXPECT_THAT(diary.take(), ElementsAre("[c", "c.w", "c]", "[b", "b.w", "b]", "[a", "a.w"));
  }
}

TEST(UnitAttendant, AnInputThatNeedsAGradientTellsTheEnd) {
  Unit a = make_unit("a");
  Diary diary({&a});
  const at::Tensor x = input().requires_grad_();
  backward(a(x).sum());
  EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "[a", "a.w", "a]"));
  EXPECT_TRUE(x.grad().defined());
}

TEST(UnitAttendant, EndsComeBeforeOperationsBetweenUnits) {
  Unit a = make_unit("a"), b = make_unit("b");
  Diary diary({&a, &b});
  std::vector<std::string> seen;
  const at::Tensor between = a(input()) * 2.0;
  between.register_hook([&](const at::Tensor&) { seen = diary.take(); });
  backward(b(between + 1.0).sum());
  EXPECT_THAT(seen, ElementsAre("+a", "-a", "+b", "-b", "[b", "b.w", "b]"));
}

// The output head of a language model is its token embedding.
TEST(UnitAttendant, SeesEachCallOfAUnitThatIsCalledTwice) {
  const Forward tied = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    if (at::isIntegralType(inputs[0].scalar_type(), false))
      return {at::embedding(w, inputs[0], -1, false, true)};
    return {at::linear(inputs[0], w)};
  };
  Unit table = make_unit("t", tied), a = make_unit("a");
  Diary diary({&table, &a});
  const at::Tensor tokens = at::tensor({3, 0, 3}, at::kLong);
  backward(table(a(table(tokens))).square().sum());
  EXPECT_THAT(diary.take(), ElementsAre("+t", "-t", "+a", "-a", "+t", "-t", "[t", "t]", "[a", "a.w",
                                        "a]", "[t", "t.w"));
}

TEST(UnitAttendant, AUnitThatFollowsItselfHasTwoBackwards) {
  Unit a = make_unit("a");
  Diary diary({&a});
  backward(a(a(input().requires_grad_())).sum());
  EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "+a", "-a", "[a", "a]", "[a", "a.w", "a]"));
}

TEST(UnitAttendant, TwoOutputsAndTwoInputsCountOnce) {
  const Forward fork = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    return {at::mm(inputs[0], w), at::sin(inputs[0]) * w.sum()};
  };
  const Forward join = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    return {at::tanh(at::mm(inputs[0], w)) + at::mm(inputs[1], w).cos()};
  };
  Unit a = make_unit("a"), f = make_unit("f", fork), j = make_unit("j", join);
  Diary diary({&a, &f, &j});
  backward(j(f(Tensors{a(input())}))[0].sum());
  EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "+f", "-f", "+j", "-j", "[j", "j.w", "j]", "[f",
                                        "f.w", "f]", "[a", "a.w"));
  // One output is not used, or one input has no part in the output.
  backward(a(f(Tensors{a(input())})[1]).sum());
  EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "+f", "-f", "+a", "-a", "[a", "a]", "[f", "f.w",
                                        "f]", "[a", "a.w"));
}

TEST(UnitAttendant, EndsOnceEverythingOfTheCallHasRun) {
  // The first input's gradient is complete long before the parameter's.
  const Forward uneven = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    at::Tensor long_way = inputs[1];
    for (int i = 0; i < 5; ++i) long_way = at::mm(long_way, w).sin();
    return {long_way + inputs[0]};
  };
  Unit a = make_unit("a"), b = make_unit("b"), u = make_unit("u", uneven);
  Diary diary({&a, &b, &u});
  const at::Tensor x = input();
  for (const bool swapped : {false, true}) {
    const at::Tensor first = a(x), second = b(x);
    const Tensors inputs = swapped ? Tensors{second, first} : Tensors{first, second};
    backward(u(inputs)[0].sum());
    const std::vector<std::string> entries = diary.take();
    ASSERT_EQ(entries.size(), 13U);
    EXPECT_THAT(std::vector(entries.begin() + 6, entries.begin() + 9),
                ElementsAre("[u", "u.w", "u]"));
  }
}

TEST(UnitAttendant, AnInputWithoutPartInTheOutputsDoesNotTellTheEnd) {
  const Forward first_only = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    return {at::mm(inputs[0], w)};
  };
  Unit a = make_unit("a"), u = make_unit("u", first_only);
  Diary diary({&a, &u});
  // Constant, undefined, integral and ignored inputs beside one that counts.
  const at::Tensor ignored = a(input());
  backward(u({a(input()), at::Tensor(), at::ones({2}, at::kLong), input(), ignored})[0].sum());
  const std::vector<std::string> entries = diary.take();
  EXPECT_THAT(std::vector(entries.begin() + 6, entries.end()),
              ElementsAre("[u", "u.w", "u]", "[a", "a.w"));
  // None that counts.
  backward(u({input(), at::Tensor()})[0].sum());
  EXPECT_THAT(diary.take(), ElementsAre("+u", "-u", "[u", "u.w"));
}

TEST(UnitAttendant, AUnitWhoseOutputIsNotUsedHasNoBackward) {
  Unit a = make_unit("a"), b = make_unit("b");
  Diary diary({&a, &b});
  const at::Tensor x = a(input());
  const at::Tensor unused = b(x);
  backward(x.sum());
  EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "+b", "-b", "[a", "a.w"));
}

TEST(UnitAttendant, AnInputThatPassesThroughIsPartOfTheCall) {
  const Forward beside = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    return {inputs[0], at::mm(inputs[1], w)};
  };
  Unit a = make_unit("a"), u = make_unit("u", beside);
  Diary diary({&a, &u});
  const at::Tensor x = a(input());
  const Tensors outputs = u({x, x});
  backward(outputs[0].sum() + outputs[1].sum());
  EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "+u", "-u", "[u", "u.w", "u]", "[a", "a.w"));
  // Alone: the call has a beginning, too, and before its end.
  backward(u({a(input()), input()})[0].sum());
  EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "+u", "-u", "[u", "u]", "[a", "a.w"));
}

TEST(UnitAttendant, WithoutGradientsThereIsOnlyForward) {
  Unit a = make_unit("a"), b = make_unit("b");
  Diary diary({&a, &b});
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(b(a(input().requires_grad_())).requires_grad());
  EXPECT_THAT(diary.take(), ElementsAre("+a", "-a", "+b", "-b"));
}

TEST(UnitAttendant, FrozenUnitsHaveABackwardIfTheirInputHas) {
  Unit a = make_unit("a"), frozen = make_unit("f");
  Diary diary({&a, &frozen});
  weight_of(frozen).requires_grad_(false);
  backward(frozen(a(frozen(input()))).sum());
  EXPECT_THAT(diary.take(),
              ElementsAre("+f", "-f", "+a", "-a", "+f", "-f", "[f", "f]", "[a", "a.w"));
}

// What passes a unit, beside the order of its moments.
class Spectator final : public UnitAttendant {
 public:
  Spectator(Unit& unit, std::string name, std::vector<std::string>& diary)
      : unit_(unit), name_(std::move(name)), diary_(diary) {
    unit_.add_attendant(*this);
  }
  ~Spectator() override { unit_.remove_attendant(*this); }

  void before_forward(Unit&) override { diary_.push_back(name_ + "+"); }
  void after_forward(Unit&) override { diary_.push_back(name_ + "-"); }
  void before_backward(Unit&) override { diary_.push_back(name_ + "["); }
  void after_backward(Unit&) override { diary_.push_back(name_ + "]"); }
  void saw_inputs(Unit& unit, const Tensors& seen) override {
    EXPECT_EQ(&unit, &unit_);
    diary_.push_back(name_ + "in");
    inputs = seen;
  }
  void saw_outputs(Unit&, const Tensors& seen) override {
    diary_.push_back(name_ + "out");
    outputs = seen;
  }
  void saw_output_gradient(Unit&, size_t output, const at::Tensor& gradient) override {
    diary_.push_back(name_ + "g" + std::to_string(output));
    gradients.push_back(gradient.clone());
  }
  Tensors inputs, outputs, gradients;

 private:
  Unit& unit_;
  std::string name_;
  std::vector<std::string>& diary_;
};

TEST(UnitAttendant, SeesTensorsInsideOfItsMoments) {
  Unit a = make_unit("a");
  std::vector<std::string> diary;
  Spectator one(a, "1", diary), two(a, "2", diary);
  const at::Tensor x = input().requires_grad_();
  const at::Tensor y = a(x);
  EXPECT_THAT(diary, ElementsAre("1+", "1in", "2+", "2in", "2out", "2-", "1out", "1-"));
  EXPECT_TRUE(two.inputs.at(0).is_same(x));
  EXPECT_TRUE(one.outputs.at(0).is_same(y));
  diary.clear();
  backward((y * 2).sum() + (y * 3).sum());
  EXPECT_THAT(diary, ElementsAre("1[", "2[", "1g0", "2g0", "2]", "1]"));
  // The whole gradient of all uses, once.
  ASSERT_EQ(one.gradients.size(), 1U);
  EXPECT_TRUE(at::equal(one.gradients[0], at::full({3, 4}, 5.0F)));
}

TEST(UnitAttendant, SeesGradientsOfTheOutputsThatCount) {
  const Forward fork = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    return {at::mm(inputs[0], w), at::sin(inputs[0]) * w.sum(), inputs[0].detach()};
  };
  Unit f = make_unit("f", fork);
  std::vector<std::string> diary;
  Spectator one(f, "", diary);
  backward(f(Tensors{input()})[1].sum());
  EXPECT_THAT(diary, ElementsAre("+", "in", "out", "-", "[", "g1"));
  EXPECT_EQ(one.outputs.size(), 3U);
}

// A residual network with units that are called twice, have two inputs, and are changed in place.
Tensors gradients_of_network(bool attended) {
  const Forward residual = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    return {inputs[0] + at::tanh(at::mm(inputs[0], w)), inputs[1] * w.sum()};
  };
  const Forward in_place = [](const Tensors& inputs, const at::Tensor& w) -> Tensors {
    return {at::mm(inputs[0].mul_(0.5), w)};
  };
  Unit a = make_unit("a"), r = make_unit("r", residual), i = make_unit("i", in_place);
  std::optional<Diary> diary;
  if (attended) diary.emplace(std::vector<Unit*>{&a, &r, &i});
  const at::Tensor x = input().requires_grad_();
  Tensors pair = r({a(x), x});
  pair = r({pair[1], a(pair[0])});
  at::Tensor y = i({pair[0] + pair[1]})[0];
  y.mul_(2.0);
  const at::Tensor loss = y.square().sum();
  backward(loss);
  return {loss.detach(), x.grad(), weight_of(a).grad(), weight_of(r).grad(), weight_of(i).grad()};
}

TEST(UnitAttendant, ChangesNoBitOfTheResults) {
  const Tensors with = gradients_of_network(true), without = gradients_of_network(false);
  for (size_t t = 0; t < with.size(); ++t) EXPECT_TRUE(at::equal(with[t], without[t])) << t;
}

TEST(UnitAttendant, ItsErrorsReachTheCaller) {
  for (const std::string at : {"+b", "-b", "[b", "b]", "[a"}) {
    Unit a = make_unit("a"), b = make_unit("b");
    Diary diary({&a, &b});
    diary.throw_at = at;
    try {
      backward(b(a(input())).sum());
      ADD_FAILURE() << at;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::plugin_failed);
      EXPECT_EQ(error.message(), "no " + at);
    }
    EXPECT_EQ(diary.take().back(), at);  // nothing came after it
  }
}

TEST(UnitAttendant, ErrorsOfTheBlockPassIt) {
  Unit a = make_unit("a");
  Diary diary({&a});
  EXPECT_ANY_THROW(a(at::ones({3, 5})));
  EXPECT_THAT(diary.take(), ElementsAre("+a"));
}

TEST(UnitAttendant, MayBeTakenAway) {
  Unit a = make_unit("a");
  { const Diary diary({&a}); }
  backward(a(input()).sum());
  EXPECT_TRUE(weight_of(a).grad().defined());
}

TEST(UnitAttendant, InputsAndOutputsAreNotChanged) {
  const Forward identity = [](const Tensors& inputs, const at::Tensor&) {
    return inputs;
  };
  Unit u = make_unit("u", identity);
  Diary diary({&u});
  EXPECT_THAT(u(Tensors{}), IsEmpty());
  const at::Tensor x = input().requires_grad_(), plain = input();
  const Tensors outputs = u({x, at::Tensor(), plain});
  EXPECT_TRUE(outputs[0].is_alias_of(x));
  EXPECT_FALSE(outputs[1].defined());
  EXPECT_TRUE(outputs[2].is_same(plain));
}

}  // namespace
}  // namespace trireme::autograd
