#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/report/lost_records.h>

namespace trireme::report {

void write_or_lose(LostRecords& lost, std::string_view what, const std::function<void()>& write) {
  try {
    write();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage) throw;
    if (lost.add(LostRecords::Clock::now()))
      log::warning("{} lost ({} so far), the run goes on: {}", what, lost.count(), error.message());
  }
}

}  // namespace trireme::report
