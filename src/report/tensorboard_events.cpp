#include "report/tensorboard_events.h"

#include "report/crc32c.h"
#include "report/protobuf_writer.h"

namespace trireme::report {
namespace {

// The numbers of the fields, message by message.
enum : uint32_t {
  event_time = 1,
  event_step = 2,
  event_version = 3,
  event_summary = 5,
  event_session = 7
};
enum : uint32_t { session_status = 1 };
enum : uint32_t { summary_value = 1 };
enum : uint32_t {
  value_tag = 1,
  value_simple = 2,
  value_histogram = 5,
  value_tensor = 8,
  value_metadata = 9
};
enum : uint32_t { metadata_plugin = 1, metadata_data_class = 4, plugin_name = 1 };
enum : uint32_t { tensor_type = 1, tensor_shape = 2, tensor_text = 8 };
enum : uint32_t {
  histogram_min = 1,
  histogram_max,
  histogram_count,
  histogram_sum,
  histogram_squares,
  histogram_limits,
  histogram_counts
};

constexpr int64_t session_start = 1;
constexpr int64_t data_class_tensor = 2;
constexpr int64_t type_string = 7;

ProtobufWriter event_at(double time, int64_t step) {
  ProtobufWriter event;
  event.number(event_time, time);
  event.integer(event_step, step);
  return event;
}

std::string summary_event(double time, int64_t step, const ProtobufWriter& value) {
  ProtobufWriter summary;
  summary.bytes(summary_value, value.message());
  ProtobufWriter event = event_at(time, step);
  event.bytes(event_summary, summary.message());
  return event.message();
}

}  // namespace

std::string version_event(double time) {
  ProtobufWriter event;
  event.number(event_time, time);
  event.bytes(event_version, "brain.Event:2");
  return event.message();
}

std::string start_event(double time, int64_t step) {
  ProtobufWriter session;
  session.integer(session_status, session_start);
  ProtobufWriter event = event_at(time, step);
  event.bytes(event_session, session.message());
  return event.message();
}

std::string scalars_event(double time, int64_t step, std::span<const TaggedValue> values) {
  ProtobufWriter summary;
  for (const auto& [tag, number] : values) {
    ProtobufWriter value;
    value.bytes(value_tag, tag);
    value.number(value_simple, static_cast<float>(number));
    summary.bytes(summary_value, value.message());
  }
  ProtobufWriter event = event_at(time, step);
  event.bytes(event_summary, summary.message());
  return event.message();
}

std::string text_event(double time, int64_t step, std::string_view tag, std::string_view markdown) {
  ProtobufWriter plugin, metadata, tensor, value;
  plugin.bytes(plugin_name, "text");
  metadata.bytes(metadata_plugin, plugin.message());
  metadata.integer(metadata_data_class, data_class_tensor);
  tensor.integer(tensor_type, type_string);
  tensor.bytes(tensor_shape, {});  // no dimensions
  tensor.bytes(tensor_text, markdown);
  value.bytes(value_tag, tag);
  value.bytes(value_metadata, metadata.message());
  value.bytes(value_tensor, tensor.message());
  return summary_event(time, step, value);
}

std::string histogram_event(double time, int64_t step, std::string_view tag,
                            const Histogram& values) {
  ProtobufWriter histogram, value;
  const Histogram::Buckets buckets = values.buckets();
  histogram.number(histogram_min, values.min());
  histogram.number(histogram_max, values.max());
  histogram.number(histogram_count, static_cast<double>(values.count()));
  histogram.number(histogram_sum, values.sum());
  histogram.number(histogram_squares, values.sum_of_squares());
  histogram.numbers(histogram_limits, buckets.limits);
  histogram.numbers(histogram_counts, buckets.counts);
  value.bytes(value_tag, tag);
  value.bytes(value_histogram, histogram.message());
  return summary_event(time, step, value);
}

void append_record(std::string& to, std::string_view event) {
  std::string length;
  append_little_endian(length, event.size(), 8);
  to.append(length);
  append_little_endian(to, masked_crc32c(length), 4);
  to.append(event);
  append_little_endian(to, masked_crc32c(event), 4);
}

}  // namespace trireme::report
