#include <trireme/report/hta.h>

#include "report/hta_text.h"
#include "report/trace_file.h"
#include "report/trace_part.h"

namespace trireme::report {

void write_rank_trace(const TracePart& mine, int rank, int ranks, const TraceSummary& merged,
                      const std::filesystem::path& path, int64_t max_bytes) {
  TraceFile file(path);
  file.write_text(hta_heading(rank, ranks, merged.base_unix_ns));
  file.attempt([&] {
    GzipPart part;
    const PartCounts counts =
        format_part(mine, rank, merged.base_ns, TraceDialect::one_rank, max_bytes, part);
    if (counts.completes == 0) part.text() += ",\n" + hta_placeholder(rank);
    part.text() += hta_ending;
    part.finish();
    for (const auto& chunk : part.chunks()) file.write(chunk->data(), chunk->size());
    file.part_ended(part.crc(), part.text_bytes());
  });
  file.finish();
  if (file.failure()) throw *file.failure();
}

}  // namespace trireme::report
