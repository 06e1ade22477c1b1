#include <trireme/core/error.h>
#include <trireme/model/model.h>

#include <set>
#include <string>

namespace trireme::model {

namespace {

void append(core::ParameterSet& all, core::ParameterSet more) {
  for (core::Parameter& p : more) all.push_back(std::move(p));
}

}  // namespace

Model::~Model() = default;
LanguageModel::~LanguageModel() = default;

void Model::check_batch(const core::Batch&) const {}
void Model::check_data(const std::vector<std::pair<std::string, int64_t>>&) const {}

void Model::build(const autograd::BuildContext& context,
                  const std::function<void(autograd::Unit&)>& built) {
  for (autograd::Unit* unit : units()) {
    unit->build(context);
    if (built) built(*unit);
  }
  std::set<std::string> names;
  for (const core::Parameter& p : parameters())
    check(names.insert(p.name).second, "two parameters of the model are called " + p.name);
}

core::ParameterSet Model::parameters() {
  core::ParameterSet all;
  for (const autograd::Unit* unit : units()) append(all, unit->parameters());
  return all;
}

core::ParameterSet Model::buffers() {
  core::ParameterSet all;
  for (const autograd::Unit* unit : units()) append(all, unit->buffers());
  return all;
}

void Model::set_training(bool on) {
  for (autograd::Unit* unit : units()) unit->set_training(on);
}

}  // namespace trireme::model
