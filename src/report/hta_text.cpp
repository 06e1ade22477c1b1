#include "report/hta_text.h"

#include <fmt/format.h>

namespace trireme::report {

/// The reader takes the first `"rank": N` that it finds, and wants the blank.
std::string hta_heading(int64_t rank, int64_t ranks, int64_t base_unix_ns) {
  return fmt::format(
      "{{\n\"schemaVersion\": 1,\n\"distributedInfo\": {{\"backend\": \"trireme\", \"rank\": {}, "
      "\"world_size\": {}}},\n\"deviceProperties\": [],\n\"displayTimeUnit\": \"ms\",\n"
      "\"baseTimeNanoseconds\": {},\n\"traceEvents\": [\n",
      rank, ranks, base_unix_ns);
}

std::string hta_placeholder(int64_t rank) {
  return fmt::format(
      "{{\"pid\":{},\"tid\":1,\"ph\":\"X\",\"cat\":\"user_annotation\",\"ts\":0,\"dur\":0,"
      "\"name\":\"nothing was recorded\"}}",
      rank);
}

}  // namespace trireme::report
