// librdkafka's C++ interface (Debian's version) against the broker named by BOOTSTRAP.
#define CATCH_CONFIG_RUNNER
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafkacpp.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>

namespace {

using Config = std::map<std::string, std::string>;

std::string bootstrap() {
  const char* given = std::getenv("BOOTSTRAP");
  return given == nullptr ? "localhost:9092" : given;
}

std::string new_name() {
  static std::random_device device;
  return "cpp-" + std::to_string(device());
}

void ctl(const std::string& action) {
  const std::string command = std::string(std::getenv("BROKER_CTL")) + " " + action;
  REQUIRE(std::system(command.c_str()) == 0);
}

std::unique_ptr<RdKafka::Conf> make_conf(Config config) {
  std::unique_ptr<RdKafka::Conf> conf(RdKafka::Conf::create(RdKafka::Conf::CONF_GLOBAL));
  config["bootstrap.servers"] = bootstrap();
  std::string error;
  for (const auto& [name, value] : config) {
    REQUIRE(conf->set(name, value, error) == RdKafka::Conf::CONF_OK);
  }
  return conf;
}

// Counts what was delivered and keeps the first error.
struct Reports : RdKafka::DeliveryReportCb {
  std::set<std::string> delivered;
  RdKafka::ErrorCode first_error = RdKafka::ERR_NO_ERROR;
  void dr_cb(RdKafka::Message& message) override {
    if (message.err() == RdKafka::ERR_NO_ERROR) {
      delivered.insert(std::string(static_cast<const char*>(message.payload()), message.len()));
    } else if (first_error == RdKafka::ERR_NO_ERROR) {
      first_error = message.err();
    }
  }
};

struct TestProducer {
  Reports reports;
  std::unique_ptr<RdKafka::Producer> producer;
  explicit TestProducer(const Config& config = {}) {
    auto conf = make_conf(config);
    std::string error;
    REQUIRE(conf->set("dr_cb", &reports, error) == RdKafka::Conf::CONF_OK);
    producer.reset(RdKafka::Producer::create(conf.get(), error));
    REQUIRE(producer != nullptr);
  }
  void send(const std::string& topic, const std::string& value, const std::string& key = "",
            int64_t timestamp = 0) {
    auto* headers = RdKafka::Headers::create();
    headers->add("h", "x");
    while (true) {
      const auto error = producer->produce(
          topic, RdKafka::Topic::PARTITION_UA, RdKafka::Producer::RK_MSG_COPY,
          const_cast<char*>(value.data()), value.size(), key.empty() ? nullptr : key.data(),
          key.size(), timestamp, headers, nullptr);
      if (error != RdKafka::ERR__QUEUE_FULL) {
        REQUIRE(error == RdKafka::ERR_NO_ERROR);
        break;
      }
      producer->poll(100);
    }
    producer->poll(0);
  }
  void flush() { REQUIRE(producer->flush(60'000) == RdKafka::ERR_NO_ERROR); }
};

struct TestConsumer {
  std::unique_ptr<RdKafka::KafkaConsumer> consumer;
  TestConsumer(const std::string& group, const std::string& topic) {
    std::string error;
    auto conf = make_conf({{"group.id", group},
                           {"auto.offset.reset", "earliest"},
                           {"enable.auto.commit", "false"},
                           {"session.timeout.ms", "10000"},
                           {"heartbeat.interval.ms", "500"}});
    consumer.reset(RdKafka::KafkaConsumer::create(conf.get(), error));
    REQUIRE(consumer != nullptr);
    REQUIRE(consumer->subscribe({topic}) == RdKafka::ERR_NO_ERROR);
  }
  ~TestConsumer() { consumer->close(); }
  std::vector<std::unique_ptr<RdKafka::Message>> take(size_t count, int seconds = 40) {
    std::vector<std::unique_ptr<RdKafka::Message>> messages;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (messages.size() < count && std::chrono::steady_clock::now() < end) {
      std::unique_ptr<RdKafka::Message> message(consumer->consume(100));
      if (message->err() == RdKafka::ERR_NO_ERROR) {
        messages.push_back(std::move(message));
      }
    }
    return messages;
  }
  size_t assigned() {
    std::unique_ptr<RdKafka::Message>(consumer->consume(50));
    std::vector<RdKafka::TopicPartition*> partitions;
    consumer->assignment(partitions);
    const size_t count = partitions.size();
    RdKafka::TopicPartition::destroy(partitions);
    return count;
  }
};

std::string text(const RdKafka::Message& message) {
  return {static_cast<const char*>(message.payload()), message.len()};
}

// Creation is only in the C interface.
rd_kafka_resp_err_t create_topic(TestProducer& producer, const std::string& topic, int partitions) {
  constexpr int kDefaultFactor = -1;
  char why[256];
  rd_kafka_NewTopic_t* wanted =
      rd_kafka_NewTopic_new(topic.c_str(), partitions, kDefaultFactor, why, sizeof why);
  REQUIRE(wanted != nullptr);
  rd_kafka_t* const handle = producer.producer->c_ptr();
  rd_kafka_queue_t* const queue = rd_kafka_queue_new(handle);
  rd_kafka_CreateTopics(handle, &wanted, 1, nullptr, queue);
  rd_kafka_event_t* const event = rd_kafka_queue_poll(queue, 30'000);
  REQUIRE(event != nullptr);
  size_t count = 0;
  const auto* const topics =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
  REQUIRE(count == 1);
  const auto error = rd_kafka_topic_result_error(topics[0]);
  rd_kafka_event_destroy(event);
  rd_kafka_queue_destroy(queue);
  rd_kafka_NewTopic_destroy(wanted);
  return error;
}

RdKafka::ErrorCode metadata_error(TestProducer& producer, const std::string& topic) {
  std::string error;
  std::unique_ptr<RdKafka::Topic> handle(
      RdKafka::Topic::create(producer.producer.get(), topic, nullptr, error));
  RdKafka::Metadata* raw = nullptr;
  REQUIRE(producer.producer->metadata(false, handle.get(), &raw, 10'000) == RdKafka::ERR_NO_ERROR);
  const std::unique_ptr<RdKafka::Metadata> metadata(raw);
  return metadata->topics()->front()->err();
}

}  // namespace

TEST_CASE("a topic is created once, and one that was not is unknown") {
  TestProducer producer(Config{{"allow.auto.create.topics", "false"}});
  const std::string topic = new_name();
  CHECK(create_topic(producer, topic, 3) == RD_KAFKA_RESP_ERR_NO_ERROR);
  CHECK(create_topic(producer, topic, 3) == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS);
  CHECK(metadata_error(producer, topic) == RdKafka::ERR_NO_ERROR);
  CHECK(metadata_error(producer, new_name()) == RdKafka::ERR_UNKNOWN_TOPIC_OR_PART);
}

TEST_CASE("every compression round trips with keys, headers and timestamps") {
  for (const std::string codec : {"none", "gzip", "snappy", "lz4", "zstd"}) {
    const std::string topic = new_name();
    TestProducer producer({{"compression.type", codec}, {"linger.ms", "20"}});
    REQUIRE(create_topic(producer, topic, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
    for (int i = 0; i < 500; ++i) {
      producer.send(topic, std::string(100, 'v') + std::to_string(i),
                    i % 2 == 0 ? "k" + std::to_string(i) : "", now - i);
    }
    producer.flush();
    TestConsumer consumer(new_name(), topic);
    const auto messages = consumer.take(500);
    REQUIRE(messages.size() == 500);
    for (size_t i = 0; i < 500; ++i) {
      CHECK(text(*messages[i]) == std::string(100, 'v') + std::to_string(i));
      CHECK((messages[i]->key() != nullptr) == (i % 2 == 0));
      CHECK(messages[i]->timestamp().timestamp == now - static_cast<int64_t>(i));
      CHECK(messages[i]->headers()->get("h").size() == 1);
    }
  }
}

TEST_CASE("offsets are found by time") {
  const std::string topic = new_name();
  TestProducer producer;
  REQUIRE(create_topic(producer, topic, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
  const int64_t base = 1'790'000'000'000;
  for (int i = 0; i < 50; ++i) {
    producer.send(topic, "v", "", base + i * 1000);
  }
  producer.flush();
  std::unique_ptr<RdKafka::TopicPartition> at(RdKafka::TopicPartition::create(topic, 0));
  at->set_offset(base + 20'500);
  std::vector<RdKafka::TopicPartition*> wanted = {at.get()};
  REQUIRE(producer.producer->offsetsForTimes(wanted, 10'000) == RdKafka::ERR_NO_ERROR);
  CHECK(at->offset() == 21);
  // By assignment, from that time on.
  TestConsumer reader(new_name(), topic);
  reader.consumer->unsubscribe();
  REQUIRE(reader.consumer->assign(wanted) == RdKafka::ERR_NO_ERROR);
  const auto rest = reader.take(29);
  REQUIRE(rest.size() == 29);
  CHECK(rest.front()->offset() == 21);
  CHECK(reader.take(1, 1).empty());
}

TEST_CASE("a group resumes where it committed, over a clean restart and a kill") {
  for (const std::string action : {"stop", "kill"}) {
    const std::string topic = new_name();
    const std::string group = new_name();
    TestProducer producer;
    REQUIRE(create_topic(producer, topic, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < 100; ++i) {
      producer.send(topic, std::to_string(i));
    }
    producer.flush();
    {
      TestConsumer consumer(group, topic);
      const auto messages = consumer.take(40);
      REQUIRE(messages.size() == 40);
      REQUIRE(consumer.consumer->commitSync(messages.back().get()) == RdKafka::ERR_NO_ERROR);
    }
    ctl(action);
    ctl("start");
    TestConsumer consumer(group, topic);
    const auto rest = consumer.take(60);
    REQUIRE(rest.size() == 60);
    CHECK(text(*rest.front()) == "40");
  }
}

TEST_CASE("an idempotent producer loses and doubles nothing over a kill") {
  const std::string topic = new_name();
  // With more on their way librdkafka may write a batch twice: what it has not heard of when a
  // broker refuses the sequence behind it.
  TestProducer producer({{"enable.idempotence", "true"},
                         {"max.in.flight", "1"},
                         {"linger.ms", "2"},
                         {"retry.backoff.ms", "50"},
                         {"reconnect.backoff.max.ms", "200"}});
  REQUIRE(create_topic(producer, topic, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
  int sent = 0;
  const auto pump = [&](size_t until) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (producer.reports.delivered.size() < until && std::chrono::steady_clock::now() < end) {
      producer.send(topic, std::to_string(sent++));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  };
  pump(500);
  ctl("kill");
  ctl("start");
  pump(producer.reports.delivered.size() + 500);
  producer.flush();
  CHECK(producer.reports.delivered.size() == static_cast<size_t>(sent));
  TestConsumer consumer(new_name(), topic);
  const auto messages = consumer.take(static_cast<size_t>(sent));
  std::set<std::string> unique;
  for (const auto& message : messages) {
    unique.insert(text(*message));
  }
  CHECK(unique.size() == static_cast<size_t>(sent));
  CHECK(consumer.take(1, 1).empty());
}

TEST_CASE("two members share four partitions, and the one left has them all") {
  const std::string group = new_name();
  const std::string topic = new_name();
  TestProducer producer;
  REQUIRE(create_topic(producer, topic, 4) == RD_KAFKA_RESP_ERR_NO_ERROR);
  TestConsumer a(group, topic);
  {
    TestConsumer b(group, topic);
    for (int i = 0; i < 400 && (a.assigned() != 2 || b.assigned() != 2); ++i) {
    }
    CHECK(a.assigned() == 2);
    CHECK(b.assigned() == 2);
  }
  for (int i = 0; i < 400 && a.assigned() != 4; ++i) {
  }
  CHECK(a.assigned() == 4);
}

TEST_CASE("a record too large is refused by the broker") {
  const std::string topic = new_name();
  TestProducer producer(Config{{"message.max.bytes", "10000000"}});
  REQUIRE(create_topic(producer, topic, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
  producer.send(topic, std::string(2'000'000, 'x'));
  producer.producer->flush(20'000);
  CHECK(producer.reports.first_error == RdKafka::ERR_MSG_SIZE_TOO_LARGE);
}

// The runner counts lines.
struct Lines : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;
  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    std::cout << (stats.totals.assertions.allOk() ? "ok " : "not ok ") << stats.testInfo.name
              << std::endl;
  }
};
CATCH_REGISTER_LISTENER(Lines)

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
