// Plays scripts with transactional ids (scenarios/transactions). Markers are written when the
// script says so. After each event a second shard fed only with the records must know the same.
#include <catch2/catch.hpp>

#include "broker/coordinator/fake_sink.h"
#include "broker/coordinator/scenarios/script.h"
#include "broker/coordinator/transaction/transaction_shard.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::broker::scenarios;

namespace {

std::string text_of(const ProducerIdentity& producer) {
  return std::to_string(producer.id) + ":" + std::to_string(producer.epoch);
}
ProducerIdentity parse_producer(const std::string& text) {
  const auto parts = split(text, ':');
  return {std::stoll(parts.at(0)), static_cast<int16_t>(std::stoi(parts.at(1)))};
}
std::string text_of(const std::set<TransactionPlace>& places) {
  Tasks by_topic;
  for (const auto& [topic, partition] : places) {
    by_topic[topic].insert(partition);
  }
  return scenarios::text_of(by_topic);
}

class Script : public TransactionOutput {
 public:
  Script() { load(); }

  void new_producer_id(std::function<void(Result<int64_t>)> done) override { done(next_id_++); }
  void write_markers(TransactionEnd end, std::function<void()> done) override {
    say(std::string("* ") + (end.commits ? "commit" : "abort") + " markers of " +
        text_of(end.producer) + " to " + text_of(end.partitions));
    ends_.push_back(std::move(done));
  }
  int16_t version() const override { return version_; }

  std::vector<std::string> play(const Event& event) {
    said_.clear();
    const size_t before = sink_.log.size();
    take(event);
    check_twin();
    return outcome_of(
        std::span(sink_.log).subspan(before), [](const auto& record) { return text_of(record); },
        said_);
  }

 private:
  void say(std::string line) { said_.push_back(std::move(line)); }
  static std::string text_of(const CoordinatorRecord& record) {
    const auto parsed = parse_transaction_record(record);
    REQUIRE(parsed.has_value());
    if (!parsed->transaction) {
      return parsed->id + " forgotten";
    }
    const Transaction& transaction = *parsed->transaction;
    return parsed->id + " " + std::string(name_of(transaction.state)) + " " +
           text_of(ProducerIdentity{transaction.producer_id, transaction.epoch}) + " " +
           text_of(transaction.partitions);
  }
  static std::string text_of(const ProducerIdentity& producer) { return ::text_of(producer); }
  static std::string text_of(const std::set<TransactionPlace>& places) { return ::text_of(places); }

  void load() {
    ends_.clear();
    shard_ = std::make_unique<TransactionShard>(sink_, config_, *this);
    sink_.shard = shard_.get();
    sink_.replay_into(*shard_, sink_.now);
    shard_->loaded(sink_.now);
  }

  void take(const Event& event) {
    const std::string& what = event.word(0);
    const auto identified = [this](const TransactionShard::Identified& answer) {
      say("= " + std::string(name_of(answer.error)) +
          (answer.error == ErrorCode::kNone ? " " + text_of(answer.producer) : ""));
    };
    const auto code = [this](ErrorCode outcome) { say("= " + std::string(name_of(outcome))); };
    if (what == "init") {
      TransactionShard::Init request{.id = event.word(1),
                                     .timeout_ms = std::stoi(event.option("timeout", "60000"))};
      if (event.has("as")) {
        request.expected = parse_producer(event.option("as"));
      }
      shard_->init(request, sink_.now, identified);
    } else if (what == "add") {
      std::set<TransactionPlace> places;
      for (const auto& [topic, partitions] : parse_places(event.word(3))) {
        for (const int32_t partition : partitions) {
          places.insert({topic, partition});
        }
      }
      shard_->add_partitions(event.word(1), parse_producer(event.word(2)), places, version_,
                             sink_.now, code);
    } else if (what == "end") {
      shard_->end(
          {event.word(1), parse_producer(event.word(2)), event.word(3) == "commit", version_},
          sink_.now, identified);
    } else if (what == "verify") {
      const auto places = parse_places(event.word(3));
      code(shard_->verify(event.word(1), parse_producer(event.word(2)),
                          {places.begin()->first, *places.begin()->second.begin()}));
    } else if (what == "markers-are-written") {
      for (auto& done : std::exchange(ends_, {})) {
        done();
      }
    } else if (what == "advance") {
      const int64_t until = sink_.now + event.number(1);
      while (*shard_->next_deadline() <= until) {
        sink_.now = std::max(sink_.now, *shard_->next_deadline());
        shard_->tick(sink_.now);
      }
      sink_.now = until;
    } else if (what == "version") {
      version_ = static_cast<int16_t>(event.number(1));
    } else if (what == "hold") {
      sink_.hold = true;
    } else if (what == "release") {
      sink_.hold = false;
      for (auto& committed : std::exchange(sink_.held, {})) {
        committed(ErrorCode::kNone);
      }
    } else if (what == "load") {
      load();
    } else {
      FAIL("no event: " << what);
    }
  }

  void check_twin() {
    FakeSink nowhere;
    TransactionShard twin(nowhere, config_, *this);
    sink_.replay_into(twin, sink_.now);
    REQUIRE(twin.transactions().size() == shard_->transactions().size());
    for (const auto& [id, known] : shard_->transactions()) {
      CHECK(transaction_record(id, twin.transactions().at(id), 2).value->view() ==
            transaction_record(id, known, 2).value->view());
    }
  }

  FakeSink sink_;
  TransactionConfig config_;
  std::unique_ptr<TransactionShard> shard_;
  std::vector<std::function<void()>> ends_;
  std::vector<std::string> said_;
  int64_t next_id_ = 1000;
  int16_t version_ = 2;
};

}  // namespace

TEST_CASE("scenarios of transactions") {
  run_all("transactions", [] {
    auto script = std::make_shared<Script>();
    return Play([script](const Event& event) { return script->play(event); });
  });
}
