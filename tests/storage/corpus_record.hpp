// The envelope around every event of the corpus: fixed values, so that the bytes depend on the
// event only.
#pragma once

#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

inline Record corpus_record(const pb::Event& event) {
  Record record;
  record.position = Position(7);
  record.stream = StreamId("deployment/k3v5q2ab");
  record.stream_version = StreamVersion(3);
  record.recorded_at = 1'700'000'000'000'000;
  record.writer_epoch = Epoch(2);
  record.event_id = "deployment/k3v5q2ab@3";
  record.correlation_id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
  record.causation_position = Position(5);
  record.build_id = "9f98d75";
  record.actor = "deployment";
  record.dedupe_key = "hook/1/72d3162e-cc78-11e3-81ab-4c9367dc0958";
  record.event = event;
  return record;
}

}  // namespace atlasflow::storage
