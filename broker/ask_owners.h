#pragma once
// How a handler asks partitions or groups that belong to several shards.
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "broker/broker.h"

namespace klamm::broker {

// Where the answer to one question goes; used once, on the shard of its owner.
template <class Answer>
class AnswerSlot {
 public:
  // What all questions of one request have in common. Each slot is touched by one shard at a time:
  // by the owner until the message home.
  struct Request {
    std::vector<Answer> answers;
    size_t shards_left = 0;
    std::move_only_function<void(std::vector<Answer>)> done;

    void finish_shard() {
      if (--shards_left == 0) {
        done(std::move(answers));
      }
    }
  };
  // The questions that one shard answers.
  struct Share {
    std::shared_ptr<Request> request;
    Broker* owner = nullptr;
    size_t home = 0;
    size_t left = 0;
  };

  AnswerSlot(std::shared_ptr<Share> share, size_t index)
      : share_(std::move(share)), index_(index) {}

  void put(Answer answer) {
    share_->request->answers[index_] = std::move(answer);
    if (--share_->left == 0) {
      share_->owner->at(share_->home, [request = std::move(share_->request)](Broker&) {
        request->finish_shard();
      });
    }
  }

 private:
  std::shared_ptr<Share> share_;
  size_t index_;
};

// An answer that something has to come to pass for, within a time. Whoever is waited for gets a
// copy, and calls it with the code that the answer is made from; only the first call counts. On the
// shard of the slot's owner.
template <class Answer>
class PatientAnswer {
 public:
  using Make = std::move_only_function<Answer(ErrorCode)>;

  PatientAnswer(Broker& owner, AnswerSlot<Answer> slot, Make make)
      : state_(std::make_shared<State>(owner, std::move(slot), std::move(make))) {}

  void operator()(ErrorCode code) const {
    if (!state_->slot) {
      return;
    }
    if (state_->timer) {
      state_->owner.timers().cancel(*state_->timer);
    }
    auto slot = std::move(*std::exchange(state_->slot, std::nullopt));
    slot.put(state_->make(code));
  }
  // REQUEST_TIMED_OUT when nobody has called after that long.
  void expire_after(int32_t timeout_ms) const {
    if (state_->slot) {
      state_->timer =
          state_->owner.timers().after(state_->owner.clock(), std::max(timeout_ms, 0),
                                       [self = *this] { self(ErrorCode::kRequestTimedOut); });
    }
  }

 private:
  struct State {
    Broker& owner;
    std::optional<AnswerSlot<Answer>> slot;
    Make make;
    std::optional<Timers::Id> timer{};
  };
  std::shared_ptr<State> state_;
};

// Questions to partitions of many owners, answered in their order: `owner(question)` names the
// shard, `ask(broker, question, slot)` is called there and puts the answer into the slot, then or
// later; `done(answers)` is called here once all are in.
template <class Answer, class Question, class Owner, class Ask, class Done>
void ask_owners_for(Broker& here, std::vector<Question> questions, const Owner& owner,
                    const Ask& ask, Done done) {
  using Slot = AnswerSlot<Answer>;
  using Asked = std::vector<std::pair<size_t, Question>>;  // with their places in the request
  auto request = std::make_shared<typename Slot::Request>();
  request->answers.resize(questions.size());
  request->done = std::move(done);
  std::vector<std::pair<size_t, Asked>> shares;  // by shard
  for (size_t i = 0; i < questions.size(); ++i) {
    const size_t shard = owner(std::as_const(questions[i]));
    auto share = std::find_if(shares.begin(), shares.end(),
                              [&](const auto& known) { return known.first == shard; });
    if (share == shares.end()) {
      share = shares.insert(share, {shard, {}});
    }
    share->second.emplace_back(i, std::move(questions[i]));
  }
  request->shards_left = shares.size() + 1;
  for (auto& [shard, asked] : shares) {
    here.at(shard,
            [request, ask, home = here.shard(), asked = std::move(asked)](Broker& there) mutable {
              const auto share = std::make_shared<typename Slot::Share>(std::move(request), &there,
                                                                        home, asked.size());
              for (auto& [place, question] : asked) {
                ask(there, question, Slot(share, place));
              }
            });
  }
  request->finish_shard();
}

// The same for questions that are answered at once: `answer(broker, question)` gives the answer.
template <class Question, class Owner, class Ask, class Done>
void ask_owners(Broker& here, std::vector<Question> questions, Owner owner, const Ask& answer,
                Done done) {
  using Answer = std::invoke_result_t<Ask, Broker&, Question&>;
  ask_owners_for<Answer>(
      here, std::move(questions), owner,
      [answer](Broker& there, Question& question, AnswerSlot<Answer> slot) {
        slot.put(answer(there, question));
      },
      std::move(done));
}

// Puts the answers to the partitions of a request, asked one after the other, into the topics of
// the response, whose partitions are there but empty.
template <class Topic, class Answer>
void put_in_order(std::vector<Topic>& topics, std::vector<Answer>& answers,
                  std::vector<Answer> Topic::* partitions) {
  auto next = answers.begin();
  for (Topic& topic : topics) {
    for (auto& partition : topic.*partitions) {
      partition = std::move(*next++);
    }
  }
}

}  // namespace klamm::broker
