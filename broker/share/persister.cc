#include "broker/share/persister.h"

#include "broker/broker.h"
#include "broker/cluster/broker_address.h"
#include "broker/node.h"
#include "broker/share/shares.h"
#include "protocol/generated/delete_share_group_state_request.h"
#include "protocol/generated/delete_share_group_state_response.h"
#include "protocol/generated/initialize_share_group_state_request.h"
#include "protocol/generated/initialize_share_group_state_response.h"
#include "protocol/generated/read_share_group_state_request.h"
#include "protocol/generated/read_share_group_state_response.h"
#include "protocol/generated/read_share_group_state_summary_request.h"
#include "protocol/generated/read_share_group_state_summary_response.h"
#include "protocol/generated/write_share_group_state_request.h"
#include "protocol/generated/write_share_group_state_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int kTriesMax = 50;
constexpr int64_t kRetryMs = 100;

ErrorCode code_of(ErrorCode code) { return code; }
template <class T>
ErrorCode code_of(const Result<T>& result) {
  return result ? ErrorCode::kNone : result.error().code;
}

ErrorCode refused(ErrorCode code, const ErrorCode*) { return code; }
template <class T>
Result<T> refused(ErrorCode code, const Result<T>*) {
  return fail(code, "The share coordinator cannot be reached.");
}

bool may_pass(ErrorCode code) {
  return code == ErrorCode::kCoordinatorNotAvailable || code == ErrorCode::kNotCoordinator ||
         code == ErrorCode::kCoordinatorLoadInProgress;
}

// A request about one share partition.
template <class Request>
auto& only_partition(Request& request, const SharePartitionKey& key) {
  request.group_id = key.group_id;
  auto& topic = request.topics.emplace_back();
  topic.topic_id = key.topic_id;
  auto& partition = topic.partitions.emplace_back();
  partition.partition = key.partition;
  return partition;
}

// The answer about the one partition; null when it is not there.
template <class Response>
auto* only_result(const Response& response) {
  return response.results.size() == 1 && response.results[0].partitions.size() == 1
             ? &response.results[0].partitions[0]
             : nullptr;
}

template <class Response>
ErrorCode code_in(const Response& response) {
  const auto* const result = only_result(response);
  return result == nullptr ? ErrorCode::kUnknownServerError : result->error_code;
}

}  // namespace

template <class Answer>
struct SharePersister::Question {
  SharePartitionKey key;
  std::function<void(ShareStateShard&, int64_t now_ms, Respond<Answer>)> here;
  std::function<void(const QuestionPtr<Answer>&, const replication::Address&)> there;
  Done<Answer> done;
  int tries = 0;
};

template <class Answer>
void SharePersister::settle(const QuestionPtr<Answer>& question, Answer answer) {
  may_pass(code_of(answer)) && question->tries < kTriesMax ? ask_again(question)
                                                           : question->done(std::move(answer));
}

template <class Answer>
void SharePersister::ask_again(const QuestionPtr<Answer>& question) {
  broker_.timers().after(broker_.clock(), kRetryMs, [this, question] { ask(question); });
}

template <class Answer>
void SharePersister::ask_here(const QuestionPtr<Answer>& question, size_t shard,
                              int32_t partition) {
  broker_.at(shard, [this, question, partition, home = broker_.shard()](Broker& owner) {
    const auto answer = [this, question, &owner, home](Answer said) {
      owner.at(home, [this, question, said = std::move(said)](Broker&) { settle(question, said); });
    };
    owner.shares().coordinator().with(partition, [&](Result<ShareStateShard*> states) {
      if (!states) {
        return answer(refused(states.error().code, static_cast<Answer*>(nullptr)));
      }
      question->here(**states, owner.clock().wall_ms(), answer);
    });
  });
}

template <class Answer>
void SharePersister::ask(const QuestionPtr<Answer>& question) {
  ++question->tries;
  const auto topic = broker_.image()->topic(kShareTopic);
  const auto partition = ShareCoordinator::partition_of(question->key.text(), topic.get());
  if (!partition) {
    if (question->tries == 1) {
      broker_.at_controller([](Node& node) { node.ensure_topics({kShareTopic}, [] {}); });
    }
    return settle(question, refused(partition.error().code, static_cast<Answer*>(nullptr)));
  }
  const int32_t leader = topic->partitions.at(*partition).leader;
  if (leader == broker_.config().node_id()) {
    return ask_here(question, broker_.owner(topic->id, *partition), *partition);
  }
  const auto to = address_of(*broker_.image(), leader, broker_.config().inter_broker_listener());
  if (!to) {
    return settle(question,
                  refused(ErrorCode::kCoordinatorNotAvailable, static_cast<Answer*>(nullptr)));
  }
  question->there(question, *to);
}

template <class Response, class Answer, class Request, class Read>
void SharePersister::call(const QuestionPtr<Answer>& question, const replication::Address& to,
                          Request request, Read read) {
  replication::call<Response>(
      broker_.transport(), to, std::move(request), broker_.config().number("request.timeout.ms"),
      [this, question, read](const Result<Response>& response) {
        settle(question, response ? read(*response)
                                  : refused(ErrorCode::kCoordinatorNotAvailable,
                                            static_cast<Answer*>(nullptr)));
      });
}

