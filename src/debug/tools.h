#pragma once

#include <trireme/debug/tool.h>

#include <memory>

namespace trireme::debug {

using ToolPtr = std::unique_ptr<Tool>;

[[nodiscard]] ToolPtr make_autograd_anomaly(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_memory_usage(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_gradient_norms(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_forward_pass(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_backward_pass(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_device_placement(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_mixed_precision(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_data_loading(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_validation(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_early_stopping(const Subject& subject, Journal& journal);
[[nodiscard]] ToolPtr make_lr_scheduling(const Subject& subject, Journal& journal);

}  // namespace trireme::debug
