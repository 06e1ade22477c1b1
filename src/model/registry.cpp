#include "model/registry.h"

#include <trireme/core/error.h>

#include "model/convnet.h"
#include "model/gpt2.h"
#include "model/mlp.h"
#include "model/resnet.h"

#include <algorithm>

namespace trireme::model {

namespace {

struct Entry {
  std::string name;
  Settings defaults;
  std::unique_ptr<Model> (*create)(const Settings&);
};

template <class M, class S>
Entry entry(std::string name) {
  return {std::move(name), S{}, [](const Settings& settings) -> std::unique_ptr<Model> {
            return std::make_unique<M>(std::get<S>(settings));
          }};
}

// A new built-in model is a line here and an alternative of Settings.
const std::vector<Entry>& registry() {
  static const std::vector<Entry> entries = {
      entry<Gpt2, Gpt2Settings>("gpt2"),
      entry<Mlp, MlpSettings>("mlp"),
      entry<ConvNet, ConvNetSettings>("convnet"),
      entry<ResNet, ResNetSettings>("resnet"),
  };
  return entries;
}

const Entry& find(const std::string& name) {
  const auto& all = registry();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Entry& candidate) { return candidate.name == name; });
  if (found == all.end()) {
    std::string names;
    for (const Entry& e : all) names += (names.empty() ? "" : ", ") + e.name;
    throw Error(ErrorKind::configuration, "there is no model `" + name + "`",
                "the built-in models are " + names);
  }
  return *found;
}

}  // namespace

const std::vector<std::string>& model_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Entry& e : registry()) all.push_back(e.name);
    return all;
  }();
  return names;
}

Settings default_settings(const std::string& name) {
  return find(name).defaults;
}

std::unique_ptr<Model> create_model(const ModelConfig& config) {
  const Entry& found = find(config.name);
  check(found.defaults.index() == config.settings.index(),
        "the settings belong to another model than " + config.name);
  return found.create(config.settings);
}

}  // namespace trireme::model