void SharePersister::initialize(const SharePartitionKey& key, int32_t state_epoch,
                                int64_t start_offset, Done<ErrorCode> done) {
  ask<ErrorCode>(std::make_shared<Question<ErrorCode>>(
      key,
      [=](ShareStateShard& states, int64_t now_ms, Respond<ErrorCode> respond) {
        states.initialize(key, state_epoch, start_offset, now_ms, std::move(respond));
      },
      [=, this](const auto& question, const replication::Address& to) {
        InitializeShareGroupStateRequest request;
        auto& partition = only_partition(request, key);
        partition.state_epoch = state_epoch;
        partition.start_offset = start_offset;
        call<InitializeShareGroupStateResponse>(question, to, std::move(request),
                                                &code_in<InitializeShareGroupStateResponse>);
      },
      std::move(done)));
}

void SharePersister::remove(const SharePartitionKey& key, Done<ErrorCode> done) {
  ask<ErrorCode>(std::make_shared<Question<ErrorCode>>(
      key,
      [=](ShareStateShard& states, int64_t, Respond<ErrorCode> respond) {
        states.remove(key, std::move(respond));
      },
      [=, this](const auto& question, const replication::Address& to) {
        DeleteShareGroupStateRequest request;
        only_partition(request, key);
        call<DeleteShareGroupStateResponse>(question, to, std::move(request),
                                            &code_in<DeleteShareGroupStateResponse>);
      },
      std::move(done)));
}

void SharePersister::write(const SharePartitionKey& key, const ShareStateUpdate& update,
                           Done<ErrorCode> done) {
  ask<ErrorCode>(std::make_shared<Question<ErrorCode>>(
      key,
      [=](ShareStateShard& states, int64_t now_ms, Respond<ErrorCode> respond) {
        states.write(key, update, now_ms, std::move(respond));
      },
      [=, this](const auto& question, const replication::Address& to) {
        WriteShareGroupStateRequest request;
        auto& partition = only_partition(request, key);
        partition.state_epoch = update.state_epoch;
        partition.leader_epoch = update.leader_epoch;
        partition.start_offset = update.start_offset;
        partition.delivery_complete_count = update.delivery_complete_count;
        for (const auto& batch : update.batches) {
          partition.state_batches.push_back(
              {batch.first, batch.last, static_cast<int8_t>(batch.state), batch.deliveries});
        }
        call<WriteShareGroupStateResponse>(question, to, std::move(request),
                                           &code_in<WriteShareGroupStateResponse>);
      },
      std::move(done)));
}

void SharePersister::read(const SharePartitionKey& key, int32_t leader_epoch,
                          Done<Result<SharePartitionState>> done) {
  using Answer = Result<SharePartitionState>;
  const auto take = [](const ReadShareGroupStateResponse& response) -> Answer {
    const auto* const result = only_result(response);
    if (result == nullptr || result->error_code != ErrorCode::kNone) {
      return fail(code_in(response), "The share coordinator refused.");
    }
    SharePartitionState state;
    state.state_epoch = result->state_epoch;
    state.start_offset = result->start_offset;
    for (const auto& batch : result->state_batches) {
      state.batches.push_back({batch.first_offset, batch.last_offset,
                               static_cast<DeliveryState>(batch.delivery_state),
                               batch.delivery_count});
    }
    return state;
  };
  ask<Answer>(std::make_shared<Question<Answer>>(
      key,
      [=](ShareStateShard& states, int64_t now_ms, Respond<Answer> respond) {
        states.read(key, leader_epoch, now_ms, std::move(respond));
      },
      [=, this](const auto& question, const replication::Address& to) {
        ReadShareGroupStateRequest request;
        only_partition(request, key).leader_epoch = leader_epoch;
        call<ReadShareGroupStateResponse>(question, to, std::move(request), take);
      },
      std::move(done)));
}

void SharePersister::summary(const SharePartitionKey& key, Done<Result<SharePartitionState>> done) {
  using Answer = Result<SharePartitionState>;
  const auto take = [](const ReadShareGroupStateSummaryResponse& response) -> Answer {
    const auto* const result = only_result(response);
    if (result == nullptr || result->error_code != ErrorCode::kNone) {
      return fail(code_in(response), "The share coordinator refused.");
    }
    SharePartitionState state;
    state.state_epoch = result->state_epoch;
    state.leader_epoch = result->leader_epoch;
    state.start_offset = result->start_offset;
    state.delivery_complete_count = result->delivery_complete_count;
    return state;
  };
  ask<Answer>(std::make_shared<Question<Answer>>(
      key,
      [=](ShareStateShard& states, int64_t, Respond<Answer> respond) {
        respond(states.summary(key));
      },
      [=, this](const auto& question, const replication::Address& to) {
        ReadShareGroupStateSummaryRequest request;
        only_partition(request, key).leader_epoch = -1;
        call<ReadShareGroupStateSummaryResponse>(question, to, std::move(request), take);
      },
      std::move(done)));
}

}  // namespace klamm::broker
