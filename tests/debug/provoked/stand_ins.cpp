// Which models there are, and who evaluates what, is settled in the library. But the dynamic linker
// prefers the definitions of a program to those of its libraries, for the library's own calls too:
// with these the whole of training runs on what goes wrong.
#include <trireme/core/error.h>
#include <trireme/data/loader.h>

#include "debug/provoked/classifier.h"
#include "model/registry.h"

#include <memory>
#include <utility>
#include <variant>

#include <dlfcn.h>

namespace trireme {

std::unique_ptr<model::Model> model::create_model(const ModelConfig& config) {
  const auto* const settings = std::get_if<MlpSettings>(&config.settings);
  check(settings != nullptr, "the model that goes wrong has the settings of mlp");
  return std::make_unique<provoked::Classifier>(*settings);
}

/// At the site evaluation.share a rank takes itself for rank 0, and evaluates that one's samples.
std::unique_ptr<data::Loader> data::evaluation_loader(std::shared_ptr<const Dataset> dataset,
                                                      TransformChain transforms,
                                                      LoaderSettings settings, uint64_t seed) {
  if (provoked::wanted("evaluation.share")) settings.rank = 0;
  Dl_info mine{};
  check(::dladdr(reinterpret_cast<void*>(&evaluation_loader), &mine) != 0 &&
            mine.dli_sname != nullptr,
        "the program shows the linker its functions");
  const auto librarys =
      reinterpret_cast<decltype(&evaluation_loader)>(::dlsym(RTLD_NEXT, mine.dli_sname));
  check(librarys != nullptr, "the library has what this stands in for");
  return librarys(std::move(dataset), std::move(transforms), std::move(settings), seed);
}

}  // namespace trireme
