#include <trireme/report/exit_record.h>
#include <trireme/report/records.h>
#include <trireme/report/run_folder.h>
#include <trireme/storage/durable.h>

#include "json.h"

namespace trireme::report {

bool resumable(ErrorKind kind) {
  return kind == ErrorKind::stopped || kind == ErrorKind::hang || kind == ErrorKind::peer_lost;
}

ExitRecord exit_record_of(const comm::Failure& failure) {
  return {.code = static_cast<int>(failure.kind),
          .kind = std::string(core::name_of(failure.kind)),
          .rank = failure.rank,
          .host = failure.host,
          .step = failure.step,
          .message = failure.message,
          .hint = failure.hint,
          .resumable = resumable(failure.kind)};
}

std::string exit_json(const ExitRecord& record, int64_t attempt) {
  const Json json = {{"schema", record_schema}, {"attempt", attempt},
                     {"code", record.code},     {"kind", record.kind},
                     {"rank", record.rank},     {"host", record.host},
                     {"step", record.step},     {"message", record.message},
                     {"hint", record.hint},     {"resumable", record.resumable}};
  return dump(json, 2) + "\n";
}

void write_exit_record(const std::filesystem::path& run_dir, const ExitRecord& record) {
  const RunPaths paths{run_dir};
  storage::replace_file(paths.exit(), exit_json(record, last_attempt(paths)));
}

void write_exit_record(const std::filesystem::path& run_dir, const comm::Failure& failure) {
  write_exit_record(run_dir, exit_record_of(failure));
}

}  // namespace trireme::report
