#pragma once
// How a handler asks partitions or groups that belong to several shards.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "broker/broker.h"

namespace klamm::broker {

// Questions to partitions of many owners, answered in their order: `owner(question)` names the
// shard, `answer(broker, question)` is called there, `done(answers)` here once all are in.
template <class Question, class Owner, class Ask, class Done>
void ask_owners(Broker& here, std::vector<Question> questions, Owner owner, Ask answer, Done done) {
  using Answer = std::invoke_result_t<Ask, Broker&, Question&>;
  struct Open {
    std::vector<Question> questions;
    std::vector<Answer> answers;
    size_t left = 1;
    Done done;
  };
  // Each slot is touched by one shard at a time: by the owner between the two messages.
  auto open = std::make_shared<Open>(Open{std::move(questions), {}, 1, std::move(done)});
  open->answers.resize(open->questions.size());
  std::vector<std::pair<size_t, std::vector<size_t>>> elsewhere;  // shard, questions for it
  const auto finish = [](const std::shared_ptr<Open>& of) {
    if (--of->left == 0) {
      of->done(std::move(of->answers));
    }
  };
  for (size_t i = 0; i < open->questions.size(); ++i) {
    const size_t shard = owner(std::as_const(open->questions[i]));
    if (shard == here.shard()) {
      open->answers[i] = answer(here, open->questions[i]);
      continue;
    }
    auto list = std::find_if(elsewhere.begin(), elsewhere.end(),
                             [&](const auto& known) { return known.first == shard; });
    if (list == elsewhere.end()) {
      list = elsewhere.insert(list, {shard, {}});
    }
    list->second.push_back(i);
  }
  open->left += elsewhere.size();
  for (auto& [shard, indexes] : elsewhere) {
    here.at(shard, [open, answer, finish, home = here.shard(),
                    indexes = std::move(indexes)](Broker& there) mutable {
      for (const size_t i : indexes) {
        open->answers[i] = answer(there, open->questions[i]);
      }
      there.at(home, [open = std::move(open), finish](Broker&) { finish(open); });
    });
  }
  finish(open);
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
