#include "actors/runtime/log_reader.hpp"

#include <algorithm>
#include <exception>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

using Records = std::vector<storage::Record>;

Result<LogPage> page_of(const storage::EventLog& log, const ReadStream& part) {
  LogPage page;
  page.at_end = true;
  auto records = std::make_shared<Records>();
  ATLAS_TRYV(log.read_stream(part.stream, part.first, [&](const storage::Record& record) {
    if (part.last != StreamVersion{} && record.stream_version > part.last) return false;
    page.at_end = records->size() < k_page_records_max;
    if (page.at_end) records->push_back(record);
    return page.at_end;
  }));
  page.records = std::move(records);
  return page;
}

Result<LogPage> page_of(const storage::EventLog& log, const ReadLog& part) {
  LogPage page;
  page.at_end = true;
  page.next = std::max(part.first, Position{1});
  auto records = std::make_shared<Records>();
  std::size_t looks = 0;
  ATLAS_TRYV(log.read_all(page.next, [&](const storage::Record& record) {
    page.at_end = records->size() < k_page_records_max && looks++ < k_page_looks_max;
    if (!page.at_end) return false;
    page.next = record.position.next();
    if (!part.only || part.only(record)) records->push_back(record);
    return true;
  }));
  page.records = std::move(records);
  return page;
}

// What a reading throws is its asker's trouble: the reader holds nothing, and reads on for others.
template <typename Part>
caf::result<LogPage> answer(const storage::EventLog& log, const Part& part) {
  try {
    auto page = page_of(log, part);
    if (!page) return to_caf(page.error());
    return *std::move(page);
  } catch (const std::exception& thrown) {
    ATLAS_PROBE(true, "a reading of the log threw");
    return to_caf(Error{ErrorCode::internal, "the log can't be read", thrown.what()});
  }
}

}  // namespace

void deal_with_lost_page(const caf::error& error) {
  if (error.category() != caf::atom("atlas")) {
    ATLAS_PROBE(true, "the log reader was gone when a page was asked for");
    log_event(LogLevel::warn, "log_reader", "gone", {{"reason", caf::to_string(error.category())}});
    return;
  }
  throw std::runtime_error(to_string(from_caf(error)));
}

log_reader_actor::behavior_type log_reader(log_reader_actor::stateful_pointer<LogReaderState> self,
                                           const storage::EventLog* log) {
  end_of_exceptions(self);
  return {[log](const ReadStream& part) { return answer(*log, part); },
          [log](const ReadLog& part) { return answer(*log, part); }};
}

}  // namespace atlasflow::actors
