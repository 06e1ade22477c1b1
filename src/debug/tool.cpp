#include <trireme/debug/tool.h>

namespace trireme::debug {

Journal::~Journal() = default;
Tool::~Tool() = default;

}  // namespace trireme::debug
